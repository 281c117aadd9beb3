"""A configuration of the workflow: checked before anything runs, and taken apart into the jobs of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import jsonschema
import yaml

from .. import paths
from ..datasets.registry import Card, read_registry
from ..errors import InputError
from . import ablations

SCHEMA = paths.ROOT / "workflow" / "config" / "schema.json"
ON_A_GPU = ("scvi", "geneformer", "untrained_geneformer")
"""Models that train or run a network: with a GPU they have jobs of their own. The others never leave the CPU."""


@dataclass(frozen=True)
class Job:
    """What one run of notebooks/measure.ipynb measures: one data set, depth, seed and class of device.

    Attributes
    ----------
    entry
        The entry's name in the configuration: the data set's, unless the entry names another.
    part
        "cpu" or "gpu", and "cpu_large" or "gpu_large" for the cell numbers from `large_cells` on.
    priority
        Higher runs first: whole replicates one after the other, in each the ends of the depth axis before its middle,
        so that a sweep that was stopped holds whole curves.
    """

    entry: str
    dataset: str
    signal: str | None
    variant: str
    part: str
    fraction: float
    seed: int
    models: tuple[str, ...]
    cell_numbers: tuple[int, ...]
    preset: str
    estimators: tuple[str, ...]
    n_test: int | None
    n_validation: int | None
    device: str
    priority: int

    @property
    def name(self) -> str:
        """Where its table goes, below slices/ and without .csv."""
        return f"{self.variant or 'protocol'}/{self.entry}_q{self.fraction:.12g}_seed{self.seed}_{self.part}"

    def parameters(self) -> dict[str, object]:
        """Arguments of `measure`; what the configuration leaves out is left to the card."""
        values = {
            "dataset": self.dataset, "signal": self.signal, "models": list(self.models), "preset": self.preset,
            "cell_numbers": list(self.cell_numbers), "fractions": [self.fraction], "seeds": [self.seed],
            "estimators": list(self.estimators), "variant": self.variant, "n_test": self.n_test,
            "n_validation": self.n_validation, "device": self.device,
        }  # fmt: skip
        return {name: value for name, value in values.items() if value is not None}

    def keys(self) -> Iterator[dict[str, object]]:
        """The key of every row that the job makes, as far as the configuration says (no signal: the card's)."""
        card = read_registry().get(self.dataset)
        signal = self.signal or (card.signal if card else "")
        for n_cells, model, estimator in product(self.cell_numbers, self.models, self.estimators):
            yield {
                "dataset": self.dataset, "signal": signal, "model": model, "preset": self.preset, "n_cells": n_cells,
                "fraction": self.fraction, "seed": self.seed, "estimator": estimator, "variant": self.variant,
            }  # fmt: skip


def read_config(path: str | Path) -> dict[str, object]:
    """A configuration from its YAML file; an InputError of one sentence if it does not fit the schema.

    Examples of the sentence: an unknown key is named with the known ones, a wrong type with where and what was found.
    """
    file = paths.find(path)
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a configuration's YAML file") from None
    return check_config(config, name=str(path))


def check_config(config: object, *, name: str = "the configuration") -> dict[str, object]:
    """`config` if it fits workflow/config/schema.json and names what exists; else an InputError of one sentence."""
    schema = json.loads(paths.find(SCHEMA).read_text(encoding="utf-8"))
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if fault is not None:
        raise InputError(_in_words(fault, name))
    for entry, own in config["datasets"].items():
        _card(entry, own or {}, name)
    return config


def _in_words(fault: jsonschema.ValidationError, name: str) -> str:
    """What is wrong, where, and what would be right."""
    place = ".".join(str(part) for part in fault.absolute_path) or "the file"
    if fault.validator == "additionalProperties":
        known = fault.schema["properties"]
        unknown = next(key for key in fault.instance if key not in known)
        return f"{name}: unknown key {unknown!r} in {place}: choose one of {', '.join(sorted(known))}"
    rule, asked = fault.validator, fault.validator_value
    if rule == "required":
        return f"{name}: {place} lacks a key: {fault.message}"
    if rule == "type":
        wanted = f"must be of type {asked if isinstance(asked, str) else ' or '.join(asked)}"
    else:
        wanted = f"must be one of {', '.join(map(repr, asked))}" if rule == "enum" else f"does not fit: {fault.message}"
    return f"{name}: {place} {wanted}: found {repr(fault.instance)[:80]}"


def _card(entry: str, own: Mapping[str, object], name: str = "the configuration") -> Card | None:
    """The card of an entry's data set; None for a file, which must then bring its own grid."""
    dataset = own.get("dataset", entry)
    card = read_registry().get(dataset)
    if card is not None and card.kind == "cells":
        return card
    if not str(dataset).endswith(".h5ad"):
        known = ", ".join(sorted(n for n, c in read_registry().items() if c.kind == "cells"))
        raise InputError(f"{name}: unknown data set {dataset!r}: give the path of an .h5ad file, or one of {known}")
    missing = [key for key in ("cell_numbers", "fractions") if key not in own]
    if missing:
        raise InputError(f"{name}: the entry {entry!r} is a file and has no card: say its {' and '.join(missing)}")
    return None


def jobs(config: Mapping[str, object]) -> list[Job]:
    """The jobs of a checked configuration, in the order they should run."""
    found = [job for entry, own in config["datasets"].items() for job in _jobs_of(config, entry, own or {})]
    return sorted(found, key=lambda job: -job.priority)


def _jobs_of(config: Mapping[str, object], entry: str, own: Mapping[str, object]) -> Iterator[Job]:
    card, settings = _card(entry, own), {**config, **own}
    fractions = list(settings.get("fractions") or card.fractions)
    cells = tuple(settings.get("cell_numbers") or card.cell_numbers)
    seeds, names = settings["seeds"], settings.get("variants", [""])
    for variant, (rank, seed), fraction in product(names, enumerate(seeds), fractions):
        switch = ablations.named(variant)
        estimators = _that(settings["estimators"], switch.estimators)
        for part, models, cell_numbers in _parts(settings, _that(settings["models"], switch.models), cells):
            if estimators:
                yield Job(
                    entry, settings.get("dataset", entry), settings.get("signal"), variant, part, float(fraction),
                    int(seed), models, cell_numbers, settings["preset"], estimators, settings.get("n_test"),
                    settings.get("n_validation"), settings["device"] if part.startswith("gpu") else "cpu",
                    1000 - 10 * rank - _from_the_ends(fractions, fraction),
                )  # fmt: skip


def _that(asked: list[str], sensible: tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(name for name in asked if sensible is None or name in sensible)


def _from_the_ends(fractions: list[float], fraction: float) -> int:
    """0 for the ends of the depth axis, up to 9 for its middle."""
    at, last = sorted(fractions).index(fraction), max(1, len(fractions) - 1)
    return round(18 * min(at, last - at) / last)


def _parts(
    settings: Mapping[str, object], models: tuple[str, ...], cells: tuple[int, ...]
) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Name, models and cell numbers of each job at one depth and seed; none is empty."""
    gpu = settings["device"] != "cpu"
    by_device = {
        "cpu": tuple(m for m in models if not (gpu and m in ON_A_GPU)),
        "gpu": tuple(m for m in models if gpu and m in ON_A_GPU),
    }
    large = settings.get("large_cells") or float("inf")
    by_size = {"": tuple(n for n in cells if n < large), "_large": tuple(n for n in cells if n >= large)}
    for (device, some), (size, numbers) in product(by_device.items(), by_size.items()):
        if some and numbers:
            yield device + size, some, numbers
