"""Open files of cells: formats are recognised by content, not by ending, and elements are read only when needed."""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem

from ..errors import InputError
from .reading import first_line, quietly, told
from .several import Parts, Several

ANEW = "write it anew with adata.write_h5ad"

_SPARSE = {"csr_matrix": sp.csr_matrix, "csc_matrix": sp.csc_matrix}
_PACKED = {
    b"\x1f\x8b": "gzip (gunzip FILE)",
    b"\x28\xb5\x2f\xfd": "zstd (unzstd FILE)",
    b"BZh": "bzip2 (bunzip2 FILE)",
    b"\xfd7zXZ": "xz (unxz FILE)",
    b"PK\x03\x04": "zip (unzip FILE)",
}
_ZARR, _TENX = ("zarr.json", ".zgroup"), ("matrix.mtx", "matrix.mtx.gz")
_R = "is a file of R: convert it with zellkonverter::writeH5AD or anndataR"
_ELSEWHERE = {
    ".csv .tsv .txt .tab": "is a table of text: read it with anndata.io.read_csv or scanpy.read_text, cells in rows",
    ".xlsx": "is a spreadsheet: read it with anndata.io.read_excel",
    ".mtx": "is a matrix without names: give the folder of it, barcodes.tsv and genes.tsv, or read it",
    ".rds .rda .rdata .qs .h5seurat": _R,
}


class Stored:
    """An AnnData in an open HDF5 or zarr group, with the attributes of an AnnData that the readers of this folder use.

    InputError if obs or var, or an element that is accessed later, cannot be read.
    """

    def __init__(self, group: Any, path: Path) -> None:
        self._group, self._file, self.paths = group, path, [path]
        self.obs_names, self.obs = self._frame("obs")
        self.var_names, self.var = self._frame("var")
        self.layers, self.obsm = (self._parts(key, group.get(key, {})) for key in ("layers", "obsm"))

    def _parts(self, group: str, keys: Iterable[str]) -> Parts:
        return Parts(keys, lambda key: self.read(f"{group}/{key}"))

    def read(self, element: str) -> Any:
        """Read one element, given its path in the group."""
        with _readable(self._file, element):
            found = self._group[element]
            return _sparse(found) if found.attrs.get("encoding-type") in _SPARSE else quietly(read_elem, found)

    def stored_counts(self, element: str) -> int:
        """Number of values stored in an element that can be read cell by cell; 0 if it is absent, or not CSR."""
        group = self._group.get(element)
        if group is None or group.attrs.get("encoding-type") != "csr_matrix":
            return 0
        data = group["data"]
        return int(data.shape[0]) if data.dtype.isnative and data.dtype != np.float16 else 0

    @cached_property
    def X(self) -> Any:
        return self.read("X") if "X" in self._group else None

    @cached_property
    def raw(self) -> SimpleNamespace | None:
        return SimpleNamespace(X=self.read("raw/X")) if "raw/X" in self._group else None

    def _frame(self, key: str) -> tuple[pd.Index, Mapping[str, Any] | pd.DataFrame]:
        """Read names and columns; columns of AnnData before 0.8 depend on each other, so they are read together."""
        attributes = self._group[key].attrs
        if (attributes.get("encoding-type"), attributes.get("encoding-version")) != ("dataframe", "0.2.0"):
            frame = self.read(key)
            if not isinstance(frame, pd.DataFrame):
                raise InputError(f"{self._file} cannot be read as AnnData ({key} is not marked as a table): {ANEW}")
            return frame.index.astype(str), frame
        names = np.asarray(self.read(f"{key}/{attributes['_index']}"))
        if names.dtype.kind == "S":  # text of fixed width, which other programs write
            names = np.char.decode(names, "utf-8")
        return pd.Index(names).astype(str), self._parts(key, attributes["column-order"])


Cells: TypeAlias = anndata.AnnData | Stored | Several
"""What the readers here return: all have X, raw, obs, var, obsm, layers and the names of cells and genes."""


@contextmanager
def open_cells(path: Path) -> Iterator[Cells]:
    """Open the cells of a file or folder, in any format that AnnData or scanpy read in one call.

    InputError if the format is another one or it cannot be read; the message names it and the way to an .h5ad file.
    """
    if path.name in _TENX:
        path = path.parent
    files = sorted(path.glob("*.h5ad")) if path.is_dir() and not _holds(path, *_ZARR, *_TENX) else []
    if files:
        with ExitStack() as opened:
            parts = [opened.enter_context(open_cells(file)) for file in files]
            for part, file in zip(parts, files, strict=True):
                if not isinstance(part, Stored):
                    raise InputError(f"{file} is of an older form than the others of its folder may be: {ANEW}")
            yield Several(parts, files)
        return
    if path.is_dir():
        yield _open_folder(path)
        return
    _check_file(path)
    with _open_hdf5(path) as file:
        with _readable(path):
            cells = _cells(file, path)
        yield cells


def _holds(path: Path, *names: str) -> bool:
    return any((path / name).exists() for name in names)


