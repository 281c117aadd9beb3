"""Check counts, and thin them to fewer molecules per cell.

Thinning keeps each molecule independently with probability `fraction`. Molecule m of gene g in cell c has its own
uniform number, a hash of (seed, name of c, name of g, m), and is kept if this number is below the fraction. The draws
are therefore nested over fractions and do not depend on order, chunks, threads or dtype.
"""

import math
import operator
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from ..errors import InputError
from ..seeds import derive
from .blocks import blocks_of, on_threads
from .thinning_kernel import LARGEST_COUNT, all_valid, hash_integers, hash_text, thin_rows

_BLOCK = 1 << 18  # entries of a block for one thread: 1.3 ms of work, against 0.1 ms to hand the block over
_KERNEL_DTYPES = (np.uint8, np.int32, np.int64, np.float32, np.float64)


def validate_counts(counts: sparse.spmatrix, *, name: str = "counts") -> sparse.csr_matrix:
    """Return `counts` as a CSR matrix of non-negative integers with sorted indices and no duplicates.

    Parameters
    ----------
    counts
        Sparse [cells, genes], any scipy format, any real dtype that holds integers. Canonical CSR is returned as it is,
        anything else as a converted copy.
    name
        Name of the counts in error messages.

    Raises
    ------
    InputError
        If `counts` is not sparse, is empty, or holds a value that is not a count (NaN, negative, fractional,
        log-normalised, above 2^31 - 1).
    """
    matrix = _as_csr(counts, name)
    if _rows_fit(matrix) and all_valid(matrix.indptr, matrix.indices, _for_kernel(matrix.data), matrix.shape[1]):
        return matrix
    values = matrix.data[matrix.indptr[0] : matrix.indptr[-1]].astype(np.float64)
    wrong = values[~((values >= 0) & (values <= LARGEST_COUNT) & (values == np.floor(values)))]
    if wrong.size:
        raise InputError(_say_what_is_wrong(name, wrong[0], values.max()))
    check_format(matrix, name)
    matrix = matrix.copy() if matrix is counts else matrix
    matrix.has_canonical_format = matrix.has_sorted_indices = False
    matrix.sum_duplicates()
    return matrix


def _as_csr(counts: sparse.spmatrix, name: str) -> sparse.csr_matrix:
    if not sparse.issparse(counts):
        kind = f"a dense array {np.shape(counts)}" if isinstance(counts, np.ndarray) else f"a {type(counts).__name__}"
        raise InputError(f"{name} is {kind}: give a sparse matrix, e.g. scipy.sparse.csr_matrix({name})")
    if counts.ndim != 2 or min(counts.shape) == 0:
        raise InputError(f"{name} is empty, shape {counts.shape}: give at least one cell and one gene")
    if counts.dtype.kind not in "iuf":
        raise InputError(f"{name} has dtype {counts.dtype}: give integers, or floats that hold integers")
    if counts.format == "csr":
        return counts
    if hasattr(counts, "check_format"):  # scipy converts unchecked, and writes out of bounds at a wrong index
        check_format(counts, name)
    return counts.tocsr()


def _rows_fit(matrix: sparse.csr_matrix) -> bool:
    """Whether each row lies within the arrays, which the kernels do not check."""
    indptr = matrix.indptr
    fits = indptr[0] >= 0 and indptr[-1] <= len(matrix.indices) == len(matrix.data)
    return bool(fits and len(indptr) == matrix.shape[0] + 1 and (indptr[1:] >= indptr[:-1]).all())


def check_format(matrix: sparse.spmatrix, name: str, remedy: str = "build it again") -> None:
    """Raise InputError if the arrays of a sparse matrix do not fit together or do not fit its shape."""
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise InputError(f"{name} is a broken sparse matrix ({error}): {remedy}") from None


def _for_kernel(values: np.ndarray) -> np.ndarray:
    """Convert values whose dtype the kernels do not support to int64 or float64; `thin_keyed` converts them back."""
    if values.dtype in _KERNEL_DTYPES:
        return values
    return values.astype(np.int64 if values.dtype.kind in "iu" else np.float64)


def _say_what_is_wrong(name: str, value: float, largest: float) -> str:
    if not np.isfinite(value):
        return f"{name} holds {value}: remove or fill missing values first; a count is 0, 1, 2, ..."
    if value < 0:
        return f"{name} holds {value:g}: a count cannot be negative; give the raw counts, not scaled values"
    if value > LARGEST_COUNT:
        return f"{name} holds {value:g}, more than 2^31 - 1: give molecules per gene and cell"
    if largest < 10:  # log1p of a cell scaled to 1e4 is at most 9.2
        return (
            f"{name} looks log-normalised (holds {value:g}, at most {largest:g}): give the raw counts, "
            "often in adata.layers['counts'] or adata.raw.X"
        )
    return f"{name} holds {value:g}: counts must be whole numbers; give the raw counts, not normalised ones"


def umis_per_cell(counts: sparse.spmatrix) -> float:
    """Mean molecules per cell of counts [cells, genes]: the depth u of the noise law (Gowri et al. 2025, Eq. 1).

    InputError if there is no cell.
    """
    if counts.shape[0] == 0:
        raise InputError("counts holds no cells: there is no depth to measure")
    return float(counts.sum(dtype=np.float64)) / counts.shape[0]


