"""lmi against its definition (an independent forward pass), the published protocol, and itself in company."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from noise_scaling.errors import InputError
from noise_scaling.information import latent_training as training
from noise_scaling.information import lmi, lmi_many
from noise_scaling.information.crossfit import Fold
from noise_scaling.information.latent import PUBLISHED

SMALL = {"hidden": (64, 32), "precision": "float32"}


def vectors(n=300, d=4, bits=2.0, seed=0):
    rng = np.random.default_rng(seed)
    rho = np.sqrt(1 - 2 ** (-2 * bits / d))
    x = rng.standard_normal((n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((n, d))


def network(dx=5, dy=3, seed=0, **settings):
    torch.manual_seed(seed)
    chosen = training.Settings(hidden=(16, 8), latent=4, precision="float32", **settings)
    return training.Network(dx, dy, chosen, np.random.default_rng(seed))


def linears(net):
    return [layer for layer in net if isinstance(layer, nn.Linear)]


def tensors(n, *dims, seed=1):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal((n, d), dtype=np.float32)) for d in dims]


def test_the_networks_are_the_published_ones():
    net = training.Network(16, 228, training.Settings(), np.random.default_rng(0))
    there, back = [1024, 512, 256, 8], [256, 512, 1024]

    def widths(chain):
        return [layer.out_features for layer in linears(chain)]

    assert [widths(chain) for chain in net.encoders] == [there, there]
    assert [widths(chain) for chain in net.own] == [[*back, 16], [*back, 228]]
    assert [widths(chain) for chain in net.other] == [[*back, 228], [*back, 16]]
    assert isinstance(net.encoders[0][-1], nn.LeakyReLU)  # the latent is rectified, what is rebuilt is not
    assert isinstance(net.own[0][-1], nn.Linear)
    kinds = [type(layer) for layer in net.other[0]]
    assert kinds == [training.Dropout, nn.Linear, nn.LeakyReLU] * 3 + [training.Dropout, nn.Linear]
    assert not any(isinstance(layer, training.Dropout) for chain in (*net.encoders, *net.own) for layer in chain)
    assert PUBLISHED == {"learning_rate": 1e-4, "batch_size": 512, "epochs": 300, "patience": 30, "average": 0.0}


def test_the_loss_is_the_sum_of_four_mean_squared_errors():
    net = network().eval()
    (x, y) = sides = tensors(20, 5, 3)

    def through(chain, z, *, end=False):
        *inner, last = linears(chain)
        for layer in inner:
            z = nn.functional.leaky_relu(z @ layer.weight.T + layer.bias, 0.2)
        z = z @ last.weight.T + last.bias
        return nn.functional.leaky_relu(z, 0.2) if end else z

    z = [through(chain, side, end=True) for chain, side in zip(net.encoders, sides, strict=True)]
    expected = sum(
        (through(chain, z[k], end=False) - target).square().mean()
        for chains, targets in ((net.own, (x, y)), (net.other, (y, x)))
        for k, (chain, target) in enumerate(zip(chains, targets, strict=True))
    )
    assert net.loss(x, y).item() == pytest.approx(expected.item(), rel=1e-5)


def test_starting_weights_are_glorot_uniform_with_zero_biases():
    net = training.Network(16, 16, training.Settings(), np.random.default_rng(0))
    for chain in (*net.encoders, *net.own, *net.other):
        for layer in linears(chain):
            bound = math.sqrt(6 / sum(layer.weight.shape))
            assert 0.97 * bound < layer.weight.abs().max() <= bound * (1 + 1e-6)
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert (layer.bias == 0).all()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_a_share_of_inputs_as_large_as_asked_is_dropped_and_the_mean_stays(share):
    dropout = training.Dropout(share, np.random.default_rng(0))
    found = dropout(torch.ones(400, 250))
    assert (found == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert found.mean().item() == pytest.approx(1.0, abs=0.02)
    assert share == 0 or not torch.equal(dropout(torch.ones(400, 250)), found)
    assert torch.equal(dropout.eval()(torch.ones(9)), torch.ones(9))


def trained(part, **settings):
    """The first layer's weights, of two sides of 60 cells."""
    x, y = tensors(60, 3, 2)
    chosen = training.Settings(hidden=(6,), latent=2, precision="float32", **settings)
    return training.train(x, y, part, chosen, seed=0).encoders[0][1].weight.detach()


def test_a_running_mean_of_weights_lies_between_those_of_the_steps():
    """Of two steps: the start, pulled to the weights of step 1 and then of step 2, is a third; none is either alone."""
    part = Fold(np.arange(40), np.arange(40, 60), np.arange(0))

    def weights(average, epochs, rate=1e-3):
        return trained(part, epochs=epochs, average=average, learning_rate=rate, patience=99)

    first, one, two = weights(0.0, 1, rate=0.0), weights(0.0, 1), weights(0.0, 2)
    assert not torch.equal(one, two)
    kept = [min(0.5, step / (step + 10)) for step in (1, 2)]
    after_one = kept[0] * first + (1 - kept[0]) * one
    torch.testing.assert_close(weights(0.5, 2), kept[1] * after_one + (1 - kept[1]) * two, rtol=0, atol=1e-6)


