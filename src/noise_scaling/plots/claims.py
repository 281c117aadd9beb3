"""The paper's claims as statistics of a measurements table: each gives a number with an interval and a verdict."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from .. import datasets
from ..errors import TooLittle, enough
from ..measurements import protocol_rows
from ..seeds import generator
from . import admitted
from . import claim_terms as of
from .figures import largest, usable

HOLDS, PARTLY, FAILS, UNTOLD = "holds", "partly", "fails", "can't be told here"
NO_CONTROL, NOT_TESTED, GIVEN = "the positive control fails", "not tested at this size", "by construction"
DRAWS = 2000
LEAST_BLOCKS = 5  # fewer depths or curves than this give no interval worth a verdict


@dataclass(frozen=True)
class Claim:
    """One claim, the statistic that tests it, and the two thresholds between which the claim partly holds.

    `rows` takes a table of one estimator; the statistic is the sum of `num` over the sum of `den`. Rows of one block
    (a depth, where test cells are shared, or a curve) are resampled together; rows with `den` 0 are ties. With
    `ablations`, the table also holds the rows of ablations and of the simulated data set.
    """

    text: str
    statistic: str
    unit: str  # "share", "ratio", "R²", or "bits" (a change expected to be 0: the smaller the better)
    holds_from: float  # for "bits", as `fails_at`, an absolute value
    fails_at: float
    rows: of.Rows
    ablations: bool = False
    given: bool = False  # true by construction, so that the number is no evidence for the claim
    page: str = "figures/figure_1"  # notebook of the page that shows the data behind the number


@dataclass(frozen=True)
class Finding:
    """A statistic's value with its 95 % interval, the number of blocks behind it, and the verdict.

    `tied` is the share of points too close to decide; `wide_low` and `wide_high` are the interval over studies, whose
    number is `studies`; `strict` and `lenient` are the verdicts with moved thresholds (`moved`).
    """

    value: float
    low: float
    high: float
    blocks: int
    verdict: str
    tied: float = np.nan
    wide_low: float = np.nan
    wide_high: float = np.nan
    studies: int = 0
    strict: str = ""
    lenient: str = ""


def collapse_of(model: str, text: str = "") -> Claim:
    """The claim that a model's observations at held-out depths lie on the universal curve."""
    rows = partial(of.collapses, model=model)
    return Claim(text, "R² of depths held out", "R²", 0.9, 0.6, rows, page="figures/figure_3")


CLAIMS = (
    Claim("scVI is the best model in almost all settings", "grid points where scVI is best", "share", 0.9, 0.5,
          partial(of.best, model="scvi")),
    Claim("… at the largest number of cells", "grid points at the largest N where scVI is best", "share", 0.9, 0.5,
          partial(of.best, model="scvi", where=largest)),
    Claim("… at the points of the paper's Figure 1", "the same, at full depth or the largest N", "share", 0.9, 0.5,
          partial(of.best, model="scvi", where=of.figure_1)),
    Claim("Geneformer beats PCA on developmental time", "grid points where Geneformer is above PCA", "share", 0.9, 0.5,
          partial(of.above, one="geneformer", other="pca", development=True)),
    Claim("PCA mostly beats Geneformer on the smaller sets", "grid points where PCA is above Geneformer", "share",
          0.75, 0.5, partial(of.above, one="pca", other="geneformer", development=False)),
    Claim("… at full depth", "the same, at full depth", "share", 0.75, 0.5,
          partial(of.above, one="pca", other="geneformer", development=False, where=of.deepest)),
    Claim("… at low depth", "the same, in the shallowest third of the depths", "share", 0.75, 0.5,
          partial(of.above, one="pca", other="geneformer", development=False, where=of.shallowest)),
    Claim("… at the largest number of cells", "the same, at the largest N", "share", 0.75, 0.5,
          partial(of.above, one="pca", other="geneformer", development=False, where=largest)),
    Claim("… at the points of the paper's Figure 1", "the same, at full depth or the largest N", "share", 0.75, 0.5,
          partial(of.above, one="pca", other="geneformer", development=False, where=of.figure_1)),
    Claim("PCA and Geneformer perform similarly",
          "grid points where they lie within 0.2 bits, of those where PCA and a random projection do not", "share",
          0.75, 0.5, partial(of.similar, one="pca", other="geneformer", control="random_projection")),
    Claim("Random projections do not improve with cells", "mean gain from the fewest to the most cells", "bits",
          0.05, 0.2, partial(of.gain, model="random_projection"), given=True),
    Claim("PCA gains little beyond 1,000 cells", "mean gain from about 1,000 cells to the most", "bits", 0.1, 0.3,
          partial(of.gain, model="pca", start=1000)),
    Claim("scVI gains more from cells than PCA", "depths at which scVI's gain is the larger", "share", 0.9, 0.5,
          partial(of.gains_more, one="scvi", other="pca")),
    Claim("Geneformer gains more from cells than PCA", "depths at which Geneformer's gain is the larger", "share",
          0.9, 0.5, partial(of.gains_more, one="geneformer", other="pca")),
    Claim("Eq. 1 fits at the largest size of every signal", "rising curves with R² of 0.9 or more", "share", 0.95, 0.7,
          of.law_fits, page="figures/figure_2"),
    Claim("Eq. 2 describes the growth with cells at a fixed depth",
          "curves against cells, rising, with R² of 0.9 or more", "share", 0.95, 0.7, of.cell_law_fits,
          page="cells_or_depth"),
    collapse_of("scvi", "All observations collapse on one curve: scVI"),
    collapse_of("pca", "… PCA"),
    collapse_of("geneformer", "… Geneformer"),
    Claim("The asymptote is left only where depth or saturation is small",
          "of the points 0.1 bits and more off the asymptote, those with u/ū below 10 × 2^(−2 I_max)", "share",
          0.9, 0.5, of.leaves_asymptote, page="figures/figure_3"),
)  # fmt: skip
"""A claim of "almost all" requires 90 %, a claim of "mostly" 75 %, and a claim of no gain less than 0.05 bits."""


