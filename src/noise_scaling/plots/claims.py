"""The paper's claims as statistics of a measurements table: each one number with an interval, and a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from .. import laws
from ..errors import TooLittle
from ..laws.curves import protocol_rows
from ..seeds import generator
from .figures import collapsed, largest, usable, without_controls

Depths = Callable[[pd.Series], pd.Series]
Rows = Callable[[pd.DataFrame], pd.DataFrame]
"""From a measurements table to a statistic's terms: columns signal, block, num and den."""

HOLDS, PARTLY, FAILS, UNTOLD = "holds", "partly", "fails", "can't be told here"
DRAWS = 2000
DEVELOPMENT = ("mouse_embryo", "worm_embryo")
SIMULATED = "simulated"
_GRID = ["dataset", "signal", "n_cells", "fraction"]
_MIN_BLOCKS = 5
"""Fewer depths or curves than this give no interval worth a verdict."""


@dataclass(frozen=True)
class Claim:
    """One claim, the statistic that stands for it, and the two values between which it holds partly.

    `rows` takes a table of one estimator; the statistic is the sum of `num` over the sum of `den`. Rows of one block
    (a depth: its test cells are shared; or a curve) are drawn together. With `ablations` the table holds their rows
    too, and the simulated set's.

    Attributes
    ----------
    text, statistic, unit
        As the ledger shows them.
    holds_from, fails_at
        Values from which the claim holds and fails; of "bits", sizes.
    """

    text: str
    statistic: str
    unit: str  # "share", "ratio", "R²", or "bits" (of which nothing is expected: the fewer the better)
    holds_from: float
    fails_at: float
    rows: Rows
    ablations: bool = False


@dataclass(frozen=True)
class Finding:
    """A statistic's value with its 95 % interval, how many blocks it rests on, and the verdict."""

    value: float
    low: float
    high: float
    blocks: int
    verdict: str


def grid(table: pd.DataFrame) -> pd.DataFrame:
    """Mean bits over seeds: one row for each point of the grid, one column for each model."""
    return table.pivot_table(index=_GRID, columns="model", values="mi_bits", aggfunc="mean")


def terms(found: pd.DataFrame | list[dict[str, object]]) -> pd.DataFrame:
    """Columns signal, block, num and den: without a signal all rows are of one, without `den` each weighs 1."""
    rows = pd.DataFrame(found)
    defaults = {"signal": "all", "block": "", "num": 0.0, "den": 1.0}
    return rows.assign(**{name: value for name, value in defaults.items() if name not in rows})


def _rows(values: pd.Series) -> pd.DataFrame:
    """`values` by (dataset, signal, ..., fraction) as terms, blocked by depth, or by cells at one depth."""
    at = values.dropna().astype(float).rename("num").reset_index()
    if at.empty:
        return terms([])
    one_depth = at.groupby("dataset")["fraction"].nunique().max() == 1
    block = at["n_cells" if one_depth and "n_cells" in at else "fraction"].astype(str)
    return terms(pd.DataFrame({"signal": at["dataset"] + ", " + at["signal"], "block": block, "num": at["num"]}))


