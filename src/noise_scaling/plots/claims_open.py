"""Questions that the paper leaves open, as claims of the same form: a number with an interval and a verdict each."""

from functools import partial

import numpy as np
import pandas as pd

from ..laws.exchange import starts
from ..laws.grids import grids
from ..laws.surface import fit_grid
from ..measurements import protocol_rows
from .ablations import TEST_FULL, TRAIN_FULL, fixed_steps, paired
from .claim_terms import shallowest, terms
from .claims import Claim
from .model_size import ladder

_GOOD_FIT = 0.95  # R² of a noise budget that fits its whole grid well


def budget_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Terms by grid of whether one noise budget of five parameters explains 95 % of the variance of the whole grid."""
    found = []
    for grid in grids(table, least=(5, 4)):
        law, bits = fit_grid(grid).predict(*grid.mesh)[grid.measured], grid.bits[grid.measured]
        r_squared = 1 - np.square(bits - law).sum() / np.square(bits - bits.mean()).sum()
        found.append((", ".join(grid.key[:2]), " ".join(grid.key[2:]), float(r_squared >= _GOOD_FIT)))
    return terms(pd.DataFrame(found, columns=["signal", "block", "num"]))


def depth_over_cells(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Terms of whether twice the depth is worth more than twice the cells, by starting point of a model's grids.

    Only starts count from which the most cells are at least a factor of 2 per doubling of depth, sufficient or not.
    """
    found = pd.concat([pd.DataFrame(), *(starts(grid) for grid in grids(table[table["model"] == model]))])
    if found.empty:
        return terms([])
    found = found[found["most"] >= 2]
    signal, block = [key[0] for key in found["grid"]], found["u"].map("{:.4g}".format)
    deeper = ((found["rate"] > 2) | ~found["known"]).astype(float)
    return terms(pd.DataFrame({"signal": signal, "block": block, "num": deeper}))


def lost_by(table: pd.DataFrame, kept: str) -> pd.DataFrame:
    """Terms of bits lost in the shallowest third by thinning one side, the other at full depth (variant `kept`)."""
    keys, full = ["dataset", "signal", "model", "estimator", "n_cells", "seed"], protocol_rows(table, controls=True)
    both = shallowest(paired(table, kept).merge(full.loc[full["fraction"] == 1.0, [*keys, "mi_bits"]], on=keys))
    return terms(pd.DataFrame(_points(both) | {"num": both["mi_bits"] - both["bits"]}))


def gain_at_fixed_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Terms of the gain from the fewest to the most cells at fixed steps, divided by the gain with early stopping."""
    pairs = fixed_steps(table)
    if pairs.empty:
        return terms([])
    by = pairs.sort_values("n_cells").groupby(["dataset", "steps", "fraction", "seed"])
    gain = (by[["bits", "base"]].last() - by[["bits", "base"]].first())[by["n_cells"].nunique() > 1].reset_index()
    return terms(pd.DataFrame(_points(gain) | {"num": gain["bits"], "den": gain["base"]}))


def _points(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Signal and block of terms: the data set, and the depth with the seed."""
    return {"signal": rows["dataset"], "block": rows["fraction"].astype(str) + " " + rows["seed"].astype(str)}


def larger_is_better(table: pd.DataFrame) -> pd.DataFrame:
    """Terms by point of whether the largest of several sizes of Geneformer finds more than the smallest."""
    by = ["dataset", "signal", "estimator", "n_cells", "fraction", "seed"]
    bits = ladder(table).sort_values("n_parameters").groupby(by)["mi_bits"].agg(["first", "last"]).reset_index()
    return terms(pd.DataFrame(_points(bits) | {"num": (bits["last"] > bits["first"]).astype(float)}))


OPEN = (
    Claim("One law of cells and depth: the noise budget", "grids of which five parameters explain 95 %", "share", 0.9,
          0.5, budget_fits, page="cells_or_depth"),
    Claim("Depth is worth more than cells: PCA", "starts from which twice the depth is worth more than twice the cells",
          "share", 0.75, 0.5, partial(depth_over_cells, model="pca"), page="cells_or_depth"),
    Claim("… scVI", "the same", "share", 0.75, 0.5,
          partial(depth_over_cells, model="scvi"), page="cells_or_depth"),
    Claim("… Geneformer", "the same", "share", 0.75, 0.5,
          partial(depth_over_cells, model="geneformer"), page="cells_or_depth"),
    Claim("Training cells may be shallow where test cells are deep",
          "mean loss in the shallowest third, test cells at full depth", "bits", 0.05, 0.2,
          partial(lost_by, kept=TEST_FULL), ablations=True, page="separate_depths"),
    Claim("Test cells may be shallow where training cells are deep",
          "mean loss in the shallowest third, training cells at full depth", "bits", 0.05, 0.2,
          partial(lost_by, kept=TRAIN_FULL), ablations=True, page="separate_depths"),
    Claim("Cells add most of their gain at a fixed number of steps, too",
          "scVI's gain at a fixed number of steps, over that with early stopping", "ratio", 0.75, 0.5,
          gain_at_fixed_steps, ablations=True, page="separate_depths"),
    Claim("A larger Geneformer finds more", "points of all depths and seeds at which the widest is above the narrowest",
          "share", 0.75, 0.5, larger_is_better, ablations=True, page="model_size"),
)  # fmt: skip
"""Rows of ablations exist only in our own measurements, on few cells; claims on them count the simulated data set too,
because its cells serve these questions as well."""
