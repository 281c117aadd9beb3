"""Curved coordinates: principal components of a Gaussian kernel (Schoelkopf, Smola and Mueller 1998).

A linear function of them is a smooth function of the cells, so that closed forms fitted to a few hundred cells find
what networks need thousands of cells for.
"""

import numpy as np
import torch

from ..seeds import generator
from .coordinates import at_own_scale, components, standardised

REACH = 0.5  # squared width of the kernel, in units of the median squared distance
ANCHORS = 256  # cells that span the functions (Nystroem: Williams and Seeger 2001)
CURVED = 128  # components kept
WEAKEST = 1e-6  # share of the largest eigenvalue below which eigenvalues are dropped


def curved(x: np.ndarray, seed: int) -> torch.Tensor:
    """Return kernel components [cells, at most CURVED] of columns at their own scale, largest first.

    They are scaled by the root of the number of cells, so that a ridge added to their variance is the ridge of kernel
    ridge regression.
    """
    z = at_own_scale(x, standardised(x))
    anchors = z[torch.from_numpy(generator(seed, "anchors").permutation(len(z))[:ANCHORS])]
    squares = torch.cdist(anchors, anchors, compute_mode="donot_use_mm_for_euclid_dist").square()
    apart = squares[squares > 0]
    width = 2 * REACH * (float(apart.median()) if len(apart) else 1.0)
    values, vectors = torch.linalg.eigh(torch.exp(-squares / width).double())
    kept = values > WEAKEST * values[-1]
    root = (vectors[:, kept] / values[kept].sqrt()).float()
    features = torch.exp(-torch.cdist(z, anchors).square() / width) @ root
    return components(features)[:, :CURVED] * len(z) ** 0.5
