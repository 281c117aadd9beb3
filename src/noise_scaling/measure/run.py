"""Measure slices of the grid: data set x depth x seed x cells x model -> rows in bits, resumable unit by unit."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .. import datasets, information, measurements, models
from ..errors import choose
from ..models.base import resolve_device
from . import ablations, request
from .controls import CONTROLS, learner
from .request import DEFAULT_MODELS
from .slice import HELD, Grid, Slice
from .workers import Outcome, fork_safe_cuda, outcomes


def measure(
    dataset: str | Path = "pbmc68k",
    *,
    models: Sequence[str] = DEFAULT_MODELS,
    cell_numbers: Sequence[int] | None = None,
    fractions: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    signal: str | None = None,
    layer: str | None = None,
    round_counts: bool = False,
    preset: str = "small",
    estimators: Sequence[str] = ("default",),
    variant: str = "",
    n_test: int | None = None,
    n_validation: int | None = None,
    device: str = "cpu",
    results: str | Path | None = None,
    keep_embeddings: bool = False,
    unit_seconds: float | None = None,
    workers: int = 1,
    output: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure a slice of the grid.

    Lists may be given as a single value or as text ("[50, 100]"), numbers as text: papermill hands them over so.

    Parameters
    ----------
    dataset, signal, layer, round_counts
        As for `datasets.load`.
    models
        Names of models; "shuffled" and "known_2_bits" are the controls, of 0 and 2 bits.
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
    variant
        A named departure from the protocol (`ablations.VARIANTS`, fixed_steps_N or width_N); "" for none.
    n_test, n_validation
        Cells held out, the same at every depth and cell number; the card's by default.
    device
        "cpu", "cuda" or "auto".
    results
        Folder in which finished units are kept and looked up; None keeps nothing.
    keep_embeddings
        Keep the test cells' embeddings in `results` too, so that another estimator needs no training.
    unit_seconds
        Wall-clock limit for one model at one N, with all its estimators: what takes longer is stopped, wherever its
        code is, and becomes a failed row; likewise what dies. None sets no limit.
    workers
        Units at a time, each in a process of its own on one thread, all on one card where there is one. With 1 and no
        limit all runs in this process.
    output
        CSV file to write the table to; None writes none. A table there that holds other measurements is not replaced.
    progress
        Whether a bar and the data set's notes are shown.

    Returns
    -------
    The measurements table of the slice (`measurements.COLUMNS`), a failed unit as a row with its error.

    Raises
    ------
    InputError
        If anything asked for does not exist or does not fit the data; nothing has been measured then.
    """
    ask = request.read(**locals())
    _check_names(ask.models, ask.preset, ask.estimators)
    request.check_places(ask.results, ask.output)
    departure = ablations.named(ask.variant)
    if ask.unit_seconds is not None or ask.workers != 1:
        fork_safe_cuda()
    data = datasets.load(ask.dataset, signal=ask.signal, layer=ask.layer, round_counts=ask.round_counts)
    for note in data.notes if ask.progress else ():
        tqdm.write(note, file=sys.stderr)
    ablations.check(departure, ask.models, ask.estimators, data)
    grid = Grid(
        data,
        ask.models,
        ask.cell_numbers or data.card.cell_numbers,
        ask.fractions or data.card.fractions,
        ask.preset,
        ask.estimators,
        ask.n_test or data.card.n_test,
        ask.n_validation or data.card.n_validation,
        resolve_device(ask.device),
        departure,
        ask.results,
        ask.keep_embeddings,
        ask.progress,
    )
    splits = {seed: grid.split(seed) for seed in ask.seeds}
    slices = [Slice(grid, cells, seed, fraction) for seed, cells in splits.items() for fraction in grid.fractions]
    if ask.output is not None:
        hashes = {unit.config_hash for one in slices for point in one.points for unit in one.units(point)}
        measurements.check_replaceable(ask.output, hashes)
    with one_thread(), tqdm(total=sum(len(s.points) for s in slices), disable=not ask.progress, unit="unit") as bar:
        table = measurements.sort(row for rows in _run(slices, ask.unit_seconds, ask.workers, bar) for row in rows)
    HELD.clear()
    if ask.output is not None:
        measurements.write(table, ask.output)
    return table


def _check_names(names: Sequence[str], preset: str, estimators: Sequence[str]) -> None:
    for name in names:
        choose("model", name, (*models.MODELS, *CONTROLS))
        models.check_model(learner(name), preset)
    for name in estimators:
        choose("estimator", name, information.METHODS)


def _run(slices: Sequence[Slice], unit_seconds: float | None, workers: int, bar: tqdm) -> Iterator[list[dict]]:
    """The rows of every point of every slice: first those missing are measured, then those kept are read.

    Those missing are measured here or, with a limit or for several at a time, in workers.
    """
    points = [(one, point) for one in slices for point in one.points]
    missing = [(one, point) for one, point in points if None in one.kept(point).values()]
    bar.update(len(points) - len(missing))

    def rows(number: int) -> list[dict]:
        one, point = missing[number]
        return one.rows(point)

    numbers = range(len(missing))
    left = Counter(one for one, _ in missing)
    if unit_seconds is None and workers == 1:
        found: Iterator[Outcome] = (Outcome(number, rows(number)) for number in numbers)
    else:
        found = outcomes(rows, numbers, size=workers, seconds=unit_seconds)
    for outcome in found:
        one, point = missing[outcome.task]
        bar.set_postfix_str(f"{one} {point.model} N={point.n_cells}")
        bar.update()
        yield one.failed(point, outcome.error) if outcome.error else outcome.result
        left[one] -= 1
        if not left[one]:
            one.forget()
    kept = set(points) - set(missing)
    yield from (one.rows(point) for one, point in points if (one, point) in kept)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread in BLAS and torch: sums come in one order, so that bits repeat; Snakemake fills the other cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
