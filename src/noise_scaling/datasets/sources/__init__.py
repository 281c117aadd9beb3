"""Loaders of the registered data sets: one file each, found by itself.

A new data set is a file here with a function under `@register`, and a card of the same name in data/datasets.yml.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from ...signals import Signal
from ..dataset import Dataset, assemble
from ..registry import Card

__all__ = ["LOADERS", "Card", "Dataset", "Files", "Loader", "Signal", "assemble", "register"]

Files = dict[str, Path]
"""The files of a card by their paths from its folder."""
Loader = Callable[[Card, Files, str], Dataset]
"""Makes a data set of its card, its files and the name of a signal on the card."""

LOADERS: dict[str, Loader] = {}
"""The loader of every registered data set."""


def register(name: str) -> Callable[[Loader], Loader]:
    """Function decorator: enter the loader of the data set `name`.

    All loaders share one contract, that of `Loader`; the docstring of each has only what is its own.

    Parameters of a loader
        `card`, the data set's card; `files`, the card's files by their paths from its folder, checked by sha256;
        `signal`, the name of one of the card's signals, as `datasets.load` has checked.
    What it returns
        A `Dataset` from `assemble`: integer counts [cells, genes], cells and genes with unique names, and the signal
        over the same cells. Cells without a count are dropped, those without the signal are kept and marked as missing.
    What it raises
        InputError where a file is not of the form its publication gave it, or its counts are not integers within the
        loader's tolerance (`reading.integers`).
    """

    def enter(loader: Loader) -> Loader:
        LOADERS[name] = loader
        return loader

    return enter


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
