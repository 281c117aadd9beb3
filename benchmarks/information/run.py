"""Run estimators on the suite, row by row into a CSV, so that a run that was cut off goes on where it was."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

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


def run(
    path: Path, estimators: dict[str, Estimator], names: Iterable[str], cells: Iterable[int], seeds: int
) -> pd.DataFrame:
    """Add to the table at `path` what it lacks of problems x cells x estimators x seeds, and return it whole."""
    suite = problems()
    mend(path)
    done = set(read(path)[list(KEY)].itertuples(index=False, name=None)) if path.exists() else set()
    for n in cells:
        for name in names:
            for seed in range(seeds):
                wanted = {m: e for m, e in estimators.items() if (name, n, m, seed) not in done}
                if wanted:
                    _append(path, _measure(suite[name], n, seed, wanted))
    return read(path)


def _measure(problem: Problem, n: int, seed: int, estimators: dict[str, Estimator]) -> Iterable[tuple]:
    """One row an estimator, on one draw of the pairs; one that fails is a row whose note is the error."""
    x, y = pairs(problem, n, seed)
    for method, estimator in estimators.items():
        start = time.perf_counter()
        try:
            found = estimator(x, y, seed)
        except (ArithmeticError, RuntimeError, ValueError) as error:
            found = Found(np.nan, note=f"failed: {error}")
        seconds = time.perf_counter() - start if found.seconds is None else found.seconds
        values = (f"{found.bits:.4f}", f"{found.stderr:.4f}", f"{seconds:.3f}")
        yield problem.name, n, method, seed, *values, found.lower_bound, " ".join(found.note.split())


def _append(path: Path, rows: Iterable[tuple]) -> None:
    """Each row is on disk before the next is begun."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow(row)
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
