"""Test our default estimator on cell-like problems: x is an embedding of real cells, and y is read from it.

    python benchmarks/cell_like.py              # run the missing estimates; continues a stopped run
    python benchmarks/cell_like.py --anew       # recompute all, after a change of the default
    python benchmarks/cell_like.py --oracle     # also run the default with extra information, to see what limits it
    python benchmarks/cell_like.py --gather
    python benchmarks/cell_like.py --truths     # recompute the true information: half an hour

`information/cells.py` defines the problems, `information/limits.py` the extra information. Each estimate is a row of
benchmarks/results/cell_like/default.csv, told_axes.csv or told_function.csv; table and numbers: cell_like.md,
cell_like.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numba
import pandas as pd
from common import RESULTS, machine, report, table
from information import cell_truth
from information.cells import CELLS, draw, problems, shuffled
from information.estimators import estimators
from information.limits import TOLD, extrapolated
from information.run import read, run
from information.truth import stored as suite_truths

SEEDS = 5
ORACLE_SEEDS = 1
SHUFFLES, SHUFFLED_CELLS = 40, CELLS[:2]
ABOVE = 2.0  # standard errors
GOALS = {500: 0.75, 2400: 0.88, 6000: 0.93}
"""Target for the median share of the truth that is found, by number of cells."""


def measure(path: Path, names: list[str], cells: list[int], seeds: int, shuffles: int) -> None:
    """Add the missing estimates, of all `names` and of the shuffled problems, to the table at `path`."""
    default = estimators()["default"]
    run(path, "default", default, names, cells, range(seeds), draw)
    run(path, "default", default, shuffled(), [n for n in cells if n in SHUFFLED_CELLS], range(shuffles), draw)


def measure_told(folder: Path, cells: list[int], seeds: int) -> None:
    """Add the missing estimates of the default with extra information (`TOLD`), on problems without a depth."""
    names = [name for name, law in problems().items() if not law[2]]
    for told, draw_told in TOLD.items():
        run(folder / f"{told}.csv", told, estimators()["default"], names, cells, range(seeds), draw_told)


def limits(folder: Path) -> list[dict[str, object]]:
    """Return, by number of cells, the median share that the default finds, without and with extra information."""
    found = []
    tables = {name: gather(folder / f"{name}.csv") for name in ("default", *TOLD) if (folder / f"{name}.csv").exists()}
    draws = tables.get("told_axes", pd.DataFrame({"seed": []})).seed.unique()
    for cells in CELLS if len(draws) else []:
        shares = {
            name: rows[(rows.cells == cells) & (rows.depth == 0) & rows.seed.isin(draws)].ratio.median()
            for name, rows in tables.items()
        }
        found.append({"cells": cells, **shares, "aimed at": GOALS[cells]})
    return found


def bias_rules(rows: pd.DataFrame, results: Path) -> list[dict[str, object]]:
    """Apply `extrapolated` to these problems and to the suite of `information_suite.py`."""
    suite = read(results / "information" / "default.csv") if (results / "information").exists() else rows[:0]
    suite = suite.assign(true=suite.problem.map({name: value[0] for name, value in suite_truths().items()}))
    tables = {"cell_like": rows[rows.source != "shuffled"], "suite": suite}
    return [line for name, some in tables.items() if some.cells.nunique() == 3 for line in extrapolated(some, name)]


def gather(path: Path) -> pd.DataFrame:
    """Return the rows with source, family, depth and true bits; shuffled pairs have the source "shuffled"."""
    rows, laws = read(path), problems()
    parts = [laws[name] if name in laws else ("shuffled", name.split("_", 1)[1], 0) for name in rows.problem]
    rows[["source", "family", "depth"]] = pd.DataFrame(parts, index=rows.index)
    rows["true"] = rows.problem.map({name: value[0] for name, value in cell_truth.stored().items()})
    return rows.assign(ratio=(rows.bits / rows.true).where(rows.true > 0))


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarise by problem and cells: true bits, mean bits found, their spread, stated standard error, median share."""
    by = rows.groupby(["problem", "source", "family", "depth", "cells"], sort=False)
    table = by.agg(true=("true", "first"), bits=("bits", "mean"), sd=("bits", "std"), stderr=("stderr", "mean"),
                   ratio=("ratio", "median"), seconds=("seconds", "median"), draws=("bits", "count"))  # fmt: skip
    return table.reset_index()


