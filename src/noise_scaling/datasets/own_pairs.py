"""Load your own embedding and its signal: from obsm of a file of cells, or from a table of pairs without counts.

.npz    arrays [cells] become columns of obs, arrays [cells, d] keys of obsm; by default, x and y are used
.csv    columns become columns of obs; the embedding is all columns of numbers except the signal's
"""

import zipfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..errors import InputError
from ..signals import Signal
from .columns import LABEL, NUMBER, ORDERED, listed
from .formats import Cells, open_cells
from .own_signals import matrix, numbers_of, read_signal


def is_table(path: str | Path) -> bool:
    """Whether a file is a table of pairs, by its ending."""
    return Path(path).suffix.lower() in (".npz", ".csv")


def load_embedding(
    path: str | Path, *, embedding: str | None = None, signal: str | None = None
) -> tuple[np.ndarray, Signal, tuple[str, ...]]:
    """Load the embedding and the signal of a file, without reading its counts.

    Parameters
    ----------
    path
        A file of cells as for `load`, or a table, .npz or .csv.
    embedding
        "obsm:KEY", a matrix [cells, dims]; optional for a table.
    signal
        The signal's place, as for `load` except features:TYPE; optional for an .npz file with an array y.

    Returns
    -------
    The embedding [cells, dims], the signal of all cells, and notes on how values were interpreted.

    Raises
    ------
    InputError
        If the file cannot be read, or the embedding or the signal is missing or unusable.
    """
    path = Path(path).expanduser()
    if is_table(path):
        cells = _table(path, signal or "")
        return _found(cells, embedding or "obsm:x", signal or ("obsm:y" if "y" in cells.obsm else "obs:y"), path.name)
    with open_cells(path) as stored:
        return _found(stored, embedding or "", signal, path.name)


def embedding_of(path: Path, key: str, names: np.ndarray) -> np.ndarray:
    """Return the embedding, float32 [cells, dims], stored in obsm under `key`, of the cells `names` in their order.

    Parameters
    ----------
    path
        A file of cells (`formats.open_cells`); it may have other cells too, in any order.
    key
        Key of the embedding in obsm.
    names
        Names of the cells to return.

    Raises
    ------
    InputError
        If there is no such matrix, its rows do not match the file's cells, a name occurs twice or not at all, or a
        vector holds NaN or an infinite value.
    """
    with open_cells(path) as cells:
        if key not in cells.obsm:
            there = f"add the embedding under it (it has {listed(cells.obsm)})"
            raise InputError(f"{path.name} has no obsm key {key!r}: {there}")
        found, values = cells.obs_names, numbers_of(cells, key)
    where = f"obsm[{key!r}] of {path.name}"
    if not found.is_unique:
        raise InputError(f"{path.name} has two cells named {found[found.duplicated()][0]!r}: give each cell one name")
    at = found.get_indexer(names)
    if (at < 0).any():
        raise InputError(
            f"{path.name} lacks {(at < 0).sum():,} of {len(names):,} test cells, e.g. {str(names[at < 0][0])!r}: embed "
            "all cells of the thinned file, empty ones too, and keep their names"
        )
    rows = values[at].toarray() if sp.issparse(values) else values[at]
    rows = rows.astype(np.float32)
    if len(holes := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
        raise InputError(
            f"{where} holds NaN or infinite values in {len(holes):,} of {len(names):,} test cells, e.g. "
            f"{str(names[holes[0]])!r}: give every cell a vector of numbers"
        )
    return rows


def _found(cells: Cells, embedding: str, spec: str | None, name: str) -> tuple[np.ndarray, Signal, tuple[str, ...]]:
    signal, notes = read_signal(cells, {}, spec, name)
    x, more = matrix(cells, embedding.removeprefix("obsm:"))
    return x, signal, (f"embedding {embedding}: {'; '.join([f'{x.shape[1]} dimensions', *more])}", *notes)


def _table(path: Path, signal: str) -> anndata.AnnData:
    """Read a table as an AnnData; the embedding of a .csv becomes obsm["x"]."""
    try:
        with path.open("rb") as file:
            read = pd.read_csv(file) if path.suffix.lower() == ".csv" else np.load(file, allow_pickle=False)
            columns = {str(name): np.asarray(read[name]) for name in read}
    except FileNotFoundError:
        raise InputError(f"no file {path}: check the path") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read ({reason}): write it anew with numpy.savez or to_csv") from error
    sizes = {len(values) for values in columns.values() if values.ndim}
    if len(sizes) != 1:
        raise InputError(f"{path.name} has arrays of {listed(sizes)} rows: row i of all must be the same cell")
    obs = pd.DataFrame({k: v for k, v in columns.items() if v.ndim == 1}, index=map(str, range(*sizes)))
    obsm = {k: v for k, v in columns.items() if v.ndim == 2}
    if path.suffix.lower() == ".csv":
        asked = signal.removeprefix("obs:")
        named = {asked, *(asked.removesuffix(f":{kind}") for kind in (LABEL, NUMBER, ORDERED))}
        obsm["x"] = obs.drop(columns=named & {*obs}).select_dtypes("number").to_numpy()
    elif "x" in obs:
        obsm["x"] = obs[["x"]].to_numpy()
    return anndata.AnnData(obs=obs, obsm=obsm)
