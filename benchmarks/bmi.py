"""Compare our estimators with those of the public benchmark bmi (Czyz et al. 2023, PyPI benchmark-mi) on its 40 tasks.

    python benchmarks/bmi.py                             # run the missing estimates; continues a stopped run
    python benchmarks/bmi.py --anew default lmi ksg      # recompute our estimates, keep the others
    python benchmarks/bmi.py --gather

bmi and its estimators run in a separate environment, build/bmi, which is created on first use; the pairs are stored in
build/bmi_tasks. Each estimate is a row of benchmarks/results/bmi/METHOD.csv; table and numbers: bmi.md, bmi.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numba
import numpy as np
import pandas as pd
from common import PEERS, RESULTS, machine, report, table
from information.estimators import estimators
from information.peers import ask, python
from information.problems import Pairs
from information.run import Found, append, missing, read, run

TASKS = PEERS.with_name("bmi_tasks")
PAIRS = (10_000, 1000)
SEEDS = {"default": 3, "lmi": 1, "ksg": 3}
PEER_SEEDS = {
    "cca_bmi": 3, "ksg_bmi": 3, "kde": 1, "histogram": 1, "mine": 1, "infonce_bmi": 1, "nwj": 1, "donsker_varadhan": 1,
}  # fmt: skip
"""Number of draws of each task, by estimator. The estimators run in this order."""
NEAR = 0.15
ABOVE = 2.0  # standard errors


def truths(results: Path) -> dict[str, float]:
    """Return the true bits of each task; on first use, bmi computes them and draws all pairs."""
    path = results / "bmi" / "tasks.json"
    if not path.exists() or not TASKS.exists():
        dump = Path(__file__).parent / "peers" / "bmi_dump.py"
        subprocess.run([python("bmi"), dump, TASKS, str(max(PAIRS)), str(max(SEEDS.values()))], check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((TASKS / "tasks.json").read_bytes())
    return json.loads(path.read_text())


def sample(name: str, n: int, seed: int) -> Pairs:
    """Return the first `n` pairs of a task's draw `seed`."""
    file = np.load(TASKS / f"{name}_{seed}.npz")
    return file["x"][:n], file["y"][:n]


def run_peer(path: Path, method: str, names: Iterable[str], cells: Iterable[int]) -> None:
    """Add the missing estimates to the table at `path`, by one process for each number of pairs and seed."""
    left = missing(path, method, names, cells, range(PEER_SEEDS[method]))
    for n, seed in dict.fromkeys((n, seed) for n, seed, _ in left):
        some = [name for m, s, name in left if (m, s) == (n, seed)]
        files = [TASKS / f"{name}_{seed}.npz" for name in some]
        for name, found in zip(some, ask("bmi", method, seed, n, *files), strict=True):
            append(path, name, n, method, seed, Found(found["bits"], note=found["note"], seconds=found["seconds"]))


def gather(results: Path) -> pd.DataFrame:
    """Return all rows, with the true bits in a column of their own."""
    rows = pd.concat([read(path) for path in sorted((results / "bmi").glob("*.csv"))], ignore_index=True)
    true = json.loads((results / "bmi" / "tasks.json").read_text())
    return rows.assign(true=rows.problem.map(true))


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarise by task, pairs and estimator: mean bits, spread, median seconds, draws, estimates made, one note."""
    by = rows.groupby(["problem", "cells", "method"], sort=False)
    each = by.agg(true=("true", "first"), bits=("bits", "mean"), sd=("bits", "std"), stderr=("stderr", "mean"),
                  seconds=("seconds", "median"), seeds=("bits", "size"), made=("bits", "count"),
                  note=("note", "max"))  # fmt: skip
    return each.reset_index()


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Score each estimator by number of pairs: what was run, tasks within 15 %, mean error, estimates too high."""
    found, names = [], [*SEEDS, *PEER_SEEDS]
    for (cells, method), part in means(rows).groupby(["cells", "method"]):
        error = (part.bits - part.true).abs()
        here = rows[(rows.cells == cells) & (rows.method == method)]
        high = (here.bits - here.true > ABOVE * here.stderr).sum()
        found.append({
            "pairs": cells, "estimator": method, "tasks": len(part), "draws": int(part.seeds.max()),
            "within 15 %": int((error <= NEAR * part.true).sum()), "mean error": error.mean(), "largest": error.max(),
            "failed": int((here.bits.isna()).sum()), "above by 2 se": int(high) if here.stderr.notna().any() else "",
            "seconds": part.seconds.median(),
        })  # fmt: skip
    return pd.DataFrame(found).sort_values(
        ["pairs", "estimator"], key=lambda column: column.map(names.index) if column.name == "estimator" else -column
    )


