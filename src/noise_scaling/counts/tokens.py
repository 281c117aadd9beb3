"""Rank-value tokens: a cell is the list of its genes, highest first (Theodoris et al. 2023; Gowri et al. 2025)."""

import numpy as np
from numba import njit
from scipy import sparse

from ..errors import InputError
from .blocks import blocks_of, on_threads
from .thinning import validate_counts

TARGET = 1e4  # total to which each cell is scaled before medians are taken
_BLOCK = 1 << 17  # counts that a thread ranks at a time
_FINEST = 15  # low bits of a float32 that bins of `MedianSketch` ignore: 8 of the 23 mantissa bits remain
_BINS_FROM, _BINS_TO = (int(np.float32(2.0**power).view(np.uint32)) >> _FINEST for power in (-8, 14))


def rank_tokens(
    counts: sparse.spmatrix, gene_medians: np.ndarray, *, max_length: int = 512, n_threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the genes of each cell in the order of count / total x 1e4 / median, highest first, ties by gene index.

    The rank-value encoding of Theodoris et al. 2023. The total is the same for all genes of a cell and cannot change
    their order, so it is left out.

    Parameters
    ----------
    counts
        Sparse [cells, genes] of integer counts.
    gene_medians
        [genes], positive; NaN for a gene never seen in training, which gives no token (see `gene_medians`).
    max_length
        Most genes kept of a cell; 512 as in Gowri et al. 2025.
    n_threads
        Default: numba's setting. The result does not depend on it.

    Returns
    -------
    ids
        Gene indices, cell after cell: uint16 up to 65,534 genes (two ids are left for pad and mask),
        else uint32.
    offsets
        int64 [cells + 1]: cell i is ids[offsets[i] : offsets[i + 1]]. A cell without counts has no token.

    Raises
    ------
    InputError
        If the counts are invalid, the medians do not match them or are not positive, or max_length is below 1.
    """
    matrix = validate_counts(counts)
    medians = check_medians(gene_medians, matrix.shape[1])
    if max_length < 1:
        raise InputError(f"max_length is {max_length}: give at least 1")
    offsets = np.zeros(matrix.shape[0] + 1, np.int64)
    arrays, blocks = (matrix.indptr, matrix.indices, matrix.data, medians), blocks_of(matrix.indptr, _BLOCK)
    on_threads(lambda rows: _count_tokens(*arrays, *rows, max_length, offsets[1:]), blocks, n_threads)
    np.cumsum(offsets, out=offsets)
    ids = np.empty(offsets[-1], token_dtype(matrix.shape[1]))
    on_threads(lambda rows: _rank_rows(*arrays, offsets, *rows, ids), blocks, n_threads)
    return ids, offsets


def token_dtype(n_genes: int) -> type:
    """Return uint16 if it can hold the ids of all genes and two more, for pad and mask; else uint32."""
    return np.uint16 if n_genes <= 2**16 - 2 else np.uint32


def check_medians(gene_medians: np.ndarray, n_genes: int) -> np.ndarray:
    """Return `gene_medians` as float64 [genes].

    InputError if there is not one median for each gene, or a median is neither positive and finite nor NaN.
    """
    medians = np.asarray(gene_medians, dtype=np.float64)
    if medians.shape != (n_genes,):
        raise InputError(f"gene_medians has shape {medians.shape} for {n_genes} genes: give one median for each")
    wrong = ~np.isnan(medians) & ~((medians > 0) & np.isfinite(medians))
    if wrong.any():
        gene = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"gene_medians holds {medians[gene]:g} at gene {gene}: give positive numbers, NaN for genes never seen"
        )
    return medians


def gene_medians(counts: sparse.spmatrix) -> np.ndarray:
    """Return each gene's median of non-zero count / total x 1e4 over the given cells, float64 [genes]; NaN if unseen.

    Theodoris et al. 2023 scale by the medians of their whole corpus; here they are medians of the training cells at
    their depth. Exact; takes 12 bytes per count. For cells that do not fit in memory use `MedianSketch`. InputError if
    the counts are invalid (see `thinning.validate_counts`).
    """
    matrix = validate_counts(counts)
    ends = np.zeros(matrix.shape[1] + 1, np.int64)
    values = _values_by_gene(matrix.indptr, matrix.indices, matrix.data, ends)
    medians = np.full(matrix.shape[1], np.nan)
    on_threads(lambda genes: _medians_of(values, ends, *genes, medians), blocks_of(ends, _BLOCK), None)
    return medians


class MedianSketch:
    """Gene medians from one pass over chunks of cells, each within 0.2 % of the exact median (half a bin: 2^-9).

    Each gene has a histogram of values from 2^-8 to 2^14, with 256 bins per factor of two: 23 kB for any number of
    cells. Smaller values (one molecule in a cell of over 2.5 million) count as 2^-8. Chunks may be in any order.
    """

    def __init__(self, n_genes: int):
        self._histogram = np.zeros((n_genes, _BINS_TO - _BINS_FROM + 1), np.int32)

    def add(self, counts: sparse.spmatrix) -> None:
        """Add the cells of a chunk [cells, genes] to the histograms.

        InputError if the counts are invalid, or have another number of genes.
        """
        matrix = validate_counts(counts)
        if matrix.shape[1] != self._histogram.shape[0]:
            raise InputError(f"counts has {matrix.shape[1]} genes, the chunks before had {self._histogram.shape[0]}")
        _fill(matrix.indptr, matrix.indices, matrix.data, self._histogram)

    def medians(self) -> np.ndarray:
        """Return the medians, float64 [genes], NaN for a gene that no cell has."""
        edges = (np.arange(_BINS_FROM, _BINS_TO + 2, dtype=np.uint32) << _FINEST).view(np.float32).astype(np.float64)
        middles, medians = (edges[:-1] + edges[1:]) / 2, np.full(len(self._histogram), np.nan)
        for gene, histogram in enumerate(self._histogram):
            seen = np.cumsum(histogram)
            if n := int(seen[-1]):
                medians[gene] = middles[np.searchsorted(seen, [(n + 1) // 2, n // 2 + 1])].mean()
        return medians


@njit(nogil=True, cache=True)
def _count_tokens(indptr, indices, data, medians, first, last, max_length, lengths):  # pragma: no cover - compiled
    for row in range(first, last):
        genes, counts = indices[indptr[row] : indptr[row + 1]], data[indptr[row] : indptr[row + 1]]
        n = 0
        for j in range(genes.size):
            median = medians[np.uint32(genes[j])]
            n += (counts[j] > 0) & (median == median)
        lengths[row] = min(n, max_length)


@njit(nogil=True, cache=True, error_model="numpy")  # vectorised, as zero division is unchecked
def _rank_rows(indptr, indices, data, medians, offsets, first, last, ids):  # pragma: no cover - compiled
    """Rank each cell's genes: a radix sort by 24-bit keys of the values, then equal keys by the 64-bit values.

    numpy's sort of the same keys, row by row, made `token_store` take 1.6 times as long at full depth.
    """
    widest = 0
    for row in range(first, last):
        widest = max(widest, indptr[row + 1] - indptr[row])
    values, items = np.empty(widest, np.float64), np.empty(widest, np.uint64)
    spare, tallies = np.empty(widest, np.uint64), np.empty((3, 256), np.uint32)
    for row in range(first, last):
        genes, counts = indices[indptr[row] : indptr[row + 1]], data[indptr[row] : indptr[row + 1]]
        for j in range(genes.size):
            value = counts[j] / medians[np.uint32(genes[j])]
            values[j] = value if value > 0 else 0.0  # no token for a zero or a gene without a median
        n = _pack(values, genes.size, items)
        ranked = _radix_sort(items, spare, n, tallies)
        start = offsets[row]
        _settle_ties(ranked, n, offsets[row + 1] - start, values)
        for k in range(offsets[row + 1] - start):
            ids[start + k] = genes[ranked[k] & np.uint64(0xFFFFFFFF)]


@njit(nogil=True)
def _pack(values, n, items):  # pragma: no cover - compiled
    """Make items that sort by falling value: a 24-bit key (coarsened until it fits) above the place in the row."""
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    for j in range(n):
        bits = np.float32(values[j]).view(np.uint32)  # as no value is negative, bits sort as the values do
        high = max(high, bits)
        low = min(low, np.uint32(bits - np.uint32(1)))  # a zero wraps to the largest value: ignored
    shift = np.uint32(0)
    while (high - low) >> shift >> np.uint32(24):
        shift += np.uint32(1)
    kept = np.uint64(0)
    for j in range(n):
        bits = np.float32(values[j]).view(np.uint32)
        key = min(np.uint32(high - bits) >> shift, np.uint32(0xFFFFFF))  # clipped: above 0, but 0 in 32 bits
        items[kept] = (np.uint64(key) << np.uint64(32)) | np.uint64(j)
        kept += np.uint64(values[j] > 0)
    return np.int64(kept)


@njit(nogil=True)
def _radix_sort(items, spare, n, tallies):  # pragma: no cover - compiled
    """Sort items by key, one byte at a time from the lowest; a stable sort, so equal keys stay in gene order."""
    tallies[:] = 0
    for j in range(n):
        key = items[j] >> np.uint64(32)
        for byte in range(3):
            tallies[byte, (key >> np.uint64(8 * byte)) & np.uint64(255)] += np.uint32(1)
    source, target = items, spare
    for byte in range(3):
        shift = np.uint64(32 + 8 * byte)
        total = np.uint32(0)
        for digit in range(256):
            count = tallies[byte, digit]
            tallies[byte, digit] = total
            total += count
        for j in range(n):
            digit = (source[j] >> shift) & np.uint64(255)
            target[tallies[byte, digit]] = source[j]
            tallies[byte, digit] += np.uint32(1)
        source, target = target, source
    return source


@njit(nogil=True)
def _settle_ties(items, n, n_wanted, values):  # pragma: no cover - compiled
    """Order items with equal keys by their values; equal values keep the order of genes."""
    place = np.uint64(0xFFFFFFFF)
    for j in range(1, n):
        if j >= n_wanted and items[j] >> np.uint64(32) != items[j - 1] >> np.uint64(32):
            break
        k = j
        while k > 0 and items[k - 1] >> np.uint64(32) == items[k] >> np.uint64(32):
            if values[items[k - 1] & place] >= values[items[k] & place]:
                break
            items[k - 1], items[k] = items[k], items[k - 1]
            k -= 1


@njit(nogil=True, cache=True)
def _values_by_gene(indptr, indices, data, ends):  # pragma: no cover - compiled
    """Return normalised values, gene after gene; fill `ends` [genes + 1] with the start of each gene's values."""
    for i in range(indices.size):
        ends[indices[i] + 1] += data[i] > 0
    for gene in range(ends.size - 1):
        ends[gene + 1] += ends[gene]
    values, free = np.empty(ends[-1], np.float64), ends[:-1].copy()
    for row in range(indptr.size - 1):
        total = data[indptr[row] : indptr[row + 1]].astype(np.float64).sum()
        for i in range(indptr[row], indptr[row + 1]):
            if data[i] > 0:
                values[free[indices[i]]] = data[i] / total * TARGET
                free[indices[i]] += 1
    return values


@njit(nogil=True, cache=True)
def _medians_of(values, ends, first, last, medians):  # pragma: no cover - compiled
    for gene in range(first, last):
        if ends[gene + 1] > ends[gene]:
            medians[gene] = np.median(values[ends[gene] : ends[gene + 1]])


@njit(nogil=True, cache=True)
def _fill(indptr, indices, data, histogram):  # pragma: no cover - compiled
    last_bin = histogram.shape[1] - 1
    for row in range(indptr.size - 1):
        total = data[indptr[row] : indptr[row + 1]].astype(np.float64).sum()
        for i in range(indptr[row], indptr[row + 1]):
            if data[i] > 0:
                bits = np.float32(data[i] / total * TARGET).view(np.uint32)
                where = np.int64(bits >> np.uint32(_FINEST)) - _BINS_FROM
                histogram[indices[i], min(max(where, 0), last_bin)] += 1
