"""Compiled kernels of thinning: hash the names, choose the molecules to keep, and write rows of kept counts."""

import numpy as np
from numba import njit

LARGEST_COUNT = 2**31 - 1
_STRIP = 2048  # entries hashed at a time: their 16 kB of words fit in the level-1 cache
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)  # Steele, Lea & Flood (2014), SplitMix64; constants of Stafford's mix 13
_MIX_2 = np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SLOW = np.int32(-1)


@njit(inline="always")
def _mix(z):  # pragma: no cover - compiled
    """A permutation of 64-bit words in which every output bit depends on every input bit."""
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@njit(inline="always")
def _ones(z):  # pragma: no cover - compiled
    """Number of set bits (LLVM knows this form and uses the processor's own instruction)."""
    z = z - ((z >> np.uint64(1)) & np.uint64(0x5555555555555555))
    z = (z & np.uint64(0x3333333333333333)) + ((z >> np.uint64(2)) & np.uint64(0x3333333333333333))
    z = (z + (z >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((z * _ONES) >> np.uint64(56))


@njit(nogil=True, cache=True)
def hash_integers(values, salt):  # pragma: no cover - compiled
    """Return keys uint64 [n] of names that are integers, uint64 [n]; another `salt` gives other keys."""
    keys = np.empty(values.size, np.uint64)
    for i in range(values.size):
        keys[i] = _mix(_mix(values[i] + _STEP) ^ salt)
    return keys


@njit(nogil=True, cache=True)
def hash_text(codes, salt):  # pragma: no cover - compiled
    """Return keys [n] of names given as code points [n, width], padded with zeros; the padding does not matter."""
    keys = np.empty(codes.shape[0], np.uint64)
    for i in range(codes.shape[0]):
        length = codes.shape[1]
        while length > 0 and codes[i, length - 1] == 0:
            length -= 1
        key = _STEP
        for j in range(length):
            key = _mix(key + np.uint64(codes[i, j]))
        keys[i] = _mix(key ^ salt)
    return keys


@njit(nogil=True, cache=True)
def thin_rows(
    indptr, indices, data, cell_keys, gene_keys, threshold, first, last, out_indices, out_data, out_lengths
):  # pragma: no cover - compiled
    """Thin a range of rows into out_*, one after another, beginning where the first of them starts in the input.

    Parameters
    ----------
    indptr, indices, data
        Arrays of the CSR counts [cells, genes]; `data` has a dtype of `thinning._KERNEL_DTYPES`.
    cell_keys, gene_keys
        uint64 [cells], [genes].
    threshold
        uint64: a molecule is kept if its number, in units of 2^-64, is below; all bits set keep every molecule.
    first, last
        The range of rows, `last` excluded.
    out_indices, out_data, out_lengths
        Output: arrays as long as the input's, and the number of kept entries of each row [cells].

    Returns
    -------
    Whether all rows were canonical and held only valid counts; if not, the output is meaningless.
    """
    words, small, kept = np.empty(_STRIP, np.uint64), np.empty(_STRIP, np.uint8), np.empty(_STRIP, np.int32)
    end = np.uint64(indptr[first])
    for row in range(first, last):
        row_start = end
        start, stop = indptr[row], indptr[row + 1]
        if not _row_is_valid(indices[start:stop], data[start:stop], gene_keys.size):
            return False
        for strip in range(start, stop, _STRIP):
            genes = indices[strip : min(strip + _STRIP, stop)]
            counts = data[strip : strip + genes.size]
            _hash_strip(genes, counts, cell_keys[row], gene_keys, words, small)
            _keep_strip(words, small, genes.size, threshold, kept)
            for j in range(genes.size):
                if kept[j] == _SLOW:
                    kept[j] = _keep_one(words[j], np.int64(counts[j]), threshold)
            end = _write(genes, kept, out_indices, out_data, end)
        out_lengths[row] = end - row_start
    return True


@njit(nogil=True)
def _row_is_valid(genes, counts, n_genes):  # pragma: no cover - compiled
    """Whether gene indices rise strictly within 0..n_genes - 1 and all values are 0, 1, ..., 2^31 - 1."""
    if genes.size == 0:
        return True
    bad = (genes[0] < 0) | (genes[-1] >= n_genes)
    later = genes[1:]
    for j in range(later.size):
        bad |= later[j] <= genes[j]
    for j in range(counts.size):
        inside = (counts[j] >= 0) & (counts[j] <= LARGEST_COUNT)
        whole = np.int64(counts[j] if inside else 0)
        bad |= (not inside) | (whole != counts[j])
    return not bad


@njit(nogil=True, cache=True)
def all_valid(indptr, indices, data, n_genes):  # pragma: no cover - compiled
    """Whether all rows are canonical and hold only valid counts: the check of `thin_rows` without the thinning."""
    for row in range(indptr.size - 1):
        start, stop = indptr[row], indptr[row + 1]
        if not _row_is_valid(indices[start:stop], data[start:stop], n_genes):
            return False
    return True


@njit(nogil=True)
def _hash_strip(genes, counts, cell_key, gene_keys, words, small):  # pragma: no cover - compiled
    for j in range(genes.size):
        words[j] = gene_keys[np.uint32(genes[j])]
    for j in range(genes.size):  # a loop of its own, because the scattered reads would prevent vectorisation
        words[j] = _mix(cell_key + words[j])
    for j in range(genes.size):
        small[j] = np.uint8(min(np.int64(counts[j]), 9))


@njit(nogil=True)
def _keep_strip(words, small, n, threshold, kept):  # pragma: no cover - compiled
    """Write to `kept` how many molecules of each count up to 8 are kept, from the first byte of each molecule's number.

    A word holds the first bytes of eight molecules, which are compared with the threshold's first byte all at once
    (Warren, Hacker's Delight, 2-18). _SLOW where a byte ties (one in 256), or the count is above 8 (4 % of entries).
    """
    first = (threshold >> np.uint64(56)) * _ONES
    first_low = first & _LOW
    for j in range(n):
        word, count = words[j], np.uint64(small[j])
        mine = _HIGH >> (np.uint64(64) - np.uint64(8) * min(count, np.uint64(8)))
        mine = np.uint64(0) if count == 0 else mine
        differ = word ^ first
        below = ((~word & first) | (~differ & ~((word | _HIGH) - first_low))) & mine
        tie = ~(((differ & _LOW) + _LOW) | differ) & mine
        n_below = np.int32(((below >> np.uint64(7)) * _ONES) >> np.uint64(56))
        kept[j] = _SLOW if (tie != 0) | (count > 8) else n_below


@njit(nogil=True)
def _write(genes, kept, out_indices, out_data, end):  # pragma: no cover - compiled
    for j in range(genes.size):
        out_indices[end] = genes[j]
        out_data[end] = kept[j]
        end += np.uint64(kept[j] != 0)
    return end


@njit(nogil=True)
def _keep_one(word, count, threshold):  # pragma: no cover - compiled
    """Return the number of molecules kept of one count, of any size and with any ties."""
    if threshold == _ALL:
        return count
    if count > 8:
        return _keep_many(word, count, threshold)
    kept = 0
    first = threshold >> np.uint64(56)
    for m in range(count):
        byte = (word >> np.uint64(8 * m)) & np.uint64(255)
        if byte < first:
            kept += 1
        elif byte == first:
            rest = _mix(word + np.uint64(m + 1) * _STEP)
            kept += rest < (threshold << np.uint64(8))
    return kept


@njit(nogil=True)
def _keep_many(node, n, threshold):  # pragma: no cover - compiled
    """Return how many of n uniform numbers lie below the threshold, compared binary digit by digit from the first.

    The n numbers that agree with the threshold so far split into those whose next digit is 0 and those where it is 1: a
    binomial (n, 1/2), drawn as the set bits among n random bits. One group is decided, the other is split again. Above
    64 numbers only the groups' sizes are drawn, from about n/32 words in all; from 64 down each number is a bit of the
    words that follow. A node's words depend only on the digits that lead to it, so all thresholds see the same numbers.
    """
    kept = 0
    while n > 64 and threshold != 0:
        n_low = n - _count_ones(node, n)
        digit = threshold >> np.uint64(63)
        if digit:
            kept += n_low
            n -= n_low
        else:
            n = n_low
        node = _mix(~node - digit)
        threshold <<= np.uint64(1)
    open_numbers = _ALL >> np.uint64(64 - n) if n > 0 else np.uint64(0)
    while open_numbers != 0 and threshold != 0:
        node += _STEP
        word = _mix(node)
        if threshold >> np.uint64(63):
            kept += _ones(open_numbers & ~word)
            open_numbers &= word
        else:
            open_numbers &= ~word
        threshold <<= np.uint64(1)
    return kept


@njit(nogil=True)
def _count_ones(node, n):  # pragma: no cover - compiled
    """Return the number of set bits among n random bits."""
    total = 0
    for k in range(n >> 6):
        total += _ones(_mix(node + np.uint64(k) * _STEP))
    rest = np.uint64(n & 63)
    last = _mix(node + np.uint64(n >> 6) * _STEP)
    return total + (_ones(last & (_ALL >> (np.uint64(64) - rest))) if rest else 0)
