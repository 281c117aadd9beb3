"""The suite of known information: its truths against other ways to them, its short run, a run that is cut off."""

import sys

import numpy as np
import pytest

from noise_scaling.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import information_suite
from information import run as suite_run
from information.problems import Problem, mixture, pairs, problems, protein_loadings, protein_noise, smooth_map
from information.run import Found
from information.truth import posterior, stored, student_bits, truth


def test_every_problem_has_its_truth_and_the_named_bits_are_there():
    assert set(stored()) == set(problems())
    for name, (bits, error, _) in stored().items():
        assert error < 0.01, name
        assert bits == pytest.approx(problems()[name].value, rel=0.11) or problems()[name].kind in (
            "sign_flip",
            "mixture",
            "student",
            "paired",
        )
    for nominal in ("1", "3.5", "5.1"):
        assert stored()[f"mixture_{nominal}"][0] == pytest.approx(float(nominal), abs=0.02)


@pytest.mark.parametrize("name", ["mapped16_2", "proteins_2", "paired_2", "sign_flip_3", "mixture_3.5"])
def test_a_stored_truth_is_found_again(name):
    bits, error, _ = truth(problems()[name], draws=200)
    assert abs(bits - stored()[name][0]) < 4 * np.hypot(error, stored()[name][1])


def test_a_mapping_loses_information_and_256_noisy_views_lose_less_than_16():
    for bits in (0.5, 1, 2, 4):
        few, many = stored()[f"mapped16_{bits:g}"][0], stored()[f"mapped256_{bits:g}"][0]
        assert few < many + 0.01
        assert many < bits + 0.01
    assert stored()["paired_2"][0] < stored()["mapped16_2"][0]


def test_student_is_the_gaussian_in_the_limit_of_thin_tails(monkeypatch):
    monkeypatch.setattr("information.truth.NU", 1e5)
    assert student_bits(1.0) == pytest.approx(1.0, abs=1e-3)


def test_sign_flip_by_quadrature():
    """One dimension in place of four: I(x; s y) by a sum over a grid of both."""
    from information.truth import correlation

    rho = correlation(2.0)
    grid = np.linspace(-8, 8, 801)
    x, y = np.meshgrid(grid, grid, indexing="ij")

    def normal(value, variance):
        return np.exp(-0.5 * value**2 / variance) / np.sqrt(2 * np.pi * variance)

    given = 0.5 * (normal(y - rho * x, 1 - rho**2) + normal(y + rho * x, 1 - rho**2))
    by_grid = (normal(x, 1) * given * np.log2(given / normal(y, 1))).sum() * (grid[1] - grid[0]) ** 2
    rng = np.random.default_rng(0)
    a = rng.standard_normal(400_000)
    b = (rho * a + np.sqrt(1 - rho**2) * rng.standard_normal(a.size)) * rng.choice([-1, 1], a.size)
    given = 0.5 * (normal(b - rho * a, 1 - rho**2) + normal(b + rho * a, 1 - rho**2))
    assert np.log2(given / normal(b, 1)).mean() == pytest.approx(by_grid, abs=0.01)


def test_importance_sampling_is_the_prior_reweighted():
    """p(z | x) by brute force: a million latents from the prior, weighted by how well each explains x."""
    rng = np.random.default_rng(0)
    z = 0.5 * rng.standard_normal((1, 4))
    candidates, log_weights = posterior(smooth_map(16), z, np.random.default_rng(1), draws=4000)
    x = smooth_map(16)(z) + 0.3 * np.random.default_rng(1).standard_normal((1, 16))
    found = (np.exp(log_weights[0])[:, None] * candidates[0]).sum(0)
    prior = rng.standard_normal((1_000_000, 4))
    log_likelihood = -0.5 * ((x - smooth_map(16)(prior)) ** 2).sum(1) / 0.3**2
    weights = np.exp(log_likelihood - log_likelihood.max())
    effective = weights.sum() ** 2 / (weights**2).sum()
    by_force = (weights[:, None] * prior).sum(0) / weights.sum()
    np.testing.assert_allclose(found, by_force, atol=5 * 0.2 / np.sqrt(effective))


def test_the_slope_of_the_map_is_its_derivative():
    map_, z = smooth_map(16), np.array([[0.3, -1.0, 0.2, 1.5]])
    steps = 1e-5 * np.eye(4)
    numeric = np.stack([(map_(z + s) - map_(z - s))[0] / 2e-5 for s in steps], axis=1)
    np.testing.assert_allclose(map_.jacobian(z)[0], numeric, atol=1e-6)


def test_proteins_tell_their_bits_of_the_latents():
    loadings, noise = protein_loadings(), protein_noise(2.0)
    joint = np.block([[np.eye(5), loadings], [loadings.T, loadings.T @ loadings + noise**2 * np.eye(14)]])
    minors = [np.linalg.slogdet(part)[1] for part in (np.eye(5), joint[5:, 5:], joint)]
    assert 0.5 * (minors[0] + minors[1] - minors[2]) / np.log(2) == pytest.approx(2.0)


def test_pairs_are_the_same_for_all_and_drawn_afresh_for_each_seed():
    problem = problems()["mapped256_2"]
    (x, y), (again, _), (other, _) = pairs(problem, 50, 3), pairs(problem, 50, 3), pairs(problem, 50, 4)
    assert x.shape == (50, 256)
    assert y.shape == (50, 16)
    np.testing.assert_array_equal(x, again)
    assert abs(np.corrcoef(x.ravel(), other.ravel())[0, 1]) < 0.1


def test_classes_far_apart_tell_log2_of_their_number():
    assert truth(Problem("far", "mixture", 1e3, mixture), draws=500)[0] == pytest.approx(np.log2(45), abs=1e-6)


def test_the_short_run_finds_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 1)
    arguments = ["suite", "--short", "--results", str(tmp_path), "--methods", "default", "ksg", "mixed_ksg", "cca_ksg"]
    monkeypatch.setattr(sys, "argv", arguments)
    information_suite.main()
    default = suite_run.read(tmp_path / "information" / "default.csv").set_index("problem")
    assert abs(default.bits["gaussian_0"]) < 0.1
    assert 1.0 < default.bits["gaussian_2"] < 2.2
    assert 2.3 < default.bits["mixture_3.5"] < 3.7
    assert "| gaussian_2 | 2.00 |" in capsys.readouterr().out
    written = (tmp_path / "information" / "default.csv").read_text()
    information_suite.main()  # nothing is left to do
    assert (tmp_path / "information" / "default.csv").read_text() == written


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    path, calls = tmp_path / "t.csv", []

    def estimator(x, y, seed):
        calls.append(seed)
        if seed == 1:
            raise ValueError("no\nluck")
        return Found(1.5, 0.1, True, "a note")

    suite_run.run(path, "m", estimator, ["gaussian_1"], [50], range(2))
    assert calls == [0, 0, 1]  # the first call only warms up
    with path.open("a") as file:
        file.write("gaussian_1,50,m,2,0.3")  # stopped within a line
    table = suite_run.run(path, "m", estimator, ["gaussian_1"], [50], range(3))
    assert table.seed.tolist() == [0, 1, 2]
    assert table.note.tolist() == ["a note", "failed: no luck", "a note"]
    assert table.bits.isna().tolist() == [False, True, False]
