"""Coordinates along a curved manifold: found where there is one, with its width, from one side alone."""

import sys

import numpy as np
import pytest
import torch

from noise_scaling.information import contrastive, coordinates, infonce, manifold
from noise_scaling.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from information.problems import mapped_latents, pairs, problems
from information.truth import stored


def codes(*sides, seed=0):
    """The codes of plain columns [cells, dims], by their principal components."""
    with torch.no_grad():
        return manifold.manifolds([coordinates.components(of(x)) for x in sides], seed=seed)


def of(x):
    return coordinates.standardised(np.asarray(x, dtype=float))


@pytest.mark.parametrize(("latents", "dims"), [(3, 16), (4, 16), (5, 14), (4, 256)])
def test_the_width_of_a_manifold_is_that_of_its_latents(latents, dims):
    rng = np.random.default_rng(1)
    (found,) = codes(mapped_latents(rng.standard_normal((3000, latents)), dims, rng))
    assert found.shape == (3000, latents)
    assert found.std(0).numpy() == pytest.approx(np.ones(latents), abs=1e-3)


def test_two_noisy_views_of_a_cell_lie_closer_along_the_manifold_than_along_principal_components():
    rng = np.random.default_rng(2)
    z = rng.standard_normal((1500, 4))
    views = np.concatenate([mapped_latents(z, 16, rng) for _ in range(2)])
    (found,) = codes(views)
    flat = coordinates.components(of(views))[:, :4]

    def apart(code):
        first, second = code[:1500], code[1500:]
        between = np.linalg.slogdet(np.cov((first - second).T.numpy()))[1]
        return between - np.linalg.slogdet(np.cov(code.T.numpy()))[1]

    # in units of how the cells spread: their volume, so that no linear map of a code changes it
    assert apart(found) < apart(flat) - 0.5


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.standard_normal((n, 16)),
        lambda rng, n: rng.standard_normal((n, 16)) @ rng.standard_normal((16, 16)),
        lambda rng, n: rng.standard_normal((n, 16)) / np.sqrt(rng.chisquare(3, n) / 3)[:, None],
        lambda rng, n: mapped_latents(rng.standard_normal((n, 4)), 8, rng),
    ],
    ids=["noise", "linear", "heavy tails", "too few columns to tell"],
)
def test_no_manifold_where_there_is_none(draw):
    assert codes(draw(np.random.default_rng(3), 3000)) == [None]


def test_a_side_is_described_without_the_other():
    rng = np.random.default_rng(4)
    x, y, other = (mapped_latents(rng.standard_normal((3000, 4)), 16, rng) for _ in range(3))
    torch.testing.assert_close(codes(x, y)[0], codes(x, other)[0])
    alone = codes(x, rng.standard_normal((3000, 16)))
    assert alone[1] is None
    torch.testing.assert_close(codes(x, y)[0], alone[0], rtol=1e-3, atol=1e-3)


def test_two_maps_of_related_latents_tell_more_along_their_manifolds(monkeypatch):
    x, y = pairs(problems()["paired_2"], 3000, 7)
    with_manifolds = infonce(x, y)
    monkeypatch.setattr(contrastive, "manifolds", lambda sides, **_: [None, None])
    without = infonce(x, y)
    assert without.bits + 0.05 < with_manifolds.bits < stored()["paired_2"][0] + 2 * with_manifolds.stderr


def test_a_manifold_found_in_error_costs_little(monkeypatch):
    """12 separate clusters look like a manifold; what both sides share within them lies off it."""
    rng = np.random.default_rng(0)
    centres, cluster = 3 * rng.standard_normal((12, 16)), rng.integers(0, 12, 3000)
    x, y = rng.standard_normal((2, 3000, 16))
    y[:, :4] = 0.8 * x[:, :4] + 0.6 * y[:, :4]
    x, y = centres[cluster] + x, centres[cluster][:, ::-1] + y
    assert None not in codes(x, y)
    looked_at = infonce(x, y)
    monkeypatch.setattr(contrastive, "manifolds", lambda sides, **_: [None, None])
    assert looked_at.bits > infonce(x, y).bits - 0.2


def test_many_cells_in_few_groups_are_dealt_to_five_parts():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3000, 2))
    found = infonce(x, x + rng.standard_normal((3000, 2)), groups=np.arange(3000) % 12)
    assert 0.6 < found.bits < 1.1  # the truth is 1 bit
