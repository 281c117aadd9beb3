"""The simulator: the information is what it says, against closed forms, quadrature and brute force."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import softmax
from scipy.stats import norm

from noise_scaling import datasets
from noise_scaling.datasets.simulator import label_information
from noise_scaling.laws import noise_law


def depth(data):
    return np.asarray(data.counts.sum(axis=1)).ravel()


@pytest.mark.parametrize(("bits", "n_latent"), [(3.0, 4), (0.5, 1), (0.0, 2), (6.0, 3)])
def test_a_vector_shares_its_bits_with_the_latent_state(bits, n_latent):
    """Information of two Gaussians from their sample covariances; its sd is below 0.02 bits at 20,000 cells."""
    data = datasets.simulate(20_000, 10, n_latent=n_latent, bits=bits, mean_umis=50, seed=1)
    z, y = data.adata.obsm["latent"], data.signal.values
    together = np.linalg.slogdet(np.cov(np.hstack([z, y]).T))[1]
    apart = np.linalg.slogdet(np.atleast_2d(np.cov(z.T)))[1] + np.linalg.slogdet(np.atleast_2d(np.cov(y.T)))[1]
    assert (apart - together) / 2 / np.log(2) == pytest.approx(bits, abs=0.06)


def test_a_pair_shares_its_bits_between_the_latent_states():
    data = datasets.simulate(40_000, 10, n_latent=2, bits=2.0, mean_umis=50, signal="pair", seed=1)
    z = data.adata.obsm["latent"]
    assert (data.signal.values[::2] == data.signal.values[1::2]).all()
    correlation = [np.corrcoef(z[::2, j], z[1::2, j])[0, 1] for j in range(2)]
    assert -0.5 * np.log2(1 - np.square(correlation)).sum() == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize(("rho", "n_labels"), [(0.3, 2), (0.9, 2), (0.8, 5), (0.98, 16)])
def test_label_information_is_that_of_adaptive_quadrature(rho, n_labels):
    edges = norm.ppf(np.arange(n_labels + 1) / n_labels)

    def entropy(z):
        p = np.diff(norm.cdf((edges - rho * z) / np.sqrt(1 - rho**2)))
        p = p[p > 0]
        return -(p * np.log2(p)).sum() * norm.pdf(z)

    noise = quad(entropy, -9, 9, limit=500, epsabs=1e-9)[0]
    assert label_information(rho, n_labels) == pytest.approx(np.log2(n_labels) - noise, abs=1e-6)


def test_a_label_shares_its_bits_with_the_latent_state():
    """Counting cells in 60 bins of the mean latent and 8 labels; such counting finds a little too much."""
    data = datasets.simulate(60_000, 5, n_latent=3, bits=1.5, n_labels=8, mean_umis=20, signal="label", seed=2)
    kept = data.adata.obsm["latent"].mean(axis=1) * np.sqrt(3)
    bins = np.clip((norm.cdf(kept) * 60).astype(int), 0, 59)
    table = np.zeros((60, 8))
    np.add.at(table, (bins, data.signal.values.astype(int)), 1)
    p = table / table.sum()
    independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0)
    found = (p[p > 0] * np.log2(p[p > 0] / independent[p > 0])).sum()
    assert found == pytest.approx(1.5, abs=0.03)
    assert np.bincount(data.signal.values.astype(int)) / data.n_cells == pytest.approx(np.full(8, 1 / 8), abs=0.006)


def test_depths_are_lognormal_about_their_mean():
    data = datasets.simulate(4000, 200, mean_umis=800, depth_sigma=0.5, seed=3)
    assert depth(data).mean() == pytest.approx(800, rel=0.04)  # 3.8 standard errors
    assert np.log(depth(data)).std() == pytest.approx(0.5, abs=0.03)


def test_counts_are_poisson_or_negative_binomial():
    """Without latent effects and at one depth, variance - mean = mean^2 / theta."""
    for dispersion, excess in ((None, 0.0), (2.0, 0.5)):
        data = datasets.simulate(
            4000, 20, mean_umis=400, depth_sigma=0, loading=0, dispersion=dispersion, bits=1.0, seed=4
        )
        counts = data.counts.toarray()
        mean, variance = counts.mean(axis=0), counts.var(axis=0)
        high = mean > 20
        assert ((variance - mean) / mean**2)[high].mean() == pytest.approx(excess, abs=0.05)


@pytest.mark.parametrize("signal", ["vector", "label", "pair"])
def test_the_true_curve_starts_at_nothing_and_ends_at_all(signal):
    data = datasets.simulate(400, 200, bits=2.0, signal=signal, seed=5)
    curve = datasets.true_information(data, np.array([0, 10, 100, 1000, 1e9]))
    assert curve[0] == pytest.approx(0, abs=1e-9)
    assert curve[-1] == pytest.approx(2.0, abs=1e-3)
    assert (np.diff(curve) > 0).all()


def test_one_latent_at_one_depth_gives_the_noise_law():
    """Eq. 1 with u_bar = 2^(2 I_max) / J, J the Fisher information of one molecule: the loadings' variance."""
    data = datasets.simulate(500, 300, n_latent=1, bits=1.5, loading=0.02, depth_sigma=0, seed=6)
    proportions = softmax(data.adata.var["log_mean"].to_numpy())
    loadings = data.adata.varm["loadings"][:, 0]
    fisher = proportions @ loadings**2 - (proportions @ loadings) ** 2
    u = np.array([300.0, 3e3, 3e4, 3e5, 3e6])
    assert datasets.true_information(data, u) == pytest.approx(noise_law(u, 2**3 / fisher, 1.5), abs=2e-3)


