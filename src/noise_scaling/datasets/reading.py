"""Read the files of publications: recover whole counts from scaled values, and report wrong formats in a sentence."""

import gzip
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp
from anndata._io.specs.registry import IORegistryError  # raised by the public readers, exported nowhere
from anndata.utils import make_index_unique

from ..errors import InputError

# Readers raise any of these on a damaged or foreign file, depending on where reading fails.
READ_ERRORS: tuple[type[Exception], ...] = (
    OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ImportError, zlib.error,
    IORegistryError,
)  # fmt: skip


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 160 characters, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def log1p(counts: np.ndarray) -> np.ndarray:
    """Return log(1 + count), correctly rounded: numpy's last digit, and so `data_sha256`, depends on the processor."""
    values, where = np.unique(counts, return_inverse=True)
    logarithms = np.array([float(Decimal(int(value) + 1).ln()) for value in values])
    return logarithms[where].reshape(counts.shape)


def integers(values: sp.spmatrix, *, name: str, tolerance: float) -> tuple[sp.csr_matrix, float]:
    """Round counts that a source stored as floats to int32 CSR [cells, genes]; return them and the largest deviation.

    A deviation of up to `tolerance` is taken for rounding error of the source. InputError if a value is further from an
    integer, negative or NaN.
    """
    csr = sp.csr_matrix(values, dtype=np.float64)
    csr.sum_duplicates()
    rounded = np.rint(csr.data)
    deviation = float(np.abs(csr.data - rounded).max(initial=0.0))
    # Also true for NaN, which compares false with everything.
    if not (deviation <= tolerance and rounded.min(initial=0) >= 0):
        raise InputError(
            f"{name}: counts are up to {deviation:.3g} away from non-negative integers (at most {tolerance:g} is "
            "rounding): the file is not the one this loader was written for; fetch it anew"
        )
    counts = sp.csr_matrix((rounded.astype(np.int32), csr.indices, csr.indptr), shape=csr.shape)
    counts.eliminate_zeros()
    return counts, deviation


def unscale_rows(values: sp.spmatrix) -> sp.csr_matrix:
    """Divide each row by its smallest non-zero value, which undoes a scaling per cell if the cell has a count of 1."""
    csr = sp.csr_matrix(values, dtype=np.float64)
    csr.eliminate_zeros()
    filled = np.diff(csr.indptr) > 0
    smallest = np.ones(csr.shape[0])
    if csr.nnz:
        smallest[filled] = np.minimum.reduceat(csr.data, csr.indptr[:-1][filled])
    return sp.csr_matrix(sp.diags_array(1 / smallest) @ csr)


def quietly(read: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a reader without its warnings on old formats and repeated names, which errors here report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(*args, **options)


def read_r(path: Path) -> Any:
    """Read an .rds, .rda or .RData file; S4 objects without a Python counterpart become namespaces of their slots."""
    import rdata

    return quietly(rdata.read_rds if path.suffix == ".rds" else rdata.read_rda, path)


def cells_by_genes(matrix: Any) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Convert R's sparse [genes, cells], by columns or triplets, to CSR [cells, genes], cell names and gene names."""
    genes, cells = (np.asarray(names, dtype=str) for names in matrix.Dimnames)
    shape = (len(cells), len(genes))
    if hasattr(matrix, "j"):
        return sp.csr_matrix((matrix.x, (matrix.j, matrix.i)), shape=shape), cells, genes
    return sp.csr_matrix((matrix.x, matrix.i, matrix.p), shape=shape), cells, genes


@contextmanager
def told(sentence: Callable[[str], str]) -> Iterator[None]:
    """Turn errors of readers on a damaged or foreign file into an InputError: `sentence` of the error's first line."""
    try:
        yield
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(sentence(first_line(error))) from error


def of_form(path: Path) -> AbstractContextManager[None]:
    """Turn errors of readers on a file of another format into an InputError with their first line and a remedy."""
    wrong = f"{path.name} is not of the form its publication gave it"
    return told(lambda reason: f"{wrong} ({reason}): delete {path} and fetch it anew")


def matrix_market(files: dict[str, Path], stem: str) -> tuple[sp.csr_matrix, pd.Index, np.ndarray]:
    """Read a 10x-like triple of files as counts [cells, features], the cells' names, and the features' names."""
    names = []
    for part in ("barcodes", "features"):
        path = files[f"{stem}-{part}.tsv.gz"]
        names.append(read_table(path, sep="\t", header=None, dtype=str, keep_default_na=False)[0])
    cells, features = names
    values = read_mtx(files[f"{stem}-matrix.mtx.gz"], (len(features), len(cells)))
    return sp.csr_matrix(values.T), pd.Index(cells), unique_genes(features)


def read_mtx(path: Path, shape: tuple[int, int | None]) -> sp.csr_matrix:
    """Read a gzipped MatrixMarket file as CSR, and check it against `shape` (None: any number of columns)."""
    with of_form(path), gzip.open(path) as stream:
        values = sp.csr_matrix(scipy.io.mmread(stream))
    wanted = (shape[0], values.shape[1] if shape[1] is None else shape[1])
    if values.shape != wanted:
        raise InputError(f"{path.name} is {values.shape}, where its names give {wanted}: fetch the files anew together")
    return values


def unique_genes(genes: pd.Series | pd.Index) -> np.ndarray:
    """Make gene symbols unique by appending numbers, as scanpy does."""
    return make_index_unique(pd.Index(genes.astype(str))).to_numpy(dtype=str)


def read_table(path: Path, wanted: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """Read a table with the options of `pandas.read_csv`; InputError if it lacks one of the columns `wanted`."""
    with of_form(path):
        table = pd.read_csv(path, **options)
    need_columns(table, wanted, path)
    return table


def need_columns(table: pd.DataFrame, wanted: Sequence[str], path: Path) -> None:
    """Raise InputError if a file's table lacks a column that its loader reads."""
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        raise InputError(f"{path.name} has no column {absent[0]!r}: it is not the file of the card; fetch it anew")


def rows_of(cells: Sequence | np.ndarray | pd.Index, known: Sequence | np.ndarray | pd.Index, path: Path) -> np.ndarray:
    """Return the rows that `cells` have in a second file, whose cells are `known`; InputError if it lacks a cell."""
    rows = pd.Index(known).get_indexer(pd.Index(cells))
    absent = pd.Index(cells)[rows < 0]
    if len(absent):
        raise InputError(f"{path.name} lacks {len(absent)} of {len(cells)} cells, e.g. {absent[0]!r}: fetch it anew")
    return rows
