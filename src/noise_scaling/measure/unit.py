"""The unit of measurement, and the hashes that name what its row and its embedding depend on."""

import dataclasses
import hashlib
import json

from .. import information, models
from ..splits import Split
from .ablations import named
from .brought import is_brought
from .controls import learner

NUMBERS_VERSION = 2
"""Raised by hand when a change to what lies around the models and estimators (splits, thinning, pairs, the order of
things) can change a number. Models and estimators have versions of their own: a change to one re-runs only that one."""


def model_version(model: str) -> int:
    """The version of the numbers of the model that is trained for a name in the column `model`; 0 where none is."""
    return 0 if is_brought(model) else models.MODELS[learner(model)].NUMBERS_VERSION


@dataclasses.dataclass(frozen=True)
class Unit:
    """One model at one point of the grid under one estimator: one row. Its hash names all that the row depends on.

    Fields are the row's columns of those names, but for the cells that were asked for, `n_test` and `n_validation`,
    `devices` and `precision` of a training (`fitting.taken`), and an embedding's sha256 where a file brings it.
    `fraction_train` is 0 where training and test cells are thinned alike.
    """

    dataset: str
    signal: str
    model: str
    preset: str
    n_cells: int
    fraction: float
    seed: int
    estimator: str
    n_test: int
    n_validation: int
    device: str
    data_sha256: str
    variant: str = ""
    devices: int = 1
    precision: str = ""
    embedding_sha256: str = ""
    fraction_train: float = 0.0

    @property
    def config_hash(self) -> str:
        """24 hexadecimal digits of the unit, its model's settings and the versions of the numbers."""
        versions = {"estimator": information.numbers_version(self.estimator, self.n_test)} | self._versions
        return _digest(self._facts, self._settings, versions)

    def embedding_hash(self, cells: str) -> str:
        """The same for its embedding: of the split's cells (`digest`), not of signal and estimator."""
        of_estimate = ("signal", "estimator", "n_test", "n_validation", "variant")
        facts = {name: value for name, value in self._facts.items() if name not in of_estimate}
        facts |= {"cells": cells, "variant": named(self.variant).of_the_embedding}
        return _digest("embedding", facts, self._settings, self._versions)

    @property
    def _facts(self) -> dict[str, object]:
        """The fields; those with a default only where they differ from it, so that a new field keeps old hashes."""
        values = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    @property
    def _settings(self) -> dict[str, object]:
        if is_brought(self.model):
            return {}
        kind = models.MODELS[learner(self.model)]
        return kind.hashed(kind.PRESETS[self.preset])

    @property
    def _versions(self) -> dict[str, int]:
        return {"measure": NUMBERS_VERSION, "model": model_version(self.model)}


def digest(cells: Split, *facts: object) -> str:
    """24 hexadecimal digits of who is in which pool, and of what else is given."""
    parts = (cells.test, cells.validation, cells.train)
    return _digest(*(hashlib.blake2b(part.astype("<i8").data).hexdigest() for part in parts), *facts)


def _digest(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=12).hexdigest()
