"""Data sets: `load` one by name or path, `fetch` its files, `simulate` one whose information is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import InputError, choose
from . import paper, small
from .dataset import Dataset
from .download import at_hand, fetch, fetch_all
from .own import load_h5ad
from .registry import Card, File, card, names, read_registry
from .simulator import simulate, simulated, true_information

__all__ = [
    "Card",
    "Dataset",
    "File",
    "card",
    "fetch",
    "fetch_all",
    "load",
    "names",
    "preload",
    "read_registry",
    "simulate",
    "true_information",
]

_LOADERS: dict[str, Callable[..., Dataset]] = {
    "pbmc68k": small.pbmc68k,
    "simulated": simulated,
    "pbmc10k": small.pbmc10k,
    "larry_subset": small.larry_subset,
    "merfish_poa": small.merfish_poa,
    "worm_embryo": small.worm_embryo,
    "pbmc": paper.pbmc,
    "larry": paper.larry,
    "merfish": paper.merfish,
    "mouse_embryo": paper.mouse_embryo,
}
_PRELOADED: dict[tuple[str, str], Dataset] = {}
MOST_PRELOADED = 20_000
"""Cells of the largest data set that `preload` keeps: some 200 MB."""


def load(name_or_path: str, *, signal: str | None = None, layer: str | None = None) -> Dataset:
    """Integer counts, a signal and the card of a registered data set or of your own .h5ad.

    Parameters
    ----------
    name_or_path
        A name of the registry (data/datasets.yml), or the path of an .h5ad file.
    signal
        A signal on the card, the card's default if not given; of a file, where it lies: obs:COLUMN, obsm:KEY,
        pairs:CLONE[,TIME] or space:obsm/KEY[,SECTION].
    layer
        Of a file: the layer with the raw counts, if X does not hold them.

    Raises
    ------
    InputError
        If name, signal or data are not as needed; one sentence with the remedy.
    """
    if _is_path(name_or_path):
        return load_h5ad(Path(name_or_path).expanduser(), signal=signal, layer=layer)
    chosen = card(name_or_path)
    if chosen.kind != "cells":
        raise InputError(f"{chosen.name!r} is a {chosen.kind}, not cells: choose one of {', '.join(names())}")
    if layer is not None:
        raise InputError(f"a layer can be chosen for an .h5ad file only, not for {chosen.name!r}: leave it out")
    signal = choose(f"signal of {chosen.name!r}", signal or chosen.signal, chosen.signals)
    kept = _PRELOADED.get((chosen.name, signal))
    return kept or _LOADERS[chosen.name](chosen, fetch_all(chosen), signal)


def preload(name: str) -> Dataset | None:
    """Keep a data set for `load`, in this process and those forked from it: many jobs on it read it once.

    What is not registered, too large to keep or not at hand is left to whoever loads it: None.
    """
    if name not in names() or (chosen := card(name)).n_cells > MOST_PRELOADED or not at_hand(chosen):
        return None
    return _PRELOADED.setdefault((chosen.name, chosen.signal), load(name))


def _is_path(name_or_path: str) -> bool:
    """Whether a file is meant: the name ends like one, or has a folder in it."""
    return Path(name_or_path).suffix in (".h5ad", ".h5", ".hdf5") or len(Path(name_or_path).parts) > 1