def thin(
    counts: sparse.spmatrix,
    fraction: float,
    *,
    seed: int,
    cell_ids: Sequence | np.ndarray | None = None,
    gene_ids: Sequence | np.ndarray | None = None,
    n_threads: int | None = None,
) -> sparse.csr_matrix:
    """Keep each molecule independently with probability `fraction`.

    The published code thins each gene of a chunk to a fixed total instead: see the book's page on deviations.

    Parameters
    ----------
    counts
        Sparse [cells, genes] of integer counts (see `validate_counts`).
    fraction
        In (0, 1]; 1 keeps all counts. With the same seed, a larger fraction keeps all that a smaller one keeps.
        Always thin the raw counts: thinning thinned counts with the same seed draws the same numbers again.
    seed
        Any integer; different seeds give independent draws.
    cell_ids, gene_ids
        Names [cells], [genes], text or integers: a cell keeps the same molecules whatever its row number. None means
        0, 1, 2, ...
    n_threads
        Default: numba's setting (NUMBA_NUM_THREADS, else the available cores). The result does not depend on it.

    Returns
    -------
    CSR [cells, genes] of the same dtype, without explicit zeros.

    Raises
    ------
    InputError
        If the counts are invalid, the fraction is outside (0, 1], or names are repeated or not one for each.
    """
    limit = threshold(fraction)
    matrix = _as_csr(counts, "counts")
    cell_keys = name_keys(cell_ids, matrix.shape[0], seed=seed, axis="cell")
    gene_keys = name_keys(gene_ids, matrix.shape[1], seed=seed, axis="gene")
    thinned = thin_keyed(matrix, limit, cell_keys, gene_keys, n_threads=n_threads)
    if thinned is None:  # invalid or not canonical: checked while thinning, which saves a pass
        thinned = thin_keyed(validate_counts(matrix), limit, cell_keys, gene_keys, n_threads=n_threads)
    return thinned


def thin_keyed(
    matrix: sparse.csr_matrix, limit: int, cell_keys: np.ndarray, gene_keys: np.ndarray, *, n_threads: int | None = None
) -> sparse.csr_matrix | None:
    """Thin CSR [cells, genes] at a `threshold` by keys from `name_keys`, uint64 [cells] and [genes], to the same dtype.

    Return None if `matrix` is not canonical CSR of valid counts (see `validate_counts`). Each block of rows is written
    at its start in the input, then moved up to the end of the block before it. The output arrays are allocated as long
    as the input, but only the part that is written to takes up memory.
    """
    if not _rows_fit(matrix):
        return None
    starts, values = matrix.indptr, _for_kernel(matrix.data)
    indices, data, lengths = np.empty_like(matrix.indices), np.empty_like(values), np.zeros_like(starts)
    arguments = (starts, matrix.indices, values, cell_keys, gene_keys, np.uint64(limit))
    blocks = blocks_of(starts, _BLOCK)
    if not all(on_threads(lambda rows: thin_rows(*arguments, *rows, indices, data, lengths[1:]), blocks, n_threads)):
        return None
    indptr = np.cumsum(lengths, dtype=starts.dtype)
    for first, last in blocks:
        n, here = indptr[last] - indptr[first], starts[first]
        for array in (indices, data):
            array[indptr[first] : indptr[last]] = array[here : here + n]
    for array in (indices, data):
        array.resize(indptr[-1], refcheck=False)  # frees the rest
    thinned = type(matrix)((data.astype(matrix.dtype, copy=False), indices, indptr), shape=matrix.shape, copy=False)
    thinned.has_sorted_indices = thinned.has_canonical_format = True
    return thinned


def threshold(fraction: float) -> int:
    """Convert `fraction` to units of 2^-64. All bits set stand for 1; the largest float below 1 is 2^11 units lower.

    InputError if the fraction is not a number in (0, 1].
    """
    try:
        value = float(fraction)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value <= 1:
        raise InputError(f"fraction is {fraction!r}: give a number above 0 and at most 1")
    return min(int(math.ldexp(value, 64)), 2**64 - 1)


def name_keys(ids: Sequence | np.ndarray | None, n: int, *, seed: int, axis: str) -> np.ndarray:
    """Return 64-bit keys [n] of cells or genes: a hash of each name, or of each position if `ids` is None.

    The hash is salted by `axis`, "cell" or "gene", so that a cell and a gene of the same name have different keys.
    InputError if there are not `n` names, if two are equal (they would keep the same molecules), or the seed is not an
    integer.
    """
    try:
        salt = np.uint64(derive(operator.index(seed), "thin", axis))
    except TypeError:
        raise InputError(f"seed is {seed!r}: give an integer") from None
    names = np.arange(n) if ids is None else np.asarray(ids)
    if names.shape != (n,):
        raise InputError(f"{axis}_ids has shape {names.shape} for {n} {axis}s: give one name for each")
    if names.dtype.kind in "iu":
        keys = hash_integers(names.astype(np.uint64), salt)
    else:
        text = np.array(names.tolist() if names.dtype.kind == "T" else names, dtype=str)  # numpy cannot cast T itself
        keys = hash_text(text.view(np.uint32).reshape(n, -1), salt)
    if ids is not None:
        refuse_repeats(keys, axis, lambda i: names[i])
    return keys


def refuse_repeats(keys: np.ndarray, axis: str, name_of: Callable[[int], object]) -> None:
    """Raise InputError, which gives the first repeated name, if two cells or genes have the same key."""
    in_order = np.sort(keys)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    if repeated.size:
        name = str(name_of(int(np.flatnonzero(keys == repeated[0])[0])))
        fix = "adata.obs_names_make_unique()" if axis == "cell" else "adata.var_names_make_unique()"
        raise InputError(f"{axis}_ids repeats {name!r}: make the names unique first, e.g. {fix}")
