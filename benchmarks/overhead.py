"""Measure the overhead of a sweep: 200 units of random projections by Snakemake and papermill, and in a bare loop.

python benchmarks/overhead.py                 a job per seed and a job per depth, each compared with a bare loop
python benchmarks/overhead.py --jobs seed     one of the two; the table is written once both have been run
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
    "cell_numbers": list(range(100, 1100, 100)),
    "fractions": [1, 0.5551, 0.3081, 0.171, 0.09493, 0.05269, 0.02925, 0.01623, 0.009011, 0.005002],
}
QUICK = {"cell_numbers": [100], "fractions": [1, 0.1]}
UNITS = {"seed": 100, "depth": 10}
"""Number of units of a job, by the setting `jobs` of the configuration."""
SEEDS = [0, 1]
BARE = """
import json, sys
from noise_scaling.measure.run import measure
settings = json.loads(sys.argv[1])
measure("simulated", models=["random_projection"], progress=False, **settings)
"""


def bare(folder: Path, grid: dict, jobs: str) -> list[str]:
    """Return the command of the bare loop: one process that imports and loads once and keeps only the table."""
    settings = json.dumps(grid | {"seeds": SEEDS, "output": str(folder / "bare.csv")})
    return [sys.executable, "-c", BARE, settings]


def sweep(folder: Path, grid: dict, jobs: str) -> list[str]:
    """Return the command for the same units through `workflow/run.py` on one core: every unit kept, a time limit."""
    config = {
        "folder": str(folder / "run"), "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": SEEDS,
        "models": ["random_projection"], "unit_seconds": 600, "jobs": jobs, "datasets": {"simulated": grid},
    }  # fmt: skip
    (folder / "sweep.yml").write_text(yaml.safe_dump(config))
    target = folder / "run" / "measurements.csv"
    return [sys.executable, "workflow/run.py", str(folder / "sweep.yml"), str(target), "--cores", "1"]


PARTS = {"bare": bare, "sweep": sweep}


def run(part: str, folder: Path, grid: dict, jobs: str) -> float:
    """Run one part; return its wall seconds, from the start of its first process to the end of its last."""
    if part == "sweep":
        shutil.rmtree(folder / "run", ignore_errors=True)
    command = PARTS[part](folder, grid, jobs)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / f"{part}.log").open("w") as log:
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True)
    return time.perf_counter() - start


def same(folder: Path) -> bool:
    """Return whether both tables hold the same numbers."""
    one, other = (measurements.read(path) for path in (folder / "bare.csv", folder / "run" / "measurements.csv"))
    return one.drop(columns=measurements.TIMES).equals(other.drop(columns=measurements.TIMES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 units each: to see that it runs")
    parser.add_argument("--jobs", choices=[*UNITS], help="only these")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "overhead", help="where parts are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    where = machine("noise-scaling", "snakemake", "papermill", "ipykernel")
    home = options.folder / ("quick" if options.quick else "full")
    for jobs in UNITS:
        folder = home / jobs
        if options.jobs in (None, jobs):
            folder.mkdir(parents=True, exist_ok=True)
            seconds = {part: run(part, folder, QUICK if options.quick else GRID, jobs) for part in PARTS}
            (folder / "seconds.json").write_text(json.dumps(seconds | {"same_numbers": same(folder)}))
    found = {jobs: home / jobs / "seconds.json" for jobs in UNITS}
    if all(path.exists() for path in found.values()):
        write(options.results, where, {jobs: json.loads(path.read_text()) for jobs, path in found.items()})


def write(results: Path, where: dict, found: dict[str, dict]) -> None:
    equal = all(each["same_numbers"] for each in found.values())
    text = (
        "200 units of random projections of the simulated cells (10 numbers of cells, 10 depths, 2 seeds; 1,000 test "
        "cells, the default estimator) on one core: a job for each seed, as usual, and for each depth. A job is a "
        "papermill run with a kernel of its own; every unit is kept in a file, runs in a process that can be stopped, "
        "and the rows are gathered into one table. The bare loop is one process that calls `measure` once. Their "
        f"tables are {'the same but for the clock' if equal else 'DIFFERENT'}."
    )
    rows = [[jobs, UNITS[jobs], *_row(UNITS[jobs], each)] for jobs, each in found.items()]
    header = [
        "jobs", "units a job", "bare loop, s", "whole machinery, s", "over the bare loop", "extra, s a job",
        f"{GOAL:.0%}",
    ]  # fmt: skip
    report(results, "overhead", "Overhead of a sweep", where, [text, table(header, rows)], {"by_jobs": found})


def _row(units: int, seconds: dict) -> list[str]:
    extra = seconds["sweep"] - seconds["bare"]
    reached = "reached" if extra <= GOAL * seconds["bare"] else "NOT reached"
    return [f"{seconds['bare']:.1f}", f"{seconds['sweep']:.1f}", f"{extra / seconds['bare']:+.1%}",
            f"{extra / (200 / units):.2f}", reached]  # fmt: skip


if __name__ == "__main__":
    main()
