"""Laws of reading a cell and of learning from cells: depth of the test cells, depth and number of the training cells.

In all laws, a noise-to-signal ratio v gives 1/2 log2(1 + 1/v) bits (a Gaussian channel: Cover & Thomas 2006, section
9.1). Reading a cell of u molecules has the noise v0 + r u^-a (Eq. 1 with a = 1). Learning from n cells of w molecules
falls short by g = n^-s (1 + k/w). The laws differ in how this shortfall acts.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from ..measurements import protocol_rows
from .curves import CURVE
from .least_squares import Solutions, minimise

PARAMETERS = ("v0", "r", "a", "l", "x", "s", "k")
"""Parameters in the order of `Form.bits`; all but `a` and `s` are above 0 and fitted as logarithms."""
AXES = ("n", "u_train", "u_test")
HALVED = {"u_test": "depth of the new cells", "u_train": "depth of the training cells", "n": "training cells"}
_LOGARITHMIC = np.isin(PARAMETERS, ("a", "s"), invert=True)
_ABSENT = dict.fromkeys(PARAMETERS, -40.0) | {"a": 1.0, "s": 1.0}
_BOUNDS = dict.fromkeys(PARAMETERS, (-12.0, 12.0)) | {"a": (0.3, 2.0), "s": (0.02, 2.5)}
_STARTS = dict.fromkeys(PARAMETERS, (-3.0, 0.0)) | {"v0": (-3.0,), "a": (1.0,), "s": (0.3, 1.0), "k": (-2.0, 1.0)}
"""Starting values for coordinates divided by the middle of the data; a noise-to-signal ratio of 1 is half a bit."""
_LEAST = {"n": 2, "u_train": 3, "u_test": 3}
"""Fewest levels on each axis."""
_Noise = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Form:
    """One law: how the noise of reading and the noise of learning combine, and which of PARAMETERS are free."""

    label: str
    free: tuple[str, ...]  # names of PARAMETERS; the others are absent (a = 1)
    join: _Noise = lambda reading, gap, let_in: reading + gap + let_in
    """Noise-to-signal ratio from v0 + r u^-a, l g, and x r u^-a g (molecules' noise that a poor model lets in)."""
    pooled: bool = False  # whether only the molecules trained on count: g = (n w)^-s

    def bits(self, theta: np.ndarray, at: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return bits [B, M] of fitted parameters [B, 7] at n, w, u: training cells, their depth, test cells' depth."""
        n, w, u = at
        v0, r, a, missed, x, s, k = np.where(_LOGARITHMIC, np.exp(theta), theta).T[:, :, None]
        gap = (n * w) ** -s if self.pooled else n**-s * (1 + k / w)
        counted = r * u**-a
        return 0.5 / np.log(2) * np.log1p(1 / self.join(v0 + counted, missed * gap, x * counted * gap))


_READING, _BOTH = ("v0", "r"), ("v0", "r", "l", "s", "k")
FORMS: dict[str, Form] = {
    "reading": Form("Eq. 1 in the depth of the test cells alone", _READING),
    "cells": Form("that, and training cells whatever their depth", (*_READING, "l", "s")),
    "molecules": Form("that, and the molecules trained on", (*_READING, "l", "s"), pooled=True),
    "bottleneck": Form("the noisier of reading and learning", _BOTH, lambda a, b, _: np.maximum(a, b)),
    "product": Form("squared correlations of reading and learning multiplied", _BOTH, lambda a, b, _: a + b + a * b),
    "sum": Form("noise of learning added", _BOTH),
    "let in": Form("a poor model lets in more of the molecules' noise", (*_READING, "x", "s", "k")),
    "both": Form("both: noise added, and more let in", (*_BOTH, "x")),
    "molecules, power": Form(
        "the molecules trained on, reading in a power of depth", (*_READING, "l", "s", "a"), pooled=True
    ),
    "let in, power": Form("more let in, reading in a power of depth", (*_READING, "x", "s", "k", "a")),
    "both, power": Form("both, reading in a power of depth", (*_BOTH, "x", "a")),
}
"""All forms, simple ones first."""


@dataclass(frozen=True)
class Factorial:
    """Points of one model on one signal, where depths of training and test cells were varied separately."""

    key: tuple[str, ...]  # data set, signal, model, preset and estimator
    at: np.ndarray  # training cells, their UMIs per cell, and the test cells', [3, points], in the order of AXES
    bits: np.ndarray  # by seed, [seeds, points]

    @property
    def middle(self) -> np.ndarray:
        """Geometric mean of the ends of each axis, [3], by which fits divide their coordinates."""
        return np.sqrt(self.at.min(1) * self.at.max(1))

    @property
    def means(self) -> np.ndarray:
        """Mean bits over all seeds and, if there are several, without each seed in turn, [1 or 1 + seeds, points]."""
        seeds = len(self.bits)
        left = [np.delete(self.bits, i, axis=0).mean(0) for i in range(seeds)] if seeds > 1 else []
        return np.array([self.bits.mean(0), *left])


def factorials(table: pd.DataFrame) -> Iterator[Factorial]:
    """Yield the points of every model measured with training and test cells thinned separately, sorted by key.

    Depths are means over seeds at one fraction. If a run is not finished, seeds that lack points are left out.
    """
    levels = {"n": "n_cells", "u_train": "fraction_train", "u_test": "fraction"}
    rows = protocol_rows(table, "umis_per_cell", "umis_per_cell_train", apart=True)
    for key, here in rows.groupby(CURVE, sort=True):
        bits = here.pivot_table(index=list(levels.values()), columns="seed", values="mi_bits")
        bits = bits.loc[:, bits.count() == bits.count().max()].dropna()
        columns = {name: bits.index.get_level_values(name) for name in levels.values()}
        if any(columns[levels[axis]].nunique() < least for axis, least in _LEAST.items()):
            continue
        if len(bits) <= bits.reset_index().groupby(["n_cells", "fraction"]).ngroups:
            continue  # one training depth per test depth: both were thinned alike
        for side, depth in (("fraction_train", "umis_per_cell_train"), ("fraction", "umis_per_cell")):
            columns[side] = columns[side].map(here.groupby(side)[depth].mean())
        yield Factorial(tuple(key), np.array(list(columns.values()), float), bits.to_numpy().T)


@dataclass(frozen=True)
class ApartFit:
    """A fitted form: parameters [1 + seeds, 7] of all seeds and without each, for coordinates divided by `middle`."""

    form: Form
    data: Factorial
    theta: np.ndarray

    def predict(self, at: np.ndarray) -> np.ndarray:
        """Return bits [1 + seeds, M] at training cells, their depth and the test cells' depth, [3, M]."""
        return self.form.bits(self.theta, tuple(at / self.data.middle[:, None]))

    @property
    def residual_sd(self) -> float:
        """Root of the mean squared residual, in bits."""
        return float(np.sqrt(np.mean((self.predict(self.data.at)[0] - self.data.means[0]) ** 2)))

    def lost(self, axis: str, at: np.ndarray) -> np.ndarray:
        """Return the bits [1 + seeds, M] that are lost when one axis of `at` [3, M] is halved."""
        less = at * np.where(np.array(AXES) == axis, 0.5, 1.0)[:, None]
        return self.predict(at) - self.predict(less)

    @property
    def reading_depth(self) -> np.ndarray:
        """Depth of test cells [1 + seeds] at which signal-to-noise is half of its value for deep ones (u_bar of Eq. 1).

        The model is the best that was trained: with the most training cells at their deepest.
        """
        n, w, _ = self.data.at.max(1)
        far = self.data.middle[2] * np.geomspace(1e-4, 1e6, 400)
        snr = np.expm1(2 * np.log(2) * self.predict(np.array([np.full_like(far, n), np.full_like(far, w), far])))
        return np.array([np.interp(0.5 * row[-1], row, far) for row in snr])

    @property
    def learning_depth(self) -> np.ndarray:
        """Depth k of training cells [1 + seeds] at which a model's shortfall is twice that of a model of deep cells."""
        held = "k" not in self.form.free
        return np.full(len(self.theta), np.nan) if held else self.data.middle[1] * np.exp(self.theta[:, 6])


def jackknife(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values and 95 % intervals of statistics [1 + seeds, ...] of all seeds and without each one (Tukey 1958).

    The ends are NaN if there is only one seed.
    """
    seeds = len(values) - 1
    if seeds < 2:
        return values[0], np.full_like(values[0], np.nan), np.full_like(values[0], np.nan)
    half = stats.t.ppf(0.975, seeds - 1) * np.sqrt((seeds - 1) * values[1:].var(axis=0))
    return values[0], values[0] - half, values[0] + half


def fit(data: Factorial, form: Form) -> ApartFit:
    """Fit a form by least squares in bits, from several starts; the fits without each seed start from that result."""
    starts = np.array(list(product(*(_STARTS[p] if p in form.free else (_ABSENT[p],) for p in PARAMETERS))))
    found = _minimise(data, form, starts, data.means[:1], np.ones_like(data.means[:1])).best_of(len(starts))
    again = _minimise(data, form, np.repeat(found.theta, len(data.means), 0), data.means, np.ones_like(data.means))
    return ApartFit(form, data, again.theta)


def _minimise(data: Factorial, form: Form, start: np.ndarray, bits: np.ndarray, weights: np.ndarray) -> Solutions:
    low, high = zip(*(_BOUNDS[p] if p in form.free else (_ABSENT[p],) * 2 for p in PARAMETERS), strict=True)
    at = tuple((data.at / data.middle[:, None])[:, None])
    return minimise(form.bits, start, at, bits, weights, np.array(low), np.array(high), tolerance=1e-7)


def held_out(data: Factorial, form: Form) -> float:
    """Return the root mean square error in bits at points that a fit did not see: each level of each axis, in turn."""
    hidden = np.array([row == level for row in data.at for level in np.unique(row)])
    start = np.repeat(fit(data, form).theta[:1], len(hidden), 0)
    theta = _minimise(data, form, start, data.means[:1], (~hidden).astype(float)).theta
    errors = form.bits(theta, tuple((data.at / data.middle[:, None])[:, None])) - data.means[0]
    return float(np.sqrt(np.mean(errors[hidden] ** 2)))


def compare(data: Iterable[Factorial]) -> pd.DataFrame:
    """Return one row per form: error at held-out points, geometric mean over factorials, and its ratio to the best.

    The interval of the ratio is Student's t over data sets, because models of one data set share cells; a form whose
    interval reaches down to 1 ties with the best. One data set has no interval. Columns: form (its name in FORMS), law,
    parameters, error (bits), ratio, ratio_low, ratio_high, verdict ("best", "a tie", "worse", "one data set").
    """
    each = list(data)
    errors = pd.DataFrame({name: [np.log(held_out(one, form)) for one in each] for name, form in FORMS.items()})
    errors = errors.groupby([one.key[0] for one in each]).mean()  # by data set
    best = errors.mean().idxmin()
    gap = errors.sub(errors[best], axis=0)
    half = gap.sem() * stats.t.ppf(0.975, max(len(gap) - 1, 1))
    verdict = np.where(gap.mean() - half > 0, "worse", "a tie" if len(gap) > 1 else "one data set")
    return pd.DataFrame({
        "form": list(FORMS), "law": [form.label for form in FORMS.values()],
        "parameters": [len(form.free) for form in FORMS.values()], "error": np.exp(errors.mean()).to_numpy(),
        "ratio": np.exp(gap.mean()).to_numpy(), "ratio_low": np.exp(gap.mean() - half).to_numpy(),
        "ratio_high": np.exp(gap.mean() + half).to_numpy(),
        "verdict": np.where(errors.columns == best, "best", verdict),
    })  # fmt: skip


def chosen(table: pd.DataFrame) -> str:
    """Return the name of the form with the smallest error at held-out points in a table of `compare`."""
    return str(table.loc[table["error"].idxmin(), "form"])


def per_halving(data: Factorial) -> dict[str, float]:
    """Return the bits lost per halving of each axis, as measured, without a law: mean over neighbouring levels.

    Halvings of a depth are taken at the most cells; halving of cells from the most to the next fewer, over all depths.
    """
    grid = pd.Series(data.means[0], pd.MultiIndex.from_arrays(data.at, names=AXES))
    most, found = data.at[0].max(), {}
    for axis in HALVED:
        lines = grid.unstack(axis)  # its levels rise from left to right
        slopes = lines.diff(axis=1) / np.diff(np.log2(lines.columns), prepend=np.nan)
        found[axis] = float(np.nanmean(slopes[most] if axis == "n" else slopes.xs(most, level="n")))
    return found
