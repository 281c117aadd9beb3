"""The representation models, one file each, behind one protocol."""

from __future__ import annotations

from ..errors import InputError, choose
from .base import Model, usable_cells
from .pca import PCA
from .random_projection import RandomProjection
from .scvi import SCVI

MODELS: dict[str, type] = {"random_projection": RandomProjection, "pca": PCA, "scvi": SCVI}
PLANNED = ("geneformer",)
"""Models of the paper that the package will hold; the published table has them, so the figures know them."""

__all__ = ["MODELS", "PLANNED", "Model", "check_model", "create", "usable_cells"]


def check_model(name: str, preset: str = "small") -> None:
    """Raise an InputError unless this model and this preset of it exist."""
    if name in PLANNED:
        raise InputError(f"model {name!r} is not built yet: choose one of {', '.join(sorted(MODELS))}")
    choose("model", name, MODELS)
    choose(f"preset of {name}", preset, MODELS[name].PRESETS)


def create(name: str, *, preset: str = "small", seed: int = 0, device: str = "auto") -> Model:
    """A new, untrained model.

    Parameters
    ----------
    name
        "random_projection", "pca" or "scvi".
    preset
        "published" (the paper's settings) or "small" (as much information, trained in seconds on 2 cores).
    seed
        Decides every random choice of the model.
    device
        "auto", "cpu" or "cuda"; only models that train a network use it.

    Raises
    ------
    InputError
        If the model or the preset is unknown, or a GPU is asked for and absent.
    """
    check_model(name, preset)
    return MODELS[name](**MODELS[name].PRESETS[preset], seed=seed, device=device)
