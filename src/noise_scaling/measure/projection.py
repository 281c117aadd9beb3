"""What a grid would cost: seconds a unit as the tables' own rows give them, carried to grids that were not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from ..datasets.registry import Card, card, read_registry
from ..measurements import KEY, OK
from . import cost
from .grid import Job, jobs

GB = 1e9
BYTES_PER_ROW = 400
"""Of a measurements table; its unit's file holds about 1,000."""
BYTES_PER_UNIT = 1000


def training_times(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each training: model, preset, n_cells, kilogenes, seconds.

    Rows of one embedding under several estimators are one training. The median over seeds and depths of each data
    set, model and N is taken: the first unit of a job has imports and compilation in its seconds.
    """
    measured = table[(table["status"] == OK) & table["train_seconds"].notna() & (table["variant"] == "")]
    measured = measured.drop_duplicates([name for name in KEY if name not in ("estimator", "signal")])
    measured = measured.assign(kilogenes=_kilogenes(measured["dataset"]))
    by = ["dataset", "model", "preset", "n_cells", "kilogenes"]
    return measured.groupby(by)["train_seconds"].median().rename("seconds").reset_index()


def _kilogenes(names: pd.Series) -> pd.Series:
    known = read_registry()
    return names.map({name: known[name].n_genes / 1000 if name in known else np.nan for name in set(names)})


def fit_training(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds of a training as fixed + per_kilogene g + per_cell g N / 1000, by model and preset.

    g is thousands of genes and N training cells; all three terms are at least 0, and relative errors are least.
    Columns: model, preset, points, fixed, per_kilogene, per_cell, error (median relative), largest (N measured).
    """
    found = []
    for (model, preset), here in training_times(table).dropna().groupby(["model", "preset"]):
        terms = _terms(here["kilogenes"], here["n_cells"])
        seconds = here["seconds"].clip(lower=1e-3).to_numpy()
        (fixed, per_kilogene, per_cell), _ = nnls(terms / seconds[:, None], np.ones(len(seconds)))
        error = np.median(np.abs(terms @ [fixed, per_kilogene, per_cell] / seconds - 1))
        found.append((model, preset, len(here), fixed, per_kilogene, per_cell, error, here["n_cells"].max()))
    columns = ["model", "preset", "points", "fixed", "per_kilogene", "per_cell", "error", "largest"]
    return pd.DataFrame(found, columns=columns)


def _terms(kilogenes: object, n_cells: object) -> np.ndarray:
    g, n = np.asarray(kilogenes, float), np.asarray(n_cells, float)
    return np.stack([np.ones_like(g), g, g * n / 1000], axis=-1)


def training_seconds(fit: Mapping[str, float], n_genes: float, n_cells: object) -> np.ndarray:
    """Seconds of one training after a row of `fit_training`."""
    g = np.full(np.shape(n_cells), n_genes / 1000)
    return _terms(g, n_cells) @ np.array([fit["fixed"], fit["per_kilogene"], fit["per_cell"]], float)


def fit_estimates(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds of an estimate for 1,000 test cells, by estimator and kind of signal (label, or vectors and pairs).

    Columns: estimator, signals, rows, per_kilocell (median), largest (test cells measured).
    """
    rows = table[(table["status"] == OK) & table["mi_seconds"].notna() & (table["variant"] == "")]
    kinds = [_kind(name, signal) for name, signal in zip(rows["dataset"], rows["signal"], strict=True)]
    rows = rows.assign(signals=kinds, each=rows["mi_seconds"] / rows["n_test"] * 1000)
    by = rows.groupby(["estimator", "signals"])
    return by.agg(rows=("each", "size"), per_kilocell=("each", "median"), largest=("n_test", "max")).reset_index()


def _kind(dataset: str, signal: str) -> str:
    about = read_registry().get(dataset)
    kind = about.signals.get(signal, {}).get("kind", "vector") if about else "vector"
    return "label" if kind == "label" else "vector"


def project(config: Mapping[str, object], table: pd.DataFrame, *, preset: str = "small") -> pd.DataFrame:
    """Hours on one core of a configuration's grid, by data set and model, after the fits to `table`.

    Columns: dataset, model, trainings, train_hours, beyond (share of them in trainings of more cells than were
    measured), estimate_hours. Hours are NaN where the model was never measured with `preset`; of the estimators, those
    that were never measured are left out (`unmeasured_estimators`).
    """
    training = fit_training(table)
    training = training[training["preset"] == preset].set_index("model")
    estimates = fit_estimates(table).set_index(["estimator", "signals"])["per_kilocell"]
    found = [
        (job.dataset, model, *_cost(job, model, training, estimates)) for job in jobs(config) for model in job.models
    ]
    columns = ["dataset", "model", "trainings", "train_hours", "beyond_hours", "estimate_hours"]
    out = pd.DataFrame(found, columns=columns).groupby(["dataset", "model"], sort=False).sum(min_count=1).reset_index()
    out["beyond"] = out["beyond_hours"] / out["train_hours"]
    return out[["dataset", "model", "trainings", "train_hours", "beyond", "estimate_hours"]]


def unmeasured_estimators(config: Mapping[str, object], table: pd.DataFrame) -> list[str]:
    """Estimators that a configuration asks for and no row of the table has used."""
    asked = {name for job in jobs(config) for name in job.estimators}
    return sorted(asked - set(table.loc[table["status"] == OK, "estimator"]))


def _cost(job: Job, model: str, training: pd.DataFrame, estimates: pd.Series) -> tuple[int, float, float, float]:
    """Trainings of one model in a job, their hours, the hours of those beyond what was measured, and of estimates."""
    about = card(job.dataset)
    cells = np.array(job.cell_numbers)
    kind = _kind(job.dataset, job.signal or about.signal)
    per_kilocell = sum(estimates.get((name, kind), 0.0) for name in job.estimators)
    estimate_hours = per_kilocell * (job.n_test or about.n_test) / 1000 * len(cells) / 3600
    if model not in training.index:
        return len(cells), np.nan, np.nan, estimate_hours
    fit = training.loc[model]
    seconds = training_seconds(fit, about.n_genes, cells)
    beyond = seconds[cells > fit["largest"]].sum()
    return len(cells), seconds.sum() / 3600, beyond / 3600, estimate_hours


def footprint(
    cell_numbers: Iterable[int], *, n_genes: int = 24_552, umis: float = 2_500.0, dims: Sequence[int] = (16, 256)
) -> pd.DataFrame:
    """Gigabytes of an atlas of N cells, by the formulas of `cost`; the defaults are the embryo atlas's.

    Columns: cells, loaded (counts), thinned, in_training (PCA's, the largest), tokens (512 a cell, 2 bytes), and
    embeddings (float32) of every cell for each number of dimensions.
    """
    about = Card("atlas", "atlas", n_genes=n_genes, median_umis=umis)
    each = cost.nonzeros_per_cell(about)
    costs = cost.BYTES_PER_NONZERO
    rows = []
    for n in cell_numbers:
        row = {"cells": n, "loaded": costs["loaded"], "thinned": costs["thinned"], "in_training": costs["in training"]}
        row = {name: value if name == "cells" else value * each * n / GB for name, value in row.items()}
        row["tokens"] = min(512, each) * 2 * n / GB
        row |= {f"embeddings_{d}": 4 * d * n / GB for d in dims}
        rows.append(row)
    return pd.DataFrame(rows)
