"""Costs of libraries and reads, from price cards that say whether kits, lanes and flow cells are sold only whole.

book/_static/planning.js makes the same calculation in the browser.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import yaml

from .. import paths
from ..errors import InputError, choose

EDGE = 1e-9
"""A number of kits that exceeds a whole number by at most this is rounded down to it."""

WORDS = {
    "price": "the price", "libraries": "the number of libraries in a kit", "cells": "the cells in a library",
    "recovery": "the share of loaded cells that are recovered", "multiplets": "the share of multiplets",
    "multiplet_reads": "the reads of a multiplet", "per_library": "what each library costs beside the kit",
    "least_reads": "the least reads per cell", "mapped": "the share of usable reads",
    "reads": "the number of read pairs", "date": "the date",
}  # fmt: skip
"""Names of the numbers of a price card, for sentences."""

Values = np.ndarray | float


def positive(what: str, value: float, most: float = 1e15) -> float:
    """Return `value` if it is above 0 and at most `most`; else raise InputError, whose sentence calls it `what`."""
    if not 0 < value <= most:
        raise InputError(f"{what} must be a number above 0, at most {most:g}: found {value:g}")
    return float(value)


@dataclass(frozen=True)
class Preparation:
    """A kit that makes libraries of cells; data/prices.yml describes each field."""

    name: str
    title: str
    price: float
    libraries: int
    cells: float
    recovery: float = 1.0
    multiplets: float = 0.0
    multiplet_reads: float = 1.0
    per_library: float = 0.0
    least_reads: float = 0.0
    mapped: float = 1.0
    whole: bool = True
    source: str = ""
    url: str = ""
    date: str = ""
    assumed: Sequence[str] = ()

    @property
    def singlets(self) -> float:
        """Number of single cells in a full library."""
        return self.cells * (1 - self.multiplets * self.cells)

    def libraries_for(self, n: Values, donors: int = 1) -> np.ndarray:
        """Return the number of libraries that give `n` single cells, at least one for each donor."""
        count = np.asarray(n) / self.singlets
        return np.maximum(np.ceil(count - EDGE), donors) if self.whole else count

    def kits_for(self, libraries: Values) -> np.ndarray:
        """Return the number of kits that make these libraries."""
        count = np.asarray(libraries) / self.libraries
        return np.ceil(count - EDGE) + 0.0 if self.whole else count  # 0, never -0

    def cost(self, n: Values, donors: int = 1) -> np.ndarray:
        """Return the price of the libraries of `n` single cells, without reads."""
        libraries = self.libraries_for(n, donors)
        return self.kits_for(libraries) * self.price + libraries * self.per_library

    def recovered(self, n: Values, donors: int = 1) -> np.ndarray:
        """Return the cells m to recover, with multiplets, for `n` single ones: n = m - (multiplets / libraries) m²."""
        if self.multiplets == 0:
            return np.asarray(n) * 1.0
        rate = self.multiplets / self.libraries_for(n, donors)
        return (1 - np.sqrt(np.maximum(1 - 4 * rate * n, 0))) / (2 * rate)

    def per_cell(self, n: Values, donors: int = 1) -> np.ndarray:
        """Return reads to buy per read of each single cell: multiplets also take `multiplet_reads` each."""
        return 1 + self.multiplet_reads * (self.recovered(n, donors) / n - 1)


@dataclass(frozen=True)
class Sequencing:
    """A flow cell, a lane or another unit of reads: its price, its read pairs, and whether it is sold only whole."""

    name: str
    title: str
    price: float
    reads: float
    whole: bool = True
    source: str = ""
    url: str = ""
    date: str = ""
    assumed: Sequence[str] = ()

    def units(self, reads: Values) -> np.ndarray:
        """Return the number of units that give these reads."""
        count = np.asarray(reads) / self.reads
        return np.ceil(count - EDGE) + 0.0 if self.whole else count  # 0, never -0

    def affordable(self, money: Values) -> np.ndarray:
        """Return the number of units that the money buys; below 0 if the money is below 0."""
        count = np.asarray(money) / self.price
        return np.floor(count + EDGE) if self.whole else count


def assumed(card: Preparation | Sequencing) -> str:
    """Return a sentence, without its full stop, on the numbers of a card that have no source."""
    *others, last = (WORDS.get(field, field) for field in card.assumed)
    what = f"{', '.join(others)} and {last}" if others else last
    verb = "are" if others else "is"
    return f"{what[0].upper()}{what[1:]} {verb} assumed for “{card.title}”, since no public source is known"


@dataclass(frozen=True)
class Prices:
    """A price file: its cards by name, and the default kits, which are used if none is named."""

    currency: str
    preparations: dict[str, Preparation]
    sequencing: dict[str, Sequencing]
    default: Sequence[str] = ()

    def named(self, kits: Sequence[str] | None, flows: Sequence[str] | None) -> tuple[list, list]:
        """Return the cards with these names, which must be known; by default the default kits, and all flow cells."""
        kits, flows = kits or self.default, flows or list(self.sequencing)
        chosen = [self.preparations[choose("kit", name, self.preparations)] for name in kits]
        return chosen, [self.sequencing[choose("flow cell", name, self.sequencing)] for name in flows]


def read_prices(path: str | Path | None = None) -> Prices:
    """Read a price file, by default the project's own, and check it against data/prices.schema.json.

    InputError if it is not YAML, does not fit the schema, or more than half of a full library would be multiplets.
    """
    file = paths.PRICES_YML if path is None else paths.find(path)
    try:
        entries = json.loads(json.dumps(yaml.safe_load(file.read_text(encoding="utf-8")), default=str))
    except (OSError, UnicodeDecodeError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{file.name} is no price file in YAML ({str(error).splitlines()[0]}): correct it") from None
    schema = json.loads(paths.PRICES_SCHEMA.read_text(encoding="utf-8"))
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(entries))
    if fault is not None:
        place = "/".join(map(str, fault.absolute_path)) or "the top"
        wrong = f"{file.name} does not fit the schema of price files at {place}: {fault.message[:160]}"
        raise InputError(f"{wrong}: correct that entry, data/prices.yml is an example")
    return _checked(file.name, entries)


def _checked(name: str, entries: dict[str, Any]) -> Prices:
    kits = {key: Preparation(key, **entry) for key, entry in entries["preparations"].items()}
    for kit in kits.values():
        if (share := kit.multiplets * kit.cells) > 0.5:
            what = f"{kit.cells:g} cells in a library would be {share:.0%} multiplets"
            raise InputError(f"{name}, {kit.name}: {what}: lower cells or multiplets")
    default = [choose(f"kit under default in {name}", key, kits) for key in entries.get("default", kits)]
    flows = {key: Sequencing(key, **entry) for key, entry in entries["sequencing"].items()}
    return Prices(entries["currency"], kits, flows, default)


def linear(per_cell: float, per_million_reads: float) -> Prices:
    """Return prices without kits: a price per cell and a price per million reads, both in any amount.

    InputError if one is not above 0.
    """
    cell = Preparation("per_cell", "cells", positive("the cost per cell", per_cell, 1e9), 1, 1, whole=False)
    cost = positive("the cost per million reads", per_million_reads, 1e9)
    reads = Sequencing("per_million_reads", "million reads", cost, 1e6, whole=False)
    return Prices("", {cell.name: cell}, {reads.name: reads}, [cell.name])
