"""The estimator class, the class of its result, and the checks of input that all estimators share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from ..errors import InputError

MIN_PAIRS = 30
"""Fewer pairs than this carry no estimate: at 30 the standard error of a 1-bit estimate is about 0.3 bits."""

LEARNING_CELLS = 230
"""Cells at which the variation of a learned critic between draws doubles an estimate's variance: a factor 1 + 230 / n.
Over 5 draws of those problems of benchmarks/information that have vectors on both sides and are found above 0.05 bits,
the variance was 1.8, 1.3 and 1.06 times that of the scored cells at 280, 1,000 and 5,000 pairs; the factor is 1.82,
1.23 and 1.05. Over ten other draws the squared deviations were 0.98, 2.6 and 0.95 times the widened variance; 1.07 at
1,000 without sign flips, which some draws show and some do not (information_suite.md)."""

NATS_PER_BIT = np.log(2.0)
BELOW_CHANCE = 3.0  # the note warns of bits this many standard errors below 0


@dataclass(frozen=True)
class Information:
    """An estimate of mutual information.

    Attributes
    ----------
    bits
        The estimate; negative values are kept (under independence they average out).
    stderr
        Standard error of `bits` over draws of the cells; it does not contain the bias of a lower bound.
    pointwise
        [n] bits of each scored cell in the order of the input (NaN: not scored), or None; their mean is `bits`.
    method
        Name of the estimator.
    n
        Number of scored cells.
    lower_bound
        True where the expectation of `bits` cannot exceed the truth.
    note
        What was done to the input, in words; empty if nothing.
    """

    bits: float
    stderr: float
    pointwise: np.ndarray | None = field(repr=False)
    method: str
    n: int
    lower_bound: bool
    note: str = ""


MANY_PAIRS = 3000
"""Pairs from which on estimators may use another method: `Estimator.many_pairs_version` counts changes to it alone."""


@dataclass(frozen=True)
class Estimator:
    """An estimator, with all that tables, figures and checks need to know of it; created by `register`."""

    name: str  # method of `estimate`, and `estimator` of the measurement table
    function: Callable[..., Information]  # of x, y and, where its signature has them, `seed`, `device`, `groups`
    label: str
    version: int  # raised by hand whenever a code change can change its bits: stored results are then measured anew
    takes: Literal["labels", "vectors", "both"]  # kind of y; "vectors" also takes labels, as one-hot vectors
    many_pairs_version: int = 1  # for changes that reach only estimates of `MANY_PAIRS` or more
    order: int = 100  # place in lists and legends, lowest first

    def run(self, x: object, y: object, **options: object) -> Information:
        """Run the estimator with those `options` that its function has."""
        known = inspect.signature(self.function).parameters
        return self.function(x, y, **{name: value for name, value in options.items() if name in known})


ESTIMATORS: dict[str, Estimator] = {}
"""Every registered estimator by name, in the order of lists and legends."""

_Function = TypeVar("_Function", bound=Callable[..., Information])


def register(name: str, **facts: Any) -> Callable[[_Function], _Function]:
    """Function decorator that adds an estimator to `ESTIMATORS`, sorted by `order`; `facts`: fields of `Estimator`."""

    def enter(function: _Function) -> _Function:
        ESTIMATORS[name] = Estimator(name, function, **facts)
        ranked = sorted(ESTIMATORS.items(), key=lambda item: item[1].order)
        ESTIMATORS.clear()
        ESTIMATORS.update(ranked)
        return function

    return enter


def from_pointwise(
    pointwise: np.ndarray,
    method: str,
    *,
    lower_bound: bool,
    groups: np.ndarray | None = None,
    note: str = "",
    learned: bool = False,
) -> Information:
    """Return the Information whose bits are the mean of `pointwise` [n] over the scored cells: its finite values.

    The standard error is that of a mean; with `groups` (codes [n]) deviations are first summed by group, because cells
    of one clone are not independent. `learned` widens it for the variation of the fit between draws (`LEARNING_CELLS`).
    It is at least that of 1 / n nats, which n cells cannot tell from 0: pointwise values of a small information I
    have variance 2 I nats^2 (two Gaussians of small correlation).
    """
    scored = np.isfinite(pointwise)
    values = pointwise[scored]
    deviations = values - values.mean()
    if groups is not None:
        deviations = np.bincount(np.unique(groups[scored], return_inverse=True)[1], weights=deviations)
    m = len(deviations)
    stderr = np.sqrt((deviations**2).sum() * m / max(m - 1, 1)) / len(values)
    if learned:
        stderr *= np.sqrt(1 + LEARNING_CELLS / len(values))
    bits, stderr = float(values.mean()), max(float(stderr), np.sqrt(2) / m / NATS_PER_BIT)
    if bits < -BELOW_CHANCE * stderr:
        below = f"{bits:.2f} bits lie more than {BELOW_CHANCE:g} standard errors below 0, which no information does"
        note = "; ".join(filter(None, [note, below]))
    return Information(bits, stderr, pointwise, method, len(values), lower_bound, note)


def zero(n: int, method: str, *, lower_bound: bool) -> Information:
    """Return the defined answer if one side is constant: 0 bits, exactly, for all `n` cells."""
    return Information(0.0, 0.0, np.zeros(n), method, n, lower_bound, "one side is constant")


def vectors(values: object, name: str) -> np.ndarray:
    """Return `values` as finite float64 [n, d]; a 1-d array becomes one column.

    InputError if they are not dense numbers [n, d], or some are NaN or infinite; the message calls them `name`.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        found = type(values).__name__
        raise InputError(f"{name} must be a dense numeric array [cells, dims], found {found}") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name} must be [cells, dims], found shape {array.shape}")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise InputError(f"{name} has NaN or infinite values in {bad.sum()} of {len(array)} cells: drop those cells")
    return array