@pytest.mark.parametrize("u", [30, 300])
def test_the_true_curve_is_the_exact_one_for_one_latent(u):
    """Brute force: the posterior of z on a grid for each cell's counts given their total, then the entropy of y."""
    data = datasets.simulate(500, 300, n_latent=1, bits=2.0, mean_umis=1000, seed=3)
    adata, rho = data.adata, data.adata.uns["simulation"]["rho"]
    loadings, log_mean = adata.varm["loadings"][:, 0], adata.var["log_mean"].to_numpy()
    z, y = np.linspace(-5, 5, 201), np.linspace(-6, 6, 301)
    proportions = softmax(log_mean + adata.obsm["latent"] * loadings, axis=1)
    rng = np.random.default_rng(0)
    entropies = []
    for _ in range(16):
        counts = rng.poisson(u / 1000 * adata.obs["depth"].to_numpy()[:, None] * proportions)
        posterior = softmax(counts @ np.log(softmax(log_mean + z[:, None] * loadings, axis=1)).T - z**2 / 2, axis=1)
        density = posterior @ norm.pdf(y, rho * z[:, None], np.sqrt(1 - rho**2))
        entropies.append(-(density * np.log2(np.maximum(density, 1e-300))).sum(axis=1) * (y[1] - y[0]))
    exact = 0.5 * np.log2(2 * np.pi * np.e) - np.mean(entropies)
    assert datasets.true_information(data, u) == pytest.approx(exact, abs=0.004)  # three standard errors


def test_the_same_seed_gives_the_same_cells_and_another_others():
    first, again = (datasets.simulate(50, 30, seed=1) for _ in range(2))
    assert first.data_sha256 == again.data_sha256
    assert datasets.simulate(50, 30, seed=2).data_sha256 != first.data_sha256


def test_the_signal_does_not_change_the_counts():
    vector, label = (datasets.simulate(50, 30, signal=kind, seed=1) for kind in ("vector", "label"))
    assert (vector.counts != label.counts).nnz == 0


def test_the_registered_simulation_is_what_its_card_says():
    data = datasets.load("simulated")
    assert depth(data).mean() == pytest.approx(2000, rel=0.03)
    assert data.card == datasets.card("simulated")
    assert data.adata.uns["simulation"]["bits"] == 3
