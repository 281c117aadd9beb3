"""Your own cells: a file with raw counts, and a signal named by where it lies in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..counts import umis_per_cell
from ..signals import Signal, test_eligible
from .dataset import Dataset, assemble
from .formats import open_cells
from .own_counts import read_counts
from .own_signals import STREAM, read_signal
from .registry import Card, default_grid


def load_own(path: Path, *, signal: str | None, layer: str | None, round_counts: bool = False) -> Dataset:
    """Counts and signal of a file, with a card made from what is found and notes on what was taken for what.

    Parameters
    ----------
    path
        The file or folder; `formats.open_cells` has its kinds.
    signal
        Where the signal lies, in a form of `own_signals`.
    layer
        Which layer holds the raw counts; X if not given.
    round_counts
        Round estimated counts (EM, ambient correction) to whole ones.

    Raises
    ------
    InputError
        If the file cannot be read, its counts are not raw counts, or the signal is missing, constant or unusable.
    """
    with open_cells(path) as cells:
        features = read_counts(cells, layer, path.name, round_counts=round_counts)
        found, notes = read_signal(cells, features, signal, path.name)
        obs = pd.DataFrame(index=cells.obs_names)
    card = _card(path, features.counts, found)
    return assemble(card, features.counts, obs, features.genes, found, stream=STREAM, notes=(*features.notes, *notes))


def _card(path: Path, counts: sp.csr_matrix, signal: Signal) -> Card:
    eligible = int(test_eligible(signal).sum())
    about = f"{signal.name} of {path.name}, in {eligible} cells"
    grid = default_grid(counts.shape[0], umis_per_cell(counts))
    grid["n_test"] = max(1, min(grid["n_test"], eligible // 2))
    return Card(
        name=path.stem,
        title=path.name,
        n_cells=counts.shape[0],
        n_genes=counts.shape[1],
        median_umis=float(np.median(np.asarray(counts.sum(axis=1)))),
        signal=signal.name,
        signals={signal.name: {"kind": signal.kind, "description": about}},
        licence="yours",
        citation=path.name,
        limits=("Nothing is known of this file beyond what it holds.",),
        **grid,
    )
