"""Measure slices of the grid: data set x depth x seed x cells x model -> rows in bits, resumable unit by unit."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .. import datasets, information, measurements
from ..errors import InputError, choose
from ..information.crossfit import one_thread
from ..models import MODELS, settings
from ..models.base import resolve_device
from ..models.team import Team, check_devices, launched, place
from . import ablations, fitting, request
from .brought import Brought, is_brought
from .controls import CONTROLS, learner
from .request import DEFAULT_MODELS
from .slice import HELD, UNIT_ERRORS, Grid, Slice
from .workers import Outcome, fork_safe_cuda, outcomes

_OF_THE_CARD = ("cell_numbers", "fractions", "n_test", "n_validation")
_AS_ASKED = ("models", "preset", "estimators", "results", "keep_embeddings", "precision")


def measure(
    dataset: str | Path = "pbmc68k",
    *,
    models: Sequence[str] = DEFAULT_MODELS,
    cell_numbers: Sequence[int] | None = None,
    fractions: Sequence[float] | None = None,
    fractions_train: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    signal: str | None = None,
    layer: str | None = None,
    round_counts: bool = False,
    embeddings: str | Path | None = None,
    preset: str = "small",
    estimators: Sequence[str] = ("default",),
    variant: str = "",
    n_test: int | None = None,
    n_validation: int | None = None,
    device: str = "cpu",
    devices: int = 1,
    precision: str | None = None,
    results: str | Path | None = None,
    keep_embeddings: bool = False,
    unit_seconds: float | None = None,
    workers: int = 1,
    output: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure a slice of the grid.

    Lists may be given as a single value or as text ("[50, 100]"), numbers as text, because papermill passes them so.

    Parameters
    ----------
    dataset, signal, layer, round_counts
        As for `datasets.load`.
    models
        Names of models; "shuffled" and "known_2_bits" are the controls, with 0 and 2 bits; "obsm:KEY" is an embedding
        read from files, measured once, at the largest number of cells.
    cell_numbers
        Numbers N of training cells, which are nested; the card's by default.
    fractions
        Shares of the molecules to keep, in (0, 1]; the card's by default.
    fractions_train
        Shares for the training and validation cells only, each combined with all of `fractions`, which then apply to
        the test cells: one training serves them all. None: training and test cells are thinned alike.
    seeds
        One replicate for each seed, which determines split, thinning, training and estimator.
    embeddings
        Folder of the files that `brought.thin` wrote, with the embeddings of their cells added. Without a folder, the
        data set's own file provides the embeddings at full depth.
    preset
        Settings of every model: "small" or "published".
    estimators
        Methods of `information.estimate`; each embedding is scored by all of them.
    variant
        Name of a variant of the protocol (`ablations.VARIANTS`, fixed_steps_N, width_N, dims_N, blocks_N); "" for none.
    n_test, n_validation
        Numbers of held-out cells, the same at every depth and cell number; the card's by default.
    device
        "cpu", "cuda" or "auto".
    devices
        Number of GPUs (on a CPU: processes) that train one model together, for models that can (`Geneformer.fit`). If
        torchrun or srun started several processes, on one or more machines, those are used, and the first writes all.
    precision
        "32", "bf16" (matrix products in bfloat16) or "auto" (bf16 if the hardware supports it), for the models that
        train a network; None: the preset's.
    results
        Folder in which finished units are kept and looked up; None keeps nothing.
    keep_embeddings
        Keep the test cells' embeddings in `results` too, so that another estimator needs no training.
    unit_seconds
        Wall-clock limit for one model at one N, with all its estimators. A unit that takes longer is stopped, whatever
        code it runs, and becomes a failed row, as does a unit whose process dies. None sets no limit.
    workers
        Units measured at a time, each in its own process with one thread; all share one GPU if there is one. With 1
        and no time limit, all run in this process.
    output
        CSV file to write the table to; None writes none. A file that holds other measurements is not replaced.
    progress
        Whether to show a progress bar, the data set's notes and the progress of each training.

    Returns
    -------
    The measurements table of the slice (`measurements.COLUMNS`); a failed unit is a row with its error.

    Raises
    ------
    InputError
        If an argument names something that does not exist or does not fit the data; nothing has been measured then.
    """
    ask = request.read(**locals())
    for name in (name for name in ask.models if not is_brought(name)):
        choose("model", name, (*MODELS, *CONTROLS))
        settings(learner(name), preset=ask.preset)
    for name in ask.estimators:
        choose("estimator", name, information.METHODS)
    request.check_places(ask.results, ask.output)
    brought = Brought(ask.dataset, ask.embeddings)
    brought.check(ask.models, ask.variant)
    ablation = ablations.named(ask.variant)
    if ask.fractions_train and (ablation.full_depth or not ablation.prefix or any(map(is_brought, ask.models))):
        what = f"the variant {ask.variant!r}" if ask.variant else "embeddings that files bring"
        raise InputError(f"fractions_train (--fractions-train) means nothing for {what}: leave one of them out")
    fitting.check(ask.models, ask.preset, ask.devices, ask.precision)
    if ask.workers > 1 and ask.devices > 1:
        both = f"workers is {ask.workers} and devices is {ask.devices}"
        raise InputError(f"{both}: they would share the devices, give one")
    team = _team(ask)
    data = datasets.load(ask.dataset, signal=ask.signal, layer=ask.layer, round_counts=ask.round_counts)
    for note in data.notes if ask.progress and not team.rank else ():
        tqdm.write(note, file=sys.stderr)
    ablations.check(ablation, ask.models, ask.estimators, data)
    grid = _grid(ask, data, team, variant=ablation, brought=brought)
    splits = {seed: grid.split(seed) for seed in ask.seeds}
    depths = [(q, grid.fractions) for q in grid.fractions_train] or [(q, ()) for q in grid.fractions]
    slices = [Slice(grid, cells, seed, *depth) for seed, cells in splits.items() for depth in depths]
    if team.rank:
        with one_thread(), threadpool_limits(1):
            return follow(slices, team)
    with leading(team):
        if ask.output is not None:
            hashes = {unit.config_hash for one in slices for point in one.points for unit in one.units(point)}
            measurements.check_replaceable(ask.output, hashes)
        bars = tqdm(total=sum(len(s.points) for s in slices), disable=not ask.progress, unit="unit")
        with one_thread(), threadpool_limits(1), bars as bar:  # one thread: Snakemake fills the other cores
            table = measurements.sort(row for rows in _run(slices, ask.unit_seconds, ask.workers, bar) for row in rows)
    HELD.clear()
    if ask.output is not None:
        measurements.write(table, ask.output)
    return team.share(table)


