"""Compare laws of depth on every curve of a table: fits, left-out depths, extrapolation to deeper counts, residuals."""

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
"""Fewest depths of a curve: with one depth left out, a law of three parameters still has one point to spare."""
AHEAD = 0.4
"""Share of the depths, the deepest ones, that is predicted from the shallower ones."""


@dataclass(frozen=True)
class Curves:
    """Curves of information against depth as arrays [curves, depths]; NaN after the last depth of a shorter curve."""

    names: pd.DataFrame  # one row per curve: grid (its key), dataset, signal, model, n_cells
    u: np.ndarray
    bits: np.ndarray  # means over seeds
    noise: np.ndarray  # standard error of each mean, in bits (`Grid.noise`)

    def bounded(self, law: Law, times: int = 1) -> Law:
        """Return the law for the curves, repeated `times` times; the labels law's ceiling is the labels' entropy."""
        if law.name != "labels":
            return law
        known = [entropy(*name) for name in zip(self.names["dataset"], self.names["signal"], strict=True)]
        return replace(law, levels=(0.0, np.tile(np.minimum(known, law.levels[1]), times)))


@cache
def entropy(dataset: str, signal: str) -> float:
    """Return the entropy of a signal's labels in bits from its data set's card; infinite if no label, or not stated."""
    signals = datasets.card(dataset).signals if dataset in datasets.names() else {}
    about = signals.get(signal, {})
    return about.get("entropy", np.inf) if about.get("kind") == "label" else np.inf


def curves(grids: Iterable[Grid]) -> Curves:
    """Return the curves of some grids: every column (cell number) with at least LEAST_DEPTHS depths."""
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
    """Return one row per curve and law of ALTERNATIVES: the quality of the fit, and errors at depths it did not see.

    Columns besides the curve's names: law, label, n_parameters, r_squared, aicc, chi_square (reduced, by seed noise;
    NaN without a second seed), left_out (RMS error at depths left out one at a time, bits), left_out_median (median
    absolute error there), ahead (RMS error at the deepest AHEAD of depths, predicted from the others), repeat
    (correlation of neighbouring residuals). AICc: Hurvich & Tsai 1989.
    """
    return pd.concat([_one(found, law) for law in ALTERNATIVES.values()], ignore_index=True)


def residuals(found: Curves, law: Law) -> np.ndarray:
    """Return measured minus fitted bits, [curves, depths]."""
    return found.bits - predict(law, fit_many(found.bounded(law), found.u, found.bits).theta, found.u)


def _one(found: Curves, law: Law) -> pd.DataFrame:
    theta = fit_many(found.bounded(law), found.u, found.bits).theta
    left = found.bits - predict(law, theta, found.u)
    points, squares = np.isfinite(left).sum(1), np.nansum(left**2, axis=1)
    spread = np.nansum((found.bits - np.nanmean(found.bits, axis=1, keepdims=True)) ** 2, axis=1)
    freedom, fitted = points - law.n_parameters, law.n_parameters + 1  # the variance of the noise is fitted too
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
    """Return Akaike's criterion corrected for few points (Hurvich & Tsai 1989); infinite where there are too few."""
    with np.errstate(divide="ignore"):
        spare = points - fitted - 1
        correction = np.where(spare > 0, 2 * fitted * (fitted + 1) / np.maximum(spare, 1), np.inf)
        return points * np.log(squares / points) + 2 * fitted + correction


def left_out(found: Curves, law: Law, theta: np.ndarray) -> np.ndarray:
    """Return predicted minus measured bits of each depth when left out, [curves, depths]; refits start at `theta`."""
    depths = found.bits.shape[1]
    weights = np.repeat(1 - np.eye(depths), len(found.bits), axis=0)  # problem i * curves + c: curve c without depth i
    u, bits, start = (np.tile(values, (depths, 1)) for values in (found.u, found.bits, theta))
    away = predict(law, fit_many(found.bounded(law, depths), u, bits, weights, start=start).theta, u) - bits
    away = away.reshape(depths, len(found.bits), depths)
    return away[np.arange(depths), :, np.arange(depths)].T


def beyond(found: Curves, law: Law) -> np.ndarray:
    """Return predicted minus measured bits at the deepest AHEAD of depths, fitted to the others; NaN at the others."""
    points = np.isfinite(found.bits).sum(1)
    seen = np.arange(found.bits.shape[1]) < (points - np.round(AHEAD * points))[:, None]
    fit = fit_many(found.bounded(law), found.u, found.bits, seen.astype(float))
    return np.where(seen, np.nan, predict(law, fit.theta, found.u) - found.bits)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return, by law, medians of `compare_laws` over all curves, and the share of curves where its AICc is lowest."""
    best = table.loc[table.groupby(["grid", "n_cells"])["aicc"].idxmin(), "law"].value_counts(normalize=True)
    columns = ["n_parameters", "r_squared", "chi_square", "left_out_median", "left_out", "ahead", "repeat"]
    out = table.groupby(["law", "label"], sort=False)[columns].median().reset_index()
    return out.assign(best_aicc=out["law"].map(best).fillna(0.0))


def gap(table: pd.DataFrame, law: str, other: str, column: str) -> tuple[float, float, float]:
    """Return the median over curves of one law's error minus another's, with a 95 % interval: value, low, high.

    All are in bits; a value below 0 means that `law` has the smaller error. `column` of `compare_laws` is the error:
    "left_out", "left_out_median" or "ahead". Curves of one grid share cells, models and test cells, so the percentile
    bootstrap resamples grids, not curves (Efron & Tibshirani 1993, chapter 13).
    """
    wide = table.pivot(index=["grid", "n_cells"], columns="law", values=column)
    differences = [d.to_numpy() for _, d in (wide[law] - wide[other]).groupby("grid")]
    rng = np.random.default_rng(0)
    picks = rng.integers(len(differences), size=(2000, len(differences)))
    medians = [np.median(np.concatenate([differences[i] for i in pick])) for pick in picks]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(np.concatenate(differences))), float(low), float(high)
