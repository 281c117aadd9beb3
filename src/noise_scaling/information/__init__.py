"""Mutual information in bits: one file an estimator, `estimate` in front of them."""

from __future__ import annotations

from ..errors import InputError, choose
from .classifier import classifier_bound
from .contrastive import infonce
from .core import Information, is_labels
from .latent import lmi, lmi_many, pick_device
from .neighbours import ksg, mixed_ksg

__all__ = ["METHODS", "Information", "classifier_bound", "estimate", "infonce", "ksg", "lmi", "lmi_many", "mixed_ksg"]

NUMBERS_VERSION = {"default": 3, "classifier": 2, "infonce": 3, "ksg": 2, "lmi": 4, "mixed_ksg": 2}
"""By method; raised by hand whenever a change of code can change its bits: what was kept is then measured anew."""
MANY_PAIRS_VERSION = {"default": 2, "infonce": 2, "lmi": 2}
"""The same for changes that reach only estimates from as many pairs on as `MANY_PAIRS`."""
MANY_PAIRS = 3000

METHODS = ("default", "classifier", "infonce", "ksg", "lmi", "mixed_ksg")


def numbers_version(method: str, pairs: int) -> int | list[int]:
    """The version of the bits that `method` finds in so many `pairs`."""
    version = NUMBERS_VERSION[method]
    return version if pairs < MANY_PAIRS else [version, MANY_PAIRS_VERSION.get(method, 1)]


def estimate(
    x: object, y: object, *, method: str = "default", seed: int = 0, device: str = "auto", groups: object = None
) -> Information:
    """Mutual information in bits of `x` [cells, dims] and `y`, vectors [cells, dims] or labels [cells].

    `y` is labels where it is one column of integers, strings, booleans or categories, and vectors where it is floats.

    Parameters
    ----------
    method
        "default": the most accurate we have, `infonce` for vectors and `classifier_bound` for labels.
        "lmi": the published protocol. "lmi", "ksg", "infonce": labels become one-hot vectors.
        "mixed_ksg", "classifier": labels only.
    seed
        All random choices; the same seed gives the same bits.
    device
        "auto", "cpu" or "cuda"; only `lmi` uses a GPU.
    groups
        [cells] cells of one group never straddle a split; estimators without splits ignore it.

    Raises
    ------
    InputError
        An unknown method; labels for a method that needs them missing; what the method itself refuses.
    """
    choose("estimator", method, METHODS)
    pick_device(device)
    discrete = is_labels(y)
    if method == "default":
        method = "classifier" if discrete else "infonce"
    if method in ("classifier", "mixed_ksg") and not discrete:
        raise InputError(f"{method} needs one label a cell, found measured vectors: use default, infonce, lmi or ksg")
    if method == "ksg":
        return ksg(x, y)
    if method == "lmi":
        return lmi(x, y, seed=seed, device=device, groups=groups)
    if method == "mixed_ksg":
        return mixed_ksg(x, y)
    if method == "infonce":
        return infonce(x, y, seed=seed, groups=groups)
    return classifier_bound(x, y, seed=seed, groups=groups)
