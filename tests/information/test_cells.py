"""Problems that look like cells: their law, their channels, and every truth by a second way."""

import sys
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from noise_scaling import datasets
from noise_scaling.information import ksg, mixed_ksg
from noise_scaling.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import cell_like
from information import cell_truth, cells, limits

pytestmark = pytest.mark.skipif(
    not all(datasets.at_hand(datasets.card(name)) for name, _ in cells.SOURCES.values()),
    reason="the cells' data sets are not here",
)


def test_every_problem_has_its_truth_to_one_per_cent():
    assert set(cell_truth.stored()) == set(cells.problems()) | set(cells.shuffled())
    for name, (bits, error, how) in cell_truth.stored().items():
        assert error < 0.01 * bits or how == "shuffled", name


@pytest.mark.parametrize(
    "name", ["pbmc_rare45", "worm_time12", "merfish_parity", "pbmc_norm", "merfish_slopes", "depth10_labels12"]
)
def test_a_stored_truth_is_found_again(name, monkeypatch):
    monkeypatch.setattr("information.cell_truth.generator", lambda *_: np.random.default_rng(5))
    bits, error, _ = cell_truth.truth(name, draws=1000, references=5000)
    assert abs(bits - cell_truth.stored()[name][0]) < 4 * np.hypot(error, cell_truth.stored()[name][1])


@pytest.mark.parametrize("name", ["pbmc_norm", "merfish_slopes"])
def test_what_a_gaussian_channel_tells_by_nearest_neighbours(name):
    """y depends on x by one or two numbers alone, between which KSG is sound: they share what x and y share."""
    here, channel, _ = cells.of(name)
    rng = np.random.default_rng(1)
    z = here.read(here.draw(8000, rng))
    found = ksg(channel.mean(z), channel.draw(z, rng))
    assert found.bits == pytest.approx(cell_truth.stored()[name][0], abs=4 * found.stderr)


@pytest.mark.parametrize("name", ["worm_time12", "merfish_time45"])
def test_what_a_time_point_tells_by_nearest_neighbours(name):
    here, channel, _ = cells.of(name)
    rng = np.random.default_rng(1)
    z = here.read(here.draw(8000, rng))
    found = mixed_ksg(cells.time_of(name.split("_")[0])(z)[:, None], channel.draw(z, rng))
    assert found.bits == pytest.approx(cell_truth.stored()[name][0], abs=0.06)


def test_classes_come_as_often_as_they_should():
    here, channel, _ = cells.of("pbmc_labels12")
    z = here.read(here.draw(20_000, np.random.default_rng(1)))
    chances = np.exp(channel.log_p(z))
    seen = np.bincount(channel.draw(z, np.random.default_rng(2)), minlength=12)
    assert chances.sum(1) == pytest.approx(1)
    np.testing.assert_allclose(seen, chances.sum(0), atol=4 * np.sqrt(20_000 / 12))


def test_an_ordinal_label_is_a_noisy_time_cut_in_pieces():
    rng = np.random.default_rng(0)
    cuts, z = np.array([-1.0, 0.2, 40.0]), np.full((100_000, 1), 0.5)
    log_p = cells.ordinal(z[:1], lambda z: z[:, 0], cuts, 0.7)
    seen = np.bincount(np.searchsorted(cuts, 0.5 + 0.7 * rng.standard_normal(len(z))), minlength=4) / len(z)
    np.testing.assert_allclose(np.exp(log_p[0]), seen, atol=4 * 0.5 / np.sqrt(len(z)))
    assert np.isfinite(log_p).all()


def test_counts_in_batches_by_a_sum_over_all_counts():
    """One molecule whose rate has two values: p(y | x) is a mean over batches of Poisson chances."""
    batches = np.array([[0.0], [0.7], [-0.4]])
    channel = cells.Poisson(lambda z: np.where(z[:, :1] > 0, 1.0, -0.5), batches)
    rng = np.random.default_rng(0)
    here = cells.source("pbmc")
    z = here.read(here.draw(20_000, rng))
    share = (z[:, 0] > 0).mean()
    counts = np.arange(100)
    low, high = (poisson.pmf(counts[:, None], np.exp(rate + batches.T)).mean(1) for rate in (-0.5, 1.0))
    total = share * high + (1 - share) * low
    exact = (share * high * np.log(high / total) + (1 - share) * low * np.log(low / total))[:60].sum()
    found = np.concatenate([cell_truth._vectors(here, channel, z[:5000], 500, rng) for _ in range(20)])
    assert found.mean() == pytest.approx(exact, abs=4 * found.std() / np.sqrt(len(found)) + 0.01)


