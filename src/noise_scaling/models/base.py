"""What every model offers, and what they share: the protocol, files of weights, usable cells, devices."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.sparse import csr_matrix

from ..errors import InputError, choose

_HEADER = "noise_scaling"  # entry of the file's metadata


class Model(Protocol):
    """Learns from the counts of training cells, then maps any cell's counts to a vector."""

    name: ClassVar[str]
    """The model's key in `models.MODELS`."""
    PRESETS: ClassVar[dict[str, dict[str, Any]]]
    """Preset -> every setting there is, with its value: the arguments of the class, and the options of `create`."""
    NUMBERS_VERSION: ClassVar[int]
    """Raised by hand whenever a change of code can change an embedding."""
    n_parameters: int
    history: dict[str, list[float]]
    """Training curves, one list a quantity; empty where nothing is trained."""

    def fit(self, train: csr_matrix, validation: csr_matrix, *, genes_from: csr_matrix | None = None) -> Model:
        """Learn from UMI counts [cells, genes]; `validation` only decides when to stop.

        `genes_from` holds the counts that genes are chosen or scaled by (highly variable genes, gene medians): the
        published way is all cells at full depth. None: the training cells at their depth.
        """

    def embed(self, counts: csr_matrix) -> np.ndarray:
        """float32 [cells, dims], row by row: a vector does not depend on the other cells. Empty cells get one."""

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to one .safetensors file, for `models.load`."""


class Stored:
    """Saving and loading for a model with the attributes `name`, `settings`, `seed` and `history`.

    The class gives `state` and `restore`; `settings` are all its arguments but seed and device.
    """

    name: ClassVar[str]
    settings: dict[str, Any]
    seed: int
    history: dict[str, list[float]]

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """What `fit` learnt: tensors by name, and facts that JSON can hold."""
        raise NotImplementedError

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back what `state` gave; the tensors are on the CPU."""
        raise NotImplementedError

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to one .safetensors file: tensors, and a JSON header with name, settings and seed.

        No code and no pickle is in it. The file appears at once, when it is whole.
        """
        tensors, facts = self.state()
        header = {
            "name": self.name, "settings": self.settings, "seed": int(self.seed), "history": self.history,
            "facts": facts,
        }  # fmt: skip
        return write_tensors(Path(path), tensors, header)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, Any]) -> Path:
    """Replace `path` at once by a .safetensors file: a reader, or a killed run, sees the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, draft, metadata={_HEADER: json.dumps(header)})
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return path


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and header of a file from `write_tensors`; InputError if it is none."""
    if not path.is_file():
        raise InputError(f"no saved model at {path}: write it first, with model.save(path)")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no whole .safetensors file ({error}): save the model again") from None
    if header is None:
        raise InputError(f"{path} was not written by noise-scaling, it has no header: save the model with model.save")
    return tensors, json.loads(header)


def check_options(model: str, settings: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """`settings` with `options` in their place; InputError for one that does not exist or has the wrong type."""
    for name, value in options.items():
        choose(f"option of {model}", name, settings)
        before = settings[name]
        if value is None or before is None:
            continue
        number = isinstance(before, float) and isinstance(value, int) and not isinstance(value, bool)
        if not number and type(value) is not type(before):
            raise InputError(
                f"option {name!r} of {model} is {value!r}, and must be {type(before).__name__}, like {before!r}"
            )
    return settings | options


def usable_cells(counts: csr_matrix, *, at_least: int, what: str = "training") -> csr_matrix:
    """`counts` without its empty cells, which no model can learn from; InputError if fewer than `at_least` are left."""
    kept = counts[np.diff(counts.indptr) > 0]
    if kept.shape[0] < at_least:
        raise InputError(
            f"{kept.shape[0]} of {counts.shape[0]} {what} cells hold any molecule and at least {at_least} are needed: "
            "use more cells or a larger fraction"
        )
    return kept


def log_normalise(counts: csr_matrix, target: float = 1e4) -> csr_matrix:
    """log(1 + count / cell total x `target`), sparse; an empty cell stays empty."""
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    scale = np.divide(target, totals, out=np.zeros_like(totals), where=totals > 0)
    out = counts.astype(np.float64)
    out.data = np.log1p(out.data * np.repeat(scale, np.diff(out.indptr)))
    return out


def resolve_device(device: str) -> str:
    """ "cpu" or "cuda"; "auto" takes the GPU where there is one."""
    choose("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for and torch finds no GPU here: use device 'cpu' or 'auto'")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
