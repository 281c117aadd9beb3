"""A law of one coordinate (depth, or cells) with its parameters, and its fit to many curves at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, choose
from .formulas import cell_number_law, noise_law
from .least_squares import Solutions, minimise

CHANNELS_WITHIN = 0.2, 64.0
"""Bounds of a fitted number of channels."""
_EXPONENTS = (0.5, 1.0, 2.0)
_CHANNELS = (1.5, 4.0)
_LOGARITHMIC = ("scale", "one bit")


@dataclass(frozen=True)
class Law:
    """A law: its formula, its parameters, and the kind of each parameter.

    A kind is "scale" (a depth or number of cells, fitted as its logarithm), "one bit" (the scale `n_sat`), "exponent",
    "channels" (a number), "slope" (bits per e-fold) or "level" (bits). It sets where a fit starts, and the bounds.
    """

    name: str  # as tables write it
    label: str
    formula: Callable[..., np.ndarray]  # bits from coordinate and parameters, shapes that broadcast
    parameters: tuple[str, ...]
    kinds: tuple[str, ...]  # one for each parameter
    reach: tuple[float, float] = (1e-4, 1e6)  # bounds of a scale: times the least and the largest coordinate
    levels: tuple[float, float | np.ndarray] = (0.0, 20.0)
    """Bounds of a level in bits, the upper one for all curves or [B]; no signal here has 20 bits (a million states)."""

    @property
    def n_parameters(self) -> int:
        """Number of parameters, P."""
        return len(self.parameters)

    @property
    def positive(self) -> tuple[str, ...]:
        """Names of the parameters that are fitted as logarithms."""
        return tuple(name for name, kind in zip(self.parameters, self.kinds, strict=True) if kind in _LOGARITHMIC)

    def natural(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Return parameters as fitted [B, P] by name, [B] each, with logarithms of scales converted back to scales."""
        columns = zip(self.parameters, self.kinds, theta.T, strict=True)
        return {name: np.exp(column) if kind in _LOGARITHMIC else column for name, kind, column in columns}

    def bits(self, theta: np.ndarray, at: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return bits [B, M] for parameters as fitted [B, P] at the coordinate `at[0]`, [B, M]."""
        return self.formula(at[0], **{name: column[:, None] for name, column in self.natural(theta).items()})

    def bounds(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper bounds [B, P] of the parameters as fitted, for curves from `low` to `high`, [B]."""
        scale = np.log(low * self.reach[0]), np.log(high * self.reach[1])
        ends = {"scale": scale, "one bit": scale, "level": self.levels}
        ends |= {"exponent": (0.01, 5.0), "channels": CHANNELS_WITHIN, "slope": (-1e3, 1e3)}
        one = np.ones_like(low)
        lower, upper = (np.stack([ends[kind][side] * one for kind in self.kinds], axis=1) for side in (0, 1))
        return lower, upper

    def starts(self, low: np.ndarray, high: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
        """Return starts [B, starts, P]: scales over the curve and beyond, 3 exponents, a level just above `most`."""
        places = np.linspace(-0.2, 1.5, 5) if "scale" in self.kinds else np.zeros(1)
        powers = _EXPONENTS if "exponent" in self.kinds else _CHANNELS if "channels" in self.kinds else (0.2,)
        span = most - least + 0.01
        rows = []
        for place, power in product(places, powers):
            values = {"scale": np.log(low) + place * np.log(high / low), "one bit": np.log(low) + np.log(span) / power}
            values |= dict.fromkeys(("exponent", "slope", "channels"), np.full_like(low, power))
            values |= {"level": 1.1 * np.maximum(most, 0.1)}
            rows.append(np.stack([values[kind] for kind in self.kinds], axis=1))
        return np.stack(rows, axis=1)


NOISE_LAW = Law("noise_law", "Eq. 1", noise_law, ("u_bar", "i_max"), ("scale", "level"))
CELL_NUMBER_LAW = Law(
    "cell_number_law", "power law below a ceiling", cell_number_law, ("n_sat", "s", "i_inf"),
    ("one bit", "exponent", "level"), reach=(1e-12, 1e6), levels=(-20.0, 20.0),
)  # fmt: skip
LAWS = {law.name: law for law in (NOISE_LAW, CELL_NUMBER_LAW)}
"""The laws of the paper, by name."""


def named(name: str) -> Law:
    """Return the law with this name; InputError lists the known names."""
    return LAWS[choose("law", name, LAWS)]


def vectors(values: dict[str, ArrayLike], *, positive: Sequence[str]) -> list[np.ndarray]:
    """Return named values as checked vectors; those named in `positive` must be above 0.

    InputError unless they are finite vectors of the same length, and above 0 where that is required.
    """
    arrays = {name: np.asarray(x, float) for name, x in values.items()}
    *first, last = arrays
    if len({x.shape for x in arrays.values()}) > 1 or arrays[last].ndim != 1:
        shapes = ", ".join(str(x.shape) for x in arrays.values())
        raise InputError(f"{', '.join(first)} and {last} must be vectors of one length: found shapes {shapes}")
    if not all(np.isfinite(x).all() for x in arrays.values()):
        names = f"{', '.join(first)} or {last}"
        raise InputError(f"{names} hold NaN or infinite values: drop those measurements before the fit")
    for name in positive:
        if (arrays[name] <= 0).any():
            raise InputError(f"{name} must be above 0: found {arrays[name].min():g}; drop or correct that measurement")
    return list(arrays.values())


def padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return vectors of different lengths as one array [rows, longest], padded with NaN at the end."""
    out = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return out


def fit_many(
    law: Law,
    x: np.ndarray,
    bits: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-9,
) -> Solutions:
    """Fit one law to B curves at once by least squares, from several starts each (or from `start` [B, P] alone).

    The method is that of Levenberg 1944 and Marquardt 1963 (`least_squares.minimise`); a law's source stands where its
    function is defined.

    Parameters
    ----------
    law
        The law.
    x, bits
        Coordinates (UMIs per cell, or cells) and bits, of shapes that broadcast to [B, M]; NaN where a curve has no
        such point.
    weights
        Inverse variances up to a factor, [B, M]; 0 leaves a point out.
    start
        Starting values of the parameters as fitted, [B, P].
    tolerance
        A fit has converged when a step lowers its sum of squares by less than this fraction.

    Returns
    -------
    Solutions: parameters as fitted [B, P] (`Law.natural` names them), sums of squares [B], converged [B].
    """
    x, bits = np.broadcast_arrays(np.asarray(x, float), np.asarray(bits, float))
    here = np.isfinite(x) & np.isfinite(bits)
    weights = np.where(here, 1.0 if weights is None else weights, 0.0)
    low, high = np.where(here, x, np.inf).min(axis=1), np.where(here, x, -np.inf).max(axis=1)
    lower, upper = law.bounds(low, high)
    at, bits = np.where(here, x, low[:, None]), np.where(here, bits, 0.0)
    if start is not None:
        return minimise(law.bits, start, (at,), bits, weights, lower, upper, tolerance=tolerance)
    least, most = (f(np.where(weights > 0, bits, np.nan), axis=1) for f in (np.nanmin, np.nanmax))
    starts = law.starts(low, high, least, most)
    count = starts.shape[1]
    many = [np.repeat(values, count, axis=0) for values in (bits, weights, lower, upper)]
    at = np.repeat(at, count, axis=0)
    found = minimise(law.bits, starts.reshape(-1, law.n_parameters), (at,), *many, tolerance=tolerance)
    return found.best_of(count)


def predict(law: Law, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return bits [B, M] for parameters as fitted [B, P] at coordinates [B, M] or [M]."""
    return law.bits(theta, (np.atleast_2d(np.asarray(x, float)),))
