"""What a sweep costs: the memory and time that a job asks for, and forecasts from the seconds in measured tables.

Requests are upper bounds for a scheduler, from the models' own numbers (`models.base.Model`). Forecasts are fits to
the rows of tables, extrapolated to grids that were not measured.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from .. import paths
from ..counts.count_store import IN_MEMORY_BELOW, FileStore, open_store
from ..datasets.registry import Card, File, read_registry
from ..errors import InputError
from ..measurements import KEY, OK, protocol_rows
from ..models import MODELS
from . import fitting
from .brought import is_brought
from .controls import learner
from .grid import Job, jobs

MB, GB = 1e6, 1e9
PROGRAM_MB = 2000.0
"""A job before it loads data. Measured on Slurm: kernel 660 MB, papermill 60, two Snakemakes of 510; resident 1,750."""
NONZEROS_PER_UMI = 0.6
"""Upper bound of genes detected per molecule below saturation: 0.4-0.6 on the small data sets at full depth."""
BYTES_PER_NONZERO = {"loaded": 8.0, "thinned": 8.0, "in_training": 12.0}
"""int32 index and value; the same when thinned; int32 index and float64 value while PCA normalises (scVI: float32)."""
TOKENS, TOKEN_BYTES = 512, 2
ON_DISK_BYTES_PER_CELL, ON_DISK_BYTES = 100, 6e8
"""Memory for counts on disk: names, row pointers and keys per cell; blocks that are read, thinned and sorted."""
OVERHEAD_SECONDS = 120.0
"""Time to queue and start, or to thin, for each depth of a job."""
BYTES_PER_SECOND = 1e8
"""Counts read from disk, a first look at all of them included; 1.6e8 with all of a slice, PCA too (ten_million.md)."""
ESTIMATE_SECONDS = 25.0
"""One estimate for 1,000 test cells: 99 of 100 estimates by LMI, the slowest, took less on the small data sets."""
ANOTHER_DEVICE = 0.7
"""Speed that each further device adds, relative to one. Assumed: devices wait for each other at every step."""
LONGEST_MINUTES = 2880
"""No job asks for more than two days. A job that needs longer is submitted again and reuses its finished units."""
UNITS = {"mem_mb": "MB", "runtime": "minutes"}
"""Unit of each requested resource, by Snakemake's names."""


def nonzeros_per_cell(card: Card, fraction: float = 1.0) -> float:
    """Return a cell's non-zero counts at a depth: at most the genes, and at most NONZEROS_PER_UMI x molecules."""
    return min(card.n_genes, NONZEROS_PER_UMI * card.median_umis * fraction) + 1


def memory_mb(job: Job) -> int:
    """Return the megabytes of one job: program, data set, the job's cells thinned and in training, and largest model.

    A model that trains on several devices is held once on each. The memory for counts that stay on disk follows the
    book's page on memory and does not depend on the number of training cells.
    """
    card = _card(job)
    held_out = (job.n_test or card.n_test) + (job.n_validation or card.n_validation)
    train = nonzeros_per_cell(card, max(job.trained)) * min(card.n_cells, max(job.cell_numbers))
    held = nonzeros_per_cell(card, max(job.fractions)) * min(card.n_cells, held_out)
    data = _bytes_loaded(card)
    if _stays_on_disk(card):
        data, train = ON_DISK_BYTES_PER_CELL * card.n_cells + ON_DISK_BYTES, min(train, IN_MEMORY_BELOW / 8)
    counts = (train + held) * (BYTES_PER_NONZERO["thinned"] + BYTES_PER_NONZERO["in_training"])
    held_by = {
        name: MODELS[learner(name)].bytes_in_training(job.preset, n_genes=card.n_genes) for name in _trained(job)
    }
    model = max((_devices(job, name) * size for name, size in held_by.items()), default=0.0)
    return math.ceil(PROGRAM_MB + (data + counts + model) / MB)


def _bytes_loaded(card: Card) -> float:
    return nonzeros_per_cell(card) * card.n_cells * BYTES_PER_NONZERO["loaded"]


def _stays_on_disk(card: Card) -> bool:
    """Whether counts are too large for memory, and files store them cell by cell; others are read whole."""
    by_cell = card.files and all(file.name.endswith((".h5ad", ".zarr")) for file in card.files)
    return bool(by_cell) and _bytes_loaded(card) >= IN_MEMORY_BELOW


def runtime_minutes(job: Job) -> int:
    """Return the minutes of one job with all its depths and units (`_minutes`), at most two days."""
    return min(LONGEST_MINUTES, _minutes(job))