def test_training_ends_when_patience_does_and_keeps_the_weights_of_the_lowest_stop_loss(monkeypatch):
    """The losses of the looks are put in its place: the second is the lowest, and two later ones are not."""
    part = Fold(np.arange(40), np.arange(40, 60), np.arange(0))
    second = trained(part, epochs=2, patience=99, learning_rate=1e-3)
    looks, loss = iter([2.0, 1.0, 1.5, 1.2, 0.0]), training.Network.loss
    seen = []

    def made_up(net, x, y):
        if net.training:
            return loss(net, x, y)
        seen.append(next(looks))
        return torch.tensor(seen[-1])

    monkeypatch.setattr(training.Network, "loss", made_up)
    found = trained(part, epochs=9, patience=2, learning_rate=1e-3)
    assert seen == [2.0, 1.0, 1.5, 1.2]  # the last would be better, and comes too late
    assert torch.equal(found, second)


def test_many_problems_are_each_as_alone():
    problems, clones = (
        [vectors(seed=0), (np.ones((300, 4)), vectors()[1]), vectors(200, 3, seed=2)],
        np.arange(200) // 2,
    )
    found = lmi_many(problems, groups=[None, None, clones], seed=5, **SMALL)
    assert found[0].bits == lmi(*problems[0], seed=5, **SMALL).bits
    assert found[1].bits == 0.0
    assert found[2].bits == lmi(*problems[2], seed=5, groups=clones, **SMALL).bits
    scored = np.isfinite(found[2].pointwise)
    assert (scored[::2] == scored[1::2]).all()


def test_bfloat16_changes_nothing_beyond_the_noise_of_training():
    bits = {}
    for precision in ("float32", "bfloat16"):
        settings = {"hidden": (128, 64), "precision": precision}
        bits[precision] = [f.bits for seed in range(6) for f in [lmi(*vectors(400, seed=seed), seed=seed, **settings)]]
    difference = np.subtract(bits["bfloat16"], bits["float32"])
    assert abs(difference.mean()) < 3 * difference.std(ddof=1) / math.sqrt(6) + 0.01
    assert np.mean(bits["float32"]) > 0.8


def test_half_is_scored_and_the_published_way_trains_on_all_of_the_other_half():
    x, y = vectors()
    ours, published = lmi(x, y, **SMALL), lmi(x, y, stop_on_scored=True, **SMALL)
    assert (ours.n, published.n) == (150, 150)
    np.testing.assert_array_equal(np.isfinite(published.pointwise), np.isfinite(ours.pointwise))
    assert published.bits != ours.bits


def test_steps_of_the_default_and_of_the_published_schedule():
    published = training.Settings(**PUBLISHED).schedule(2500)
    assert (published.steps(2500), published.check_every) == (1500, 5)  # 300 passes of 5 batches, a look after each
    assert published.average == 0  # the weights of the step, as published
    assert training.Settings(**PUBLISHED).schedule(100).batch_size == 100
    ours = training.Settings()
    assert ours.schedule(500) == training.FEW
    assert training.FEW.steps(500) == training.FEW.fewest
    assert training.FEW.steps(1199) == training.FEW.passes * 10  # 10 batches of 128 a pass
    assert ours.schedule(1200) == training.MANY
    assert training.MANY.steps(2000) == training.MANY.passes * 8  # 8 batches of 256 a pass
    assert training.MANY.steps(12_000) == training.MANY.most
    assert training.Settings(patience=2).schedule(2000) == replace(training.MANY, patience=2)


def test_heavy_tails_on_both_sides_lower_the_learning_rate():
    rng = np.random.default_rng(0)
    light, heavy = rng.standard_normal((3000, 4)), rng.standard_t(3, (3000, 4))
    heavy = np.clip(heavy / heavy.std(0), -10, 10)
    middling = np.sign(light) * np.sqrt(np.sqrt(5.0)) * rng.random((3000, 4)) ** (1 / 400)  # a fourth moment near 5
    light, heavy, middling = map(torch.from_numpy, (light, heavy, middling))
    share, rate = training.share_for_heavy_tails, training.MANY.learning_rate
    assert share(light, light) == share(light, heavy) == share(heavy, light) == 1
    assert share(heavy, heavy) == training.LOWEST_RATE
    assert share(middling, middling) == pytest.approx((4 / 5) ** 3, rel=0.05)
    assert training.Settings().learning_rate_for(heavy, heavy, 1200) == training.LOWEST_RATE * rate
    assert training.Settings().learning_rate_for(heavy, heavy, 1199) == training.FEW.learning_rate
    assert training.Settings(learning_rate=0.1).learning_rate_for(heavy, heavy, 1200) == 0.1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "cuda"}, "torch finds no GPU here"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"width": 3}, "unknown setting of lmi 'width'"),
        ({"precision": "float8"}, "unknown precision 'float8'"),
    ],
)
def test_what_cannot_be_is_refused(options, sentence):
    if options == {"device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=sentence):
        lmi(*vectors(), **options)


def test_groups_are_one_entry_a_problem():
    with pytest.raises(InputError, match="groups has 1 entries for 2 problems"):
        lmi_many([vectors(), vectors()], groups=[None])


def test_where_values_lie_does_not_matter():
    x, y = vectors()
    assert lmi(x + 1000, y - 50, **SMALL).bits == pytest.approx(lmi(x, y, **SMALL).bits, abs=0.1)
