"""One data set at one depth and seed: thinned once, then measured with every model, cell number and estimator.

If training and test cells are thinned separately, the depth is that of the training cells, and a model is trained once
and embeds the test cells at each of their depths.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby, product
from typing import Any, NamedTuple

import numpy as np

from .. import __version__, information, measurements, models, signals
from ..counts import umis_per_cell
from ..counts.thinned_store import remove
from ..memory import release
from ..models.team import launched
from ..seeds import derive
from ..splits import Split
from . import controls, embedded, fitting
from .asked import Grid, pairs_seed
from .brought import is_brought, sha256
from .embedded import Embedded
from .pools import Pools
from .unit import Unit, digest

# Errors of a unit that make a failed row and do not end the job: bad slices, failed numerics, no memory (of a GPU too).
# Mistakes in our own code (KeyError, TypeError, AttributeError) end the job.
UNIT_ERRORS = (ArithmeticError, ValueError, RuntimeError, MemoryError)

HELD: "dict[Slice, Pools]" = {}
"""The thinned counts of the current slice; only one slice is held at a time."""


class Point(NamedTuple):
    """One model at one number of cells; all estimators share its embedding."""

    model: str
    n_cells: int


class Slice:
    """One data set at one depth of its training cells and one seed.

    `tests` are the shares of molecules that test cells keep, one row each; () means the training depth `fraction`.
    """

    def __init__(self, grid: Grid, cells: Split, seed: int, fraction: float, tests: tuple[float, ...] = ()) -> None:
        self.grid, self.cells, self.seed, self.fraction = grid, cells, int(seed), float(fraction)
        self.tests = tests or (self.fraction,)
        most = max(n for n in grid.cell_numbers if n <= len(cells.train))
        every = product(grid.cell_numbers, grid.models)
        self.points = [Point(model, int(n)) for n, model in every if n == most or not is_brought(model)]
        self._digest, self._brought_sha256 = "", dict[str, str]()

    def __str__(self) -> str:
        return f"{self.grid.data.name} q={self.fraction:g} seed={self.seed}"

    @property
    def pools(self) -> Pools:
        """Thinned counts of this slice; those of the previous slice are freed."""
        if self not in HELD:
            HELD.clear()
            HELD[self] = self._pools()
        return HELD[self]

    def _pools(self) -> Pools:
        return Pools(self.grid, self.cells, self.seed, self.fraction, self.tests)

    def forget(self) -> bool:
        """Remove the thinned counts from memory and disk; return False if another process still reads them."""
        folder = (HELD.pop(self, None) or self._pools()).folder
        return not self.grid.data.on_disk or remove(folder)

    def units(self, point: Point) -> list[Unit]:
        """Return the units of a point: one for each depth of the test cells and each estimator."""
        g = self.grid
        return [
            Unit(
                g.data.name, g.data.signal.name, point.model, g.preset, point.n_cells, fraction, self.seed,
                estimator, g.n_test, g.n_validation, g.device, g.data.data_sha256, g.variant.name,
                *fitting.taken(point.model, g.preset, g.devices, g.precision), self._sha256(point.model),
                0.0 if fraction == self.fraction else self.fraction,
            )
            for fraction in self.tests
            for estimator in g.estimators
        ]  # fmt: skip

    def _sha256(self, model: str) -> str:
        """Return the SHA-256 of the test cells' embedding if it is read from a file, else ""."""
        if is_brought(model) and model not in self._brought_sha256:
            self._brought_sha256[model] = sha256(self._read(model))
        return self._brought_sha256.get(model, "")

    def _read(self, model: str) -> np.ndarray:
        assert self.grid.brought is not None
        return self.grid.brought.read(model, self.fraction, self.seed, self.grid.data.cell_ids[self.cells.test])

    def kept(self, point: Point) -> dict[Unit, dict | None]:
        """Map each unit of a point to its row from before, or to None if the row is missing, incomplete or failed."""
        folder, units = self.grid.results, self.units(point)
        found = [folder and measurements.read_unit(folder, unit.config_hash) for unit in units]
        whole = [rows[0] if rows and rows[0]["status"] != measurements.ERROR else None for rows in found]
        return dict(zip(units, whole, strict=True))

    def rows(self, point: Point) -> list[dict]:
        """Return the rows of a point: kept rows of earlier runs, and the others, which are measured now and kept."""
        kept = self.kept(point)
        missing = [unit for unit, row in kept.items() if row is None]
        made = {unit: self._keep(unit, row) for unit, row in self._measure(point, missing)} if missing else {}
        if missing and self.grid.data.on_disk:
            release()  # 1 GB stays otherwise after the trainings on 10^6 cells of 10^7
        return [row or made[unit] for unit, row in kept.items()]

    def failed(self, point: Point, error: str) -> list[dict]:
        """Return the rows of a point whose process was stopped or died: rows it had finished, and failed rows."""
        return [
            row or self._keep(unit, self._row(unit, status=measurements.ERROR, error=error))
            for unit, row in self.kept(point).items()
        ]

    def _keep(self, unit: Unit, row: dict) -> dict:
        if self.grid.results is not None:
            measurements.write_unit(self.grid.results, unit.config_hash, [row])
        return row

    def _measure(self, point: Point, units: list[Unit]) -> Iterator[tuple[Unit, dict]]:
        trained: list[models.Model] = []  # trained once for all depths of the test cells
        who = pairs_seed(self.grid.variant, self.seed)
        for _, some in groupby(units, key=lambda unit: unit.fraction):
            here = list(some)
            try:
                found = self._embedded(point, here[0], trained)
                pair = signals.align(self.grid.data.signal, self.cells.test, found.embedding, seed=who)
                pair = controls.apply(point.model, pair, seed=self.seed, n_cells=point.n_cells)
                pair = self.grid.variant.pairing(pair)
            except UNIT_ERRORS as error:
                for unit in here:
                    yield unit, self._row(unit, status=measurements.ERROR, error=sentence(error))
                continue
            facts = {"dims": pair.x.shape[1], "n_parameters": found.n_parameters, "train_seconds": found.train_seconds}
            for unit in here:
                yield unit, self._score(unit, pair, facts)

    def _embedded(self, point: Point, unit: Unit, trained: list[models.Model]) -> Embedded:
        """Return the test cells' embedding, from the folder of results if it is kept there."""
        if is_brought(point.model):
            return Embedded(self._read(point.model), 0, 0.0)
        if not (self.grid.keep_embeddings and self.grid.results):
            return self._embed(point, unit, trained)
        path = measurements.unit_path(self.grid.results, unit.embedding_hash(self._cells_digest)).with_suffix(".npy")
        found = embedded.read(path, len(self.cells.test))
        if found is None:
            found = self._embed(point, unit, trained)
            embedded.write(path, found)
        return found

    @property
    def _cells_digest(self) -> str:
        """Digest of counts and split, computed once without a lock (see `Pools`); it takes 0.1 s at 10^7 cells."""
        self._digest = self._digest or digest(self.cells, self.grid.data.counts_sha256)
        return self._digest

    def _embed(self, point: Point, unit: Unit, trained: list[models.Model]) -> Embedded:
        """Train the model if `trained` is empty, and embed the test cells."""
        self.pools.train(point.n_cells)
        start = time.perf_counter()  # starts after thinning, which is not the model's time
        if not trained:
            if unit.devices > 1:  # other processes of a launcher, if any, train along
                launched(self.grid.device).share((self.seed, self.fraction, point))
            trained.append(self._trained(point, unit))
            trained[0].earlier_seconds += time.perf_counter() - start
            start = time.perf_counter()
        model = trained[0]
        embedding = np.asarray(model.embed(self.pools.test(unit.fraction)), dtype=np.float32)
        if self.grid.variant.both_depths:
            whole = model.embed(self.grid.data.take(self.cells.test))
            embedding = np.hstack([embedding, np.asarray(whole, dtype=np.float32)])
        if not np.isfinite(embedding).all():
            raise FloatingPointError(f"the embedding of {point.model} holds NaN or infinite values")
        seconds = model.earlier_seconds + time.perf_counter() - start
        if model.history and self.grid.results is not None:
            measurements.write_history(self.grid.results, unit.config_hash, model.history)
        return Embedded(embedding, int(model.n_parameters), seconds)

    def train_along(self, point: Point) -> None:
        """Take part in the training of a point, in one of the other processes that a launcher started."""
        self._trained(point, self.units(point)[0])

    def _trained(self, point: Point, unit: Unit) -> models.Model:
        """Train a new model. Its seed depends on name and N, not on depth: a curve against depth is of one draw."""
        grid, checkpoint = self.grid, None
        seed = derive(grid.variant.seed_of("model", self.seed), "model", *point)
        how = {"preset": grid.preset, "device": grid.device, **grid.variant.options}
        how |= {"precision": unit.precision} if unit.precision else {}
        model = models.create(controls.learner(point.model), seed=seed, **how)
        if grid.results is not None and not launched(grid.device).rank:
            name = unit.embedding_hash(self._cells_digest)
            checkpoint = measurements.unit_path(grid.results, name).with_suffix(".checkpoint")
        title = f"{self} {unit.model} N={unit.n_cells}" if grid.progress else ""
        genes = {"genes_from": grid.data.counts} if grid.variant.genes_full_depth else {}
        train, held = self.pools.train(point.n_cells), self.pools.validation
        fitting.fit(model, train, held, devices=unit.devices, checkpoint=checkpoint, progress=title, **genes)
        return model

    def _score(self, unit: Unit, pair: signals.Aligned, facts: dict) -> dict:
        start, variant = time.perf_counter(), self.grid.variant
        seed = derive(variant.seed_of("estimator", self.seed), "estimator")
        settings: dict[str, Any] = {"seed": seed, "device": unit.device, "groups": pair.groups}
        try:
            if variant.estimator_options:  # only for lmi, which `ablations.check` ensures
                found = information.lmi(pair.x, pair.y, **settings, **variant.estimator_options)
            else:
                found = information.estimate(pair.x, pair.y, method=unit.estimator, **settings)
        except UNIT_ERRORS as error:
            return self._row(unit, **facts, status=measurements.ERROR, error=sentence(error))
        return self._row(
            unit, **facts, method=found.method, mi_bits=found.bits, mi_stderr=found.stderr, n_test=len(pair.x),
            mi_seconds=time.perf_counter() - start,
        )  # fmt: skip

    def _row(self, unit: Unit, **found: object) -> dict:
        row = measurements.BLANK | {name: getattr(unit, name) for name in measurements.COLUMNS if hasattr(unit, name)}
        with suppress(*UNIT_ERRORS):  # if thinning failed, the row's error says so
            row["umis_per_cell"] = umis_per_cell(self.pools.test(unit.fraction))
            row["umis_per_cell_train"] = self.pools.umis_of_train(unit.n_cells)
        row |= {
            "fraction_train": self.fraction,
            "umis_per_cell_nominal": float(self.grid.data.umis.mean()) * unit.fraction,
            "status": measurements.OK,
            "version": __version__,
            "n_test": len(self.cells.test),
        }
        return row | found


def sentence(error: BaseException) -> str:
    """Return the error as one line of at most 300 characters, for a cell of the table."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
