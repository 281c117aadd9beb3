"""Coordinates in which dependence is easy to learn: whitened, rotated, and scaled by how much of it each axis carries.

Noise dimensions are why a network trained on a few thousand cells fails. Second and fourth cross-moments distinguish
them from the others in closed form: the leading axes of the moment tensors are found by higher-order orthogonal
iteration (De Lathauwer, De Moor and Vandewalle 2000), and an axis is kept by what it carries beyond shuffled pairs.
"""

from dataclasses import astuple, dataclass

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import rankdata

QUARTILES = 1.349  # standard deviations between the quartiles of a normal distribution
UNEQUAL = 5.0
"""A column's spread counts up to this many times that of the median column, and down to as small a part of it, so that
columns in unrelated units do not silence each other."""
TINY = 1e-12  # keeps the log distance of a cell at all medians finite
SAME = 1e-6  # relative difference below which distances count as equal
LINEAR_TO = 3.0  # standard deviations; beyond them a column grows logarithmically
KEPT = 256  # principal components: more take seconds
TURNED = 24  # whitened dimensions: products of more dimensions need more cells than they are worth
RIDGE = 0.01  # in units of a column's variance
ROUNDS = 3
MOMENT_CELLS = 10_000  # more cells do not improve the axes


@dataclass(frozen=True)
class Gains:
    """How the dependence that an axis carries sets the axis's gain."""

    floor: float = 1.3  # an axis must carry this many times what it carries in shuffled pairs
    power: float = 0.25  # gain = share of an axis to this power; 0.5 cost 0.1-0.3 of 3.2 bits on blood cells' proteins
    least: float = 0.1  # gain of an axis that carries nothing: a network can still find it, but later


FEW, MANY = Gains(), Gains(floor=1.6, power=0.1, least=0.05)
"""Many cells determine the axes well, so that all axes that carry anything get nearly the same gain, the others less.

At 0.03 common signs are found better still, but what clusters share beyond their names is lost (0.2 of 5.4 bits)."""
BETWEEN = (1500, 6000)  # numbers of cells between which gains go from FEW to MANY


def gains(n: int) -> Gains:
    """Return the `Gains` for `n` cells, without a step: one more cell must not make an estimate jump."""
    low, high = BETWEEN
    share = float(np.clip(np.log(n / low) / np.log(high / low), 0, 1))
    return Gains(*(few + share * (many - few) for few, many in zip(astuple(FEW), astuple(MANY), strict=True)))


def standardised(x: np.ndarray) -> torch.Tensor:
    """Columns [cells, d] of mean 0 and variance 1, logarithmic beyond 3 deviations: one-to-one, so no bit is lost.

    Normal scores are not used, because on blood cells and their proteins ranks hide how far the cell types lie apart,
    and cost 0.1 to 0.3 of 3 bits.
    """
    z = torch.from_numpy(_scaled(x)).float()
    beyond = (z.abs() - LINEAR_TO).clamp(min=0)
    z = torch.where(beyond > 0, z.sign() * (LINEAR_TO + torch.log1p(beyond)), z)
    return (z - z.mean(0)) / z.std(0, correction=0)


def _scaled(x: np.ndarray) -> np.ndarray:
    """Columns minus their median, in units of their spread, which heavy tails (a Student t of 1 or 2) have too."""
    return (x - np.median(x, axis=0)) / _spread(x)


