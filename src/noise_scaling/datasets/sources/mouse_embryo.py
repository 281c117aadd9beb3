"""The paper's mouse embryo atlas, 11 million cells (Qiu et al. 2024), whose counts stay in their files."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.utils import make_index_unique

from ...counts.count_store import FileStore, is_small
from ...errors import InputError
from ...signals import in_time
from ..formats import Stored
from ..on_disk import assemble_on_disk, survey
from ..reading import integers, of_form, unique_genes
from . import Card, Dataset, Files, Signal, assemble, register

_TEXT = np.dtypes.StringDType()


@register("mouse_embryo")
def mouse_embryo(card: Card, files: Files, signal: str) -> Dataset:
    """Load Qiu et al. 2024: the cells of all files that the column "keep" marks; counts are whole in the files.

    Every signal is the label "day". Counts that do not fit in memory stay in the files.
    """
    paths = [path for name, path in sorted(files.items()) if name.endswith(".h5ad")]
    names, days, kept, genes = [], [], [], pd.Index([])
    for path in paths:
        with of_form(path), h5py.File(path) as file:
            cells = Stored(file, path)
            if path != paths[0] and not cells.var_names.equals(genes):
                raise InputError(f"{path.name} has other genes than {paths[0].name}: fetch the files anew")
            genes = cells.var_names
            if (kind := file["X"].attrs.get("encoding-type")) != "csr_matrix":
                raise InputError(f"X of {path.name} is {kind}, not csr_matrix: write it anew, cell by cell")
            kept.append(_kept(cells))
            names.append(np.asarray(cells.obs.get("cell_id", cells.obs_names)).astype(str).astype(_TEXT))
            days.append(_days(cells, path))
    cells_kept, cell_ids, labels = np.concatenate(kept), np.concatenate(names), np.concatenate(days)
    labels = labels[cells_kept]
    found = Signal(signal, "label", labels, levels=in_time(labels))
    store = FileStore(paths, convert=lambda block, name: integers(block, name=name, tolerance=0)[0]).take(cells_kept)
    if len(np.unique(cell_ids)) < len(cell_ids):  # a name occurs in several files
        cell_ids = np.asarray(make_index_unique(pd.Index(cell_ids.astype(object)))).astype(_TEXT)
    cell_ids, gene_ids = cell_ids[cells_kept], unique_genes(genes)
    if not is_small(int(store.lengths.sum())):
        return assemble_on_disk(card, store, survey(store, "integers"), cell_ids, gene_ids, found)
    obs = pd.DataFrame({"day": labels}, index=pd.Index(cell_ids.astype(object)))
    return assemble(card, store.tocsr(), obs, gene_ids, found)


def _kept(cells: Stored) -> np.ndarray:
    """Return which cells the authors kept, from the text or numbers of "keep"; all cells if there is no such column."""
    if "keep" not in cells.obs:
        return np.ones(len(cells.obs_names), dtype=bool)
    said = pd.Series(np.asarray(cells.obs["keep"])).astype(str).str.lower()
    return said.isin(["true", "yes", "keep", "1"]).to_numpy()


def _days(cells: Stored, path: Path) -> np.ndarray:
    column = next((name for name in ("day", "author_day") if name in cells.obs), None)
    if column is None:
        raise InputError(f"{path.name} has no column 'day': it is not the file of the card; fetch it anew")
    return pd.Series(cells.obs[column]).astype(object).fillna("").astype(str).to_numpy(dtype=str)
