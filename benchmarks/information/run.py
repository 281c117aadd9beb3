"""Run estimators on the suite, row by row into a CSV, so that a run that was cut off goes on where it was."""

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

from .problems import Problem, pairs, problems

KEY = ("problem", "cells", "method", "seed")
COLUMNS = (*KEY, "bits", "stderr", "seconds", "lower_bound", "note")


class Found(NamedTuple):
    """What an estimator of the suite answers.

    `stderr`: nan where it gives none; `seconds`: by its own clock, where starting it is no part of it.
    """

    bits: float
    stderr: float = np.nan
    lower_bound: bool = False
    note: str = ""
    seconds: float | None = None


Estimator = Callable[[np.ndarray, np.ndarray, int], Found]
"""``estimator(x, y, seed)``, on one thread."""

LABELS_ONLY = tuple(name for name, estimator in ESTIMATORS.items() if estimator.takes == "labels")


def run(
    path: Path, method: str, estimator: Estimator, names: Iterable[str], cells: Iterable[int], seeds: Iterable[int]
) -> pd.DataFrame:
    """Add to the table at `path` what it lacks of problems x cells x seeds, and return it whole."""
    mend(path)
    done = set(read(path)[list(KEY)].itertuples(index=False, name=None)) if path.exists() else set()
    warm = False
    for n, seed, name in product(cells, seeds, names):
        if (name, n, method, seed) in done:
            continue
        if not warm:  # what is compiled or loaded on the first call is no part of an estimate
            estimator(*pairs(problems()["mixture_1" if method in LABELS_ONLY else "gaussian_1"], 280, 0), 0)
            warm = True
        _append(path, _measure(problems()[name], n, seed, method, estimator))
    return read(path)


def _measure(problem: Problem, n: int, seed: int, method: str, estimator: Estimator) -> tuple:
    """The row of one estimate; one that fails is a row whose note is the error."""
    x, y = pairs(problem, n, seed)
    start = time.perf_counter()
    try:
        found = estimator(x, y, seed)
    except (ArithmeticError, RuntimeError, ValueError) as error:
        found = Found(np.nan, note=f"failed: {error}")
    seconds = time.perf_counter() - start if found.seconds is None else found.seconds
    values = (f"{found.bits:.4f}", f"{found.stderr:.4f}", f"{seconds:.3f}")
    return problem.name, n, method, seed, *values, found.lower_bound, " ".join(found.note.split())


def _append(path: Path, row: tuple) -> None:
    """`row` is on disk before the next is begun."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, row] if new else [row])
        file.flush()
        os.fsync(file.fileno())


def mend(path: Path) -> None:
    """Cut off a last line that a stopped run left unfinished."""
    if path.exists():
        text = path.read_bytes()
        os.truncate(path, text.rfind(b"\n") + 1)


def read(path: Path) -> pd.DataFrame:
    """The table at `path`."""
    return pd.read_csv(path, keep_default_na=False, na_values={"bits": ["nan"], "stderr": ["nan"]})