def write(results: Path) -> None:
    """Write bmi.md and bmi.json from the rows."""
    rows = gather(results)
    there, total = means(rows), scores(rows)
    parts = [
        "Bits. These 40 tasks are a development set: our estimators were changed with their results at hand, so they "
        "say what was reached, not what to expect elsewhere. The claim about other data rests on families that are not "
        "among them (`benchmarks/held_out.py`). The first so many pairs of each draw, the same for every estimator, on "
        "one thread. `default`, `lmi`, `ksg` are ours; the rest are what benchmark-mi 0.1.3 ships with its own "
        "settings, stopped after 3 minutes of the processor. *Draws*: of each task. *Mean "
        "error*: mean of |found - true| of the means over draws, over the tasks that gave an estimate. *Failed*: no "
        "estimate (a histogram of more than 32 dimensions, or 3 minutes were over). *Seconds*: of the processor, "
        "median; those of bmi's neural estimators hold the compilation of each. Not run: what bmi calls in R and "
        "Julia, its Gaussian-mixture model, and what the table leaves empty.",
        table(list(total), total.astype(object).values.tolist()),
    ]
    names = [name for name in (*SEEDS, *PEER_SEEDS) if name in set(there.method)]
    for cells, part in there.groupby("cells", sort=False):
        wide = part.pivot(index="problem", columns="method", values="bits").reindex(columns=names)
        true = part.drop_duplicates("problem").set_index("problem").true
        lines = [[task, f"{bits:.2f}", *map(_cell, wide.loc[task])] for task, bits in true.items()]
        parts += [f"## {cells:,} pairs", table(["task", "true", *names], lines)]
    numbers = {"scores": total.to_dict("records"), "tasks": there.round(4).to_dict("records")}
    clean = json.loads(pd.Series(numbers).to_json())  # NaN becomes null
    report(results, "bmi", "The 40 tasks of a public benchmark", machine("torch", "scikit-learn"), parts, clean)


def _cell(bits: float) -> str:
    return f"{bits:.2f}" if np.isfinite(bits) else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*SEEDS, *PEER_SEEDS]
    parser.add_argument("--methods", nargs="+", default=every, choices=every, metavar="NAME")
    parser.add_argument("--anew", nargs="+", choices=every, metavar="NAME", help="these alone, their rows forgotten")
    parser.add_argument("--cells", nargs="+", type=int, default=PAIRS, help="pairs (default: 10,000 and 1,000)")
    parser.add_argument("--gather", action="store_true", help="run nothing, gather the rows that are there")
    parser.add_argument(
        "--quick", action="store_true", help="two tasks of 280 pairs, default and CCA: to see that it runs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    options = parser.parse_args()
    numba.config.NUMBA_NUM_THREADS = 1  # our estimates use one thread, as bmi's do
    if not options.gather:
        names, known = list(truths(options.results)), estimators()
        if options.quick:
            names, options.cells, options.methods = names[:2], [280], ["default", "cca_bmi"]
        for method in options.anew or options.methods:
            path = options.results / "bmi" / f"{method}.csv"
            if options.anew:
                path.unlink(missing_ok=True)
            if method in SEEDS:
                run(path, method, known[method], names, options.cells, range(SEEDS[method]), sample)
            else:
                run_peer(path, method, names, options.cells)
    write(options.results)


if __name__ == "__main__":
    main()
