"""One data set at one depth and seed: thinned once, then every model and cell number, a row for each estimator.

Where training and test cells are thinned apart, the depth is the training cells', and a model trained once reads the
test cells at each of theirs.
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
from ..models.team import launched
from ..seeds import derive
from ..splits import Split
from . import controls, embedded, fitting
from .asked import Grid, pairs_seed
from .brought import is_brought, sha256
from .embedded import Embedded
from .pools import Pools
from .unit import Unit, digest

# What a unit may raise without ending the job: bad slices, failed numerics, no memory (of a card too), never a mistake
# in our own code (KeyError, TypeError, AttributeError).
UNIT_ERRORS = (ArithmeticError, ValueError, RuntimeError, MemoryError)

HELD: "dict[Slice, Pools]" = {}
"""The thinned counts of the slice at work, and of no other."""


class Point(NamedTuple):
    """One model at one number of cells: the estimators share its embedding."""

    model: str
    n_cells: int


class Slice:
    """One data set at one depth of its training cells and one seed.

    Test cells keep the shares `tests` of their molecules, each a row; (): as the training cells, `fraction`.
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
        """Thinned counts; those of the slice before are let go."""
        if self not in HELD:
            HELD.clear()
            HELD[self] = self._pools()
        return HELD[self]

    def _pools(self) -> Pools:
        return Pools(self.grid, self.cells, self.seed, self.fraction, self.tests)

    def forget(self) -> bool:
        """Let go of the thinned counts, in memory and on disk; False where another process still reads them."""
        folder = (HELD.pop(self, None) or self._pools()).folder
        return not self.grid.data.on_disk or remove(folder)

    def units(self, point: Point) -> list[Unit]:
        """The units of a point: one for each depth of the test cells and estimator."""
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
        """Of the test cells' embedding where a file brings it, else ""."""
        if is_brought(model) and model not in self._brought_sha256:
            self._brought_sha256[model] = sha256(self._read(model))
        return self._brought_sha256.get(model, "")

    def _read(self, model: str) -> np.ndarray:
        assert self.grid.brought is not None
        return self.grid.brought.read(model, self.fraction, self.seed, self.grid.data.cell_ids[self.cells.test])

    def kept(self, point: Point) -> dict[Unit, dict | None]:
        """Each unit of a point with its row from before, or None: not there, not whole, or failed."""
        folder, units = self.grid.results, self.units(point)
        found = [folder and measurements.read_unit(folder, unit.config_hash) for unit in units]
        whole = [rows[0] if rows and rows[0]["status"] != measurements.ERROR else None for rows in found]
        return dict(zip(units, whole, strict=True))

    def rows(self, point: Point) -> list[dict]:
        """The rows of a point: those kept from before, the others measured on one embedding and kept."""
        kept = self.kept(point)
        missing = [unit for unit, row in kept.items() if row is None]
        made = {unit: self._keep(unit, row) for unit, row in self._measure(point, missing)} if missing else {}
        return [row or made[unit] for unit, row in kept.items()]

    def failed(self, point: Point, error: str) -> list[dict]:
        """The rows of a point whose process was stopped or died; what it had finished by then stays."""
        return [
            row or self._keep(unit, self._row(unit, status=measurements.ERROR, error=error))
            for unit, row in self.kept(point).items()
        ]

    def _keep(self, unit: Unit, row: dict) -> dict:
        if self.grid.results is not None:
            measurements.write_unit(self.grid.results, unit.config_hash, [row])
        return row

    def _measure(self, point: Point, units: list[Unit]) -> Iterator[tuple[Unit, dict]]:
        trained: list[models.Model] = []  # once for all depths of the test cells
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
        """The test cells' embedding, from the folder of results if it is kept there."""
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
        """Made once, without a lock (see `Pools`): a tenth of a second at 10^7 cells."""
        self._digest = self._digest or digest(self.cells)
        return self._digest

    def _embed(self, point: Point, unit: Unit, trained: list[models.Model]) -> Embedded:
        """Train if that was not done, and embed the test cells."""
        self.pools.train(point.n_cells)
        start = time.perf_counter()  # thinning is the slice's, not the model's
        if not trained:
            if unit.devices > 1:  # the other processes, if a launcher started some, train along
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
        """Do in another process that a launcher started what the training of a point asks of it."""
        self._trained(point, self.units(point)[0])

    def _trained(self, point: Point, unit: Unit) -> models.Model:
        """A new model, trained. Its seed holds its name and N, not the depth: a curve against depth is of one draw."""
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
            if variant.estimator_options:  # of lmi alone: `ablations.check` has seen to it
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
        with suppress(*UNIT_ERRORS):  # where nothing could be thinned, the row's error says so
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
    """The error in one line, as a table's cell can hold it."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
