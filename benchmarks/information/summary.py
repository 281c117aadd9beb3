"""What the rows of the suite say: error, spread and cost, by problem, cells and estimator."""

from __future__ import annotations

import pandas as pd

from .truth import stored


def with_truth(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the true bits beside them, and the error."""
    truths = {name: value[0] for name, value in stored().items()}
    rows = rows.assign(true=rows.problem.map(truths))
    return rows.assign(error=rows.bits - rows.true)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Over seeds: mean bits and error, spread beside the standard error as stated, median seconds, number of seeds."""
    by = with_truth(rows).groupby(["problem", "cells", "method"], sort=True)
    table = by.agg(
        true=("true", "first"), bits=("bits", "mean"), error=("error", "mean"), sd=("bits", "std"),
        stderr=("stderr", "mean"), seconds=("seconds", "median"), seeds=("bits", "count"),
    )  # fmt: skip
    return table.reset_index()
