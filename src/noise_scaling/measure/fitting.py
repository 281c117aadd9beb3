"""Training of a model of the grid: on how many devices, in which precision, and from which checkpoint."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.sparse import csr_matrix
from tqdm import tqdm

from .. import memory
from ..errors import InputError, choose
from ..models import MODELS, Model
from ..models.training import BadCheckpoint
from .brought import is_brought
from .controls import learner

PRECISIONS = ("auto", "32", "bf16")
"""Precision of matrix products in training; "auto": bfloat16 if the hardware supports it."""


def taken(model: str, preset: str, devices: int, precision: str) -> tuple[int, str]:
    """Return devices (1 if the model uses one only) and precision ("" if it has none, or it is the preset's)."""
    if is_brought(model):
        return 1, ""
    kind, own = MODELS[learner(model)], _precision(model, preset)
    return devices if kind.takes("devices") else 1, precision if own not in (None, precision) else ""


def check(models: Sequence[str], preset: str, devices: int, precision: str) -> None:
    """Raise InputError if no model can use the devices or the precision; if some can, the others ignore them."""
    trained = [name for name in models if not is_brought(name)]
    if precision:
        choose("precision", precision, PRECISIONS)
    if precision and not any(_precision(name, preset) for name in trained):
        known = " or ".join(n for n, kind in MODELS.items() if preset in kind.PRESETS and _precision(n, preset))
        wrong = f"precision {precision!r} means nothing for {', '.join(models)}"
        raise InputError(f"{wrong}: leave --precision out, or ask for {known}")
    if devices > 1 and not any(MODELS[learner(name)].takes("devices") for name in trained):
        known = " or ".join(name for name, kind in MODELS.items() if kind.takes("devices"))
        wrong = f"devices is {devices} and {', '.join(models)} train on one"
        raise InputError(f"{wrong}: leave --devices out, or ask for {known}")


def fit(
    model: Model,
    train: csr_matrix,
    validation: csr_matrix,
    *,
    devices: int = 1,
    checkpoint: Path | None = None,
    progress: str = "",
    **options: Any,
) -> None:
    """Train a model, resuming from the checkpoint of a run that was stopped; an unusable checkpoint is removed."""
    given = {"devices": devices, "checkpoint": checkpoint, "progress": progress}
    options |= {name: value for name, value in given.items() if model.takes(name)}
    memory.trim()  # what an earlier model left
    try:
        model.fit(train, validation, **options)
    except BadCheckpoint as error:
        if checkpoint is not None:  # only the first of several processes has one
            tqdm.write(f"{str(error).rpartition(':')[0]}: it is removed and the training starts anew", file=sys.stderr)
            checkpoint.unlink()
        model.fit(train, validation, **options)


def _precision(model: str, preset: str) -> str | None:
    """The preset's precision, or None if the model is not trained with one."""
    kind = MODELS[learner(model)]
    return kind.PRESETS[preset].get("precision") if kind.trained else None
