"""What settings must be, whatever their values, and that they reach what they are for."""

import numpy as np
import pytest
import torch
from scipy.stats import iqr, norm

from noise_scaling.information import classifier, coordinates, latent_training, lmi, networks
from noise_scaling.information.core import LEARNING_CELLS, NATS_PER_BIT
from noise_scaling.information.neighbours import ksg


def test_temperatures_fall_from_one_to_the_class_frequencies():
    """Above 1 the discriminant would be surer than it is; below 0 it would name the least likely class."""
    assert classifier.TEMPERATURES[0] == 1
    assert classifier.TEMPERATURES[-1] == 0
    assert (np.diff(classifier.TEMPERATURES) < 0).all()


@pytest.mark.parametrize("schedule", [latent_training.FEW, latent_training.MANY])
def test_a_running_mean_keeps_a_share_of_itself(schedule):
    assert 0 <= schedule.average < 1
    assert schedule.fewest <= schedule.most


def test_lmi_scores_with_the_published_three_neighbours():
    """Gowri et al. 2024: KSG with k = 3 on the latents; it is not that of k = 2."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 150, 3))
    y += x
    assert lmi(x, y, seed=0).bits == lmi(x, y, seed=0, k=3).bits != lmi(x, y, seed=0, k=2).bits
    assert ksg(x, y).bits == ksg(x, y, k=3).bits


def test_the_score_is_looked_at_every_so_many_steps():
    weights = networks.start(1, (2, 3, 1), torch.Generator().manual_seed(0))
    looked = []

    def check(mean):
        looked.append(mean)
        return 1.0

    training = networks.Schedule(steps=12, check_every=4)
    networks.train(weights, lambda w: sum(part.square().sum() for part in w), check, training)
    assert len(looked) == 3


def test_a_scale_is_that_of_the_quartiles_where_tails_are_heavy():
    x = np.random.default_rng(0).standard_cauchy((5000, 2))
    scaled = coordinates._scaled(x)
    np.testing.assert_allclose(iqr(scaled, axis=0), norm.ppf(0.75) - norm.ppf(0.25), rtol=1e-4)
    assert np.median(scaled, axis=0) == pytest.approx(0, abs=1e-12)


def test_only_values_beyond_three_deviations_are_drawn_in():
    x = np.r_[np.random.default_rng(0).standard_normal(20_000), 50.0][:, None]
    z, by = coordinates.standardised(x)[:, 0].numpy(), coordinates._scaled(x)[:, 0]
    slopes = np.gradient(z[np.argsort(by)], np.sort(by))
    at = np.sort(by)
    inner, outer = slopes[np.abs(at) < 2.9], slopes[(np.abs(at) > 3.2) & (np.abs(at) < 4)]
    assert np.median(inner) == pytest.approx(slopes[np.abs(at) < 1].mean(), rel=1e-3)
    assert np.median(outer) < 0.9 * np.median(inner)


def test_the_standard_error_of_the_classifier_holds_what_its_fit_varies():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((300, 2)), rng.integers(0, 3, 300)
    x[:, 0] += labels
    found = classifier.classifier_bound(x, labels)
    spread = found.pointwise.std(ddof=1) / np.sqrt(300)
    assert found.stderr == pytest.approx(
        max(spread * np.sqrt(1 + LEARNING_CELLS / 300), np.sqrt(2) / 300 / NATS_PER_BIT)
    )
