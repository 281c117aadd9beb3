"""Loaders of the registered data sets: one file each, found by itself.

A new data set is a file here with a function under `@register`, and a card of the same name in data/datasets.yml.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from ...signals import Signal
from ..dataset import Dataset, assemble
from ..registry import Card

__all__ = ["LOADERS", "Card", "Dataset", "Files", "Loader", "Signal", "assemble", "register"]

Files = dict[str, Path]
"""The files of a card by their names without folder."""
Loader = Callable[[Card, Files, str], Dataset]
"""Makes a data set of its card, its files and the name of a signal on the card."""

LOADERS: dict[str, Loader] = {}
"""The loader of every registered data set."""


def register(name: str) -> Callable[[Loader], Loader]:
    """Function decorator: enter the loader of the data set `name`."""

    def enter(loader: Loader) -> Loader:
        LOADERS[name] = loader
        return loader

    return enter


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
