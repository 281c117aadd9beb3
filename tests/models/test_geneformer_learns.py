"""The small preset as it is, on cells whose information is known."""

import math

import pytest

from noise_scaling import datasets, information, models

pytestmark = pytest.mark.usefixtures("one_thread")


def test_small_preset_learns_on_the_simulator():
    """Above a random projection, and above its own untrained start, by more than 3 standard errors; below the truth."""
    cells = datasets.simulate(1600, 500, bits=4.0, mean_umis=100, loading=1.0, informative=1.0, seed=100)
    train, validation, test = cells.counts[:700], cells.counts[700:800], cells.counts[800:]
    found = {}
    for name in ("random_projection", "untrained_geneformer", "geneformer"):
        model = models.create(name, seed=1, device="cpu").fit(train, validation)
        found[name] = information.estimate(model.embed(test), cells.signal.values[800:], device="cpu")
    ours = found["geneformer"]
    for name in ("random_projection", "untrained_geneformer"):
        gap = ours.bits - found[name].bits
        assert gap > 3 * math.hypot(ours.stderr, found[name].stderr), name
    assert ours.bits < datasets.true_information(cells, 100) + 3 * ours.stderr
