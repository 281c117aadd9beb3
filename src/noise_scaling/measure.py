"""Measure slices of the grid: data set x depth x seed x cells x model -> rows in bits, resumable unit by unit."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from . import __version__, datasets, information, measurements, models, signals
from .counts import thin, umis_per_cell
from .errors import InputError, choose
from .measurements import SHUFFLED
from .models.base import resolve_device
from .seeds import derive, generator
from .splits import Split, split

NUMBERS_VERSION = 1
"""Raised by hand whenever a change of code can change a number: results kept from before are then measured anew."""

DEFAULT_MODELS = ("random_projection", "pca", "scvi", SHUFFLED)

# What a unit may raise without ending the job: bad slices and failed numerics, never a mistake in our own code
# (KeyError, TypeError, AttributeError).
_UNIT_ERRORS = (ArithmeticError, ValueError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Unit:
    """One model at one point of the grid under one estimator: one row. Its hash names all that the row depends on."""

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

    @cached_property
    def config_hash(self) -> str:
        """24 hexadecimal digits of the unit, its model's settings and the version of the numbers."""
        learner = "pca" if self.model == SHUFFLED else self.model
        settings = models.MODELS[learner].PRESETS[self.preset]
        text = json.dumps([self.__dict__, settings, NUMBERS_VERSION], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def measure(
    dataset: str | Path = "pbmc68k",
    *,
    models: Sequence[str] = DEFAULT_MODELS,
    cell_numbers: Sequence[int] | None = None,
    fractions: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    signal: str | None = None,
    layer: str | None = None,
    preset: str = "small",
    estimators: Sequence[str] = ("default",),
    n_test: int | None = None,
    n_validation: int | None = None,
    device: str = "cpu",
    results: str | Path | None = None,
    output: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure a slice of the grid.

    Parameters
    ----------
    dataset, signal, layer
        As for `datasets.load`.
    models
        Names of models; "shuffled" is the negative control.
    cell_numbers
        Training cells N, nested; the card's by default.
    fractions
        Shares of the molecules to keep, in (0, 1]; the card's by default.
    seeds
        One replicate each: split, thinning, training and estimator all flow from it.
    preset
        Of every model: "small" or "published".
    estimators
        Methods of `information.estimate`; each embedding is scored by all.
    n_test, n_validation
        Cells held out, the same at every depth and cell number; the card's by default.
    device
        "cpu", "cuda" or "auto".
    results
        Folder in which finished units are kept and looked up; None keeps nothing.
    output
        CSV file to write the table to; None writes none.

    Returns
    -------
    The measurements table of the slice (`measurements.COLUMNS`), a failed unit as a row with its error.

    Raises
    ------
    InputError
        If anything asked for does not exist or does not fit the data; nothing has been measured then.
    """
    _check(models, preset, estimators, fractions, cell_numbers, seeds)
    data = datasets.load(dataset, signal=signal, layer=layer)
    grid = _Grid(
        data,
        tuple(models),
        tuple(cell_numbers or data.card.cell_numbers),
        tuple(fractions or data.card.fractions),
        preset,
        tuple(estimators),
        n_test or data.card.n_test,
        n_validation or data.card.n_validation,
        resolve_device(device),
        Path(results) if results is not None else None,
    )
    splits = {seed: grid.split(seed) for seed in seeds}
    total = len(seeds) * len(grid.fractions) * len(grid.cell_numbers) * len(grid.models)
    rows: list[dict] = []
    with _one_thread(), tqdm(total=total, disable=not progress, unit="unit", mininterval=1.0) as bar:
        for seed, cells in splits.items():
            for fraction in grid.fractions:
                rows += _Slice(grid, cells, seed, fraction).run(bar)
    table = measurements.sort(rows)
    if output is not None:
        measurements.write(table, output)
    return table


def _check(
    names: Sequence[str],
    preset: str,
    estimators: Sequence[str],
    fractions: Sequence[float] | None,
    cell_numbers: Sequence[int] | None,
    seeds: Sequence[int],
) -> None:
    for what, values in (("models", names), ("estimators", estimators), ("seeds", seeds)):
        if isinstance(values, str | int) or not len(values):
            raise InputError(f"{what} must be a list with at least one entry: found {values!r}")
    for name in names:
        if name != SHUFFLED:
            models.check_model(name, preset)
    for name in estimators:
        choose("estimator", name, information.METHODS)
    for fraction in fractions or ():
        if not 0 < fraction <= 1:
            raise InputError(f"fraction must lie in (0, 1], the share of molecules to keep: found {fraction!r}")
    for what, values in (("cell number", cell_numbers), ("seed", seeds)):
        for value in values or ():
            if int(value) != value or value < (what == "cell number"):
                raise InputError(f"a {what} must be a whole number and not negative: found {value!r}")


@dataclass(frozen=True)
class _Grid:
    """What stays the same over a call of `measure`."""

    data: datasets.Dataset
    models: tuple[str, ...]
    cell_numbers: tuple[int, ...]
    fractions: tuple[float, ...]
    preset: str
    estimators: tuple[str, ...]
    n_test: int
    n_validation: int
    device: str
    results: Path | None

    def split(self, seed: int) -> Split:
        cells = split(
            self.data.cell_ids,
            seed=derive(seed, "split", self.data.name),
            n_test=self.n_test,
            n_validation=self.n_validation,
            eligible=signals.test_eligible(self.data.signal),
            groups=signals.groups(self.data.signal),
        )
        cells.training_cells(max(self.cell_numbers))  # fail before the work, not after
        return cells


class _Slice:
    """One data set at one depth and seed: thinned once, then every model and cell number."""

    def __init__(self, grid: _Grid, cells: Split, seed: int, fraction: float) -> None:
        self.grid, self.cells, self.seed, self.fraction = grid, cells, seed, float(fraction)

    @cached_property
    def counts(self) -> dict[str, csr_matrix]:
        """Thinned counts of the test, validation and largest training set; made when the first unit needs them."""
        grid, cells = self.grid, self.cells
        pools = {
            "test": cells.test,
            "validation": cells.validation,
            "train": cells.training_cells(max(grid.cell_numbers)),
        }
        seed = derive(self.seed, "thin", grid.data.name)
        names, genes = grid.data.cell_ids, grid.data.gene_ids
        return {
            pool: thin(grid.data.counts[at], self.fraction, seed=seed, cell_ids=names[at], gene_ids=genes)
            for pool, at in pools.items()
        }

    def run(self, bar: tqdm) -> Iterator[dict]:
        for n_cells in self.grid.cell_numbers:
            for model in self.grid.models:
                bar.set_postfix_str(f"{self.grid.data.name} q={self.fraction:g} seed={self.seed} {model} N={n_cells}")
                yield from self._rows(model, int(n_cells))
                bar.update()

    def _rows(self, model: str, n_cells: int) -> list[dict]:
        """The rows of one model and cell number: those kept from before, the others measured on one embedding."""
        units = [self._unit(model, n_cells, estimator) for estimator in self.grid.estimators]
        kept = {unit: self._kept(unit) for unit in units}
        missing = [unit for unit, row in kept.items() if row is None]
        if missing:
            kept |= {unit: self._keep(unit, row) for unit, row in self._measure(missing)}
        return [kept[unit] for unit in units]

    def _unit(self, model: str, n_cells: int, estimator: str) -> Unit:
        g = self.grid
        return Unit(
            g.data.name, g.data.signal.name, model, g.preset, n_cells, self.fraction, int(self.seed), estimator,
            g.n_test, g.n_validation, g.device, g.data.data_sha256,
        )  # fmt: skip

    def _kept(self, unit: Unit) -> dict | None:
        if self.grid.results is None:
            return None
        rows = measurements.read_unit(self.grid.results, unit.config_hash)
        return rows[0] if rows and rows[0]["status"] != measurements.ERROR else None

    def _keep(self, unit: Unit, row: dict) -> dict:
        if self.grid.results is not None:
            measurements.write_unit(self.grid.results, unit.config_hash, [row])
        return row

    def _measure(self, units: list[Unit]) -> Iterator[tuple[Unit, dict]]:
        start = time.perf_counter()
        first = units[0]
        try:
            model, pair = self._embed(first.model, first.n_cells)
        except _UNIT_ERRORS as error:
            for unit in units:
                yield unit, self._row(unit, status=measurements.ERROR, error=_sentence(error))
            return
        seconds = time.perf_counter() - start
        for unit in units:
            facts = {"dims": pair.x.shape[1], "n_parameters": model.n_parameters, "train_seconds": seconds}
            yield unit, self._score(unit, pair, facts)

    def _embed(self, name: str, n_cells: int) -> tuple[models.Model, signals.Aligned]:
        """Train, embed the test cells, and put the signal beside them.

        The model's seed holds its name and N but not the depth: one draw is followed along the depth axis, so that
        a curve against depth compares like with like.
        """
        control = name == SHUFFLED
        grid, seed = self.grid, derive(self.seed, "model", name, n_cells)
        model = models.create("pca" if control else name, preset=grid.preset, seed=seed, device=grid.device)
        model.fit(self.counts["train"][:n_cells], self.counts["validation"])
        embedding = model.embed(self.counts["test"])
        if not np.isfinite(embedding).all():
            raise FloatingPointError(f"the embedding of {name} holds NaN or infinite values")
        pair = signals.align(grid.data.signal, self.cells.test, embedding, seed=derive(self.seed, "pairs"))
        if control:
            order = generator(self.seed, "control", n_cells).permutation(len(pair.x))
            pair = pair._replace(x=pair.x[order])
        return model, pair

    def _score(self, unit: Unit, pair: signals.Aligned, facts: dict) -> dict:
        start = time.perf_counter()
        try:
            found = information.estimate(
                pair.x, pair.y, method=unit.estimator, seed=derive(self.seed, "estimator"), device=unit.device,
                groups=pair.groups,
            )  # fmt: skip
        except _UNIT_ERRORS as error:
            return self._row(unit, **facts, status=measurements.ERROR, error=_sentence(error))
        return self._row(
            unit, **facts, mi_bits=found.bits, mi_stderr=found.stderr, n_test=len(pair.x),
            mi_seconds=time.perf_counter() - start,
        )  # fmt: skip

    def _row(self, unit: Unit, **found: object) -> dict:
        row = {name: {str: "", int: 0, float: math.nan}[kind] for name, kind in measurements.COLUMNS.items()}
        row |= {name: value for name, value in unit.__dict__.items() if name in row}
        full = umis_per_cell(self.grid.data.counts)
        row |= {
            "umis_per_cell": umis_per_cell(self.counts["test"]),
            "umis_per_cell_train": umis_per_cell(self.counts["train"][: unit.n_cells]),
            "umis_per_cell_nominal": full * self.fraction,
            "status": measurements.OK,
            "config_hash": unit.config_hash,
            "version": __version__,
            "n_test": len(self.cells.test),
        }
        return row | found


def _sentence(error: BaseException) -> str:
    """The error in one line, as a table's cell can hold it."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread in BLAS and torch: sums come in one order, so that bits repeat; Snakemake fills the other cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
