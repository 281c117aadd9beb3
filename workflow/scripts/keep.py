"""Copy the measurements of finished jobs of sweeps into the committed tables.

python workflow/scripts/keep.py workflow/config/campaign.yml workflow/config/ablations.yml

A job has a table once all of its rows are measured. They go to data/measurements/campaign.csv and replace rows of the
same signal, model, estimator, variant and seed. A data set in an older table waits until all of its jobs are done; its
rows are then removed from the older tables, so that no two rows of one measurement differ. All other rows stay. If a
table is added or removed, change `beside` in workflow/config/demo.yml too, because the book shows these tables.
"""

import json
import sys
from pathlib import Path

import pandas as pd

from noise_scaling import measurements
from noise_scaling.cli import answer
from noise_scaling.errors import InputError
from noise_scaling.files import write_atomically
from noise_scaling.measure.grid import jobs, read_config
from noise_scaling.paths import ROOT

FOLDER = ROOT / "data" / "measurements"
OLDER = ("small", "ablations")
SERIES = ["dataset", "signal", "model", "preset", "estimator", "variant", "seed"]


def main(*configs: str) -> int:
    """Write the tables, and print the number of rows of each data set and seed in campaign.csv."""
    older = {path: measurements.read(path) for name in OLDER if (path := FOLDER / f"{name}.csv").exists()}
    found = done(configs, waiting={name for table in older.values() for name in table["dataset"]})
    if not found:
        raise InputError("no job is done yet, or its data set waits for the others: let the sweep go on")
    output, table = FOLDER / "campaign.csv", measurements.gather(found)
    if output.exists():
        before = measurements.read(output)
        table = measurements.sort(pd.concat([before[~_of(before, table, SERIES)], table]))
    write(table, output, f"python workflow/run.py, then python workflow/scripts/keep.py {' '.join(configs)}")
    for path, rows in older.items():
        if (gone := _of(rows, table, ["dataset"])).any():
            write(rows[~gone], path)
    measurements.read(FOLDER)  # checks that no two rows of one measurement differ
    print(f"{len(table)} rows in {output}:", table.groupby(["dataset", "seed"]).size().to_string(), sep="\n")
    return 0


def done(configs: tuple[str, ...], *, waiting: set[str]) -> list[Path]:
    """Return the tables of finished jobs; for data sets in `waiting`, only if all of their jobs are finished."""
    found = pd.DataFrame(
        {"dataset": job.dataset, "table": ROOT / config["folder"] / "slices" / f"{job.name}.csv"}
        for config in map(read_config, configs) for job in jobs(config)
    )  # fmt: skip
    there = found["table"].map(Path.exists)
    every = there.groupby(found["dataset"]).transform("all")
    return list(found["table"][there & (every | ~found["dataset"].isin(waiting))])


def write(table: pd.DataFrame, path: Path, command: str = "") -> None:
    """Write a table and its provenance, keeping other entries of the provenance; an empty table is removed.

    Without a command, only the entries that describe the rows are updated.
    """
    about = path.with_suffix(".json")
    if table.empty:
        path.unlink()
        about.unlink(missing_ok=True)
        return
    facts = measurements.provenance(table, command)
    if not command:
        kept = ("rows", "failed_rows", "data_sha256", "devices", "train_seconds", "mi_seconds")
        facts = {name: facts[name] for name in kept}
    before = json.loads(about.read_text()) if about.exists() else {}
    measurements.write(table, path)
    write_atomically(about, json.dumps(before | facts, indent=1) + "\n")


def _of(rows: pd.DataFrame, table: pd.DataFrame, by: list[str]) -> pd.Series:
    """Return a mask of the rows whose columns `by` (a data set or a series) occur in the table."""
    return pd.Series(pd.MultiIndex.from_frame(rows[by]).isin(pd.MultiIndex.from_frame(table[by])), rows.index)


if __name__ == "__main__":
    sys.exit(answer(lambda: main(*sys.argv[1:])))
