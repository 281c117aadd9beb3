"""infonce, classifier_bound and lmi against closed forms."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import gammaln, log_softmax, psi
from scipy.stats import multivariate_normal, norm
from torch import nn

from noise_scaling.information import (
    canonical,
    classifier,
    classifier_bound,
    contrastive,
    coordinates,
    infonce,
    lmi,
    networks,
)
from noise_scaling.information.crossfit import fold_repeats


def gaussian(n, bits, seed=0, signal=4, noise=12):
    """Two Gaussians [n, signal + noise] of known information, rotated."""
    rng = np.random.default_rng(seed)
    rho = np.sqrt(1 - 2 ** (-2 * bits / signal))
    x, y = rng.standard_normal((2, n, signal + noise))
    y[:, :signal] = rho * x[:, :signal] + np.sqrt(1 - rho**2) * y[:, :signal]
    turn = np.linalg.qr(rng.standard_normal((signal + noise, signal + noise)))[0]
    return x @ turn, y @ turn.T


# What a lower bound may miss at 2,000 cells: 16 x 16 coefficients cost about 256 / (2 x 1,100 ln 2) = 0.17 bits, and
# at 4 bits even the true critic misses 0.12 when 400 cells are scored against each other.
@pytest.mark.parametrize("bits", [0.5, 1.0, 2.0, 4.0])
def test_infonce_finds_gaussian_information_among_noise(bits):
    found = infonce(*gaussian(2000, bits))
    assert bits - 0.3 < found.bits < bits + 3 * found.stderr
    assert found.lower_bound
    assert found.bits == pytest.approx(found.pointwise.mean())


def test_infonce_is_not_capped_by_the_batch():
    # 9 bits in 3 dimensions: log2 of a batch of 128 is 7.
    found = infonce(*gaussian(8000, 9.0, signal=3, noise=1))
    assert found.bits > 8.0


def test_infonce_sees_dependence_without_correlation():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 3))
    y = x * rng.choice([-1, 1], 2000)[:, None] + 0.3 * rng.standard_normal((2000, 3))
    assert np.abs(np.corrcoef(x.T, y.T)[:3, 3:]).max() < 0.1
    assert infonce(x, y).bits > 1.5


def test_infonce_finds_what_only_products_show():
    """y is x but for a fair common sign, among 6 dimensions of noise: no correlation at all."""
    rng = np.random.default_rng(3)
    n, rho = 1500, np.sqrt(0.9)
    x, y = rng.standard_normal((2, n, 10))
    y[:, :4] = rng.choice([-1, 1], n)[:, None] * (rho * x[:, :4] + np.sqrt(1 - rho**2) * y[:, :4])
    turn = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    # The truth is 4 x -1/2 log2(1 - 0.9) = 6.64 bits less at most the 1 bit of the sign.
    assert 3.3 < infonce(x @ turn, y @ turn.T).bits < 6.64


def test_infonce_finds_a_common_scale():
    """Independent directions, one common chi: the t of 3 degrees of freedom in 4 + 4 dimensions, 0.35 bits."""
    nu = 3.0

    def entropy(d):
        half = (nu + d) / 2
        return gammaln(nu / 2) - gammaln(half) + d / 2 * np.log(nu * np.pi) + half * (psi(half) - psi(nu / 2))

    truth = (2 * entropy(4) - entropy(8)) / np.log(2)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3000, 4)) / np.sqrt(rng.chisquare(nu, 3000) / nu)[:, None]
    found = infonce(x, y)
    assert 0.6 * truth < found.bits < truth + 3 * found.stderr


def test_infonce_is_the_mean_cross_entropy_of_both_directions():
    """Of naming a cell's partner among all, less the log of their number; torch's own loss is the reference."""
    g, h = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0))
    scores, own = g @ h.T, torch.arange(30)
    loss = 0.5 * (nn.functional.cross_entropy(scores, own) + nn.functional.cross_entropy(scores.T, own))
    assert networks.nats(g, h).mean().item() == pytest.approx(np.log(30) - loss.item(), rel=1e-5)
    far = 200 * torch.eye(30)
    torch.testing.assert_close(networks.nats(far, far), torch.full((30,), np.log(30)))


def test_networks_side_by_side_train_as_each_alone():
    """The reference: one torch.nn.Sequential under torch.optim.AdamW at the same rates."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 50, 3, generator=rng), torch.randn(2, 50, 1, generator=rng)
    weights = networks.start(2, (3, 8, 1), rng)
    assert (weights[1] == 0).all()
    training = networks.Schedule(steps=30)
    steps = networks.descend(weights, lambda w: (networks.forward(w, x) - y).square().mean((1, 2)).sum(), training)
    *_, (last, mean) = steps
    assert last == 30

    net = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
    for layer, (weight, bias) in zip((net[0], net[2]), (weights[:2], weights[2:]), strict=True):
        layer.weight.data, layer.bias.data = weight[1].T.contiguous(), bias[1, 0]
    running = nn.utils.parameters_to_vector(net.parameters()).detach()
    adam = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.99), weight_decay=1e-2)
    for step in range(1, 31):
        adam.param_groups[0]["lr"] = 2e-2 * min(1, step / 20) * (0.5 + 0.5 * np.cos(np.pi * step / 30))
        adam.zero_grad()
        (net(x[1]) - y[1]).square().mean().backward()
        adam.step()
        share = min(0.98, step / (step + 10))
        running = share * running + (1 - share) * nn.utils.parameters_to_vector(net.parameters()).detach()
    nn.utils.vector_to_parameters(running, net.parameters())
    torch.testing.assert_close(networks.forward(mean, x)[1], net(x[1]), rtol=1e-4, atol=1e-4)


