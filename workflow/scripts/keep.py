"""Put what sweeps have measured so far into the committed tables: whole replicates, a data set at a seed each.

python workflow/scripts/keep.py workflow/config/campaign.yml workflow/config/ablations.yml

A replicate is whole when every job that the configurations ask of it has its table; it goes to
data/measurements/campaign.csv, in place of what that held of it. A data set that an older table holds waits until all
of its replicates are whole: its rows leave the older tables then, so that no two rows of one measurement differ. Rows
of replicates that are not at hand stay as they are. A table that is new or gone is to be named in
workflow/config/demo.yml too (`beside`): the book shows it.
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
REPLICATE = ["dataset", "seed"]


def main(*configs: str) -> int:
    """Write the tables, and print how many rows of which replicates are in the new one."""
    older = {path: measurements.read(path) for name in OLDER if (path := FOLDER / f"{name}.csv").exists()}
    found = whole(configs, waiting={name for table in older.values() for name in table["dataset"]})
    if found.empty:
        raise InputError("no replicate is whole yet, a data set at a seed with all of its jobs: let the sweep go on")
    output, table = FOLDER / "campaign.csv", measurements.gather(found["table"])
    if output.exists():
        before = measurements.read(output)
        table = measurements.sort(pd.concat([before[~_of(before, table, REPLICATE)], table]))
    write(table, output, f"python workflow/run.py, then python workflow/scripts/keep.py {' '.join(configs)}")
    for path, rows in older.items():
        if (gone := _of(rows, table, ["dataset"])).any():
            write(rows[~gone], path)
    measurements.read(FOLDER)  # no two rows of one measurement differ
    print(f"{len(table)} rows in {output}:", table.groupby(REPLICATE).size().to_string(), sep="\n")
    return 0


def whole(configs: tuple[str, ...], *, waiting: set[str]) -> pd.DataFrame:
    """The jobs of whole replicates with their tables; of data sets in `waiting` only where all replicates are whole."""
    found = pd.DataFrame(
        {"dataset": job.dataset, "seed": job.seed, "table": ROOT / config["folder"] / "slices" / f"{job.name}.csv"}
        for config in map(read_config, configs) for job in jobs(config)
    )  # fmt: skip
    there = found["table"].map(Path.exists)
    replicate, every = (there.groupby([found[n] for n in by]).transform("all") for by in (REPLICATE, ["dataset"]))
    return found[replicate & (every | ~found["dataset"].isin(waiting))]


def write(table: pd.DataFrame, path: Path, command: str = "") -> None:
    """A table and its provenance; without a command what is known of an older one stays. An empty table is removed."""
    about = path.with_suffix(".json")
    if table.empty:
        path.unlink()
        about.unlink()
        return
    facts = measurements.provenance(table, command)
    if not command:
        kept = ("rows", "failed_rows", "data_sha256", "devices", "train_seconds", "mi_seconds")
        facts = json.loads(about.read_text()) | {name: facts[name] for name in kept}
    measurements.write(table, path)
    write_atomically(about, json.dumps(facts, indent=1) + "\n")


def _of(rows: pd.DataFrame, table: pd.DataFrame, by: list[str]) -> pd.Series:
    """Which rows are of a data set, or of a replicate, that the table holds."""
    return pd.Series(pd.MultiIndex.from_frame(rows[by]).isin(pd.MultiIndex.from_frame(table[by])), rows.index)


if __name__ == "__main__":
    sys.exit(answer(lambda: main(*sys.argv[1:])))
