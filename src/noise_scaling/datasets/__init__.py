"""Data sets: `load` one by name or path, `fetch` its files, `simulate` one whose information is known."""

import re
from pathlib import Path

from ..errors import InputError, choose
from ..memory import release
from .dataset import Dataset
from .download import at_hand, fetch, fetch_all, fetch_file
from .own import load_counts, load_own
from .own_pairs import embedding_of, is_table, load_embedding
from .own_signals import STREAM
from .registry import Card, File, card, names, read_registry
from .simulator import simulate, true_information
from .sources import LOADERS

__all__ = [
    "STREAM",
    "Card",
    "Dataset",
    "File",
    "at_hand",
    "card",
    "embedding_of",
    "fetch",
    "fetch_all",
    "fetch_file",
    "is_own",
    "is_table",
    "load",
    "load_counts",
    "load_embedding",
    "names",
    "read_registry",
    "simulate",
    "true_information",
]


def load(
    name_or_path: str | Path, *, signal: str | None = None, layer: str | None = None, round_counts: bool = False
) -> Dataset:
    """Load integer counts, a signal and the card of a registered data set or of your own file.

    Parameters
    ----------
    name_or_path
        A name of the registry (data/datasets.yml), or the path of a file: .h5ad, a folder of .h5ad files with the same
        genes, 10x .h5, a 10x folder of matrix.mtx, a zarr store or .loom. A registered name takes precedence: write
        ./NAME for the file of that name.
    signal
        A signal on the card, by default the card's default signal; for a file, the signal's place: obs:COLUMN[:KIND],
        obsm:KEY, features:TYPE, pairs:CLONE[,TIME] or space:obsm/KEY[,SECTION].
    layer
        For a file: the layer with the raw counts, if X does not hold them.
    round_counts
        For a file: round estimated counts, which are not whole.

    Raises
    ------
    InputError
        If the name, signal or data cannot be used; the message is one sentence with the remedy.
    """
    name_or_path = str(name_or_path)
    if re.match(r"\w{2,}:/", name_or_path):  # a single letter is a drive of Windows
        raise InputError(f"{name_or_path} is an address: download the file first, then give its path")
    if is_own(name_or_path):
        found = load_own(Path(name_or_path).expanduser(), signal=signal, layer=layer, round_counts=round_counts)
        if found.on_disk:
            release()
        return found
    chosen = card(name_or_path)
    if chosen.kind != "cells":
        raise InputError(f"{chosen.name!r} is a {chosen.kind}, not cells: choose one of {', '.join(names())}")
    if layer is not None or round_counts:
        what = "rounded" if layer is None else "read from a layer"
        raise InputError(f"counts are {what} for a file only, not for {chosen.name!r}: leave that out")
    signal = choose(f"signal of {chosen.name!r}", signal or chosen.signal, chosen.signals)
    loader = LOADERS[choose("loader of a data set", chosen.name, LOADERS)]
    return loader(chosen, fetch_all(chosen), signal)


def is_own(name_or_path: str) -> bool:
    """Whether a path is meant: it is not a registered name, and it exists, or has an ending, a folder or a wildcard."""
    is_path = Path(name_or_path).exists() or any(mark in name_or_path for mark in "./\\*")
    return is_path and name_or_path not in read_registry()
