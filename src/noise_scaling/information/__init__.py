"""Mutual information in bits: one file per estimator, and `estimate`, which calls them; every file here is imported.

To add an estimator, add a file here with a function under `@register`.
"""

from importlib import import_module
from pkgutil import iter_modules

from ..errors import InputError, choose
from ..models.base import resolve_device
from .core import ESTIMATORS, MANY_PAIRS, Estimator, Information, is_labels, register

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

from .classifier import classifier_bound  # noqa: E402 - after the search
from .contrastive import infonce  # noqa: E402
from .latent import lmi, lmi_many  # noqa: E402
from .neighbours import ksg, mixed_ksg  # noqa: E402

__all__ = ["ESTIMATORS", "MANY_PAIRS", "METHODS", "Estimator", "Information", "classifier_bound", "estimate",
           "infonce", "ksg", "lmi", "lmi_many", "mixed_ksg", "numbers_version", "register"]  # fmt: skip

METHODS = ESTIMATORS.keys()
"""Names of the registered estimators, in their order."""


def numbers_version(method: str, pairs: int) -> int | list[int]:
    """Return the version of the bits that `method` gives at so many `pairs`; two numbers from `MANY_PAIRS` on."""
    found = ESTIMATORS[method]
    return found.version if pairs < MANY_PAIRS else [found.version, found.many_pairs_version]


def estimate(
    x: object, y: object, *, method: str = "default", seed: int = 0, device: str = "auto", groups: object = None
) -> Information:
    """Estimate the mutual information in bits between `x` and `y`; row i of both is the same cell.

    Parameters
    ----------
    x
        [cells, dims] floats.
    y
        Labels [cells]: integers, strings, booleans or categories; or vectors [cells, dims]: floats.
    method
        A name in `ESTIMATORS`. "default": the most accurate one we have (`default`). "lmi": the published protocol.
    seed
        Seed of all random choices; the same seed gives the same bits.
    device
        "auto", "cpu" or "cuda"; only `lmi` uses a GPU.
    groups
        [cells] cells of one group are never separated by a split; estimators without splits ignore it.

    Returns
    -------
    Information
        Bits, their standard error, and what each scored cell contributes to them.

    Raises
    ------
    InputError
        The method or device is unknown; a method for labels gets vectors; the method itself rejects the input.
    """
    chosen = ESTIMATORS[choose("estimator", method, ESTIMATORS)]
    resolve_device(device)
    if chosen.takes == "labels" and not is_labels(y):
        others = [name for name, other in ESTIMATORS.items() if other.takes != "labels"]
        raise InputError(
            f"{method} needs one label a cell, found measured vectors: use {', '.join(others[:-1])} or {others[-1]}"
        )
    return chosen.run(x, y, seed=seed, device=device, groups=groups)
