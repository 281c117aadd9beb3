"""The estimators of the suite by name: ours, and the peers."""

from __future__ import annotations

from functools import partial

import numpy as np

from noise_scaling.information import METHODS, Information, estimate, lmi
from noise_scaling.information.latent import PUBLISHED

from . import peers
from .run import LABELS_ONLY, Estimator, Found

__all__ = ["LABELS_ONLY", "estimators"]


def _ours(x: np.ndarray, y: np.ndarray, seed: int, *, method: str) -> Found:
    found: Information = estimate(x, y, method=method, seed=seed, device="cpu")
    return Found(found.bits, found.stderr, found.lower_bound, found.note)


LMI = {"lmi_float32": {"precision": "float32"}, "lmi_published": PUBLISHED}
"""Variants of our LMI: without bfloat16, and with the published schedule."""


def _lmi(x: np.ndarray, y: np.ndarray, seed: int, *, settings: dict[str, object]) -> Found:
    found = lmi(x, y, seed=seed, device="cpu", **settings)
    return Found(found.bits, found.stderr)


def estimators() -> dict[str, Estimator]:
    """Return every estimator of the suite, by name."""
    ours = {method: partial(_ours, method=method) for method in METHODS}
    ours |= {method: partial(_lmi, settings=settings) for method, settings in LMI.items()}
    neural = {method: partial(peers.neural, method=method) for method in peers.NEURAL}
    return ours | {"latentmi": peers.latentmi, "cca_ksg": peers.cca_ksg} | neural
