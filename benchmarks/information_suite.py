"""Run each estimator on problems of known mutual information.

    python benchmarks/information_suite.py                              # our default and cheap peers; continues a run
    python benchmarks/information_suite.py --short
    python benchmarks/information_suite.py --methods lmi latentmi mine --problems gaussian_2 --cells 5000 --seeds 2
    python benchmarks/information_suite.py --fresh                      # ten new draws, to check standard errors

Each estimate adds a row to benchmarks/results/information/METHOD.csv. `--gather`, and every run at its end, collects
all rows in benchmarks/results/information_suite.md, and in data/calibration/information.csv for the book.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numba
from common import RESULTS
from information.estimators import LABELS_ONLY, estimators
from information.problems import problems
from information.run import run
from information.summary import publish, write

SHORT = {"names": ["gaussian_0", "gaussian_2", "mapped16_1", "mixture_3.5"], "cells": [280], "seeds": [0]}
FRESH = range(100, 110)
"""Seeds of draws that nothing was fitted to."""


def main() -> None:
    known, suite = estimators(), problems()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="four problems, 280 cells, one seed: seconds")
    parser.add_argument("--fresh", action="store_true", help="our default alone, on draws that nothing was fitted to")
    parser.add_argument("--gather", action="store_true", help="run nothing, gather the rows that are there")
    parser.add_argument("--problems", nargs="+", default=list(suite), choices=list(suite), metavar="NAME")
    parser.add_argument("--cells", nargs="+", type=int, default=[280, 1000, 5000])
    parser.add_argument("--seeds", type=int, default=5)
    cheap = ["default", "ksg", "mixed_ksg", "cca_ksg"]
    parser.add_argument("--methods", nargs="+", default=cheap, choices=list(known), metavar="NAME")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    parser.add_argument("--quick", dest="short", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    numba.config.NUMBA_NUM_THREADS = 1  # one thread per estimate, as for the peers
    wanted = {"names": options.problems, "cells": options.cells, "seeds": range(options.seeds)}
    if options.short:
        wanted = SHORT
    if options.fresh:
        path = options.results / "information" / "fresh" / "default.csv"
        run(path, "default", known["default"], wanted["names"], wanted["cells"], FRESH)
    for method in [] if options.gather or options.fresh else options.methods:
        names = [name for name in wanted["names"] if method not in LABELS_ONLY or suite[name].kind == "mixture"]
        path = options.results / "information" / f"{method}.csv"
        run(path, method, known[method], names, wanted["cells"], wanted["seeds"])
    print(write(options.results))
    if options.results == RESULTS:
        publish(options.results, RESULTS.parents[1] / "data" / "calibration")


if __name__ == "__main__":
    main()
