from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_matrix, vstack

from noise_scaling import datasets, information, models, signals
from noise_scaling.datasets.simulator import simulate
from noise_scaling.errors import InputError
from noise_scaling.models.base import log_normalise
from noise_scaling.models.pca import variable_genes

pytestmark = pytest.mark.any_machine

NAMES = ["pca", "random_projection", "scvi"]


@pytest.fixture(scope="module")
def cells() -> tuple[csr_matrix, np.ndarray]:
    """Two hundred cells of two kinds that differ twofold in half of 60 genes."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 200)
    means = np.where((np.arange(60) < 30) == kind[:, None], 8.0, 4.0)
    return csr_matrix(rng.poisson(means).astype(np.int32)), kind


def create(name: str, *, seed: int) -> models.Model:
    """A small model; scVI with 100 steps, which these two kinds of cells need, not 4,000."""
    short = {"max_steps": 100} if name == "scvi" else {}
    return models.create(name, seed=seed, device="cpu", **short)


@pytest.fixture(scope="module", params=NAMES)
def fitted(request, cells):
    counts, _ = cells
    return create(request.param, seed=3).fit(counts[:100], counts[100:130])


def test_embedding_tells_the_kinds_apart(fitted, cells):
    counts, kind = cells
    embedding = fitted.embed(counts[130:])
    labels = kind[130:]
    gap = embedding[labels == 0].mean(0) - embedding[labels == 1].mean(0)
    score = embedding @ gap
    threshold = (score[labels == 0].mean() + score[labels == 1].mean()) / 2
    assert ((score > threshold) == (labels == 0)).mean() > 0.9


def test_embeds_unseen_cells_in_any_order_identically(fitted, cells):
    counts = cells[0][130:]
    order = np.random.default_rng(1).permutation(counts.shape[0])
    whole = fitted.embed(counts)
    assert whole.dtype == np.float32
    assert whole.shape == (70, 16)
    np.testing.assert_allclose(fitted.embed(counts[order]), whole[order], rtol=1e-5, atol=1e-6)


def test_empty_cells_have_an_embedding(fitted, cells):
    counts = vstack([cells[0][:3], csr_matrix((2, 60), dtype=np.int32)], format="csr")
    assert np.isfinite(fitted.embed(counts)).all()


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits_and_another_seed_another_model(name, cells):
    counts, _ = cells
    one, again, other = (create(name, seed=s).fit(counts[:60], counts[100:120]).embed(counts[130:]) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    if name != "pca":  # PCA has no random choice; its seed only starts ARPACK
        assert not np.allclose(one, other)


def test_random_projection_is_linear_with_the_stated_variance():
    embedding = models.create("random_projection", seed=0).fit(csr_matrix((5, 4000)), None).embed
    unit = csr_matrix(np.eye(1, 4000))
    np.testing.assert_allclose(embedding(3 * unit), 3 * embedding(unit), rtol=1e-6)
    matrix = embedding(csr_matrix(np.eye(4000)))
    # 64,000 Gaussians of variance 1/16: the estimate has a relative error of sqrt(2 / 64000) = 0.0056
    assert matrix.var() * 16 == pytest.approx(1, abs=4 * 0.0056)


def test_pca_is_the_svd_of_log_normalised_counts(cells):
    counts = cells[0]
    model = models.create("pca").fit(counts[:100], None)
    dense = np.log1p(1e4 * counts.toarray() / counts.toarray().sum(1, keepdims=True))
    _, _, axes = np.linalg.svd(dense[:100][:, model.genes], full_matrices=False)
    expected = np.abs(dense[:, model.genes] @ axes[:16].T)
    np.testing.assert_allclose(np.abs(model.embed(counts)), expected, rtol=1e-3, atol=1e-3)


def test_pca_chooses_genes_on_the_training_cells(cells):
    """A gene that varies in the cells to embed alone is not chosen."""
    counts = cells[0].toarray()
    counts[:100, 7] = 0
    model = models.create("pca").fit(csr_matrix(counts[:100]), csr_matrix(counts[100:]))
    assert 7 not in model.genes
    assert len(model.genes) == 59


def test_variable_genes_are_the_most_variable_ones():
    variance = np.array([[0, 5, 1, 2.0], [0, 0, 2, 2.0], [0, 9, 3, 2.0]]).var(0)
    np.testing.assert_array_equal(variable_genes(variance, 1), [1])
    np.testing.assert_array_equal(variable_genes(variance, 4), [1, 2])  # constant genes say nothing


def test_pca_says_what_it_is_short_of(cells):
    counts = cells[0]
    assert models.create("pca", n_genes=60).fit(counts[:100], None).note == ""
    few = models.create("pca").fit(counts[:10], None)
    assert few.note == "9 axes found, 16 wanted"
    assert few.embed(counts).shape == (200, 9)
    one_gene = counts[:100].toarray()
    one_gene[:, 1:] = 0
    with pytest.raises(InputError, match="1 genes vary among 100 cells"):
        models.create("pca").fit(csr_matrix(one_gene + (np.arange(60) == 0)), None)


def test_pca_chooses_genes_elsewhere_where_asked(cells):
    """The published way: genes from all cells at full depth."""
    counts = cells[0].toarray()
    elsewhere = counts.copy()
    counts[:100, 7] = 0
    model = models.create("pca").fit(csr_matrix(counts[:100]), None, genes_from=csr_matrix(elsewhere))
    assert 7 in model.genes
    assert len(model.genes) == 60


@pytest.mark.parametrize("name", ["pca", "random_projection"])
def test_saved_and_loaded_it_embeds_the_same(name, cells, tmp_path):
    model = models.create(name, seed=2).fit(cells[0][:100], None)
    back = models.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(back.embed(cells[0]), model.embed(cells[0]))
    assert back.settings == model.settings


def test_ten_molecules_a_cell_are_enough(cells):
    """At the least depth of the grid some cells are empty, and nothing may fail."""
    rng = np.random.default_rng(3)
    counts = csr_matrix(rng.poisson(0.05, (80, 60)).astype(np.int32))
    assert (counts.sum(1) == 0).any()
    for name in NAMES:
        embedding = create(name, seed=0).fit(counts[:50], counts[50:]).embed(counts)
        assert np.isfinite(embedding).all(), name
        assert len(embedding) == 80


def test_log_normalise_by_hand():
    values = log_normalise(csr_matrix(np.array([[1, 3], [0, 0]])))
    np.testing.assert_allclose(values.toarray(), [[np.log1p(2500), np.log1p(7500)], [0, 0]])


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("mofa", {}, "unknown model 'mofa'"),
        ("pca", {"preset": "huge"}, "unknown preset of pca 'huge'"),
        ("scvi", {"device": "tpu"}, "unknown device 'tpu'"),
    ],
)
def test_bad_requests(name, settings, word):
    with pytest.raises(InputError, match=word):
        models.create(name, **settings)


def test_too_few_cells_with_molecules(cells):
    with pytest.raises(InputError, match="0 of 50 training cells hold any molecule"):
        models.create("pca").fit(csr_matrix((50, 60)), cells[0])


@pytest.fixture(scope="module")
def simulated() -> datasets.Dataset:
    """1,300 cells of 600 genes, 400 molecules a cell, whose signal shares 3 bits with their state."""
    return simulate(1300, 600, mean_umis=400.0, bits=3.0, loading=0.5, informative=0.2, seed=4)


@pytest.fixture(scope="module")
def bits(simulated):
    """Information of a model's embedding of 600 unseen cells, trained on 500, and its standard error."""
    counts, signal = simulated.counts, simulated.signal

    def measured(name: str, **options) -> information.Information:
        model = models.create(name, seed=0, device="cpu", **options).fit(counts[:500], counts[500:700])
        pair = signals.align(signal, np.arange(700, 1300), model.embed(counts[700:]), seed=0)
        return information.estimate(pair.x, pair.y, seed=0, device="cpu")

    return cache(measured)


@pytest.mark.parametrize(("name", "options"), [("pca", {}), ("scvi", {"max_steps": 600})])
def test_learns_more_than_a_random_projection(name, options, bits):
    learnt, floor = bits(name, **options), bits("random_projection")
    assert learnt.bits - floor.bits > 3 * np.hypot(learnt.stderr, floor.stderr)
    assert learnt.bits < 3 + 3 * learnt.stderr  # no embedding can hold more than the state does
