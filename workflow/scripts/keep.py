"""Copy the measurements of finished jobs of sweeps into the committed tables.

python workflow/scripts/keep.py workflow/config/campaign.yml workflow/config/ablations.yml

A job has a table once all of its rows are measured. They go to data/measurements/campaign.csv and replace rows of the
same data set, signal, model, estimator, variant, seed and number of cells. All other rows stay.
"""

import json
import sys

import pandas as pd

from noise_scaling import measurements
from noise_scaling.cli import answer
from noise_scaling.errors import InputError
from noise_scaling.files import write_atomically
from noise_scaling.measure.grid import jobs, read_config
from noise_scaling.paths import ROOT

FOLDER = ROOT / "data" / "measurements"
CURVE = ["dataset", "signal", "model", "preset", "estimator", "variant", "seed", "n_cells"]


def main(*configs: str) -> int:
    """Write the table and its provenance, and print the number of rows of each data set and seed in campaign.csv."""
    tables = [
        ROOT / config["folder"] / "slices" / f"{job.name}.csv"
        for config in map(read_config, configs) for job in jobs(config)
    ]  # fmt: skip
    found = [path for path in tables if path.exists()]
    if not found:
        raise InputError("no job is done yet: let the sweep go on")
    output, table = FOLDER / "campaign.csv", measurements.gather(found)
    if output.exists():
        before = measurements.read(output)
        kept, measured = (pd.MultiIndex.from_frame(rows[CURVE]) for rows in (before, table))
        table = measurements.sort(pd.concat([before[~kept.isin(measured)], table]))
    about, command = output.with_suffix(".json"), f"python workflow/scripts/keep.py {' '.join(configs)}"
    facts = json.loads(about.read_text()) if about.exists() else {}
    facts |= measurements.provenance(table, f"python workflow/run.py, then {command}")
    measurements.write(table, output)
    write_atomically(about, json.dumps(facts, indent=1) + "\n")
    measurements.read(FOLDER)  # checks that no two rows of one measurement differ
    print(f"{len(table)} rows in {output}:", table.groupby(["dataset", "seed"]).size().to_string(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(answer(lambda: main(*sys.argv[1:])))
