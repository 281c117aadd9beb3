"""The closed-form critic: the Gaussian log density ratio of regularised canonical variates (Hotelling 1936)."""

import numpy as np
import torch

COMPONENTS = 16
RIDGES = (0.01, 0.1, 0.3, 1.0, 3.0)  # in units of a column's variance; 3 keeps the leading components of 256 columns
HIGHEST = 0.9995  # largest correlation

Variates = tuple[torch.Tensor, torch.Tensor]
"""Canonical variates of x and y, [ridges, cells, COMPONENTS], of unit variance."""


def cross_products(x: torch.Tensor, y: torch.Tensor, parts: list[np.ndarray]) -> list[torch.Tensor]:
    """Return for each part the sums over its cells of the products of all columns of x and y.

    Each is float64 [dims, dims], with the dims of x before those of y; sums of different parts can be added.
    """
    z = torch.cat([x, y], 1).double()
    return [z[part].T @ z[part] for part in parts]


def variates(x: torch.Tensor, y: torch.Tensor, fit: torch.Tensor, n_fit: int, cells: np.ndarray) -> Variates:
    """Return variates of `cells` along canonical directions of other cells (Hotelling 1936), for each of `RIDGES`.

    `x` and `y` are `components` [all cells, dims]; `fit` is the sum of the `cross_products` of the `n_fit` cells to fit
    on. Variates are scaled by their variance over all cells, which uses no pairing of x and y.
    """
    d, us, vs = x.shape[1], [], []
    of_x, of_y = x.var(0, correction=0), y.var(0, correction=0)
    fit = fit / n_fit
    for ridge in RIDGES:
        lx = torch.linalg.cholesky(fit[:d, :d] + ridge * torch.eye(d, dtype=fit.dtype))
        ly = torch.linalg.cholesky(fit[d:, d:] + ridge * torch.eye(y.shape[1], dtype=fit.dtype))
        coherence = torch.linalg.solve_triangular(lx, fit[:d, d:], upper=False)
        coherence = torch.linalg.solve_triangular(ly, coherence.T, upper=False).T
        left = torch.linalg.eigh(coherence @ coherence.T)[1].flip(1)[:, : min(COMPONENTS, *coherence.shape)]
        right = torch.nn.functional.normalize(coherence.T @ left, dim=0)
        a = torch.linalg.solve_triangular(lx.T, left, upper=True).float()
        b = torch.linalg.solve_triangular(ly.T, right, upper=True).float()
        us.append(_unit(x[cells], of_x, a))
        vs.append(_unit(y[cells], of_y, b))
    return torch.stack(us), torch.stack(vs)


def _unit(x: torch.Tensor, variance: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Return x a, [cells, COMPONENTS], of unit variance over all cells; zeros beyond the columns of `a`.

    The `variance` of the columns of `components` over all cells is enough for that, because they are uncorrelated.
    """
    a = a / (variance @ a**2).sqrt()
    return torch.nn.functional.pad(x @ a, (0, COMPONENTS - a.shape[1]))


def choose_ridge(c: torch.Tensor, n: int) -> tuple[int, torch.Tensor]:
    """Return the ridge whose variates predict most, and its correlations, from `c` [ridges, COMPONENTS] on `n` cells.

    For Gaussian variates of correlation c a model with correlation r scores
    -1/2 log(1 - r^2) + (r c - r^2) / (1 - r^2) nats, which is highest at r = c. First c is shrunk by its chance level,
    a square of 1 / n (the positive-part estimator of James and Stein 1961), so that noise components vanish.
    """
    r = c.clamp(0, HIGHEST)
    r = r * (1 - 1 / (n * r**2).clamp(min=1e-12)).clamp(min=0)
    ridge = int((-0.5 * torch.log1p(-(r**2))).sum(1).argmax())
    return ridge, r[ridge]


def critic(u: torch.Tensor, v: torch.Tensor, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the Gaussian log density ratio of variates [cells, COMPONENTS] as features: g . h, up to a constant.

    Returns
    -------
    g and h, [cells, COMPONENTS + 2].
    """
    a, b = r / (1 - r**2), r**2 / (1 - r**2)
    one = torch.ones(len(u), 1)
    g = torch.cat([u * a, -0.5 * (u**2 @ b)[:, None], one], 1)
    return g, torch.cat([v, one, -0.5 * (v**2 @ b)[:, None]], 1)
