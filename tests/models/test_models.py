from functools import cache

import anndata
import numpy as np
import pytest
import scanpy
from scipy.sparse import csr_matrix, vstack

from noise_scaling import datasets, information, models, signals
from noise_scaling.datasets.simulator import simulate
from noise_scaling.errors import InputError
from noise_scaling.models.base import log_normalise
from noise_scaling.models.pca import variable_genes

pytestmark = pytest.mark.any_machine

LEARNERS = ["pca", "pearson_pca", "nmf", "lda", "scvi", "scvi_nb", "scvi_poisson", "scvi_linear"]
NAMES = [*LEARNERS, "random_projection"]


@pytest.fixture(scope="module")
def cells() -> tuple[csr_matrix, np.ndarray]:
    """Two hundred cells of two kinds that differ twofold in half of 60 genes."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 200)
    means = np.where((np.arange(60) < 30) == kind[:, None], 8.0, 4.0)
    return csr_matrix(rng.poisson(means).astype(np.int32)), kind


def create(name: str, *, seed: int) -> models.Model:
    """A small model; scVI with 100 steps, which these two kinds of cells need, not 4,000."""
    short = {"max_steps": 100} if "scvi" in name else {"cells_seen": 500} if name == "lda" else {}
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
    assert ((score > threshold) == (labels == 0)).mean() > 0.85


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
    if name not in ("pca", "pearson_pca", "nmf"):  # no random choice; seeds start solvers, and fill NMF's zeros
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


def test_pearson_residuals_are_scanpy_s(cells):
    """Of the training cells themselves: residuals, the ranking of genes, and principal components."""
    counts = cells[0][:150]
    adata = anndata.AnnData(counts.astype(np.float32))
    options = {"theta": 100, "n_top_genes": 20}
    scanpy.experimental.pp.highly_variable_genes(adata, flavor="pearson_residuals", **options, check_values=False)
    theirs = scanpy.experimental.pp.normalize_pearson_residuals(adata, inplace=False)["X"]
    model = models.create("pearson_pca", n_genes=20, dims=5).fit(counts, None)
    np.testing.assert_array_equal(model.genes, np.flatnonzero(adata.var["highly_variable"]))
    chosen = theirs[:, model.genes]
    np.testing.assert_allclose(np.vstack(list(model._residuals(counts, model.genes))), chosen, rtol=1e-4, atol=1e-5)
    centred = chosen - chosen.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(model.embed(counts)), np.abs(centred @ axes[:5].T), rtol=1e-2, atol=1e-3)


def test_nmf_amounts_are_the_best_that_are_not_negative(cells):
    """No step along any axis, up or down to zero, fits a cell better; and scikit-learn's own amounts fit no better."""
    model = models.create("nmf", dims=4).fit(cells[0][:100], None)
    values = log_normalise(cells[0])[:, model.genes].toarray()
    amounts = model.embed(cells[0]).astype(float)
    assert amounts.min() >= 0
    assert model.axes.min() >= 0
    slope = (amounts @ model.axes - values) @ model.axes.T
    scale = np.abs(values @ model.axes.T).max()
    assert slope.min() > -1e-5 * scale
    assert np.abs(slope[amounts > 0]).max() < 1e-5 * scale


def test_lda_finds_topics_of_known_genes():
    """Cells that mix two topics of 30 genes each: shares are those drawn, as the counts tell them."""
    rng = np.random.default_rng(5)
    share = rng.random(300)
    rates = np.where(np.arange(60) < 30, share[:, None], 1 - share[:, None]) * 400 / 30
    counts = csr_matrix(rng.poisson(rates).astype(np.int32))
    embedding = models.create("lda", dims=2, seed=1).fit(counts[:200], None).embed(counts[200:])
    np.testing.assert_allclose(embedding.sum(1), 1, rtol=1e-5)
    first = embedding[:, 0] if np.corrcoef(embedding[:, 0], share[200:])[0, 1] > 0 else embedding[:, 1]
    # 400 molecules a cell: an error of 0.025; as much again as the topics found are not pure
    assert np.sqrt(np.mean((first - share[200:]) ** 2)) < 0.06


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


@pytest.mark.parametrize("name", ["pca", "random_projection", "pearson_pca", "nmf", "lda"])
def test_saved_and_loaded_it_embeds_the_same(name, cells, tmp_path):
    model = create(name, seed=2).fit(cells[0][:100], None)
    back = models.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(back.embed(cells[0]), model.embed(cells[0]))
    assert back.settings == model.settings


def test_ten_molecules_a_cell_are_enough(cells):
    """At the least depth of the grid some cells are empty, and nothing may fail."""
    rng = np.random.default_rng(3)
    counts = csr_matrix(rng.poisson(0.05, (80, 60)).astype(np.int32))
    assert (counts.sum(1) == 0).any()
    for name in NAMES:
        short = {"max_steps": 20} if "scvi" in name else {"cells_seen": 100} if name == "lda" else {}
        model = models.create(name, seed=0, device="cpu", **short)
        embedding = model.fit(counts[:50], counts[50:]).embed(counts)
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
