"""The base class of all models, `Model`, with the attributes that the rest of the package reads, and their registry."""

import inspect
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.sparse import csr_matrix

from ..counts.blocks import blocks_of
from ..counts.count_store import BLOCK
from ..errors import InputError, choose
from ..files import replacing

MODELS: "dict[str, type[Model]]" = {}
"""Every registered model by name, in the order of legends and tables."""

HEADER = "noise_scaling"  # key of our header in a saved file's metadata
_Kind = TypeVar("_Kind", bound="type[Model]")


def register(model: _Kind) -> _Kind:
    """Class decorator that adds a model to `MODELS`, sorted by `order`."""
    MODELS[model.name] = model
    ranked = sorted(MODELS.items(), key=lambda item: item[1].order)
    MODELS.clear()
    MODELS.update(ranked)
    return model


class Model(ABC):
    """A model that learns from the counts of training cells, then maps the counts of any cell to a vector.

    The class attributes are all that legends, schedulers and checks need to know of a model. A subclass must set the
    attributes that have no value here, and define `fit` and `embed`. A subclass without a network (`_net`) must also
    define `n_parameters`, and either list in `learnt` what `fit` sets or override `state` and `restore`. If its `fit`
    has these parameters, a sweep passes `checkpoint` (a file to resume from), `progress` (a title for progress reports)
    and, where several devices are requested, `devices`.

    Parameters
    ----------
    seed
        Seed of every random choice.
    device
        Device on which a network is trained and run.
    settings
        All settings of the model: those of a preset, with changes.
    """

    name: ClassVar[str]
    """Key in `MODELS` and in the measurement table."""
    label: ClassVar[str]
    small_label: ClassVar[str] = ""  # label of the preset "small", where that is another model than the published one
    """Name in figures and tables."""
    colour: ClassVar[str]
    """Hexadecimal RGB, of seaborn's "colorblind" palette."""
    marker: ClassVar[str]
    """Matplotlib marker; it distinguishes the models where there is no colour."""
    order: ClassVar[int] = 100
    """Place in legends and tables, lowest first."""
    is_control: ClassVar[bool] = False
    """Whether it is a control, which figures of laws, and claims, leave out."""
    variation_of: ClassVar[str] = ""
    """Name of the model from which this one differs in one thing; the paper's claims and figures leave it out."""
    untrained_of: ClassVar[str] = ""
    """Name of the model whose starting weights this control keeps; claims ask whether training adds to them."""
    by_default: ClassVar[bool] = False
    """Whether `measure` measures it if no models are named; a variation is never measured then."""
    loss_unit: ClassVar[str] = ""
    """Unit of the losses in `history`, if there are any."""
    wants_gpu: ClassVar[bool] = False
    """Whether it trains or runs a network, and therefore gets separate jobs where there is a GPU."""
    trained: ClassVar[bool] = True
    """Whether `fit` learns from cells; False for a control that keeps its starting weights."""
    fixed_seconds: ClassVar[float] = 2.0
    """Upper bound of the part of the training time that is the same for any number of cells, on one CPU thread."""
    seconds_per_cell: ClassVar[float] = 0.0
    """Upper bound of the training time per cell that training sees and per unit of `width`, on one CPU thread."""
    gpu_speedup: ClassVar[dict[str, float]] = {}
    """How many times faster a GPU trains a preset than one CPU thread (benchmarks/results/gpu_check.md), or 1."""
    PRESETS: ClassVar[dict[str, dict[str, Any]]]
    """Preset -> every setting with its value: the arguments of the class, which are also the options of `create`."""
    NUMBERS_VERSION: ClassVar[int] = 1
    """Raised by hand whenever a code change can change an embedding."""

    learnt: ClassVar[tuple[str, ...]] = ()
    """Attributes that `fit` sets besides the weights: arrays, and JSON values; with a network also `n_genes`."""

    _net: Any  # the network of a model that has one, set by `fit`
    note: str = ""
    """What the last `fit` could not do as requested (for instance: fewer genes or axes), as a sentence."""
    earlier_seconds: float = 0.0
    """Seconds that the last `fit` took before it was interrupted, if it resumed from a checkpoint."""

    def __init__(self, *, seed: int, device: str = "cpu", **settings: Any) -> None:
        self.seed, self.device, self.settings = seed, device, settings
        self.history: dict[str, list[float]] = {}  # training curves, one list per quantity; empty if nothing is trained

    @classmethod
    def width(cls, *, n_genes: float, nonzeros: float) -> float:
        """Work of training on one cell, from the number of genes and a cell's mean number of non-zero counts."""
        return nonzeros / 1000

    @classmethod
    def cells_seen(cls, preset: str, n_cells: int) -> float:
        """Largest number of cells that training sees, summed over all epochs."""
        return n_cells

    @classmethod
    def bytes_in_training(cls, preset: str, *, n_genes: float) -> float:
        """Bytes of memory that training takes in addition to the counts; arguments as for `train_seconds`."""
        return 1e7 + 200 * n_genes

    @classmethod
    def train_seconds(cls, preset: str, *, n_cells: int, n_genes: float, nonzeros: float) -> float:
        """Upper bound of the seconds of one training on one CPU thread, used only for requests to a scheduler.

        Parameters
        ----------
        preset
            A key of `PRESETS`.
        n_cells
            Training cells.
        n_genes, nonzeros
            Number of genes, and a cell's mean number of non-zero counts.
        """
        width = cls.width(n_genes=n_genes, nonzeros=nonzeros)
        return cls.fixed_seconds + cls.seconds_per_cell * width * cls.cells_seen(preset, n_cells)

    @classmethod
    def hashed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the settings to hash for a unit, without later additions and renames that change no number."""
        return settings

    @classmethod
    def takes(cls, option: str) -> bool:
        """Whether training takes an option of `fit` that only some models have, such as "checkpoint"."""
        return cls.trained and option in inspect.signature(cls.fit).parameters

    def network(self, n_genes: int) -> torch.nn.Module:
        """Return the untrained network for a number of genes; a model without a network defines `shapes` instead.

        NotImplementedError: the model has no network.
        """
        raise NotImplementedError

    def shapes(self, n_genes: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the matrices and vectors for a number of genes, by name."""
        return {name: tuple(p.shape) for name, p in self.network(n_genes).named_parameters()}

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters: weights, biases and embeddings of the network, a tied matrix counted once."""
        return sum(p.numel() for p in self._net.parameters())

    @abstractmethod
    def fit(self, train: Any, validation: Any, *, genes_from: Any = None) -> Self:
        """Learn from UMI counts.

        Parameters
        ----------
        train, validation
            UMI counts [cells, genes], CSR or `streaming.CountStore`; `validation` only decides when to stop.
        genes_from
            Counts from which genes are chosen or scaled (variable genes, gene medians). The published code uses all
            cells at full depth. None: the training cells at their own depth.

        Raises
        ------
        InputError
            Too few cells hold a molecule.
        FloatingPointError
            The training diverged.
        """

    @abstractmethod
    def embed(self, counts: Any) -> np.ndarray:
        """Map UMI counts [cells, genes] to float32 [cells, dims]; the vector of a cell does not depend on other cells.

        Empty cells get a vector too.
        """

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return what `fit` learnt: tensors by name, and values that JSON can hold."""
        values = {name: getattr(self, name) for name in self.learnt}
        tensors = {n: torch.from_numpy(np.ascontiguousarray(v)) for n, v in values.items() if isinstance(v, np.ndarray)}
        weights = self._net.state_dict() if hasattr(self, "_net") else {}
        return tensors | weights, {name: value for name, value in values.items() if name not in tensors}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Restore what `state` returned.

        Parameters
        ----------
        tensors
            Tensors by name, on the CPU.
        facts
            The other values by name.
        """
        own = {name: tensors.pop(name).numpy() for name in self.learnt if name in tensors}
        for name, value in (own | facts).items():
            setattr(self, name, value)
        if tensors:
            self._net = self.network(facts["n_genes"])
            self._net.load_state_dict(tensors)
            self._net.to(self.device).eval()

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to one .safetensors file: tensors, and a JSON header with name, settings and seed.

        The file holds no code and no pickle, and is written atomically. `models.load` reads it.
        """
        tensors, facts = self.state()
        header = {
            "name": self.name, "settings": self.settings, "seed": int(self.seed), "history": self.history,
            "facts": facts,
        }  # fmt: skip
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with replacing(Path(path)) as draft:
            save_file(kept, draft, metadata={HEADER: json.dumps(header)})
        return Path(path)


def log_normalise(counts: csr_matrix) -> csr_matrix:
    """Return log(1 + count / cell total x 10,000), float64 [cells, genes], sparse; an empty cell stays empty."""
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    scale = np.divide(1e4, totals, out=np.zeros_like(totals), where=totals > 0)
    out = counts.astype(np.float64)
    for first, stop in blocks_of(out.indptr, BLOCK):
        part = out.data[out.indptr[first] : out.indptr[stop]]
        part *= np.repeat(scale[first:stop], np.diff(out.indptr[first : stop + 1]))
        np.log1p(part, out=part)
    return out


def resolve_device(device: str) -> str:
    """Return the device to use, "cpu" or "cuda"; "auto" selects the GPU if there is one.

    InputError if the device is unknown, or a GPU is requested and there is none.
    """
    choose("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for and torch finds no GPU here: use device 'cpu' or 'auto'")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def has_bfloat16(device: str) -> bool:
    """Whether the device has a hardware instruction for matrix products in bfloat16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())  # no public name for it yet
