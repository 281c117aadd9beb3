"""What the machinery costs: 200 units of random projections through Snakemake and papermill, and in a bare loop.

python benchmarks/overhead.py                 both, one after the other
python benchmarks/overhead.py --part bare     one part at a time; the table is written once both are there
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from common import RESULTS, machine, report, table

from noise_scaling import measurements

ROOT = Path(__file__).resolve().parents[1]
GOAL = 0.15
GRID = {
    "cell_numbers": [100, 150, 200, 250, 300, 400, 500, 600, 800, 1000],
    "fractions": [1, 0.5551, 0.3081, 0.171, 0.09493, 0.05269, 0.02925, 0.01623, 0.009011, 0.005002],
}
QUICK = {"cell_numbers": [100, 200], "fractions": [1, 0.1]}
BARE = """
import json, sys
from noise_scaling.measure import measure
settings = json.loads(sys.argv[1])
measure("simulated", models=["random_projection"], progress=False, **settings)
"""


def bare(folder: Path, grid: dict, seeds: list[int]) -> list[str]:
    """One process, one loop, imports and loading once, nothing kept but the table."""
    settings = json.dumps(grid | {"seeds": seeds, "output": str(folder / "bare.csv")})
    return [sys.executable, "-c", BARE, settings]


def sweep(folder: Path, grid: dict, seeds: list[int]) -> list[str]:
    """The same through `workflow/run.py` on one core: a job for each depth and seed, every unit kept, a time limit."""
    config = {
        "folder": str(folder / "run"), "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": seeds,
        "models": ["random_projection"], "unit_seconds": 600, "datasets": {"simulated": grid},
    }  # fmt: skip
    (folder / "sweep.yml").write_text(yaml.safe_dump(config))
    target = folder / "run" / "measurements.csv"
    return [sys.executable, "workflow/run.py", str(folder / "sweep.yml"), str(target), "--cores", "1"]


PARTS = {"bare": bare, "sweep": sweep}


def run(part: str, folder: Path, grid: dict, seeds: list[int]) -> float:
    """Wall seconds of one part, from the start of its first process to the end of its last."""
    if part == "sweep":
        shutil.rmtree(folder / "run", ignore_errors=True)
    command = PARTS[part](folder, grid, seeds)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / f"{part}.log").open("w") as log:
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True)
    return time.perf_counter() - start


def same(folder: Path) -> bool:
    """Whether both tables hold the same numbers."""
    one, other = (measurements.read(path) for path in (folder / "bare.csv", folder / "run" / "measurements.csv"))
    return one.drop(columns=measurements.TIMES).equals(other.drop(columns=measurements.TIMES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 units: to see that it runs")
    parser.add_argument("--part", choices=[*PARTS], help="only this part")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "overhead", help="where parts are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    where = machine("noise-scaling", "snakemake", "papermill", "ipykernel")
    grid, seeds = (QUICK, [0, 1]) if options.quick else (GRID, [0, 1])
    folder = options.folder / ("quick" if options.quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "seconds.json"
    seconds = json.loads(kept.read_text()) if kept.exists() and options.part else {}
    for part in [options.part] if options.part else PARTS:
        seconds[part] = run(part, folder, grid, seeds)
        kept.write_text(json.dumps(seconds))
    if set(seconds) == set(PARTS):
        write(options.results, where, seconds, grid, seeds, same(folder))


def write(results: Path, where: dict, seconds: dict[str, float], grid: dict, seeds: list[int], equal: bool) -> None:
    jobs = len(grid["fractions"]) * len(seeds)
    units = jobs * len(grid["cell_numbers"])
    extra = seconds["sweep"] - seconds["bare"]
    text = (
        f"{units} units: random projections of the simulated cells (1,000 test cells, the default estimator) at "
        f"{len(grid['cell_numbers'])} numbers of cells, {len(grid['fractions'])} depths and {len(seeds)} seeds. The "
        f"sweep is {jobs} jobs of {len(grid['cell_numbers'])} units on one core, each a papermill run whose kernel is "
        "forked from a process that has the package imported; every unit is kept in a file of its own, runs in a "
        "process that can be stopped, and the rows are gathered into one table. The bare loop is one process that "
        f"calls `measure` once. Their tables are {'the same but for the clock' if equal else 'DIFFERENT'}."
    )
    rows = [
        ["bare loop", f"{seconds['bare']:.1f}", f"{seconds['bare'] / units:.3f}", ""],
        [
            "whole machinery",
            f"{seconds['sweep']:.1f}",
            f"{seconds['sweep'] / units:.3f}",
            f"{extra / seconds['bare']:+.1%}",
        ],
    ]
    verdict = "is reached" if extra <= GOAL * seconds["bare"] else "is NOT reached"
    after = f"That is {extra / jobs:.2f} s a job. The goal, {GOAL:.0%} over the bare loop, {verdict}."
    parts = [text, table(["", "seconds", "seconds a unit", "over the bare loop"], rows), after]
    report(results, "overhead", "Overhead of a sweep", where, parts, {"seconds": seconds, "same_numbers": equal})


if __name__ == "__main__":
    main()