def request(job: Job, limits: Mapping[str, Mapping[str, int | str]], attempt: int = 1) -> dict[str, int]:
    """Return a job's request to a scheduler; attempts 2 and 3 ask for two and three times as much, up to the limits.

    `limits` come from the configuration: by rule, the largest `mem_mb` and `runtime` (minutes) that its partition
    grants. A profile passes numbers as text.
    """
    most = {"runtime": LONGEST_MINUTES} | {name: int(n) for name, n in limits.get(job.rule, {}).items()}
    return {name: min(attempt * n, most.get(name, attempt * n)) for name, n in _wanted(job).items()}


def cuts(found: Iterable[Job], limits: Mapping[str, Mapping[str, int | str]]) -> list[str]:
    """Return a sentence for each rule and limit that jobs exceed at their first attempt; `limits` as in `request`."""
    asked = pd.DataFrame([{"rule": job.rule} | _wanted(job) for job in found])
    sentences = []
    for rule, name in ((rule, name) for rule, most in limits.items() for name in most):
        most, here = int(limits[rule][name]), asked.loc[asked["rule"] == rule, name]
        if n := int((here > most).sum()):
            sentences.append(
                f"{n} of {len(here)} jobs of {rule} would ask for up to {here.max():,} {UNITS[name]} and get "
                f"{most:,}: limits.{rule}.{name} allows no more"
            )
    return sentences


def _wanted(job: Job) -> dict[str, int]:
    return {"mem_mb": memory_mb(job), "runtime": _minutes(job)}


def _minutes(job: Job) -> int:
    """Minutes of a job whose depths, trainings and estimates run one after the other."""
    card, seconds = _card(job), OVERHEAD_SECONDS * len(job.trained)
    if _stays_on_disk(card):
        seconds += _bytes_loaded(card) / BYTES_PER_SECOND * (1 + len(job.trained))
    for name in _trained(job):
        model = MODELS[learner(name)]
        faster = model.gpu_speedup.get(job.preset, 1.0) if job.device != "cpu" else 1.0
        faster *= 1 + ANOTHER_DEVICE * (_devices(job, name) - 1)
        for fraction in job.trained:
            size = {"n_genes": card.n_genes, "nonzeros": nonzeros_per_cell(card, fraction)}
            seconds += sum(model.train_seconds(job.preset, n_cells=n, **size) for n in job.cell_numbers) / faster
    estimates = len(job.models) * job.scored * len(job.cell_numbers) * len(job.estimators)
    seconds += ESTIMATE_SECONDS * estimates * (job.n_test or card.n_test) / 1000
    return math.ceil(seconds / 60)


def _trained(job: Job) -> list[str]:
    """The job's models, except those whose embeddings are read from files."""
    return [name for name in job.models if not is_brought(name)]


def _devices(job: Job, model: str) -> int:
    """Number of devices on which a model of the job trains."""
    return fitting.taken(model, job.preset, job.devices, job.precision)[0]


def _card(job: Job) -> Card:
    """Return the data set's card; for a file, by its shape, and without one of 100,000 cells of 5,000 molecules.

    Only counts that are stored cell by cell are named as files of the card.
    """
    known = read_registry().get(job.dataset)
    if known is not None:
        return known
    path = Path(job.dataset).expanduser()
    files: tuple[File, ...] = ()
    try:
        store = FileStore(sorted(path.glob("*.h5ad")) or path)
        shape, stored, files = store.shape, int(store.lengths.sum()), (File(path.with_suffix(".h5ad").name),)
    except InputError:
        shape, stored = _read_whole(path)
    return Card(
        job.dataset, job.dataset, n_cells=shape[0], n_genes=shape[1], n_test=min(10_000, shape[0]), files=files,
        n_validation=min(2_000, shape[0]), median_umis=stored / max(shape[0], 1) / NONZEROS_PER_UMI,
    )  # fmt: skip


def _read_whole(path: Path) -> tuple[tuple[int, int], int]:
    """Return cells and genes, and the number of stored counts, of a file that is dense or stored gene by gene."""
    with contextlib.suppress(OSError, KeyError, InputError), open_store(path) as root:
        counts = root["X"]
        by_gene = hasattr(counts, "keys")
        cells, genes = map(int, counts.attrs["shape"] if by_gene else counts.shape)
        return (cells, genes), len(counts["data"]) if by_gene else cells * genes
    return (100_000, 20_000), 300_000_000