def _grid(ask: SimpleNamespace, data: datasets.Dataset, team: Team, **found: Any) -> Grid:
    """Return the settings that all slices share: as asked for, else from the data set's card."""
    usual = {name: getattr(ask, name) or getattr(data.card, name) for name in _OF_THE_CARD}
    same = {name: getattr(ask, name) for name in _AS_ASKED}
    return Grid(
        data=data, **usual, **same, device=resolve_device(ask.device), progress=ask.progress and not team.rank,
        devices=max(ask.devices, team.size), fractions_train=ask.fractions_train or (), **found,
    )  # fmt: skip


def _team(ask: SimpleNamespace) -> Team:
    """Return the processes that a launcher started, or this one alone; InputError if the arguments do not suit them."""
    _, size = place()
    if size > 1 and (ask.workers > 1 or ask.unit_seconds is not None):
        raise InputError(
            f"a launcher started {size} processes: leave workers and unit_seconds out, they would fork them"
        )
    if size == 1 and (ask.unit_seconds is not None or ask.workers != 1 or ask.devices != 1):
        fork_safe_cuda()
    device = resolve_device(ask.device)
    check_devices(ask.devices, device)
    return launched(device)


@contextmanager
def leading(team: Team) -> Iterator[None]:
    """Pass an exception of the first process on to the others, so that they end too."""
    try:
        yield
    except Exception as error:
        team.share(error)
        raise


def follow(slices: Sequence[Slice], team: Team) -> pd.DataFrame:
    """Train along with the first process, point by point as it announces them, and return its table at the end.

    Nothing is written here. An exception that ends the first process is raised here too.
    """
    known = {(one.seed, one.fraction): one for one in slices}
    while isinstance(task := team.share(None), tuple):
        seed, fraction, point = task
        with suppress(*UNIT_ERRORS):
            known[seed, fraction].train_along(point)
    if isinstance(task, Exception):
        raise task
    return task


def _run(slices: Sequence[Slice], unit_seconds: float | None, workers: int, bar: tqdm) -> Iterator[list[dict]]:
    """Yield the rows of every point: missing rows are measured, here or in workers, then kept rows are read."""
    points = [(one, point) for one in slices for point in one.points]
    missing = [(one, point) for one, point in points if None in one.kept(point).values()]
    bar.update(len(points) - len(missing))

    def rows(number: int) -> list[dict]:
        one, point = missing[number]
        return one.rows(point)

    numbers = range(len(missing))
    left, done = Counter(one for one, _ in missing), list[Slice]()
    forks = place()[1] == 1 and any(one.grid.devices > 1 for one in slices)
    if unit_seconds is None and workers == 1 and not forks:
        found: Iterator[Outcome] = (Outcome(number, rows(number)) for number in numbers)
    else:
        found = outcomes(rows, numbers, size=workers, seconds=unit_seconds, fresh=forks)
    for outcome in found:
        one, point = missing[outcome.task]
        bar.set_postfix_str(f"{one} {point.model} N={point.n_cells}")
        bar.update()
        yield one.failed(point, outcome.error) if outcome.error else outcome.result
        left[one] -= 1
        done += [] if left[one] else [one]
        done = [each for each in done if not each.forget()]
    kept = set(points) - set(missing)
    for one in done:  # slices whose counts a worker read until it ended
        one.forget()
    yield from (one.rows(point) for one, point in points if (one, point) in kept)
