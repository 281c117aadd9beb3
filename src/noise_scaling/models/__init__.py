"""The representation models, one file each, behind one interface (`Model`); every file in this folder is imported.

To add a model, add a file here with a class under `@register`.
"""

import json
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import InputError, choose
from .base import HEADER, MODELS, Model, register

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["MODELS", "Model", "create", "load", "register", "settings"]


def settings(name: str, *, preset: str = "small", **options: Any) -> dict[str, Any]:
    """Return every setting of a model: the values of the preset, replaced by those of `options` where given.

    Parameters
    ----------
    name, preset, options
        As for `create`.

    Raises
    ------
    InputError
        If a name is unknown, or an option has the wrong type.
    """
    choose("model", name, MODELS)
    usual = MODELS[name].PRESETS[choose(f"preset of {name}", preset, MODELS[name].PRESETS)]
    for option, value in options.items():
        before = usual[choose(f"option of {name}", option, usual)]
        if value is None or before is None:
            continue
        number = isinstance(before, float) and isinstance(value, int) and not isinstance(value, bool)
        if not number and type(value) is not type(before):
            wanted = f"must be {type(before).__name__}, like {before!r}"
            raise InputError(f"option {option!r} of {name} is {value!r}, and {wanted}")
    return usual | options


def create(name: str, *, preset: str = "small", seed: int = 0, device: str = "auto", **options: Any) -> Model:
    """Create a new, untrained model.

    Parameters
    ----------
    name
        "scvi", "geneformer", "untrained_geneformer" (the control), "pca", "random_projection", or one of your own.
    preset
        "published" (the paper's settings) or "small" (finds as much information; trains in seconds on 2 cores).
    seed
        Decides every random choice of the model.
    device
        "auto", "cpu" or "cuda"; only models that train a network use it.
    options
        Settings of the preset to change, by name (`MODELS[name].PRESETS[preset]` lists them). The trained models share
        `patience_unit` ("steps" or "epochs") and `fixed_steps` (train for exactly that many optimiser steps and keep
        the last weights; None: stop early and keep the best weights).

    Raises
    ------
    InputError
        If the model, the preset or an option is unknown, an option has the wrong type, or a GPU is missing.
    """
    chosen = settings(name, preset=preset, **options)
    return MODELS[name](**chosen, seed=seed, device=device)


def load(path: str | Path, *, device: str = "auto") -> Model:
    """Load a fitted model from a file that `model.save` wrote, onto any device.

    InputError if the file does not exist, is truncated, or was written by another program.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no saved model at {path}: write it first, with model.save(path)")
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get(HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no whole .safetensors file ({error}): save the model again") from None
    if said is None:
        raise InputError(f"{path} was not written by noise-scaling, it has no header: save the model with model.save")
    header = json.loads(said)
    kind = MODELS[choose(f"model in {path}", header["name"], MODELS)]
    model = kind(**header["settings"], seed=header["seed"], device=device)
    model.restore(tensors, header["facts"])
    model.history = header["history"]
    return model
