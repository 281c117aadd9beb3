"""Curved coordinates: principal components of a Gaussian kernel (Schoelkopf, Smola and Mueller 1998).

What is linear in them is a smooth function of the cells: closed forms fitted to a few hundred cells find with them what
networks need thousands for.
"""

import numpy as np
import torch

from ..seeds import generator
from .coordinates import at_own_scale, components, standardised

REACH = 0.5  # width of the kernel, squared, in units of the median squared distance
ANCHORS = 256  # cells that span the functions (Nystroem: Williams and Seeger 2001)
CURVED = 128  # components kept
WEAKEST = 1e-6  # of the largest eigenvalue


def curved(x: np.ndarray, seed: int) -> torch.Tensor:
    """Kernel components [cells, at most CURVED] of columns at their own scale, largest first.

    Their variance is that of the kernel times the number of cells, so that a ridge added to it is the one of kernel
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
