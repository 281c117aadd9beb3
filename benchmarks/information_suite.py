"""Problems of known mutual information, and what each estimator finds in them.

    python benchmarks/information_suite.py                         # goes on where the last run stopped
    python benchmarks/information_suite.py --short
    python benchmarks/information_suite.py --problems gaussian_2 --methods default --cells 5000 --table trial

adds rows to benchmarks/results/information_suite.csv, one an estimate, and gathers them in information_suite.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import RESULTS, table
from information.estimators import LABELS_ONLY, estimators
from information.problems import problems
from information.run import run
from information.summary import summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = estimators()
    parser.add_argument("--short", action="store_true", help="four problems, 280 cells, one seed: seconds")
    parser.add_argument("--problems", nargs="+", default=list(problems()), choices=list(problems()), metavar="NAME")
    parser.add_argument("--cells", nargs="+", type=int, default=[280, 1000, 5000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--methods", nargs="+", default=["default", "ksg", "mixed_ksg"], choices=list(known), metavar="NAME"
    )
    parser.add_argument("--table", default="information_suite", help="stem of the files (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    options = parser.parse_args()
    names, cells, seeds = options.problems, options.cells, options.seeds
    if options.short:
        names, cells, seeds = ["gaussian_0", "gaussian_2", "mapped16_1", "mixture_3.5"], [280], 1
    path = options.results / f"{options.table}.csv"
    for method in options.methods:
        fitting = [name for name in names if method not in LABELS_ONLY or problems()[name].kind == "mixture"]
        rows = run(path, {method: known[method]}, fitting, cells, seeds)
    gathered = summary(rows)
    text = table(list(gathered.columns), gathered.to_numpy().tolist())
    path.with_suffix(".md").write_text(f"# Known information, and what is found of it\n\n{text}\n")
    print(text)


if __name__ == "__main__":
    main()
