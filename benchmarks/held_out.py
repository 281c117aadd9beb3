"""Run our default estimator, once it is frozen, on families of problems that it was not tuned on.

    python benchmarks/held_out.py               # run the missing estimates; continues a stopped run
    python benchmarks/held_out.py --anew        # recompute all
    python benchmarks/held_out.py --gather

`information/held_out.py` defines the families. Each estimate is a row of benchmarks/results/held_out/METHOD.csv; table
and numbers: held_out.md, held_out.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numba
import pandas as pd
from common import RESULTS, machine, report, table
from information.estimators import estimators
from information.held_out import FAMILIES, pairs
from information.run import read, run

METHODS = ("default", "ksg")
CELLS, SEEDS = (1000, 10_000), 5
NEAR = 0.15
ABOVE = 2.0  # standard errors


def gather(results: Path) -> pd.DataFrame:
    """Return all rows, with the true bits in a column of their own."""
    rows = pd.concat([read(path) for path in sorted((results / "held_out").glob("*.csv"))], ignore_index=True)
    return rows.assign(true=rows.problem.map({name: family.bits for name, family in FAMILIES.items()}))


def write(results: Path) -> None:
    """Write held_out.md and held_out.json from the rows."""
    rows = gather(results)
    by = rows.groupby(["problem", "cells", "method"], sort=False)
    means = by.agg(true=("true", "first"), bits=("bits", "mean"), sd=("bits", "std"), stderr=("stderr", "mean"),
                   seconds=("seconds", "median"), draws=("bits", "count")).reset_index()  # fmt: skip
    scores = []
    for (cells, method), part in means.groupby(["cells", "method"], sort=False):
        here = rows[(rows.cells == cells) & (rows.method == method)]
        near = ((part.bits - part.true).abs() <= NEAR * part.true).sum()
        high = (here.bits - here.true > ABOVE * here.stderr).sum()
        scores.append({"pairs": int(cells), "estimator": method, "families": len(part), "within 15 %": int(near),
                       "median share": float((part.bits / part.true).median()), "estimates": len(here),
                       "above by 2 se": int(high), "seconds": float(part.seconds.median())})  # fmt: skip
    wide = means.pivot(index="problem", columns=["method", "cells"], values="bits")
    columns = [(method, n) for method in METHODS for n in sorted(set(rows.cells)) if (method, n) in wide]
    lines = [
        [name, f"{FAMILIES[name].bits:.2f}", *(f"{wide.loc[name, column]:.2f}" for column in columns)]
        for name in FAMILIES
        if name in wide.index
    ]
    parts = [
        f"Bits, means over {SEEDS} draws. These families (`benchmarks/information/held_out.py`) are not among those "
        "that any estimator was tuned on, and were run once it was frozen.",
        table(list(scores[0]), [list(score.values()) for score in scores]),
        table(["family", "true", *(f"{method}, {n:,}" for method, n in columns)], lines),
    ]
    numbers = {"scores": scores, "families": json.loads(means.round(4).to_json(orient="records"))}
    report(results, "held_out", "Families that were held out", machine("torch", "scikit-learn"), parts, numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="forget the rows that are there")
    parser.add_argument("--gather", action="store_true", help="run nothing, gather the rows that are there")
    parser.add_argument("--quick", action="store_true", help="KSG alone, two families of 280 pairs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    options = parser.parse_args()
    numba.config.NUMBA_NUM_THREADS = 1
    names, cells, seeds = (["frank", "ring"], [280], 1) if options.quick else (FAMILIES, CELLS, SEEDS)
    for method in ["ksg"] if options.quick else METHODS:
        path = options.results / "held_out" / f"{method}.csv"
        if options.anew:
            path.unlink(missing_ok=True)
        if not options.gather:
            run(path, method, estimators()[method], names, cells, range(seeds), pairs)
    write(options.results)


if __name__ == "__main__":
    main()
