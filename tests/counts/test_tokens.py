"""Rank-value tokens against hand-worked cells, a plain numpy ranking, and numpy's medians."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from noise_scaling.counts import tokens as tokens_module
from noise_scaling.counts.tokens import MedianSketch, gene_medians, rank_tokens
from noise_scaling.errors import InputError

pytestmark = pytest.mark.any_machine


def random_counts(n_cells=50, n_genes=300, seed=0, rate=2.0):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.poisson(rate * rng.exponential(size=(n_cells, n_genes)) ** 3).astype(np.int32))


def ranked_by_numpy(counts, medians, max_length):
    """As the published tokenizer does it, cell by cell, but with a stable sort."""
    for row in counts.toarray():
        genes = np.flatnonzero((row > 0) & ~np.isnan(medians))
        values = row[genes] / medians[genes]
        yield genes[np.argsort(-values, kind="stable")][:max_length].tolist()


def per_cell(ids, offsets):
    return [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def test_a_cell_by_hand():
    counts = sparse.csr_matrix(np.array([[4, 0, 1, 6, 2], [0, 0, 0, 0, 0], [0, 9, 0, 0, 0]], np.float32))
    ids, offsets = rank_tokens(counts, np.array([2.0, 1.0, 0.5, 12.0, 1.0]))
    assert ids.dtype == np.uint16
    assert offsets.dtype == np.int64
    assert per_cell(ids, offsets) == [[0, 2, 4, 3], [], [1]]  # values 2, -, 2, 0.5, 2: ties by gene
    ids, offsets = rank_tokens(counts, np.array([2.0, 1.0, 0.5, 12.0, 1.0]), max_length=2)
    assert per_cell(ids, offsets) == [[0, 2], [], [1]]


@pytest.mark.parametrize("max_length", [1, 40, 512])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_ranks_are_those_of_a_stable_sort(monkeypatch, max_length, dtype):
    counts = random_counts().astype(dtype)
    medians = np.random.default_rng(1).choice([0.5, 1, 1.3, 2, 3.7, np.nan], 300)
    expected = list(ranked_by_numpy(counts, medians, max_length))
    assert per_cell(*rank_tokens(counts, medians, max_length=max_length)) == expected
    monkeypatch.setattr(tokens_module, "_BLOCK", 700)
    assert per_cell(*rank_tokens(counts, medians, max_length=max_length, n_threads=3)) == expected


def test_values_that_only_64_bits_tell_apart():
    medians = 1 + np.random.default_rng(0).permutation(200) * 1e-12
    counts = sparse.csr_matrix(np.full((2, 200), 3, np.int32))
    assert per_cell(*rank_tokens(counts, medians)) == list(ranked_by_numpy(counts, medians, 512))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.lists(st.integers(0, 5) | st.just(2**31 - 1), min_size=7, max_size=7), min_size=1, max_size=5),
    st.lists(st.sampled_from([1e-290, 0.1, 0.3, 1.0, 3.0, 1e300, float("nan")]), min_size=7, max_size=7),
    st.integers(1, 8),
)
def test_any_cells_any_medians(rows, medians, max_length):
    counts, medians = sparse.csr_matrix(np.array(rows, np.int64)), np.array(medians)
    expected = list(ranked_by_numpy(counts, medians, max_length))
    assert per_cell(*rank_tokens(counts, medians, max_length=max_length)) == expected


def test_many_genes_need_wide_ids():
    for n_genes, dtype in ((65_534, np.uint16), (65_535, np.uint32)):
        counts = sparse.csr_matrix(([2, 1], [0, n_genes - 1], [0, 2]), shape=(1, n_genes), dtype=np.int32)
        ids, _ = rank_tokens(counts, np.ones(n_genes))
        assert ids.dtype == dtype
        assert ids.tolist() == [0, n_genes - 1]


def test_medians_by_hand():
    counts = sparse.csr_matrix(np.array([[1, 3, 0, 0], [2, 0, 6, 0], [5, 5, 0, 0]]))
    # Per 1e4: gene 0 has 2500, 2500, 5000; gene 1 7500, 5000; gene 2 7500; gene 3 nothing.
    np.testing.assert_array_equal(gene_medians(counts), [2500, 6250, 7500, np.nan])


def test_medians_are_numpys():
    counts = random_counts()
    dense = counts.toarray()
    values = dense / dense.sum(1, keepdims=True) * 1e4
    expected = [np.median(column[column > 0]) if column.any() else np.nan for column in values.T]
    np.testing.assert_allclose(gene_medians(counts), expected, rtol=1e-12)


@pytest.mark.parametrize("n_cells", [1, 2, 50])
def test_a_sketch_is_within_its_stated_error_in_any_chunks(n_cells):
    counts = random_counts(n_cells, rate=0.5)
    sketches = []
    for chunk in (n_cells, 7):
        sketch = MedianSketch(300)
        for start in reversed(range(0, n_cells, chunk)):
            sketch.add(counts[start : start + chunk])
        sketches.append(sketch.medians())
    np.testing.assert_array_equal(*sketches)
    np.testing.assert_allclose(sketches[0], gene_medians(counts), rtol=2**-9)


def test_a_sketch_counts_a_value_below_its_range_as_its_lowest():
    sketch = MedianSketch(2)
    sketch.add(sparse.csr_matrix(np.array([[1, 2**31 - 2]])))
    np.testing.assert_allclose(sketch.medians(), [2**-8, 1e4], rtol=2**-8)


@pytest.mark.parametrize(
    ("medians", "sentence"),
    [
        (np.ones(299), r"shape \(299,\) for 300 genes"),
        (np.r_[np.ones(299), 0], "holds 0 at gene 299"),
        (np.r_[-2, np.ones(299)], "holds -2 at gene 0"),
        (np.r_[np.inf, np.ones(299)], "holds inf at gene 0"),
    ],
)
def test_wrong_medians_are_refused(medians, sentence):
    with pytest.raises(InputError, match=sentence):
        rank_tokens(random_counts(), medians)


def test_other_wrong_input_is_refused():
    with pytest.raises(InputError, match="max_length is 0"):
        rank_tokens(random_counts(), np.ones(300), max_length=0)
    with pytest.raises(InputError, match="counts looks log-normalised"):
        gene_medians(random_counts().astype(float).log1p())
    with pytest.raises(InputError, match="counts has 300 genes, the chunks before had 7"):
        MedianSketch(7).add(random_counts())
