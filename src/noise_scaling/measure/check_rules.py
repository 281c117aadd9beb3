"""The rules of `check`: "ok" up to a limit, "tie" up to `MARGIN` standard errors beyond it, "failed" further out.

repeated_cells
    Share of cells that repeat another cell's pair: at most `REPEATED`. A count, so it has no error.
leak
    R² of a linear fit from the embedding to the row number, and to the signal, fitted on every other cell and computed
    on the cells between: at most `EXACT`. Above it the embedding contains the row number or the signal itself.
shuffled
    Mean bits of four shuffles (copies of a cell move together): at most `ZERO`.
known_signal
    Bits found over true bits, for three signals of about 2 bits made from the embedding (`controls.from_embedding`):
    from `FOUND` to 1 + `RISE`.
growth
    Bits of all cells minus the mean bits of halves, over the former: at most `GROWTH`, or .05 bits. Its error is the
    spread over three seeds and three halvings, because they all use the same cells.
split_halves
    Difference between two halves over its standard error, root mean square of three halvings: at most `APART`, which
    chance exceeds in 0.7 % of draws if standard errors are a third too small. The value has no error of its own.
noise_on_embedding, noise_on_signal, random_projection, fewer_components
    Largest gain in bits from noise of half or one standard deviation (of labels, a fifth or half are shuffled), from
    random projection onto half of the dimensions, or from keeping the leading half or quarter of the principal
    components: at most `RISE` of the bits, or `ZERO`, since processing one side cannot add information (Cover & Thomas
    2006, section 2.8). Errors are combined as if the cells were different, which makes the error too wide.

The standard error of a mean is the estimator's or that from the spread over repeats, whichever is larger. A tie passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..information.core import is_labels
from ..signals import Aligned
from . import check_pairs as pairs

MARGIN = 2.0
"""A check is a tie if its value is beyond the limit by at most this many standard errors."""
REPEATED, EXACT, ZERO, FOUND, GROWTH, APART, RISE = 0.01, 1 - 1e-6, 0.02, 0.8, 0.1, 3.0, 0.05
OK, TIE, FAILED = "ok", "tie", "failed"

_PROCESSING = {
    "noise_on_embedding": pairs.NOISE_X, "noise_on_signal": pairs.NOISE_Y, "random_projection": pairs.PROJECTED,
    "fewer_components": pairs.LEADING,
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One check: `value`, `limit` and `stderr` in its own unit, and the finding as `text`.

    `beyond`: how far the value is on the wrong side of the limit. `too_low`: a failure means that too little was found.
    """

    name: str
    value: float
    limit: float
    stderr: float
    text: str
    beyond: float
    too_low: bool

    @property
    def status(self) -> str:
        """OK, TIE or FAILED."""
        return OK if self.beyond <= 0 else TIE if self.beyond <= MARGIN * self.stderr else FAILED


def _at_most(limit: float, name: str, value: float, stderr: float, text: str, *, too_low: bool = False) -> Check:
    return Check(name, float(value), float(limit), float(stderr), text, float(value - limit), too_low)


def mean(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the mean bits of repeats on the same cells, and the larger of the estimator's error and the spread."""
    stderr = np.sqrt((rows["stderr"] ** 2).mean())
    return float(rows["bits"].mean()), float(np.fmax(stderr, rows["bits"].std()))


def counted(pair: Aligned, rows: np.ndarray) -> Iterator[Check]:
    """Yield the checks that need no estimate; `rows` [n] are the positions of the pairs' cells in the input."""
    n = len(pair.x)
    repeated = n - len(np.unique(pairs.copies(pair)))
    yield _at_most(REPEATED, "repeated_cells", repeated / n, 0, f"{repeated:,} of {n:,} cells repeat another")
    y = pairs.codes(pair.y)
    y = np.hstack([y, y == np.unique(y)]) if is_labels(pair.y) else y
    explained = {"the row number": _explained(pair.x, rows[:, None]), "the signal": _explained(pair.x, y)}
    held = [what for what, r_squared in explained.items() if r_squared > EXACT]
    text = f"the embedding holds {' and '.join(held) or 'neither the row number nor the signal'}"
    yield _at_most(EXACT, "leak", max(explained.values()), 0, text)


def _explained(x: np.ndarray, targets: np.ndarray) -> float:
    """Return the largest R² of linear fits to targets [n, k] that vary: fitted on even rows, computed on odd rows."""
    centred = [values - values.mean(axis=0) for values in (x, targets.astype(float))]
    x, y = (values / np.maximum(values.std(axis=0), np.finfo(float).tiny) for values in centred)
    left = y[1::2] - x[1::2] @ np.linalg.lstsq(x[::2], y[::2])[0]
    total = y[1::2].var(axis=0)
    varies = total > 1e-9
    return float((1 - (left**2).mean(axis=0)[varies] / total[varies]).max(initial=0))


def estimated(table: pd.DataFrame) -> Iterator[Check]:
    """Yield the checks on the estimates; `table` has their rows as in `Report.estimates`."""
    by = dict(list(table.groupby("setting")))
    whole, shuffled, known = by[pairs.ALL], by[pairs.SHUFFLED], by[pairs.KNOWN]
    bits, stderr = mean(whole)
    null, error = mean(shuffled)
    yield _at_most(ZERO, "shuffled", null, error / np.sqrt(len(shuffled)), f"shuffled pairs give {null:z.2f} bits")
    yield _known(known["true"].mean(), *mean(known), len(known))
    yield from _halves(whole, by[pairs.PARTS].query("level == 2").groupby("repeat"), bits)
    for name, setting in _PROCESSING.items():
        if setting in by:
            most, error = max(mean(rows) for _, rows in by[setting].groupby("level"))
            text = f"{setting} changes it by {most - bits:+z.2f} bits"
            low, limit = setting in (pairs.PROJECTED, pairs.LEADING), max(RISE * bits, ZERO)
            yield _at_most(limit, name, most - bits, np.hypot(stderr, error), text, too_low=low)


def _known(true: float, bits: float, stderr: float, repeats: int) -> Check:
    found, error, text = bits / true, stderr / true / np.sqrt(repeats), f"{bits:.2f} of {true:.2f} known bits are found"
    if found > 1:
        return _at_most(1 + RISE, "known_signal", found, error, text)
    return Check("known_signal", found, FOUND, error, text, FOUND - found, too_low=True)


def _halves(whole: pd.DataFrame, halvings: pd.core.groupby.DataFrameGroupBy, bits: float) -> Iterator[Check]:
    means, unit = halvings["bits"].mean(), max(bits, 0.05 / GROWTH)
    grown, error = (bits - means.mean()) / unit, np.hypot(means.sem(), whole["bits"].sem()) / unit
    text = f"it grows by {grown:z.0%} from {halvings['n'].mean().mean():,.0f} to {whole['n'].iloc[0]:,} cells"
    yield _at_most(GROWTH, "growth", grown, error, text, too_low=True)
    apart = halvings["bits"].agg(np.ptp) / np.maximum(halvings["stderr"].agg(np.linalg.norm), 1e-3)
    value = np.sqrt((apart**2).mean())
    yield _at_most(APART, "split_halves", value, 0, f"halves of the cells differ by {value:.1f} standard errors")