def test_the_best_weights_are_each_networks_own():
    best = networks.BestWeights([torch.zeros(3, 1, 1)])
    for value, scores in ((1.0, [0.5, -0.1, 0.2]), (2.0, [0.4, -0.2, 0.3]), (3.0, [0.6, -0.3, 0.3])):
        best.offer([torch.full((3, 1, 1), value)], torch.tensor(scores))
    assert best.weights[0].flatten().tolist() == [3.0, 0.0, 2.0]


def test_infonce_stderr_is_the_spread_over_samples():
    found = [infonce(*gaussian(280, 1.0, seed, signal=2, noise=2), seed=seed) for seed in range(16)]
    spread = np.std([f.bits for f in found], ddof=1)
    assert 0.6 < np.mean([f.stderr for f in found]) / spread < 1.6


def test_classifier_finds_the_entropy_of_labels_that_x_gives_away():
    codes = np.repeat(np.arange(8), 100)
    x = np.eye(8)[codes] * 50 + np.random.default_rng(0).standard_normal((800, 8))
    assert classifier_bound(x, codes).bits == pytest.approx(3.0, abs=0.02)
    shares = np.repeat([0, 1, 2], [400, 200, 200])  # H = 1.5 bits
    x = np.eye(3)[shares] * 50 + np.random.default_rng(0).standard_normal((800, 3))
    assert classifier_bound(x, shares).bits == pytest.approx(1.5, abs=0.02)


def test_classifier_finds_the_binary_gaussian_channel():
    # +-1 in unit Gaussian noise by numerical integration: 0.486 bits.
    t = np.linspace(-10, 10, 20001)
    density = 0.5 * (norm.pdf(t - 1) + norm.pdf(t + 1))
    truth = -np.trapezoid(density * np.log2(density), t) - 0.5 * np.log2(2 * np.pi * np.e)
    rng = np.random.default_rng(1)
    sign = rng.choice([-1, 1], 3000)
    x = np.hstack([sign[:, None] + rng.standard_normal((3000, 1)), rng.standard_normal((3000, 7))])
    found = classifier_bound(x, sign)
    assert abs(found.bits - truth) < 3 * found.stderr
    assert found.lower_bound


def test_classifier_sees_classes_that_no_line_separates():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 2))
    codes = (x[:, 0] * x[:, 1] > 0).astype(int)  # XOR: 1 bit, 0 of it linear
    assert 0.8 < classifier_bound(x, codes).bits <= 1.0


def test_classes_of_one_and_two_cells_cost_bits_but_finitely_many():
    rng = np.random.default_rng(0)
    codes = np.r_[np.repeat([0, 1], 150), 2, 3, 3]
    x = np.eye(4)[codes] * 5 + rng.standard_normal((303, 4))
    found = classifier_bound(x, codes)
    assert np.isfinite(found.pointwise).all()
    assert found.n == 303
    assert 0.8 < found.bits < 1.1  # H = 1.08 bits


