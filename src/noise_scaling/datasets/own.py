"""Load your own cells: a file with raw counts, and a signal named by its place in the file."""

import hashlib
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from ..signals import Signal, test_eligible
from . import on_disk
from .dataset import Dataset, assemble
from .formats import open_cells
from .own_counts import large_files, read_counts, refuse_empty
from .own_rounding import normalised
from .own_signals import STREAM, read_signal
from .registry import Card, default_grid


def load_own(path: Path, *, signal: str | None, layer: str | None, round_counts: bool = False) -> Dataset:
    """Load counts and signal of a file, with a card made from its content and notes on how values were interpreted.

    Counts of `count_store.IN_MEMORY_BELOW` bytes or more stay in the file if it stores them cell by cell (CSR).
    Arguments are as for `datasets.load`; see `formats.open_cells` for the formats of files, and `own_signals` for the
    forms of signals. InputError if the file cannot be read, its counts are not raw counts, or the signal is missing,
    constant or unusable.
    """
    with open_cells(path) as cells:
        files = large_files(cells, layer)
        features = read_counts(cells, layer, path.name, round_counts=round_counts, paths=files)
        found, more = read_signal(cells, features.others, signal, path.name)
        names = cells.obs_names
    counts, genes = features.counts, features.genes
    if not files:
        card, obs = _card(path, np.asarray(counts.sum(axis=1)).ravel(), len(genes), found), pd.DataFrame(index=names)
        return assemble(card, counts, obs, genes, found, stream=STREAM, notes=(*features.notes(), *more))
    chosen = hashlib.blake2b(np.packbits(features.chosen).data, digest_size=8).hexdigest()
    seen = on_disk.survey(counts, f"round {round_counts} genes {chosen}", features.notes)
    refuse_empty(seen.umis, features.where)
    card, cell_ids = _card(path, seen.umis, len(genes), found), names.to_numpy(dtype=np.dtypes.StringDType())
    notes = (*seen.notes, *normalised(seen.umis, features.where), *more)
    return on_disk.assemble_on_disk(card, counts, seen, cell_ids, genes, found, stream=STREAM, notes=notes)


def load_counts(path: Path, *, layer: str | None, round_counts: bool = False) -> anndata.AnnData:
    """Load the counts of a file into memory, with its obs and var tables; like `load_own`, without a signal.

    Parameters
    ----------
    path
        A file of cells (`formats.open_cells`).
    layer, round_counts
        As for `datasets.load`.

    Raises
    ------
    InputError
        If the file cannot be read, or its counts are not raw counts.
    """
    with open_cells(path) as cells:
        features = read_counts(cells, layer, path.name, round_counts=round_counts)
        obs, var = (
            pd.DataFrame({name: getattr(table[name], "array", table[name]) for name in table}, index=names)
            for table, names in ((cells.obs, cells.obs_names), (cells.var, cells.var_names))
        )
    return anndata.AnnData(X=features.counts, obs=obs, var=var[features.chosen])


def _card(path: Path, umis: np.ndarray, n_genes: int, signal: Signal) -> Card:
    eligible = int(test_eligible(signal).sum())
    about = f"{signal.name} of {path.name}, in {eligible} cells"
    grid = default_grid(len(umis), float(umis.mean()))
    grid["n_test"] = max(1, min(grid["n_test"], eligible // 2))
    return Card(
        path.stem, path.name, n_cells=len(umis), n_genes=n_genes, median_umis=float(np.median(umis)),
        signal=signal.name, signals={signal.name: {"kind": signal.kind, "description": about}}, licence="yours",
        citation=path.name, limits=("Nothing is known of this file beyond what it holds.",), **grid,
    )  # fmt: skip
