"""Rows that may support a verdict: evidence data sets, estimators that pass their control, and models that learnt."""

import numpy as np
import pandas as pd

from .. import datasets
from ..measurements import KNOWN

FOUND = 1.0
"""Bits, out of 2 known ones, that the positive control must find on a data set, in the mean over its rows."""
LEARNT = 0.05
"""Bits by which a trained model must exceed the same model untrained, after subtracting two standard errors (seeds)."""
_SET = ["dataset", "signal", "estimator"]


def evidence(table: pd.DataFrame, *, simulated: bool = False) -> pd.DataFrame:
    """Rows of data sets whose card calls them evidence or that have no card; `simulated` adds the simulated set."""
    names = set(datasets.names())
    told = {name: name not in names or datasets.card(name).evidence for name in table["dataset"].unique()}
    return table[table["dataset"].map(told).astype(bool) | (simulated & (table["dataset"] == "simulated"))]


def found(table: pd.DataFrame, least: float = FOUND) -> pd.DataFrame:
    """Rows of data sets on which the estimator's positive control finds at least `least` bits or was not measured."""
    control = table[table["model"] == KNOWN].groupby(_SET)["mi_bits"].mean()
    return _without(table, control[control < least].index)


def learnt(table: pd.DataFrame) -> pd.DataFrame:
    """Drop the rows of trained models on data sets where they are not LEARNT bits above the same model untrained."""
    from ..models import MODELS  # here, as it loads torch, which reading a table does not need

    pairs = [(kind.untrained_of, name) for name, kind in MODELS.items() if kind.untrained_of]
    for model, start in pairs:
        keys = [*_SET, "n_cells", "fraction", "seed"]
        trained, untrained = (table[table["model"] == m].groupby(keys)["mi_bits"].mean() for m in (model, start))
        by_seed = (trained - untrained).dropna().groupby([*_SET, "seed"]).mean().groupby(_SET)
        least = by_seed.mean() - 2 * (by_seed.std() / np.sqrt(by_seed.size())).fillna(0.0)
        failed = _without(table, least[least < LEARNT].index).index
        table = table[(table["model"] != model) | table.index.isin(failed)]
    return table


def _without(table: pd.DataFrame, failed: pd.Index) -> pd.DataFrame:
    return table[~pd.MultiIndex.from_frame(table[_SET]).isin(failed)]