@pytest.mark.parametrize("factor", [1, 30, 3000, 3e5])
@pytest.mark.parametrize("cell", range(4))
def test_one_cell_unlike_all_others_does_not_take_the_information_of_the_rest(factor, cell):
    """200 cells of three classes that x gives away (1.49 bits); one cell's x is far from all in a random direction.

    Class frequencies keep a weight of 1 cell in 33 or so: a cell costs 5 bits and what its class is worth, and as much
    again where it is among the fitted; where it is among those that choose, the other classes' cells pay too.
    """
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 200, p=[0.5, 0.3, 0.2])
    x = (10 * np.eye(3)[codes] + rng.standard_normal((200, 3))) @ rng.standard_normal((3, 8))
    x[cell] += factor * 10 * rng.standard_normal(8)
    found = classifier_bound(x, codes)
    assert found.bits > 1.49 - 3 * 10 / 200 - 0.05
    assert found.pointwise.min() >= -10
    assert found.stderr < 0.2


def test_a_cell_of_the_wrong_class_costs_about_log2_of_the_cells_that_choose():
    rng = np.random.default_rng(1)
    codes = np.tile([0, 1], 150)
    x = (codes * 200.0)[:, None] + rng.standard_normal((300, 1))
    x[0] = 200.0  # a label that is wrong for certain
    found = classifier_bound(x, codes)
    assert -np.log2(10 * 48) < found.pointwise[0] < -3  # 48 of 240 cells choose
    assert found.bits > 0.9


def test_four_outlier_cells_take_no_information_of_the_rest():
    """One gene at 3,000 in 4 of 600 cells once gave -15 +- 24 bits where others found 1.4."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, 600)
    x = 2.5 * np.eye(4)[codes] @ rng.standard_normal((4, 12)) + rng.standard_normal((600, 12))
    whole = classifier_bound(x, codes)
    x[:4, 0] = 3000.0
    found = classifier_bound(x, codes)
    assert abs(found.bits - whole.bits) < 0.1
    assert found.stderr < 2 * whole.stderr


def ordered(n, noise, seed=0, classes=20):
    """Places on a curve [n, 3] that winds once and rises, in noise; and class codes [n] of `classes` in their order."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    t = 2 * np.pi * (codes + 0.5) / classes
    return np.stack([np.cos(t), np.sin(t), t / 3], 1) + noise * rng.standard_normal((n, 3)), codes


def test_the_order_of_integer_labels_is_used_and_that_of_strings_is_not():
    x, codes = ordered(400, 0.3)
    names = np.array([f"class {c:02d}" for c in codes])
    by_name, by_place = classifier_bound(x, names), classifier_bound(x, codes)
    assert by_place.bits > by_name.bits + 0.02
    mixed = np.random.default_rng(1).permutation(20)[codes]
    assert abs(classifier_bound(x, mixed).bits - by_name.bits) < 0.1  # an order that helps nothing costs nothing
    categories = pd.Categorical(names, ordered=True)
    np.testing.assert_array_equal(classifier_bound(x, categories).pointwise, by_place.pointwise)
    backwards = pd.Categorical(names, categories=sorted(set(names), reverse=True), ordered=True)
    assert abs(classifier_bound(x, backwards).bits - by_place.bits) < 0.05


def test_ordered_labels_hold_what_their_exact_posterior_does():
    """The mean log posterior of the true class over its share is the truth, by Monte Carlo on 200,000 cells."""

    def posterior(x, noise):
        t = 2 * np.pi * (np.arange(20) + 0.5) / 20
        centres = np.stack([np.cos(t), np.sin(t), t / 3], 1)
        return log_softmax(-0.5 * ((x[:, None] - centres) ** 2).sum(2) / noise**2, axis=1)

    x, codes = ordered(200_000, 0.3, seed=1)
    truth = np.log2(20) + posterior(x, 0.3)[np.arange(len(x)), codes].mean() / np.log(2)
    for n, share in ((500, 0.85), (2400, 0.93)):
        found = classifier_bound(*ordered(n, 0.3, seed=2))
        assert share * truth < found.bits < truth + 3 * found.stderr