def write(results: Path) -> None:
    """Write cell_like.md and cell_like.json from the rows."""
    rows = gather(results / "cell_like" / "default.csv")
    told, plain, deep = rows[rows.true > 0], rows[(rows.true > 0) & (rows.depth == 0)], rows[rows.depth > 0]
    null, limited, rules = (
        _null(rows[rows.true == 0]),
        limits(results / "cell_like"),
        bias_rules(rows, results),
    )
    above = {"estimates": len(told), "above": int((told.bits - told.true > ABOVE * told.stderr).sum())}
    cells = sorted(set(plain.cells))
    worst = max(error / bits for bits, error, _ in cell_truth.stored().values() if bits)
    parts = [
        "x: embeddings of cells drawn around real ones; y: read from them through a known channel "
        "(`benchmarks/information/cells.py`). Shares of the true bits, medians over sources of cells and "
        f"{SEEDS} draws each. The standard error of a truth is at most {worst:.1%} of it.",
        "## By kind of signal",
        table(["signal", "true bits", *(f"{n:,} cells" for n in cells)], _shares(plain, cells)),
        "`time45_float`, `time12_float`: the same codes as floats, for the estimator of vectors.",
        "## Thinned to a depth before the embedding",
        table(["signal", "UMIs a cell", "true bits", *(f"{n:,} cells" for n in cells)], _depths(deep, cells)),
        "## Shuffled: nothing is shared",
        table(["signal", "cells", "mean bits", "standard error", "draws"],
              [[r["family"], f"{r['cells']:,}", f"{r['mean']:+.4f}", f"{r['se']:.4f}", r["draws"]] for r in null]),
        f"Above the truth by more than {ABOVE:g} standard errors: {above['above']} of {above['estimates']} estimates.",
        "## What limits it",
        "Median share over the problems without a depth, one draw: as they are; told which axes the channel reads; "
        "told what y depends on, so that no function is left to learn.",
        table(list(limited[0]), [list(line.values()) for line in limited]) if limited else "Not run.",
        "## Can the bias be told from the growth with n?",
        "Estimates at three numbers of cells, extrapolated, beside the truth.",
        table(list(rules[0]), [list(line.values()) for line in rules]) if rules else "Not run.",
    ]  # fmt: skip
    medians = {str(n): part.ratio.median() for n, part in plain.groupby("cells")}
    numbers = {"median": medians, "goals": {str(n): goal for n, goal in GOALS.items()}}
    numbers |= {
        "shuffled": null,
        "above": above,
        "limits": limited,
        "extrapolated": rules,
        "problems": json.loads(means(rows).round(4).to_json(orient="records")),
    }
    report(results, "cell_like", "Problems that look like cells", machine("torch", "scikit-learn"), parts, numbers)


def _shares(plain: pd.DataFrame, cells: list[int]) -> list[list[str]]:
    """Return one line per family, one for all families, and one with the targets."""
    lines = []
    for family, part in [*plain.groupby("family", sort=False), ("all", plain)]:
        shares = part.groupby("cells").ratio.median()
        true = sorted({f"{bits:.2f}" for bits in part.true}) if family != "all" else []
        lines.append([family, ", ".join(true), *(f"{shares[n]:.2f}" for n in cells)])
    return [*lines, ["aimed at", "", *(f"{GOALS[n]:.2f}" if n in GOALS else "" for n in cells)]]


def _depths(deep: pd.DataFrame, cells: list[int]) -> list[list[str]]:
    lines = []
    for (family, depth), part in deep.groupby(["family", "depth"]):
        shares = part.groupby("cells").ratio.median()
        lines.append([family, f"{depth:,}", f"{part.true.iloc[0]:.2f}", *(f"{shares[n]:.2f}" for n in cells)])
    return lines


def _null(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Return the mean bits over shuffles and its standard error, by family and number of cells."""
    found = []
    for (family, cells), part in rows.groupby(["family", "cells"]):
        mean, se = float(part.bits.mean()), float(part.bits.std() / len(part) ** 0.5)
        found.append({"family": family, "cells": int(cells), "mean": mean, "se": se, "draws": len(part)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="forget the rows that are there")
    parser.add_argument("--gather", action="store_true", help="run nothing, gather the rows that are there")
    parser.add_argument("--truths", action="store_true", help="compute the truths, and run nothing")
    parser.add_argument("--oracle", action="store_true", help="the default told more, beside it")
    parser.add_argument("--quick", action="store_true", help="three problems of 500 cells: to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    options = parser.parse_args()
    numba.config.NUMBA_NUM_THREADS = 1
    if options.truths:
        return cell_truth.compute()
    path = options.results / "cell_like" / "default.csv"
    if options.anew:
        path.unlink(missing_ok=True)
    if options.quick:
        measure(path, ["pbmc_labels3", "worm_time12_float", "depth100_time45"], [500], 1, 2)
    elif not options.gather:
        measure(path, list(problems()), list(CELLS), SEEDS, SHUFFLES)
        if options.oracle:
            measure_told(path.parent, list(CELLS), ORACLE_SEEDS)
    return write(options.results)


if __name__ == "__main__":
    main()
