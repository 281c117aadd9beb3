"""Thinning against the binomial law, a plain-Python definition, and itself in other orders."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from noise_scaling.counts import thin, umis_per_cell, validate_counts
from noise_scaling.counts import thinning as counts_module
from noise_scaling.errors import InputError
from noise_scaling.seeds import derive

pytestmark = pytest.mark.any_machine

MASK = 2**64 - 1


def constant(count, shape=(200, 250), dtype=np.int32):
    return sparse.csr_matrix(np.full(shape, count, dtype))


def random_counts(n_cells=60, n_genes=40, seed=0, dtype=np.int32):
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.3, 3, 30, 3000], size=(1, n_genes))
    return sparse.csr_matrix(rng.poisson(scale * rng.random((n_cells, n_genes))).astype(dtype))


def same(a, b):
    return a.shape == b.shape and (a != b).nnz == 0


def chi_square(values, n, fraction):
    """P value of the values against binomial(n, fraction), bins of at least 5 expected."""
    support = np.arange(n + 1)
    expected = stats.binom.pmf(support, n, fraction) * values.size
    bins = np.minimum(np.cumsum(expected) // 8, (values.size - 8) // 8).astype(int)
    _, bins = np.unique(bins, return_inverse=True)
    observed = np.bincount(bins[values], minlength=bins.max() + 1)
    expected = np.bincount(bins, weights=expected)
    if expected.size == 1:
        return 1.0
    return stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue


@pytest.mark.parametrize("fraction", [0.5, 0.1, 1 / 3, 0.0123, 0.97])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 10, 64, 65, 100, 10_000])
def test_thinned_counts_are_binomial(count, fraction):
    kept = thin(constant(count), fraction, seed=5).toarray().ravel()
    assert chi_square(kept, count, fraction) > 1e-4  # 50 tests: one in 200 such files of a right sampler would fail


@pytest.mark.parametrize("count", [3, 8, 40, 700])
def test_a_smaller_fraction_thins_what_a_larger_one_kept(count):
    """Of k molecules kept at q2, binomial(k, q1 / q2) are kept at q1: the joint law of single molecules."""
    many, few = (m.toarray().ravel() for m in (thin(constant(count), q, seed=2) for q in (0.6, 0.23)))
    low, high = stats.binom.cdf(few - 1, many, 0.23 / 0.6), stats.binom.cdf(few, many, 0.23 / 0.6)
    uniform = low + (high - low) * np.random.default_rng(0).random(few.size)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


STEP = 0x9E3779B97F4A7C15


def molecule(word, m, count):
    """The uniform number of molecule m, in units of 2^-64: the definition, one molecule at a time."""
    if count <= 8:
        return (word >> 8 * m & 255) << 56 | mix((word + (m + 1) * STEP) & MASK) >> 8
    digits = [mix((word + (level + 1) * STEP) & MASK) >> m & 1 for level in range(64)]
    return int("".join(map(str, digits)), 2)


@pytest.mark.parametrize("names", ["text", "numbers", None])
def test_small_counts_follow_the_definition(names):
    counts = random_counts(12, 9, seed=1).minimum(64).tocsr()
    ids = {"text": lambda n: [f"α{i * i}" for i in range(n)], "numbers": lambda n: np.arange(n) * 7 - 3}.get(names)
    cells, genes = (ids(12), ids(9)) if ids else (None, None)
    kept = thin(counts, 0.37, seed=-4, cell_ids=cells, gene_ids=genes).toarray()

    def key(names, i, axis):
        salt = derive(-4, "thin", axis)
        name = i if names is None else names[i]
        if not isinstance(name, str):
            return mix(mix((int(name) + STEP) & MASK) ^ salt)
        key = STEP
        for letter in name:
            key = mix((key + ord(letter)) & MASK)
        return mix(key ^ salt)

    for i, j in itertools.product(range(12), range(9)):
        word = mix((key(cells, i, "cell") + key(genes, j, "gene")) & MASK)
        count = int(counts[i, j])
        assert kept[i, j] == sum(molecule(word, m, count) < 0.37 * 2**64 for m in range(count))


@pytest.mark.parametrize("count", [1, 8, 64, 200])
@pytest.mark.parametrize("fraction", [0.5, 0.05])
def test_cells_genes_and_seeds_are_independent_for_ids_in_sequence(count, fraction):
    def standardised(seed):
        kept = thin(constant(count, (500, 400)), fraction, seed=seed).toarray()
        return (kept - count * fraction) / np.sqrt(count * fraction * (1 - fraction))

    z = standardised(0)
    sums = {
        "next cell": z[1:] * z[:-1],
        "next gene": z[:, 1:] * z[:, :-1],
        "cell 256 on": z[256:] * z[:-256],
        "gene with cell": z[:400] * z[:400].T,
        "square of cells and genes": z[1:, 1:] * z[:-1, :-1] * z[1:, :-1] * z[:-1, 1:],
        "next seed": z * standardised(1),
        "seed 2^32": z * standardised(2**32),
        "cell means": np.sqrt(400) * z.mean(1),
        "gene means": np.sqrt(500) * z.mean(0),
    }
    for name, products in sums.items():
        score = products.sum() / np.sqrt(products.size)
        assert abs(score) < 4.5, name  # 72 scores; beyond 4.5 sd one in 2,000 such files
    for means in (np.sqrt(400) * z.mean(1), np.sqrt(500) * z.mean(0)):
        assert stats.kstest(means, "norm").pvalue > 1e-4


def test_molecules_of_one_entry_are_independent():
    """Pairs of molecules, from what one more molecule adds: entries of count 8 and 64 use all bits of their words."""
    for count in (8, 64):
        kept = thin(constant(count, (1000, 400)), 0.5, seed=3).toarray()
        excess = kept.var() / (count / 4) - 1  # (count - 1) x the mean correlation of two molecules
        assert abs(excess) < 4 * np.sqrt(2 / kept.size)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_larger_fractions_keep_all_that_smaller_ones_keep(dtype):
    counts = random_counts(dtype=dtype)
    fractions = [1e-5, 0.001, 0.2, 0.25, 0.2500001, 0.75, 0.999, 1.0]
    thinned = [thin(counts, fraction, seed=9).toarray() for fraction in fractions]
    for less, more in itertools.pairwise(thinned):
        assert (less <= more).all()
    assert (thinned[-1] == counts.toarray()).all()


def test_a_cell_keeps_its_molecules_in_any_order_subset_and_chunk():
    counts = random_counts()
    cells, genes = [f"cell{i}" for i in range(60)], np.array([f"gene{i}" for i in range(40)], dtype=object)
    whole = thin(counts, 0.3, seed=1, cell_ids=cells, gene_ids=genes)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(60)[:35], rng.permutation(40)[:22]
    part = thin(
        counts[rows][:, columns], 0.3, seed=1, cell_ids=[cells[i] for i in rows], gene_ids=genes[columns].tolist()
    )
    assert same(part, whole[rows][:, columns])
    by_number = thin(counts, 0.3, seed=1)
    chunks = [thin(counts[i : i + 7], 0.3, seed=1, cell_ids=np.arange(60)[i : i + 7]) for i in range(0, 60, 7)]
    assert same(sparse.vstack(chunks, format="csr"), by_number)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_and_blocks_do_not_matter(monkeypatch, n_threads):
    counts = random_counts(200, 40)
    whole = thin(counts, 0.4, seed=1)
    monkeypatch.setattr(counts_module, "_BLOCK", 100)
    assert same(whole, thin(counts, 0.4, seed=1, n_threads=n_threads))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "i8", "u8", "f4", "f8"])
def test_dtype_is_kept_and_changes_nothing(dtype):
    counts = random_counts()
    counts.data = np.minimum(counts.data, 255)
    thinned = thin(counts.astype(dtype), 0.3, seed=1)
    assert thinned.dtype == dtype
    assert same(thinned.astype(np.int32), thin(counts, 0.3, seed=1))


def test_form_changes_nothing():
    counts = random_counts()
    expected = thin(counts, 0.3, seed=1)
    wide = counts.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert same(thin(wide, 0.3, seed=1), expected)
    assert isinstance(thin(sparse.csr_array(counts), 0.3, seed=1), sparse.csr_array)
    for form in ("csc", "coo", "lil"):
        assert same(thin(counts.asformat(form), 0.3, seed=1), expected)
    reversed_rows = sparse.csr_matrix((counts.data.copy(), counts.indices.copy(), counts.indptr.copy()), counts.shape)
    for start, stop in itertools.pairwise(counts.indptr):
        reversed_rows.indices[start:stop] = counts.indices[start:stop][::-1]
        reversed_rows.data[start:stop] = counts.data[start:stop][::-1]
    assert same(thin(reversed_rows, 0.3, seed=1), expected)


def test_repeated_entries_are_added_first_and_the_input_is_left_alone():
    twice = sparse.csr_matrix((np.array([2, 3, 1]), np.array([1, 1, 0]), np.array([0, 3])), shape=(1, 2))
    once = sparse.csr_matrix(np.array([[1, 5]]))
    assert same(thin(twice, 0.5, seed=8), thin(once, 0.5, seed=8))
    assert twice.data.tolist() == [2, 3, 1]


def test_the_largest_count():
    kept = thin(constant(2**31 - 1, (2, 2), np.int64), 0.25, seed=0).toarray()
    sd = np.sqrt((2**31 - 1) * 0.25 * 0.75)
    assert (np.abs(kept - (2**31 - 1) / 4) < 5 * sd).all()
    assert len(set(kept.ravel().tolist())) == 4


def test_tiny_fractions_keep_next_to_nothing():
    counts = constant(1000)
    assert thin(counts, 1e-300, seed=0).nnz == 0
    expected = 50_000 * 1000 * 1e-6
    assert abs(thin(counts, 1e-6, seed=0).sum() - expected) < 5 * np.sqrt(expected)


def test_mean_depth_does_not_depend_on_the_number_of_cells():
    """The published kernel thins each gene of a chunk to a whole number, so that few cells came out shallower."""
    counts = constant(1, (20_000, 40))
    for n_cells in (100, 20_000):
        depth = umis_per_cell(thin(counts[:n_cells], 0.05, seed=0))
        assert abs(depth - 2) < 4 * np.sqrt(40 * 0.05 * 0.95 / n_cells)


matrices = st.tuples(st.integers(1, 6), st.integers(1, 5)).flatmap(
    lambda shape: st.lists(
        st.lists(st.sampled_from([0, 0, 0, 1, 2, 8, 9, 63, 64, 65, 5000]), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(matrices, st.floats(0, 1, exclude_min=True), st.integers(-(2**70), 2**70))
def test_any_counts_any_fraction_any_seed(rows, fraction, seed):
    counts = sparse.csr_matrix(np.array(rows, dtype=np.int32))
    before = counts.copy()
    thinned = thin(counts, fraction, seed=seed)
    assert (thinned.toarray() <= counts.toarray()).all()
    assert (thinned.data > 0).all()
    assert thinned.has_canonical_format
    assert thinned.indptr[-1] == thinned.indices.size == thinned.data.size
    thinned.check_format(full_check=True)
    assert same(counts, before)
    assert same(thin(counts, 1, seed=seed), counts)


def test_explicit_zeros_are_dropped():
    counts = sparse.csr_matrix((np.array([0, 4, 0]), np.array([0, 1, 2]), np.array([0, 3])), shape=(1, 3))
    assert thin(counts, 1.0, seed=0).data.tolist() == [4]


def test_full_depth_is_a_copy_that_may_be_changed():
    counts = random_counts()
    thinned = thin(counts, 1.0, seed=0)
    thinned.data[:] = 0
    assert counts.data.all()


def test_umis_per_cell_by_hand():
    assert umis_per_cell(sparse.csr_matrix(np.array([[1, 2], [0, 3], [0, 0]], np.float32))) == 2.0


@pytest.mark.parametrize("fraction", [0, -0.1, 1.0000001, 2, float("nan"), float("inf"), None, "half"])
def test_fractions_outside_0_to_1_are_refused(fraction):
    with pytest.raises(InputError, match=r"fraction is .*: give a number above 0 and at most 1"):
        thin(constant(1), fraction, seed=0)


def with_value(value, dtype=np.float64):
    counts = random_counts(dtype=dtype)
    counts.data[7] = value
    return counts


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (with_value(-1, np.int32), "holds -1: a count cannot be negative"),
        (with_value(np.nan), "holds nan: remove or fill missing values"),
        (with_value(np.inf), "holds inf"),
        (with_value(1.5), "holds 1.5: counts must be whole numbers"),
        (with_value(2.0**31), r"more than 2\^31 - 1"),
        (random_counts().astype(float).log1p(), r"looks log-normalised.*adata.layers\['counts'\]"),
        (np.ones((3, 2), int), r"dense array \(3, 2\): give a sparse matrix"),
        ([[1]], "is a list: give a sparse matrix"),
        (sparse.csr_matrix((0, 5), dtype=np.int32), r"is empty, shape \(0, 5\)"),
        (sparse.csr_matrix((5, 0), dtype=np.int32), r"is empty, shape \(5, 0\)"),
        (constant(1).astype(bool), "has dtype bool"),
        (constant(1).astype(complex), "has dtype complex128"),
    ],
)
def test_what_is_no_count_is_refused(counts, sentence):
    for refuse in (validate_counts, lambda x: thin(x, 0.5, seed=0)):
        with pytest.raises(InputError, match=sentence):
            refuse(counts)


def test_validate_gives_sound_counts_back_untouched_and_names_the_rest():
    counts = random_counts()
    assert validate_counts(counts) is counts
    with pytest.raises(InputError, match="layer 'raw' holds -2"):
        validate_counts(with_value(-2), name="layer 'raw'")


def _set(name, at, value):
    def spoil(matrix):
        getattr(matrix, name)[at] = value

    return spoil


def _shorten(matrix):
    matrix.data = matrix.data[:-2]


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize(
    "spoil",
    [
        _set("indices", 4, 7),
        _set("indices", 4, 10**9),
        _set("indices", 4, -2),
        _set("indptr", 1, 7),
        _set("indptr", -1, 10**6),
        _shorten,
    ],
    ids=["beyond", "far beyond", "negative", "falling", "beyond the end", "too short"],
)
def test_broken_arrays_are_refused_before_anything_reads_by_them(kind, spoil):
    """scipy converts columns to rows without looking, and writes where a wrong index points."""
    matrix = kind(np.arange(1, 10).reshape(3, 3))
    spoil(matrix)
    with pytest.raises(InputError, match="counts is a broken sparse matrix"):
        validate_counts(matrix)


def test_indices_outside_the_matrix_are_never_read():
    counts = constant(1, (3, 3))
    counts.indices[4] = 7
    with pytest.raises(InputError, match=r"broken sparse matrix \(indices must be < 3"):
        thin(counts, 0.5, seed=0)


def test_rows_that_go_back_are_refused_and_never_written():
    """scipy takes them; thinned, seven rows of 100 counts would be written to arrays of 100."""
    starts = np.array([0, 100] * 4, np.int32)
    counts = sparse.csr_matrix((np.ones(100, np.int32), np.arange(100, dtype=np.int32), starts), shape=(7, 100))
    with pytest.raises(InputError, match="counts is a broken sparse matrix"):
        thin(counts, 0.999, seed=0)


def test_names_must_be_unique_and_enough():
    counts = constant(1, (3, 2))
    with pytest.raises(InputError, match=r"gene_ids repeats 'a'.*var_names_make_unique"):
        thin(counts, 0.5, seed=0, gene_ids=["a", "a"])
    with pytest.raises(InputError, match=r"cell_ids repeats '5'.*obs_names_make_unique"):
        thin(counts, 0.5, seed=0, cell_ids=[5, 4, 5])
    with pytest.raises(InputError, match=r"cell_ids has shape \(2,\) for 3 cells"):
        thin(counts, 0.5, seed=0, cell_ids=["a", "b"])


@pytest.mark.parametrize("seed", [1.5, "1", None])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(InputError, match=r"seed is .*: give an integer"):
        thin(constant(1), 0.5, seed=seed)
