"""Draw pairs of the 40 tasks of the public benchmark bmi (Czyz et al. 2023) into FOLDER: TASK_SEED.npz, tasks.json.

build/bmi/bin/python benchmarks/peers/bmi_dump.py FOLDER PAIRS SEEDS
"""

import json
import sys
from pathlib import Path

import numpy as np
from bmi.benchmark import BENCHMARK_TASKS


def main() -> None:
    folder, pairs, seeds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    for name, task in BENCHMARK_TASKS.items():
        for seed in range(seeds):
            x, y = (np.asarray(side, dtype=np.float64) for side in task.sample(pairs, seed=seed))
            np.savez(folder / f"{name}_{seed}.npz", x=x, y=y)
    truths = {name: float(task.mutual_information) / np.log(2) for name, task in BENCHMARK_TASKS.items()}
    (folder / "tasks.json").write_text(json.dumps(truths, indent=1) + "\n")


if __name__ == "__main__":
    main()
