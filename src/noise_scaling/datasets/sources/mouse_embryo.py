"""The paper's mouse embryo atlas, 11 million cells (Qiu et al. 2024), in files that are streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.utils import make_index_unique

from ...errors import InputError
from ...seeds import generator
from ...signals import in_time
from ..reading import integers, need_columns, of_form, unique_genes
from . import Card, Dataset, Files, Signal, assemble, register

CELLS_AT_ONCE = 20_000
"""Cells of one block: about 0.2 GB at 1,000 genes a cell."""
MOST_CELLS = 300_000
"""Cells that `load` keeps in memory, about 2.5 GB; `embryo_blocks` streams all 11 million."""


@register("mouse_embryo")
def mouse_embryo(card: Card, files: Files, signal: str, *, most_cells: int = MOST_CELLS) -> Dataset:
    """Qiu et al. 2024: a fixed random `most_cells` of the 11 million cells, streamed, never whole in memory.

    Counts are whole in the files. Every signal is the label "day".

    Parameters
    ----------
    card, files, signal
        As for every loader (see `register`).
    most_cells
        Cells kept, at most. Which ones depends on their places alone, not on a seed.
    """
    paths = [path for name, path in sorted(files.items()) if name.endswith(".h5ad")]
    total = sum(_n_cells(path) for path in paths)
    chosen = np.ones(total, dtype=bool)
    if total > most_cells:
        chosen[:] = False
        chosen[generator(0, card.name).choice(total, most_cells, replace=False)] = True
    blocks, tables, start = [], [], 0
    for block, table, names in embryo_blocks(paths):
        kept = chosen[start : start + len(table)]
        start += len(table)
        blocks.append(integers(block[kept], name=card.name, tolerance=0)[0])
        tables.append(table.loc[kept])
        genes = names
    obs = pd.concat(tables)
    obs.index = make_index_unique(obs.index.astype(str))
    days = obs["day"].astype(object).fillna("").astype(str).to_numpy(dtype=str)
    labels = Signal(signal, "label", days, levels=in_time(days))
    counts = sp.csr_matrix(sp.vstack(blocks))
    return assemble(card, counts, obs, unique_genes(genes), labels)


def embryo_blocks(
    paths: list[Path], *, cells_at_once: int = CELLS_AT_ONCE
) -> Iterator[tuple[sp.csr_matrix, pd.DataFrame, pd.Index]]:
    """Stream .h5ad files block by block: counts [cells, genes], the cells' "day", the genes' names.

    Parameters
    ----------
    paths
        Files with the same genes in the same order; "day" may be called "author_day".
    cells_at_once
        Cells of a block, at most.

    Raises
    ------
    InputError
        If a file is of another form, has no day, other genes, or counts that are CSC.
    """
    first = None
    for path in paths:
        with of_form(path), h5py.File(path) as file:
            obs = anndata.io.read_elem(file["obs"]).rename(columns={"author_day": "day"})
            genes = anndata.io.read_elem(file["var"]).index.astype(str)
            need_columns(obs, ["day"], path)
            first = genes if first is None else first
            if not genes.equals(first):
                raise InputError(f"{path.name} has other genes than {paths[0].name}: fetch the files anew")
            stored = file["X"]
            if isinstance(stored, h5py.Group):
                stored = anndata.io.sparse_dataset(stored)
                if stored.format != "csr":
                    raise InputError(f"X of {path.name} is {stored.format}, not csr: write it anew, cell by cell")
            for start in range(0, len(obs), cells_at_once):
                stop = start + cells_at_once
                yield sp.csr_matrix(stored[start:stop]), obs[["day"]].iloc[start:stop], genes


def _n_cells(path: Path) -> int:
    with of_form(path), h5py.File(path) as file:
        return len(anndata.io.read_elem(file["obs"]))
