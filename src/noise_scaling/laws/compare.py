"""Laws of depth against each other on every curve of a table: fits, unseen depths, depths beyond, residuals."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from .. import datasets
from .alternatives import ALTERNATIVES
from .grids import Grid
from .law import Law, fit_many, padded, predict

LEAST_DEPTHS = 5
"""A law of three parameters then keeps a point to spare when one depth is left out."""
AHEAD = 0.4
"""The share of depths, the deepest, that is to be foretold from the others."""


@dataclass(frozen=True)
class Curves:
    """Curves of information against depth as arrays [curves, depths], NaN where a curve has no such depth."""

    names: pd.DataFrame  # one row a curve: grid (its key), dataset, signal, model, n_cells
    u: np.ndarray
    bits: np.ndarray  # means over seeds
    noise: np.ndarray  # standard error of each mean, in bits (`Grid.noise`)

    def bounded(self, law: Law, times: int = 1) -> Law:
        """The law, that of labels with their entropy as its ceiling, for the curves `times` over."""
        if law.name != "labels":
            return law
        known = [entropy(*name) for name in zip(self.names["dataset"], self.names["signal"], strict=True)]
        return replace(law, levels=(0.0, np.tile(np.minimum(known, law.levels[1]), times)))


@cache
def entropy(dataset: str, signal: str) -> float:
    """Bits of a signal's labels as its card says; infinite where it says none."""
    signals = datasets.card(dataset).signals if dataset in datasets.names() else {}
    return signals.get(signal, {}).get("entropy", np.inf)


def curves(grids: Iterable[Grid]) -> Curves:
    """Every column with LEAST_DEPTHS depths or more of some grids."""
    names: list[tuple] = []
    columns: tuple[list[np.ndarray], ...] = ([], [], [])
    for grid in grids:
        spread = grid.noise()
        for j, n in enumerate(grid.n):
            here = grid.measured[:, j]
            if here.sum() < LEAST_DEPTHS:
                continue
            names.append((grid.key, *grid.key[:3], n))
            for column, values in zip(columns, (grid.u, grid.bits[:, j], spread[:, j]), strict=True):
                column.append(values[here])
    return Curves(pd.DataFrame(names, columns=["grid", "dataset", "signal", "model", "n_cells"]), *map(padded, columns))


def compare_laws(found: Curves) -> pd.DataFrame:
    """One row a curve and law of ALTERNATIVES: what the fit leaves, and what it gets wrong where it did not look.

    Columns besides the curve's names: law, label, n_parameters, r_squared, aicc, chi_square (reduced, by seed noise;
    NaN without a second seed), left_out (RMS over depths left out one at a time, bits), left_out_median (of absolutes),
    ahead (RMS over the deepest AHEAD of depths, foretold from the others), repeat (correlation of neighbouring
    residuals). AICc: Hurvich & Tsai 1989.
    """
    return pd.concat([_one(found, law) for law in ALTERNATIVES.values()], ignore_index=True)


def residuals(found: Curves, law: Law) -> np.ndarray:
    """Measured less fitted bits, [curves, depths]."""
    return found.bits - predict(law, fit_many(found.bounded(law), found.u, found.bits).theta, found.u)


def _one(found: Curves, law: Law) -> pd.DataFrame:
    theta = fit_many(found.bounded(law), found.u, found.bits).theta
    left = found.bits - predict(law, theta, found.u)
    points, squares = np.isfinite(left).sum(1), np.nansum(left**2, axis=1)
    spread = np.nansum((found.bits - np.nanmean(found.bits, axis=1, keepdims=True)) ** 2, axis=1)
    freedom, fitted = points - law.n_parameters, law.n_parameters + 1  # the noise's variance is fitted too
    out = np.abs(left_out(found, law, theta))
    chi_square = np.where(np.isfinite(found.noise).any(1), np.nansum((left / found.noise) ** 2, axis=1), np.nan)
    ahead = beyond(found, law)
    return found.names.assign(
        law=law.name, label=law.label, n_parameters=law.n_parameters, r_squared=1 - squares / spread,
        aicc=_aicc(points, squares, fitted), chi_square=chi_square / freedom,
        left_out=np.sqrt(np.nanmean(out**2, axis=1)), left_out_median=np.nanmedian(out, axis=1),
        ahead=np.sqrt(np.nanmean(ahead**2, axis=1)),
        repeat=np.nansum(left[:, 1:] * left[:, :-1], axis=1) / np.nansum(left**2, axis=1),
    )  # fmt: skip


def _aicc(points: np.ndarray, squares: np.ndarray, fitted: int) -> np.ndarray:
    """Akaike's criterion with the correction for few points (Hurvich & Tsai 1989); infinite where they are too few."""
    with np.errstate(divide="ignore"):
        spare = points - fitted - 1
        correction = np.where(spare > 0, 2 * fitted * (fitted + 1) / np.maximum(spare, 1), np.inf)
        return points * np.log(squares / points) + 2 * fitted + correction


def left_out(found: Curves, law: Law, theta: np.ndarray) -> np.ndarray:
    """Foretold less measured bits of each depth from all the others, [curves, depths]; refits start from `theta`."""
    depths = found.bits.shape[1]
    weights = np.repeat(1 - np.eye(depths), len(found.bits), axis=0)  # problem i * curves + c leaves depth i out
    u, bits, start = (np.tile(values, (depths, 1)) for values in (found.u, found.bits, theta))
    away = predict(law, fit_many(found.bounded(law, depths), u, bits, weights, start=start).theta, u) - bits
    away = away.reshape(depths, len(found.bits), depths)
    return away[np.arange(depths), :, np.arange(depths)].T


def beyond(found: Curves, law: Law) -> np.ndarray:
    """Foretold less measured bits of the deepest AHEAD of depths from the shallower ones; NaN at those seen."""
    points = np.isfinite(found.bits).sum(1)
    seen = np.arange(found.bits.shape[1]) < (points - np.round(AHEAD * points))[:, None]
    fit = fit_many(found.bounded(law), found.u, found.bits, seen.astype(float))
    return np.where(seen, np.nan, predict(law, fit.theta, found.u) - found.bits)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By law, over all curves: medians of `compare_laws`, and on which share of curves it has the least AICc."""
    best = table.loc[table.groupby(["grid", "n_cells"])["aicc"].idxmin(), "law"].value_counts(normalize=True)
    columns = ["n_parameters", "r_squared", "chi_square", "left_out_median", "left_out", "ahead", "repeat"]
    out = table.groupby(["law", "label"], sort=False)[columns].median().reset_index()
    return out.assign(best_aicc=out["law"].map(best).fillna(0.0))


def gap(table: pd.DataFrame, law: str, other: str, column: str) -> tuple[float, float, float]:
    """Median over curves of one law's error less another's, and its 95 % interval: value, low, high, in bits.

    Below 0 where `law` errs less; `column` of `compare_laws` is the error: "left_out", "left_out_median" or "ahead".
    Curves of one grid share cells, models and test cells, so that grids, not curves, are what was drawn: a percentile
    interval of the bootstrap over them (Efron & Tibshirani 1993, chapter 13).
    """
    wide = table.pivot(index=["grid", "n_cells"], columns="law", values=column)
    differences = [d.to_numpy() for _, d in (wide[law] - wide[other]).groupby("grid")]
    rng = np.random.default_rng(0)
    picks = rng.integers(len(differences), size=(2000, len(differences)))
    medians = [np.median(np.concatenate([differences[i] for i in pick])) for pick in picks]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(np.concatenate(differences))), float(low), float(high)