def _spread(x: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column or, if that is less, the deviation that its quartiles imply."""
    low, high = np.percentile(x, [25, 75], axis=0)
    deviation = x.std(axis=0)
    return np.where(high > low, np.minimum((high - low) / QUARTILES, deviation), deviation)


def at_own_scale(x: np.ndarray, z: torch.Tensor) -> torch.Tensor:
    """Return `columns` or `ranks` z of x, scaled by the spreads of x's columns (`UNEQUAL`), the distance unscaled.

    The leading components of an embedding carry most of what cells share with a signal. If all 50 are standardised, any
    24 of them are as good as any others, and half of the true bits of cell_like's mouse brains was lost.
    """
    spread = _spread(x)
    scale = np.clip(spread / np.median(spread), 1 / UNEQUAL, UNEQUAL)
    scale /= np.sqrt(np.square(scale).mean())
    return z * torch.from_numpy(np.append(scale, np.ones(z.shape[1] - len(scale)))).float()


def normal_scores(x: np.ndarray) -> torch.Tensor:
    """Return columns [cells, d] by their ranks, mapped to a standard normal, which undoes a monotone distortion."""
    scores = ndtri((rankdata(x, axis=0) - 0.5) / len(x))
    return torch.from_numpy(scores / scores.std(axis=0)).float()


def columns(x: np.ndarray) -> torch.Tensor:
    """Return `standardised` columns and the log of a cell's distance from the medians, if it varies: [cells, d + 1].

    Sides may share nothing but their scale, which is the distance; and a map may rotate by an angle that depends on it.
    """
    radius = np.log(np.square(_scaled(x)).mean(1, keepdims=True) + TINY)
    return standardised(np.hstack([x, radius]) if _adds(x, radius) else x)


def ranks(x: np.ndarray) -> torch.Tensor:
    """As `columns`, from ranks: `normal_scores`, and the normal scores of their distance from 0."""
    z = normal_scores(x)
    radius = z.square().mean(1, keepdim=True).numpy()
    return torch.cat([z, normal_scores(radius)], 1) if _adds(x, radius) else z


def _adds(x: np.ndarray, radius: np.ndarray) -> bool:
    """Whether a distance adds a column to `x`: not to a single column, nor where it is the same for all cells."""
    return x.shape[1] > 1 and float(np.ptp(radius)) > SAME * float(np.abs(radius).max())


def components(z: torch.Tensor) -> torch.Tensor:
    """Return the leading principal components [cells, at most KEPT] of standardised columns, unscaled."""
    z = z - z.mean(0)
    _, axes = torch.linalg.eigh((z.T @ z / len(z)).double())
    return z @ axes.flip(1)[:, :KEPT].float()


def left_out(**sides: np.ndarray) -> str:
    """Return a note that names the sides with more than KEPT columns; empty if there is none."""
    wide = {name: x.shape[1] for name, x in sides.items() if x.shape[1] > KEPT}
    return "; ".join(f"{name}: {KEPT} principal components of {d} used" for name, d in wide.items())


def whitened(components: torch.Tensor) -> torch.Tensor:
    """Return the first TURNED of `components` with unit variance (over all cells, which uses no pairing)."""
    variance = components.var(0, correction=0)
    z = components[:, variance > 1e-6 * variance[0]][:, :TURNED]
    return z / (z.var(0, correction=0) + RIDGE).sqrt()


def _products(z: torch.Tensor) -> torch.Tensor:
    """Return the columns of `z` and their products, centred: [cells, d + d (d + 1) / 2]."""
    i, j = torch.triu_indices(z.shape[1], z.shape[1])
    products = z[:, i] * z[:, j]
    return torch.cat([z, products - products.mean(0)], 1)


def moments(z: torch.Tensor, w: torch.Tensor, parts: list[np.ndarray], rng: np.random.Generator) -> list[torch.Tensor]:
    """Return for each part the sums, over its pairs and over its shuffled pairs, of features of z times features of w.

    Features are whitened columns and their products. Each result is [2, features of z, features of w], pairs before
    shuffled pairs; the results of different parts can be added.
    """
    p, q = _products(z), _products(w)
    found = []
    for part in parts:
        part = part[: max(MOMENT_CELLS // len(parts), 1)]
        own, other = p[part].T, q[part]
        shuffled = other[torch.from_numpy(rng.permutation(len(part)))]
        found.append(torch.stack([own @ other, own @ shuffled]))
    return found


def axes(moments: torch.Tensor, dx: int, dy: int, how: Gains) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps from whitened columns to coordinates, [dx, dx] and [dy, dy], the strongest first, with gain 1.

    Higher-order orthogonal iteration (De Lathauwer, De Moor and Vandewalle 2000), `ROUNDS` times on each side.
    """
    full = _unfold(moments, dx, dy)
    turns, gains = [torch.eye(dx), torch.eye(dy)], [torch.ones(dx), torch.ones(dy)]
    for _ in range(ROUNDS):
        for side in (0, 1):
            tensor = full if side == 0 else full.permute(0, 3, 4, 1, 2)
            turns[side], gains[side] = _leading(tensor, turns[1 - side] * gains[1 - side], how)
    return turns[0] * gains[0], turns[1] * gains[1]


def _unfold(total: torch.Tensor, dx: int, dy: int) -> torch.Tensor:
    """Return [2, 1 + dx, dx, 1 + dy, dy]: index 0 of axes 1 and 3 holds the columns, the others the products."""

    def square(t: torch.Tensor, d: int) -> torch.Tensor:
        i, j = torch.triu_indices(d, d)
        out = t.new_zeros(1 + d, d, *t.shape[1:])
        out[0], out[1 + i, j], out[1 + j, i] = t[:d], t[d:], t[d:]
        return out

    both = []
    for t in total:
        rows = square(t, dx)
        both.append(square(rows.permute(2, 0, 1), dy).permute(2, 3, 0, 1))
    return torch.stack(both)


def _leading(tensor: torch.Tensor, other: torch.Tensor, how: Gains) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes [d, d] of the first side by what they carry, given the `other` side's map, beyond shuffled pairs; gains."""
    d = other.shape[1]
    turn = torch.zeros(1 + len(other), 1 + d)
    turn[0, 0], turn[1:, 1:] = 1, other
    seen = torch.einsum("saikl,km,ln->saimn", tensor, turn, other).transpose(1, 2).flatten(2)
    pairs, shuffled = seen[0] @ seen[0].T, seen[1] @ seen[1].T
    values, vectors = torch.linalg.eigh(pairs)
    excess = (values.flip(0) - how.floor * shuffled.diagonal().mean()).clamp(min=0)
    gains = (excess / excess[0].clamp(min=1e-12)) ** how.power
    return vectors.flip(1), gains.clamp(min=how.least)
