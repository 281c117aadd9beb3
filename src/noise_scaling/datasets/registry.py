"""The registry: one card for each data set, read from data/datasets.yml and checked against its schema."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import yaml

from .. import paths
from ..errors import InputError, choose


@dataclass(frozen=True)
class File:
    """One file of a data set: its name in the cache and the mirror, and where it comes from.

    `url` is None where the source requires a sign-up or has no permanent address; `how` then says how to get the
    file. `sha256` and `bytes` are None where nobody has published them.
    """

    name: str
    url: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    how: str = ""


@dataclass(frozen=True)
class Card:
    """Description of a data set: where it comes from, what it is, its limits, and the default grid.

    `kind` is "cells" or "table". `n_cells` and `n_genes` are the numbers in the files, `median_umis` is in UMIs per
    cell at full depth, and `library_umis` the same over all genes of the library, None where that is unknown. `signals`
    maps a signal's name to its kind ("label", "vector", "pair"), description and, where it takes few values, the
    entropy of these over all cells that have one, in bits; `signal` names the default signal, and `titles` maps a
    signal to its title in figures.

    `evidence` is False where cells or signal are not evidence about biology, so that no claim is tested on them;
    `imaging` is True where molecules were counted in images, so that no reads are bought, and `development` where the
    signal is time in development.

    The grid: `n_test` and `n_validation` cells, `cell_numbers` to train on, and `fractions` of the molecules, from 1
    down to about 10 UMIs per cell.
    """

    name: str
    title: str
    kind: str = "cells"
    organism: str = ""
    tissue: str = ""
    technology: str = ""
    n_cells: int = 0
    n_genes: int = 0
    median_umis: float = 0.0
    library_umis: float | None = None
    signal: str = ""
    signals: dict[str, dict[str, Any]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    doi: str = ""
    url: str = ""
    files: tuple[File, ...] = ()
    limits: tuple[str, ...] = ()
    imaging: bool = False
    development: bool = False
    evidence: bool = True
    n_test: int = 0
    n_validation: int = 0
    cell_numbers: tuple[int, ...] = ()
    fractions: tuple[float, ...] = ()


def card(name: str) -> Card:
    """Return the card of a registered data set; raise InputError, which lists the known names, for an unknown name."""
    cards = read_registry()
    return cards[choose("data set", name, cards)]


def names(kind: str = "cells") -> list[str]:
    """Return the names of the registered data sets of one kind ("cells" or "table"), in the registry's order."""
    return [card.name for card in read_registry().values() if card.kind == kind]


def read_registry(path: str | Path | None = None) -> dict[str, Card]:
    """Return all cards by name, read from `path` or the project's own registry.

    InputError if the file is not YAML, or a card does not fit the schema: the message gives the place and the fault.
    """
    return _read(Path(path or paths.DATASETS_YML))


@cache
def _read(path: Path) -> dict[str, Card]:
    entries = _parse(path)
    schema = json.loads(paths.DATASETS_SCHEMA.read_text(encoding="utf-8"))
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(entries))
    if fault is not None:
        place = "/".join(map(str, fault.absolute_path)) or "the top"
        raise InputError(f"{path.name} does not fit its schema at {place}: {fault.message}: correct that entry")
    cards = {}
    for name, entry in entries.items():
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        fields["files"] = tuple(File(**file) for file in entry.get("files", ()))
        one = cards[name] = Card(name=name, **fields)
        if one.kind == "cells":
            choose(f"default signal of {name}", one.signal, one.signals)
    return cards


def _parse(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the registry {path} cannot be read ({error.strerror}): check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"the registry {path} is not YAML ({problem}): correct it there") from error


def default_grid(n_cells: int, mean_umis: float) -> dict[str, Any]:
    """Return the grid of a data set without a registered one: a third of the cells to test, depths down to 10 UMI.

    It holds a card's fields `n_test`, `n_validation`, `cell_numbers` and `fractions`. At most 3,000 cells are tested,
    which an estimator scores in seconds; cell numbers are log-spaced from about 100 to all remaining cells.
    """
    n_test = min(3000, max(1, n_cells // 3))
    n_validation = min(1000, max(1, n_cells // 10))
    most = max(1, n_cells - n_test - n_validation)
    least = min(100, most)
    numbers = np.geomspace(least, most, 1 + max(0, round(2 * np.log10(most / least)))).round().astype(int)
    lowest = min(1.0, 10 / max(mean_umis, 1e-9))
    fractions = dict.fromkeys(float(f"{q:.4g}") for q in np.geomspace(1, lowest, 10))
    grid = {"cell_numbers": tuple(sorted(set(numbers.tolist()))), "fractions": tuple(fractions)}
    return grid | {"n_test": n_test, "n_validation": n_validation}