def real(table: pd.DataFrame) -> pd.DataFrame:
    """Usable rows of the data sets that are evidence."""
    return enough(admitted.evidence(usable(table)), "no cells here are evidence about biology")


def find(claim: Claim, table: pd.DataFrame, *, gates: bool = True, control: float = admitted.FOUND) -> Finding:
    """Compute a claim's statistic and verdict from the rows of a measurements table that may support a verdict.

    These are rows of data sets that are evidence, of estimators that pass their positive control, and of models that
    learnt (`admitted`); claims on ablations also count the simulated data set. If no row is left, the value is NaN and
    the verdict (UNTOLD, NO_CONTROL or NOT_TESTED) names the reason. Rows are chosen by `usable` (all rows for claims on
    ablations). Without `gates`, estimators that fail the control and models that learnt nothing count too. `control` is
    the number of bits that the positive control must find.
    """
    try:
        here = protocol_rows(table, controls=True, variant=None) if claim.ablations else usable(table)
    except TooLittle:
        return Finding(np.nan, np.nan, np.nan, 0, UNTOLD)
    here = admitted.evidence(here, simulated=claim.ablations)
    asked = not (here.empty or claim.rows(here).empty)
    found = admitted.found(here, control) if gates else here
    known = asked and not (found.empty or claim.rows(found).empty)
    learnt = admitted.learnt(found) if gates else here
    rows = claim.rows(learnt) if known and len(learnt) else of.terms([])
    if rows.empty:
        return Finding(np.nan, np.nan, np.nan, 0, UNTOLD if not asked else NOT_TESTED if known else NO_CONTROL)
    value, low, high, blocks = interval(rows)
    _, wide_low, wide_high, studies = interval(rows, over_studies=True)
    tied = float((rows["den"] == 0).mean()) if claim.unit == "share" else np.nan
    verdicts = [_verdict(moved(claim, by), value, low, high, blocks) for by in (0, 1, -1)]
    return Finding(value, low, high, blocks, verdicts[0], tied, wide_low, wide_high, studies, *verdicts[1:])


def moved(claim: Claim, by: int) -> Claim:
    """The claim with thresholds made stricter (1) or more lenient (-1) by 0.1, or by a factor of 2 if in bits."""
    if claim.unit == "bits":
        return replace(claim, holds_from=claim.holds_from / 2.0**by, fails_at=claim.fails_at / 2.0**by)
    return replace(claim, holds_from=min(claim.holds_from + 0.1 * by, 1.0), fails_at=claim.fails_at + 0.1 * by)


def interval(rows: pd.DataFrame, *, level: float = 0.95, over_studies: bool = False) -> tuple[float, float, float, int]:
    """Ratio of the sums of terms, its bootstrap interval over blocks drawn within each signal, and the block count.

    The ends are percentiles of the bootstrap draws (Efron & Tibshirani 1993, chapter 13), between which a share `level`
    of the draws lies. With `over_studies`, studies (data sets of one publication) are drawn with replacement before
    their blocks, and studies are counted instead of blocks.
    """
    sums = rows[rows["den"] != 0].groupby(["signal", "block"], sort=True)[["num", "den"]].sum()
    if sums.empty:
        return np.nan, np.nan, np.nan, 0
    rng = generator(0, "claims")
    signals = sums.index.get_level_values("signal")
    studies = study(signals.str.partition(",").get_level_values(0))
    names = sorted(set(studies))
    times = np.ones((DRAWS, len(names)), int)
    if over_studies:
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    total = np.zeros((DRAWS, 2))
    for (name, _), here in sums.groupby([studies, signals]):
        count = len(here) * times[:, names.index(name)]
        total += rng.multinomial(count, np.full(len(here), 1 / len(here))) @ here.to_numpy()
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(total[:, 0] / total[:, 1], [(1 - level) / 2, (1 + level) / 2])
    value = float(sums["num"].sum() / sums["den"].sum())
    return value, float(low), float(high), len(names) if over_studies else len(sums)


def study(data_sets: pd.Index) -> pd.Index:
    """Map each data set to the alphabetically first one here whose card names the same publication."""
    known = set(datasets.names())
    of_each = {name: (datasets.card(name).doi if name in known else "") or name for name in sorted(set(data_sets))}
    first = {doi: name for name, doi in reversed(of_each.items())}
    return data_sets.map(lambda name: first[of_each[name]])


def _verdict(claim: Claim, value: float, low: float, high: float, blocks: int) -> str:
    """Verdict by where the value lies; UNTOLD if the interval reaches from one verdict to its opposite."""
    if blocks < LEAST_BLOCKS:
        return UNTOLD
    if claim.given:
        return GIVEN
    if claim.unit == "bits":  # expected to be 0: the smaller the better
        nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        if nearest <= claim.holds_from and max(abs(low), abs(high)) >= claim.fails_at:
            return UNTOLD
        return HOLDS if abs(value) <= claim.holds_from else FAILS if abs(value) >= claim.fails_at else PARTLY
    if low <= claim.fails_at and high >= claim.holds_from:
        return UNTOLD
    return HOLDS if value >= claim.holds_from else FAILS if value <= claim.fails_at else PARTLY
