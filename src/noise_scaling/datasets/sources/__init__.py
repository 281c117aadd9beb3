"""Loaders of the registered data sets; all modules of this folder are imported automatically.

To add a data set, put a file with a `@register` function here, and a card of the same name into data/datasets.yml.
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
"""Maps the path of each of a card's files, relative to the card's folder, to its path on disk."""
Loader = Callable[[Card, Files, str], Dataset]
"""Builds a data set from its card, its files and the name of a signal on the card."""

LOADERS: dict[str, Loader] = {}
"""The loader of each registered data set, by name."""


def register(name: str) -> Callable[[Loader], Loader]:
    """Decorator that registers a function as the loader of the data set `name`.

    All loaders have the interface `Loader` described here; their docstrings only add what is particular to each.

    Parameters of a loader
        `card`, the data set's card; `files`, the card's files by their paths from its folder, checked by sha256;
        `signal`, the name of one of the card's signals, already checked by `datasets.load`.
    What it returns
        A `Dataset` from `assemble`: integer counts [cells, genes], cells and genes with unique names, and the signal
        of the same cells. Cells without a count are dropped; cells without the signal are kept and marked as missing.
    What it raises
        InputError if a file does not have the format of its publication, or its counts are not integers within the
        loader's tolerance (`reading.integers`).
    """

    def enter(loader: Loader) -> Loader:
        LOADERS[name] = loader
        return loader

    return enter


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