@pytest.mark.parametrize("kind", ["labels", "vectors"])
def test_cells_given_twice_invent_nothing(kind):
    """Independent sides, each pair twice: .34 bits were found once."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 8))
    y = rng.integers(0, 12, 300) if kind == "labels" else rng.standard_normal((300, 8))
    twice = rng.permutation(np.repeat(np.arange(300), 2))
    bound = classifier_bound if kind == "labels" else infonce
    found = bound(x[twice], y[twice])
    assert found.bits < 2 * found.stderr + 0.01
    assert found.note.startswith("600 cells have the x and y of another: they are kept together")
    assert bound(x, y).note == ""
    clones = np.where(np.arange(600) < 20, np.arange(600) // 2, np.arange(600))  # joined with the copies of their cells
    found = bound(x[twice], y[twice], groups=clones)
    assert found.bits < 2 * found.stderr + 0.01


@pytest.mark.parametrize(("copies", "together"), [(10, True), (11, False)])
def test_cells_given_many_times_are_values_not_copies(copies, together):
    codes = np.repeat(np.arange(20.0), copies)[:, None]
    groups, note = fold_repeats(codes, codes, None)
    assert (groups is not None) == bool(note) == together


def test_no_estimate_is_certain_of_nothing():
    """Independent sides: held-out cells prefer a constant, which is 0 bits, but not 0 +- 0."""
    rng = np.random.default_rng(4)
    for seed in range(4):
        found = infonce(rng.standard_normal((200, 5)), rng.standard_normal((200, 3)), seed=seed)
        assert found.stderr >= np.sqrt(2) / 200 / np.log(2)


@pytest.mark.parametrize(("dims", "nu"), [(1, 1), (2, 1), (5, 2)])
def test_heavy_tails_leave_a_scale_to_go_by(dims, nu):
    """Student's t of a common chi: the closed form of its entropies (Guerrero-Cusumano 1996) is the truth."""

    def entropy(d):
        half = (nu + d) / 2
        return gammaln(nu / 2) - gammaln(half) + d / 2 * np.log(nu * np.pi) + half * (psi(half) - psi(nu / 2))

    truth = (2 * entropy(dims) - entropy(2 * dims)) / np.log(2)
    rng = np.random.default_rng(0)
    chi = np.sqrt(rng.chisquare(nu, 4000) / nu)[:, None]
    found = infonce(*rng.standard_normal((2, 4000, dims)) / chi)
    assert 0.8 * truth < found.bits < truth + 3 * found.stderr


def test_a_signal_outside_the_leading_components_is_found_and_what_is_cut_is_said():
    """8 shared dimensions of 1.5 bits in all, beside 60 of nine times their variance."""
    rng = np.random.default_rng(0)
    rho = np.sqrt(1 - 2 ** (-2 * 1.5 / 8))
    x, y = rng.standard_normal((2, 3000, 120))
    y[:, :8] = rho * x[:, :8] + np.sqrt(1 - rho**2) * y[:, :8]
    x[:, 8:68] *= 3
    assert 0.5 < infonce(x, y[:, :10]).bits < 1.5
    noted = infonce(rng.standard_normal((300, 300)), y[:300, :10]).note
    assert noted == "x: 256 principal components of 300 used"


def test_a_cell_more_changes_little():
    """795 -> 805 cells cost .05 bits once, when a rule changed at 800."""
    x, y = gaussian(2010, 2.0)
    for n in (800, 1500, 2000):
        few, many = infonce(x[: n - 5], y[: n - 5]), infonce(x[: n + 5], y[: n + 5])
        assert abs(few.bits - many.bits) < 0.04


def test_lmi_finds_one_strong_dimension():
    x, y = gaussian(2000, 2.0, signal=1, noise=0)
    found = lmi(x, y, hidden=(64, 32), learning_rate=2e-3, epochs=60)
    assert found.bits == pytest.approx(2.0, abs=0.25)
    assert found.n == 1000  # half of the cells, as published
    assert np.isnan(found.pointwise).sum() == 1000
    assert not found.lower_bound


def test_infonce_sees_clusters_that_no_line_joins():
    """Four clusters a side, matched by a permutation: 2 bits, and no correlation between the columns."""
    rng = np.random.default_rng(4)
    corners = np.array([[-3, -3], [-3, 3], [3, 3], [3, -3]])
    x_of, y_of = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])
    which = rng.integers(0, 4, 2000)
    twisted = np.stack([np.sign(corners[:, 0] * corners[:, 1]) * 3, corners[:, 1]], 1)[y_of]
    x = corners[x_of][which] + rng.normal(0, 0.3, (2000, 2))
    y = twisted[which] + rng.normal(0, 0.3, (2000, 2))
    found = infonce(x, y, seed=0)
    assert found.bits == pytest.approx(2.0, abs=0.06)


