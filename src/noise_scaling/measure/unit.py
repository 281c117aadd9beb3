"""The unit of measurement, and the hashes of all that its row and its embedding depend on."""

import dataclasses
import hashlib
import json

from .. import information, models
from ..splits import Split
from .ablations import named
from .brought import is_brought
from .controls import learner

NUMBERS_VERSION = 2
"""Increased by hand if a change outside the models and estimators (splits, thinning, pairs, the order of steps) can
change a number. Models and estimators have their own versions, so that a change to one re-runs only that one."""


def model_version(model: str) -> int:
    """Return NUMBERS_VERSION of the model that is trained for a name in the column `model`; 0 if none is trained."""
    return 0 if is_brought(model) else models.MODELS[learner(model)].NUMBERS_VERSION


@dataclasses.dataclass(frozen=True)
class Unit:
    """One model at one point of the grid under one estimator: one row. Its hash covers all that the row depends on.

    Fields are the row's columns of the same names, except `n_test` and `n_validation`, the numbers of cells asked for;
    `devices` and `precision` of the training (`fitting.taken`); the sha256 of an embedding read from a file; and
    `fraction_train`, which is 0 if training and test cells are thinned alike.
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
        """Hash of the unit, its model's settings and the versions of the numbers, as 24 hexadecimal digits."""
        versions = {"estimator": information.numbers_version(self.estimator, self.n_test)} | self._versions
        return _digest(self._facts, self._settings, versions)

    def embedding_hash(self, cells: str) -> str:
        """Return the hash of the unit's embedding: of counts and split (`cells`, a `digest`), not of the signal."""
        of_estimate = ("signal", "data_sha256", "estimator", "n_test", "n_validation", "variant")
        facts = {name: value for name, value in self._facts.items() if name not in of_estimate}
        facts |= {"cells": cells, "variant": named(self.variant).of_the_embedding}
        return _digest("embedding", facts, self._settings, self._versions)

    @property
    def _facts(self) -> dict[str, object]:
        """The fields without those that equal their default, so that adding a field does not change old hashes."""
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
    """Return the hash of which cells are in which pool, and of `facts`, as 24 hexadecimal digits."""
    parts = (cells.test, cells.validation, cells.train)
    return _digest(*(hashlib.blake2b(part.astype("<i8").data).hexdigest() for part in parts), *facts)


def _digest(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=12).hexdigest()
