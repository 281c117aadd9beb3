"""What a job of a sweep asks for: memory and time from formulas in cells, depth and model, all of them here.

They are requests to a scheduler: upper bounds, not predictions. `status` and the book's page on cost compare them with
the rows' own seconds.
"""

from __future__ import annotations

import math

from ..datasets.registry import Card, read_registry
from .grid import Job

MB = 1e6
PROGRAM_MB = 1500.0
"""Python with torch, numba and scanpy loaded, before any data."""
NONZEROS_PER_UMI = 0.6
"""Genes seen per molecule, at most, below saturation: 0.4-0.6 on the small data sets at full depth."""
BYTES_PER_NONZERO = {"loaded": 8.0, "thinned": 8.0, "in training": 12.0}
"""int32 index and value; the same thinned; index and float64 value while PCA normalises (scVI: float32)."""
OVERHEAD_SECONDS = 120.0
"""Queue, start, load, thin, score: per job."""

# Seconds on one CPU thread: fixed, and for each cell that training sees, per unit of the model's width (below).
_CPU = {
    "random_projection": (2.0, 0.0),
    "pca": (2.0, 2e-4),
    "shuffled": (2.0, 2e-4),
    "known_2_bits": (2.0, 0.0),
    "scvi": (20.0, 4e-4),
    "geneformer": (20.0, 0.09),
    "untrained_geneformer": (60.0, 0.0),
}
GPU_SPEEDUP = {"scvi": 10.0, "geneformer": 50.0, "untrained_geneformer": 50.0}
"""Assumed, not measured: how much faster than one CPU thread a card trains. Only requests for time rest on it."""
CELLS_SEEN = {"small": {"scvi": 5e5, "geneformer": 3e4}, "published": {"scvi": 1e7, "geneformer": 1e8}}
"""Cells that a training sees at most, all epochs together: the presets' limits (published: limit / N epochs)."""
TOKENS = 512
LONGEST_MINUTES = 2880
"""No job asks for more than two days: what is not done by then is sent again and goes on from its finished units."""


def nonzeros_per_cell(card: Card, fraction: float = 1.0) -> float:
    """Entries of a row of counts at a depth: no more than genes, no more than NONZEROS_PER_UMI x molecules."""
    return min(card.n_genes, NONZEROS_PER_UMI * card.median_umis * fraction) + 1


def memory_mb(job: Job) -> int:
    """Megabytes for one job: the program, all cells at full depth, and the job's own cells thinned and in training."""
    card = _card(job)
    held_out = (job.n_test or card.n_test) + (job.n_validation or card.n_validation)
    cells = min(card.n_cells, held_out + max(job.cell_numbers))
    entries = nonzeros_per_cell(card, job.fraction) * cells
    own = entries * (BYTES_PER_NONZERO["thinned"] + BYTES_PER_NONZERO["in training"])
    data = nonzeros_per_cell(card) * card.n_cells * BYTES_PER_NONZERO["loaded"]
    return math.ceil(PROGRAM_MB + (data + own) / MB)


def cells_seen(model: str, preset: str, n_cells: int) -> float:
    """Cells that training sees at most: at least one epoch, at most the preset's limit."""
    return max(n_cells, CELLS_SEEN[preset].get(model, n_cells))


def width(model: str, card: Card, fraction: float) -> float:
    """What a cell costs in training: tokens / 512, thousands of genes (scVI's layers are dense), or of entries."""
    entries = nonzeros_per_cell(card, fraction)
    if "geneformer" in model:
        return min(TOKENS, entries) / TOKENS
    return card.n_genes / 1000 if model == "scvi" else entries / 1000


def unit_seconds(job: Job, model: str, n_cells: int) -> float:
    """Seconds for one model at one N, at most."""
    fixed, per_cell = _CPU.get(model, _CPU["scvi"])
    seconds = fixed + per_cell * width(model, _card(job), job.fraction) * cells_seen(model, job.preset, n_cells)
    return seconds / (GPU_SPEEDUP.get(model, 1.0) if job.device != "cpu" else 1.0)


def runtime_minutes(job: Job) -> int:
    """Minutes for one job: its units one after the other."""
    units = sum(unit_seconds(job, model, n) for model in job.models for n in job.cell_numbers)
    return min(LONGEST_MINUTES, math.ceil((OVERHEAD_SECONDS + units * len(job.estimators)) / 60))


def _card(job: Job) -> Card:
    """The data set's card; a file of one's own is taken for a set of 100,000 cells of 5,000 molecules."""
    return read_registry().get(job.dataset) or Card(
        job.dataset, job.dataset, n_cells=100_000, n_genes=20_000, median_umis=5_000, n_test=10_000, n_validation=2_000
    )