def _open_folder(path: Path) -> Cells:
    if _holds(path, *_ZARR):
        import zarr

        with _readable(path):
            return _stored(zarr.open_group(path, mode="r"), path)
    if not _holds(path, *_TENX):
        raise InputError(
            f"{path} is a folder: give the .h5ad file itself, a folder of such, a zarr store, or a 10x folder of "
            "matrix.mtx"
        )
    return _whole(path, "read_10x_mtx", var_names="gene_ids", gex_only=False)


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"no file {path}: check the path")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if h5py.is_hdf5(path):
        return
    for magic, how in _PACKED.items():
        if start.startswith(magic):
            raise InputError(f"{path} is packed with {how}: unpack it first, then give the unpacked file")
    for endings, what in _ELSEWHERE.items():
        if path.suffix.lower() in endings.split():
            raise InputError(f"{path} {what}, add the signal, and save it with adata.write_h5ad")
    raise InputError(f"{path} is not an .h5ad file, or is cut short: {ANEW}")


def _open_hdf5(path: Path) -> h5py.File:
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")  # if it is installed, h5py can read zstd, blosc and others
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "unable to lock" in str(error):
            raise InputError(f"{path} is open for writing in another program: close it there, or copy it") from error
        raise InputError(_unreadable(path, first_line(error))) from error


def _cells(file: h5py.File, path: Path) -> Cells:
    """Return the cells of a file, read with the reader for its content."""
    if "mod" in file:
        held = list(file["mod"])
        raise InputError(
            f"{path} is MuData ({', '.join(held)}): save the transcripts as a file of their own, mudata."
            f"read_h5mu(FILE)[{('rna' if 'rna' in held else held[0])!r}].write_h5ad(...), with the others in obsm"
        )
    if isinstance(file.get("matrix"), h5py.Dataset) and "col_attrs" in file:
        try:
            return quietly(anndata.io.read_loom, path, X_name="", sparse=True)
        except ImportError as error:
            needs = f"{path} is a loom file, which needs loompy"
            raise InputError(f"{needs}: pip install loompy, or save it as .h5ad") from error
    tenx = [group for group in file.values() if isinstance(group, h5py.Group) and "barcodes" in group]
    if tenx and "obs" not in file:
        return _whole(path, "read_10x_h5", gex_only=False)
    if path.suffix.lower() == ".h5seurat":
        raise InputError(f"{path} {_R}, and save it as .h5ad")
    return _stored(file, path)


def _stored(group: Any, path: Path) -> Cells:
    if "tables" in group and "obs" not in group:
        names = ", ".join(f"{path / 'tables' / name}" for name in group["tables"])
        raise InputError(f"{path} is SpatialData: give one of its tables, {names}")
    if "obs" not in group or "var" not in group:
        held = ", ".join(list(group)[:8]) or "nothing"
        raise InputError(f"{path} cannot be read as AnnData (no obs and var, but {held}): {ANEW}")
    if isinstance(group["obs"], h5py.Dataset):  # AnnData before 0.7: categories in uns, obsm one table
        return quietly(anndata.read_h5ad, path)
    return Stored(group, path)


def _whole(path: Path, reader: str, **options: Any) -> anndata.AnnData:
    """Read 10x data through scanpy; genes are named by their identifiers, because symbols repeat."""
    import scanpy

    try:
        cells = quietly(getattr(scanpy, reader), path, **options)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not a whole 10x folder: it takes matrix.mtx.gz, barcodes.tsv.gz and features.tsv.gz (packed), "
            "or matrix.mtx, barcodes.tsv and genes.tsv"
        ) from error
    except Exception as error:  # scanpy raises a bare Exception if a part is missing
        reason = first_line(error)
        raise InputError(f"{path} cannot be read as 10x ({reason}): read it with scanpy and save an .h5ad") from error
    if "gene_ids" in cells.var:
        cells.var_names = cells.var["gene_ids"].to_numpy(dtype=str)
    return cells


def _sparse(group: Any) -> sp.spmatrix:
    """Read a sparse matrix as it is stored, unchecked; half precision, which scipy lacks, becomes single precision."""
    matrix = _SPARSE[group.attrs["encoding-type"]](tuple(group.attrs["shape"]))
    parts = (group[name][...] for name in ("data", "indices", "indptr"))
    data, matrix.indices, matrix.indptr = (x.astype(x.dtype.newbyteorder("="), copy=False) for x in parts)
    matrix.data = data.astype(np.float32) if data.dtype == np.float16 else data
    return matrix


def _readable(path: Path, element: str = "") -> AbstractContextManager[None]:
    """Turn any error of the readers into an InputError of one sentence."""
    return told(lambda reason: _unreadable(path, reason, element))


def _unreadable(path: Path, reason: str, element: str = "") -> str:
    if "plugin" in reason or "filter" in reason:
        return (
            f"{element or 'a part'} of {path} is compressed in a way that HDF5 cannot undo here: "
            "pip install hdf5plugin, or write it anew with compression='gzip'"
        )
    what = f"{element} of {path} cannot be read" if element else f"{path} cannot be read as AnnData"
    return f"{what} ({reason}): {ANEW}"