def test_at_a_depth_by_a_sum_over_all_counts():
    """Three cells, two modules, two classes: I(counts; class) by hand."""
    profile = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    embedding = np.array([[-1.0], [0.0], [1.0]]) * np.ones(8)
    here = cells.Source(embedding, np.zeros((3, 20, 8)), profile)
    channel = cells.Labels(lambda z: np.log(np.stack([0.5 + 0.4 * np.tanh(z[:, 0]), 0.5 - 0.4 * np.tanh(z[:, 0])], 1)))
    classes = np.exp(channel.log_p(here.read(embedding)))  # [cells, classes]
    joint = np.array(
        [(poisson.pmf([a, b], 5 * profile).prod(1) / 3) @ classes for a, b in product(range(40), repeat=2)]
    )
    outer = joint.sum(1, keepdims=True) * joint.sum(0)
    exact = (joint * np.log(joint / outer)).sum()
    found = cell_truth._at_depth(here, channel, 5, 40_000, np.random.default_rng(0))
    assert found.mean() == pytest.approx(exact, abs=4 * found.std() / np.sqrt(len(found)))


def test_cells_are_new_and_like_the_real_ones():
    for name in cells.SOURCES:
        here = cells.source(name)
        x = here.draw(5000, np.random.default_rng(0))
        assert len(np.unique(x, axis=0)) == 5000
        assert not (x[:, None, 0] == here.embedding[None, :, 0]).any()
        wider = x.std(0) / here.embedding.std(0)
        assert 0.95 < wider.min() < wider.max() < 1.25
        off = (x.mean(0) - here.embedding.mean(0)) / here.embedding.std(0)
        assert np.abs(off).max() < 0.08  # the mean of 5,000 moves by 0.014


def test_pairs_are_drawn_afresh_and_labels_are_of_their_kind():
    (x, y), (again, _), (other, _) = (cells.draw("worm_time45", 60, seed) for seed in (3, 3, 4))
    assert x.shape == (60, 16)
    assert y.dtype.kind == "i"
    np.testing.assert_array_equal(x, again)
    assert not np.array_equal(x, other)
    assert cells.draw("worm_time45_float", 60, 3)[1].dtype.kind == "f"
    assert cells.draw("depth10_proteins", 60, 3)[1].shape == (60, 14)
    counts = np.expm1(cells.draw("depth100_time45", 2000, 0)[0])
    assert counts == pytest.approx(np.rint(counts))
    assert counts.sum(1).mean() == pytest.approx(100, abs=4 * np.sqrt(100 / 2000))


def test_what_y_depends_on_is_all_that_changes_its_likelihood():
    z = np.random.default_rng(0).standard_normal((40, 8))
    of = {name: cells.of(name)[1] for name in ("pbmc_norm", "merfish_parity", "worm_time45", "pbmc_proteins")}
    turned, swapped = z[:, ::-1], z[:, [0, 2, 1, 3, 4, 5, 6, 7]]
    for name, other in (("pbmc_norm", turned), ("merfish_parity", swapped)):
        y = of[name].draw(z, np.random.default_rng(1))
        assert limits.read(of[name], z) == pytest.approx(limits.read(of[name], other))
        assert of[name].log_likelihood(y, z) == pytest.approx(of[name].log_likelihood(y, other))
    assert limits.read(of["worm_time45"], z)[:, 0] == pytest.approx(cells.time_of("worm")(z))
    assert limits.read(of["pbmc_proteins"], z).shape == (40, 14)


def test_a_power_law_is_extrapolated_to_its_limit():
    n = np.array([500, 2400, 6000])
    for a, rule in ((0.5, "I - c / n^(1/2)"), (1.0, "I - c / n"), (0.7, "I - c / n^a"), (0.5, "I - c / n^a")):
        assert limits.RULES[rule](n, 2.5 - 8 / n.astype(float) ** a) == pytest.approx(2.5)
    assert np.isnan(limits.free_power(n, np.array([1.0, 1.2, 2.0])))  # grows ever faster: no power does that
    rows = [("p", 0, k, 2.5 - 8 / k, 0.01, 2.5) for k in n] + [
        ("q", 0, k, bits, 0.01, 0.5) for k, bits in zip(n, (1.0, 0.9, 0.8), strict=True)
    ]
    table = pd.DataFrame(rows, columns=["problem", "seed", "cells", "bits", "stderr", "true"])
    by = {line["rule"]: line for line in limits.extrapolated(table, "made up")}
    assert by["I - c / n"]["above by 2 se"] == 1  # q is too high, whatever is made of it
    assert by["I - c / n"]["nearer than as estimated"] == 0.5  # p, and not q
    assert by["I - c / n^a"]["no fit"] == 1


def test_the_quick_run_writes_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 1)
    monkeypatch.setattr(sys, "argv", ["cell_like", "--quick", "--results", str(tmp_path)])
    cell_like.main()
    table = cell_like.gather(tmp_path / "cell_like" / "default.csv").set_index("problem")
    assert table.true["pbmc_labels3"] == pytest.approx(0.95, abs=0.02)
    assert table.ratio["pbmc_labels3"] == pytest.approx(table.bits["pbmc_labels3"] / table.true["pbmc_labels3"])
    assert len(table.loc["shuffled_labels45"]) == len(table.loc["shuffled_proteins"]) == 2
    assert abs(table.bits["shuffled_labels45"]).max() < 0.3
    text = capsys.readouterr().out
    assert "| labels3 | 0.95 |" in text
    assert "| time45 | 100 | 1." in text