def training_times(table: pd.DataFrame) -> pd.DataFrame:
    """Return training times on the CPU, with columns dataset, model, preset, n_cells, kilogenes, seconds.

    Rows of one embedding under several estimators are one training. Seconds are the median over seeds and depths of
    each data set, model and N, because the first unit of a job includes imports and compilation.
    """
    measured = protocol_rows(table[table["device"] == "cpu"], "train_seconds", controls=True)
    measured = measured.drop_duplicates([name for name in KEY if name not in ("estimator", "signal")])
    genes = {name: card.n_genes / 1000 for name, card in read_registry().items()}
    measured = measured.assign(kilogenes=measured["dataset"].map(genes))
    by = ["dataset", "model", "preset", "n_cells", "kilogenes"]
    return measured.groupby(by)["train_seconds"].median().rename("seconds").reset_index()


def fit_training(table: pd.DataFrame) -> pd.DataFrame:
    """Fit the seconds of a training as fixed + per_kilogene g + per_cell g N / 1000, by model and preset.

    g is thousands of genes, N training cells. Coefficients are at least 0 and minimise the squared relative errors.
    Columns: model, preset, points, fixed, per_kilogene, per_cell, error (median relative), largest (N measured).
    """
    found = []
    for (model, preset), here in training_times(table).groupby(["model", "preset"]):
        terms = _terms(here["kilogenes"], here["n_cells"])
        seconds = here["seconds"].clip(lower=1e-3).to_numpy()
        (fixed, per_kilogene, per_cell), _ = nnls(terms / seconds[:, None], np.ones(len(seconds)))
        error = np.median(np.abs(terms @ [fixed, per_kilogene, per_cell] / seconds - 1))
        found.append((model, preset, len(here), fixed, per_kilogene, per_cell, error, here["n_cells"].max()))
    columns = ["model", "preset", "points", "fixed", "per_kilogene", "per_cell", "error", "largest"]
    return pd.DataFrame(found, columns=columns)


def training_seconds(fit: Mapping[str, float], n_genes: float, n_cells: Sequence[float] | np.ndarray) -> np.ndarray:
    """Predict the seconds of one training at each number of cells from a row of `fit_training`."""
    terms = _terms(np.full(np.shape(n_cells), n_genes / 1000), n_cells)
    return terms @ np.array([fit["fixed"], fit["per_kilogene"], fit["per_cell"]], float)


def _terms(kilogenes: Sequence[float] | np.ndarray, n_cells: Sequence[float] | np.ndarray) -> np.ndarray:
    g, n = np.asarray(kilogenes, float), np.asarray(n_cells, float)
    return np.stack([np.ones_like(g), g, g * n / 1000], axis=-1)


def fit_estimates(table: pd.DataFrame) -> pd.DataFrame:
    """Return seconds of an estimate for 1,000 test cells, by estimator and signal (label, or vectors and pairs).

    Columns: estimator, signals, rows, per_kilocell (median), largest (test cells measured).
    """
    rows = protocol_rows(table, "mi_seconds", controls=True)
    kinds = [_kind(name, signal) for name, signal in zip(rows["dataset"], rows["signal"], strict=True)]
    rows = rows.assign(signals=kinds, each=rows["mi_seconds"] / rows["n_test"] * 1000)
    by = rows.groupby(["estimator", "signals"])
    return by.agg(rows=("each", "size"), per_kilocell=("each", "median"), largest=("n_test", "max")).reset_index()


def _kind(dataset: str, signal: str) -> str:
    about = read_registry().get(dataset)
    label = about is not None and about.signals.get(signal, {}).get("kind") == "label"
    return "label" if label else "vector"


def project(config: Mapping[str, Any], table: pd.DataFrame, *, preset: str = "") -> pd.DataFrame:
    """Project the hours on one core for a checked configuration, by data set and model; "" keeps its own preset.

    Hours follow from fits to `table`. If a model has no row with the preset's settings, they are the bound that jobs
    request (`Model.train_seconds`): every step that the preset allows, without early stopping.

    Columns: dataset, model, trainings, train_hours, rests_on ("rows" or "bound"), beyond (share of the hours in
    trainings of more cells than were measured), card_hours (train_hours on a GPU by `Model.gpu_speedup`, for models
    that use one), estimate_hours. Estimators that were never measured are left out (`unmeasured_estimators`).
    """
    training = fit_training(table).set_index(["model", "preset"])
    estimates = fit_estimates(table).set_index(["estimator", "signals"])["per_kilocell"]
    found = [
        {"dataset": job.dataset, "model": model} | _hours(job, model, preset or job.preset, training, estimates)
        for job in jobs(config)
        for model in job.models
    ]
    out = pd.DataFrame(found).groupby(["dataset", "model", "rests_on"], sort=False).sum(min_count=1).reset_index()
    out["beyond"] = out.pop("beyond_hours") / out["train_hours"]
    order = ["dataset", "model", "trainings", "train_hours", "rests_on", "beyond", "card_hours", "estimate_hours"]
    return out[order]