def is_labels(y: object) -> bool:
    """Whether `y` is one discrete label per cell (int, str, bool, categorical) rather than measured vectors."""
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        return True
    array = np.asarray(y)
    one_column = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    return one_column and array.dtype.kind in "iubOSUT"


def labels(values: object, name: str = "labels") -> np.ndarray:
    """Return class codes int64 [n], 0 .. classes - 1, in the order of ordered categories, else sorted.

    InputError if labels are missing, fractional, not one per cell, or different in all cells; the message calls them
    `name`.
    """
    if isinstance(getattr(values, "dtype", None), pd.CategoricalDtype) and has_order(values):
        places = pd.Categorical(values).codes  # -1: missing
        values = np.where(places < 0, np.nan, places)
    array = np.asarray(values)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise InputError(f"{name} must be one label a cell, found shape {array.shape}")
    missing = pd.isna(array)
    if missing.any():
        raise InputError(f"{name} are missing for {missing.sum()} of {len(array)} cells: drop those cells")
    if array.dtype.kind == "f" and (array != np.round(array)).any():
        raise InputError(f"{name} are fractional numbers: use an estimator for vectors, such as infonce or ksg")
    codes, classes = pd.factorize(array, sort=True)
    if len(classes) == len(codes) and len(codes) >= MIN_PAIRS:
        raise InputError(f"{name} differ in all {len(codes)} cells: measured values must be passed as floats")
    return codes.astype(np.int64)


def has_order(values: object) -> bool:
    """Whether labels have an order, as integers and ordered categories do."""
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        return bool(dtype.ordered)
    return np.asarray(values).dtype.kind in "iu"


def one_hot(codes: np.ndarray) -> np.ndarray:
    """Return the one-hot vectors, float64 [n, classes], of class codes [n]."""
    return np.eye(int(codes.max()) + 1)[codes]


def check_pairs(x: np.ndarray, y: np.ndarray, groups: object = None) -> np.ndarray | None:
    """Check that x and y have the same number of cells, and enough; return `groups` as codes int64 [n], or None.

    InputError if lengths differ, there are fewer than MIN_PAIRS pairs, or a cell has no group.
    """
    if len(x) != len(y):
        raise InputError(f"x has {len(x)} cells and y has {len(y)}: row i of both must be the same cell")
    if len(x) < MIN_PAIRS:
        raise InputError(f"{len(x)} pairs of cells are too few for an estimate: give at least {MIN_PAIRS}")
    if groups is None:
        return None
    codes = pd.factorize(np.asarray(groups))[0]
    if len(codes) != len(x):
        raise InputError(f"groups has {len(codes)} entries for {len(x)} cells: give one a cell")
    if (codes < 0).any():
        raise InputError(f"groups are missing for {(codes < 0).sum()} cells: give such a cell a group of its own")
    return codes


def drop_constant(x: np.ndarray) -> np.ndarray:
    """Return `x` without constant columns, which carry no information."""
    return x[:, np.ptp(x, axis=0) > 0]


def prepare(
    x: object, y: object, *, discrete: bool, groups: object = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return checked x float64 [n, d], y and groups (as from `check_pairs`), without constant columns.

    For estimators of labels (`discrete`) y is codes [n]; for those of vectors it is float64 [n, d], with labels as
    one-hot vectors. InputError as from `vectors`, `labels` and `check_pairs`.
    """
    x = vectors(x, "x")
    if discrete:
        y = labels(y)
        return drop_constant(x), y, check_pairs(x, y, groups)
    y = one_hot(labels(y, "y")) if is_labels(y) else vectors(y, "y")
    return drop_constant(x), drop_constant(y), check_pairs(x, y, groups)


def is_constant(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether one side of prepared input is constant, so that the information is 0."""
    return x.shape[1] == 0 or (y.shape[1] == 0 if y.ndim == 2 else y.max() == 0)
