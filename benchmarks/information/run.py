"""Run estimators on the suite and append each result to a CSV, so that a stopped run can be continued."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from noise_scaling.information import ESTIMATORS

from .problems import Pairs, pairs, problems

KEY = ("problem", "cells", "method", "seed")
COLUMNS = (*KEY, "bits", "stderr", "seconds", "lower_bound", "note")


class Found(NamedTuple):
    """Result of an estimator of the suite.

    `stderr` is nan if the estimator gives none. `seconds` is set if it times itself, without its start.
    """

    bits: float
    stderr: float = np.nan
    lower_bound: bool = False
    note: str = ""
    seconds: float | None = None


Estimator = Callable[[np.ndarray, np.ndarray, int], Found]
"""``estimator(x, y, seed)``, on one thread."""

Draw = Callable[[str, int, int], Pairs]
"""``draw(name, n, seed)``: the pairs of a problem."""

LABELS_ONLY = tuple(name for name, estimator in ESTIMATORS.items() if estimator.takes == "labels")


def suite_pairs(name: str, n: int, seed: int) -> Pairs:
    """Return the suite's pairs of the problem `name`."""
    return pairs(problems()[name], n, seed)


def missing(
    path: Path, method: str, names: Iterable[str], cells: Iterable[int], seeds: Iterable[int]
) -> list[tuple[int, int, str]]:
    """Return (cells, seed, problem) of the rows that are missing from the table at `path`."""
    mend(path)
    done = set(read(path)[list(KEY)].itertuples(index=False, name=None)) if path.exists() else set()
    return [(n, seed, name) for n, seed, name in product(cells, seeds, names) if (name, n, method, seed) not in done]


def run(
    path: Path,
    method: str,
    estimator: Estimator,
    names: Iterable[str],
    cells: Iterable[int],
    seeds: Iterable[int],
    draw: Draw = suite_pairs,
) -> pd.DataFrame:
    """Add the missing rows of problems x cells x seeds to the table at `path`, and return the whole table."""
    left = missing(path, method, names, cells, seeds)
    if left:  # compiling and loading, on the first call, is not timed
        estimator(*suite_pairs("mixture_1" if method in LABELS_ONLY else "gaussian_1", 280, 0), 0)
    for n, seed, name in left:
        append(path, name, n, method, seed, measure(draw(name, n, seed), seed, estimator))
    return read(path)


def measure(drawn: Pairs, seed: int, estimator: Estimator) -> Found:
    """Make one estimate and time it in processor seconds; if it fails, the note is the error."""
    start = time.process_time()
    try:
        found = estimator(*drawn, seed)
    except (ArithmeticError, RuntimeError, ValueError) as error:
        found = Found(np.nan, note=f"failed: {error}")
    return found if found.seconds is not None else found._replace(seconds=time.process_time() - start)


def append(path: Path, name: str, n: int, method: str, seed: int, found: Found) -> None:
    """Append the row of one estimate; it is on disk before the next estimate starts."""
    values = (f"{found.bits:.4f}", f"{found.stderr:.4f}", f"{found.seconds:.3f}")
    row = (name, n, method, seed, *values, found.lower_bound, " ".join(found.note.split()))
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, row] if new else [row])
        file.flush()
        os.fsync(file.fileno())


def mend(path: Path) -> None:
    """Remove a last line that a stopped run left incomplete."""
    if path.exists():
        text = path.read_bytes()
        os.truncate(path, text.rfind(b"\n") + 1)


def read(path: Path) -> pd.DataFrame:
    """Return the table at `path`."""
    return pd.read_csv(path, keep_default_na=False, na_values={"bits": ["nan"], "stderr": ["nan"]})