def _hours(job: Job, model: str, preset: str, training: pd.DataFrame, estimates: pd.Series) -> dict[str, object]:
    """Return one model's trainings in a job, their hours, the hours beyond measured N, and the hours of estimates."""
    about, cells, kind = _card(job), np.array(job.cell_numbers), MODELS[learner(model)]
    trainings = len(job.trained) * len(cells)
    what = _kind(job.dataset, job.signal or about.signal)
    per_kilocell = sum(estimates.get((name, what), 0.0) for name in job.estimators)
    alike = [(model, name) for name, settings in kind.PRESETS.items() if settings == kind.PRESETS[preset]]
    if fits := [name for name in alike if name in training.index]:
        fit = training.loc[fits[0]]
        hours = len(job.trained) * training_seconds(fit, about.n_genes, cells) / 3600
        known = cells <= fit["largest"]
    else:
        sizes = [{"n_genes": about.n_genes, "nonzeros": nonzeros_per_cell(about, q)} for q in job.trained]
        each = [[kind.train_seconds(preset, n_cells=int(n), **size) for n in cells] for size in sizes]
        hours, known = np.sum(each, axis=0) / 3600, np.zeros(len(cells), bool)
    card_hours = hours.sum() / kind.gpu_speedup.get(preset, 1.0) if kind.wants_gpu else np.nan
    return {
        "trainings": trainings, "train_hours": hours.sum(), "rests_on": "rows" if fits else "bound",
        "beyond_hours": hours[~known].sum(), "card_hours": card_hours,
        "estimate_hours": per_kilocell * (job.n_test or about.n_test) / 1000 * job.scored * len(cells) / 3600,
    }  # fmt: skip


def unmeasured_estimators(config: Mapping[str, Any], table: pd.DataFrame) -> list[str]:
    """Return the estimators that a configuration asks for and that no measured row of the table uses."""
    asked = {name for job in jobs(config) for name in job.estimators}
    return sorted(asked - set(table.loc[table["status"] == OK, "estimator"]))


def card_speed() -> tuple[str, pd.DataFrame]:
    """Return the GPU named in benchmarks/results/gpu_check.json ("" if none), and its step times against a CPU core's.

    Columns: model, preset, core_ms and card_ms (milliseconds of a step), measured (their ratio), and used
    (`Model.gpu_speedup`, the ratio that requests and projections use).
    """
    rows = [(m.name, preset, times) for m in MODELS.values() for preset, times in m.gpu_speedup.items()]
    table = pd.DataFrame(rows, columns=["model", "preset", "used"])
    path = paths.ROOT / "benchmarks/results/gpu_check.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    steps = found.get("speedups") or [{"model": "", "preset": ""}]
    timed = pd.DataFrame(steps).reindex(columns=["model", "preset", "cpu", "cuda"])
    table = table.merge(timed, how="left")
    table["core_ms"], table["card_ms"] = (1000 * table.pop(name).astype(float) for name in ("cpu", "cuda"))
    table["measured"] = table["core_ms"] / table["card_ms"]
    name = ((found.get("devices") or {}).get("cuda") or {}).get("name", "")
    return name, table[["model", "preset", "core_ms", "card_ms", "measured", "used"]]


def footprint(cell_numbers: Iterable[int]) -> pd.DataFrame:
    """Return the gigabytes that N cells like those of the embryo atlas take.

    Columns: cells, loaded (counts), thinned, in_training (for PCA, the largest), tokens (512 a cell, 2 bytes), and
    embeddings (float32) of every cell in 16 and 256 dimensions.
    """
    nonzeros = nonzeros_per_cell(read_registry()["mouse_embryo"])
    each = {name: size * nonzeros for name, size in BYTES_PER_NONZERO.items()}
    each |= {"tokens": min(TOKENS, nonzeros) * TOKEN_BYTES} | {f"embeddings_{d}": 4 * d for d in (16, 256)}
    return pd.DataFrame([{"cells": n} | {name: size * n / GB for name, size in each.items()} for n in cell_numbers])