def test_the_discriminant_is_the_density_of_its_classes():
    """Of many cells a class, far apart: the log ratio of normal densities with the pooled covariance (scipy)."""
    rng = np.random.default_rng(0)
    codes, mix = rng.integers(0, 3, 3000), rng.standard_normal((4, 4)) + 2 * np.eye(4)
    x = (3 * np.eye(4)[codes] + rng.standard_normal((3000, 4))) @ mix
    tx, y = torch.from_numpy(x), torch.from_numpy(codes)
    found = classifier._log_evidence(tx, y, np.arange(3000), torch.bincount(y).double(), 0.0).numpy()
    means = np.stack([x[codes == k].mean(0) for k in range(3)])
    pooled = np.cov((x - means[codes]).T)
    density = np.stack([multivariate_normal.logpdf(x, mean, pooled) for mean in means], 1)
    ratio = found - found[:, :1]
    assert np.abs(ratio - (density - density[:, :1])).mean() < 0.02 * np.abs(ratio).mean()


def test_variates_are_those_of_ridge_regularised_canonical_correlation():
    """The leading eigenvector of (Sxx + r)^-1 Sxy (Syy + r)^-1 Syx, in columns of very different variance."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2000, 3))
    x = coordinates.components(torch.from_numpy(z * [2, 0.5, 0.1]).float())
    y = coordinates.components(
        torch.from_numpy(z @ rng.standard_normal((3, 3)) + rng.standard_normal((2000, 3))).float()
    )
    (sums,) = canonical.cross_products(x, y, [np.arange(2000)])
    u, _ = canonical.variates(x, y, sums, 2000, np.arange(2000))
    s = sums.numpy() / 2000
    for k, ridge in enumerate(canonical.RIDGES):
        a, b = s[:3, :3] + ridge * np.eye(3), s[3:, 3:] + ridge * np.eye(3)
        values, vectors = np.linalg.eig(np.linalg.solve(a, s[:3, 3:]) @ np.linalg.solve(b, s[3:, :3]))
        expected = x.numpy() @ vectors[:, values.real.argmax()].real
        assert abs(np.corrcoef(expected, u[k, :, 0].numpy())[0, 1]) > 0.9999
        assert u[k, :, 0].var(correction=0).item() == pytest.approx(1, abs=1e-3)


def test_the_ridge_that_foretells_most_is_chosen_and_chance_taken_off():
    ridge, r = canonical.choose_ridge(torch.tensor([[0.5, 0.02], [0.8, -0.3], [0.6, 0.6]]), 1000)
    assert ridge == 1
    assert r.tolist() == pytest.approx([0.8 * (1 - 1 / (1000 * 0.64)), 0])


def test_parts_left_out_together_are_neighbours_first():
    ring = {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)}
    assert set(contrastive._pairs(5000)) == set(contrastive._pairs(2000)) == ring
    assert len(set(contrastive._pairs(300))) == 10
    assert ring < set(contrastive._pairs(1400))
    assert len(contrastive._pairs(1400)) in (7, 8)


def test_weights_of_critics_are_the_best_on_a_grid():
    rng = torch.Generator().manual_seed(0)
    scores = [torch.randn(2, n, n, generator=rng) + s * torch.eye(n) for n, s in ((40, 2.0), (60, 3.0))]
    shares = [0.3, 0.7]

    def value(weights):
        nats = 0.0
        for s, share in zip(scores, shares, strict=True):
            total = torch.einsum("k,kij->ij", torch.tensor(weights).float(), s)
            both = [total.log_softmax(side).diagonal() for side in (0, 1)]
            nats += share * (0.5 * (both[0] + both[1]).mean().item() + np.log(len(total)))
        return nats

    found, gain = contrastive._weights(scores, shares)
    best = max(value([a, b]) for a in np.arange(0, 4, 0.1) for b in np.arange(0, 4, 0.1))
    assert gain == pytest.approx(value(found.tolist()), abs=1e-4)
    assert best - 1e-3 < gain < best + 0.01
    alone, _ = contrastive._weights([torch.stack([-s[0], s[1]]) for s in scores], shares)
    assert alone[0] == 0  # a critic that misleads has no say