def _above(bits: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """Whether column `one` is above `other`, at each point that has both, as terms."""
    if not {one, other} <= set(bits):
        return terms([])
    return _rows((bits[one] > bits[other]).astype(float).where(bits[[one, other]].notna().all(axis=1)))


def best(table: pd.DataFrame, model: str, *, at_largest: bool = False) -> pd.DataFrame:
    """Whether `model` is above every other but controls, at each point where it and two others were measured.

    Parameters
    ----------
    table
        A measurements table of one estimator.
    model
        Name of the model.
    at_largest
        Whether only each data set's largest cell number counts.
    """
    table = without_controls(table)
    bits = grid(largest(table) if at_largest else table)
    if model not in bits:
        return terms([])
    bits = bits[bits[model].notna() & (bits.notna().sum(axis=1) >= 3)]
    return _rows(bits.idxmax(axis=1) == model) if len(bits) else terms([])


def above(
    table: pd.DataFrame, one: str, other: str, *, development: bool, depths: Depths | None = None
) -> pd.DataFrame:
    """Whether model `one` is above `other`, on developmental time or on all other signals, at chosen depths.

    Parameters
    ----------
    table
        A measurements table of one estimator.
    one, other
        Names of the two models.
    development
        Whether on the data sets of DEVELOPMENT, or on all others.
    depths
        `deepest` or `shallowest`; all depths without.
    """
    table = table[table["dataset"].isin(DEVELOPMENT) == development]
    if depths is not None:
        table = table[table.groupby("dataset")["fraction"].transform(depths).astype(bool)]
    return _above(grid(table), one, other)


def deepest(fractions: pd.Series) -> pd.Series:
    """Full depth."""
    return fractions == fractions.max()


def shallowest(fractions: pd.Series) -> pd.Series:
    """The shallowest third of the depths."""
    depths = np.sort(fractions.unique())
    return fractions <= depths[max(len(depths) // 3, 1) - 1]


def gains(table: pd.DataFrame, *, start: int | None = None) -> pd.DataFrame:
    """Bits at the largest cell number less those at the smallest (or the one nearest to `start`), by depth and model.

    A model without a measurement at either end has none; neither has a data set whose largest N is below 2 `start`.
    """
    bits = grid(table)
    out = []
    for _, here in bits.groupby(level=["dataset", "signal"]):
        sizes = np.unique(here.index.get_level_values("n_cells"))
        first = sizes[0] if start is None else sizes[np.abs(np.log(sizes / start)).argmin()]
        if sizes[-1] < 2 * first or (start is not None and sizes[-1] < 2 * start):
            continue
        out.append(here.xs(sizes[-1], level="n_cells") - here.xs(first, level="n_cells"))
    return pd.concat(out) if out else pd.DataFrame()


def gain(table: pd.DataFrame, model: str, *, start: int | None = None) -> pd.DataFrame:
    """The gain of one model, in bits.

    Parameters
    ----------
    table
        A measurements table of one estimator.
    model
        Name of the model.
    start
        Cells to count from, as in `gains`.
    """
    found = gains(table, start=start)
    return _rows(found[model]) if model in found else terms([])


def gains_more(table: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """Whether model `one` gains more from cells than `other`, at each depth.

    Parameters
    ----------
    table
        A measurements table of one estimator.
    one, other
        Names of the two models.
    """
    return _above(gains(table), one, other)


FITS_WELL = 0.9


def law_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Whether Eq. 1 explains 90 % of the variance of a curve at the largest cell number; one row a curve."""
    fits = laws.fit_curves(largest(without_controls(table))).dropna(subset=["r_squared"])
    block = fits["dataset"] + ", " + fits["signal"] + fits["model"]
    return terms(pd.DataFrame({"block": block, "num": (fits["r_squared"] >= FITS_WELL).astype(float)}))


def collapses(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Squares that the universal curve explains, and all, of the missing bits where u / u_bar >= 10 A; by curve."""
    table = table[table["model"] == model]
    if table.empty:
        return terms([])
    points = collapsed(table)
    points = points[points["x"] >= 10 * 2.0 ** (-2 * points["i_max"])]
    left = points["missing"] - laws.collapse(points["x"])
    spread = (points["missing"] - points["missing"].mean()) ** 2
    block = points["dataset"] + points["signal"] + points["n_cells"].astype(str)
    return terms(pd.DataFrame({"block": block, "num": spread - left**2, "den": spread}))


CLAIMS = (
    Claim("scVI is the best model in almost all settings", "grid points where scVI is best", "share", 0.9, 0.5,
          partial(best, model="scvi")),
    Claim("… at the largest number of cells", "grid points at the largest N where scVI is best", "share", 0.9, 0.5,
          partial(best, model="scvi", at_largest=True)),
    Claim("Geneformer beats PCA on developmental time", "grid points where Geneformer is above PCA", "share", 0.9, 0.5,
          partial(above, one="geneformer", other="pca", development=True)),
    Claim("PCA mostly beats Geneformer on the smaller sets", "grid points where PCA is above Geneformer", "share",
          0.75, 0.5, partial(above, one="pca", other="geneformer", development=False)),
    Claim("… at full depth", "the same, at full depth", "share", 0.75, 0.5,
          partial(above, one="pca", other="geneformer", development=False, depths=deepest)),
    Claim("… at low depth", "the same, in the shallowest third of the depths", "share", 0.75, 0.5,
          partial(above, one="pca", other="geneformer", development=False, depths=shallowest)),
    Claim("Random projections do not improve with cells", "mean gain from the fewest to the most cells", "bits",
          0.05, 0.2, partial(gain, model="random_projection")),
    Claim("PCA gains little beyond 1,000 cells", "mean gain from about 1,000 cells to the most", "bits", 0.1, 0.3,
          partial(gain, model="pca", start=1000)),
    Claim("scVI gains more from cells than PCA", "depths at which scVI's gain is the larger", "share", 0.9, 0.5,
          partial(gains_more, one="scvi", other="pca")),
    Claim("Geneformer gains more from cells than PCA", "depths at which Geneformer's gain is the larger", "share",
          0.9, 0.5, partial(gains_more, one="geneformer", other="pca")),
    Claim("Eq. 1 fits at the largest size of every signal", "curves with R² of 0.9 or more", "share", 0.95, 0.7,
          law_fits),
    Claim("All observations collapse on one curve: scVI", "R² about the universal curve", "R²", 0.9, 0.6,
          partial(collapses, model="scvi")),
    Claim("… PCA", "R² about the universal curve", "R²", 0.9, 0.6, partial(collapses, model="pca")),
    Claim("… Geneformer", "R² about the universal curve", "R²", 0.9, 0.6, partial(collapses, model="geneformer")),
)  # fmt: skip
"""Where a claim says "almost all", 90 % is asked; "mostly", 75 %; a gain of nothing, less than 0.05 bits."""


def find(claim: Claim, table: pd.DataFrame, *, estimator: str | None = None) -> Finding:
    """The claim's statistic on a measurements table, under one estimator; of real cells, but for ablations.

    Parameters
    ----------
    claim
        The claim.
    table
        A measurements table.
    estimator
        Whose rows count; without a choice as in `usable`, for claims on ablations all.

    Returns
    -------
    The finding; of NaN and UNTOLD where the table holds no row for it.
    """
    nothing = Finding(np.nan, np.nan, np.nan, 0, UNTOLD)
    if estimator is not None:
        table = table[table["estimator"] == estimator]
    try:
        if claim.ablations:
            rows = claim.rows(protocol_rows(table, controls=True, variant=None))
        else:
            rows = claim.rows(usable(table[table["dataset"] != SIMULATED]))
    except TooLittle:
        return nothing
    if rows.empty:
        return nothing
    value, low, high, blocks = interval(rows)
    return Finding(value, low, high, blocks, _verdict(claim, value, low, high, blocks))


def interval(rows: pd.DataFrame, *, level: float = 0.95) -> tuple[float, float, float, int]:
    """The ratio of sums with its bootstrap interval over blocks, drawn within each signal, and the number of blocks.

    Ends are percentiles of the bootstrap's draws (Efron & Tibshirani 1993, chapter 13).

    Parameters
    ----------
    rows
        As of `terms`.
    level
        How often such intervals are to hold the truth.

    Returns
    -------
    Value, lower end, upper end, number of blocks.
    """
    sums = rows.groupby(["signal", "block"], sort=True)[["num", "den"]].sum()
    rng = generator(0, "claims")
    total = np.zeros((DRAWS, 2))
    for _, here in sums.groupby(level="signal"):
        weights = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=DRAWS)
        total += weights @ here.to_numpy()
    low, high = np.quantile(total[:, 0] / total[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return float(sums["num"].sum() / sums["den"].sum()), float(low), float(high), len(sums)


def _verdict(claim: Claim, value: float, low: float, high: float, blocks: int) -> str:
    """Holds or fails by where the value lies; untold where the interval reaches from one verdict to its opposite."""
    if blocks < _MIN_BLOCKS:
        return UNTOLD
    if claim.unit == "bits":  # a gain of nothing: the smaller the better
        nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        if nearest <= claim.holds_from and max(abs(low), abs(high)) >= claim.fails_at:
            return UNTOLD
        return HOLDS if abs(value) <= claim.holds_from else FAILS if abs(value) >= claim.fails_at else PARTLY
    if low <= claim.fails_at and high >= claim.holds_from:
        return UNTOLD
    return HOLDS if value >= claim.holds_from else FAILS if value <= claim.fails_at else PARTLY
