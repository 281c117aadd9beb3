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
from noise_scaling.information.latent import PUBLISHED, pick_device

SMALL = {"hidden": (64, 32), "precision": "float32"}
SHAPES = training.widths(5, 3, (16, 8), 4)


def vectors(n=300, d=4, bits=2.0, seed=0):
    rng = np.random.default_rng(seed)
    rho = np.sqrt(1 - 2 ** (-2 * bits / d))
    x = rng.standard_normal((n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((n, d))


def weights(dtype=torch.float32, problems=1):
    flat = np.stack([training.start(SHAPES, np.random.default_rng(i)) for i in range(problems)])
    return training.Weights(SHAPES, torch.from_numpy(flat).to(dtype))


def published_net(layers, *, dropout=False, end=False):
    """The same layers as a torch.nn.Sequential, in the order of the published code: dropout before each layer."""
    parts = []
    for i, (weight, bias) in enumerate(layers):
        linear = nn.Linear(*weight.shape[1:])
        linear.weight.data, linear.bias.data = weight[0].T.detach(), bias[0, 0].detach()
        parts += [*([nn.Dropout(0.5)] if dropout else []), linear]
        parts += [nn.LeakyReLU(0.2)] if i + 1 < len(layers) or end else []
    return nn.Sequential(*parts)


def test_the_networks_are_the_published_ones():
    shapes = training.widths(16, 228, (1024, 512, 256), 8)
    assert shapes["x"] == (16, 1024, 512, 256, 8)
    assert shapes["y"] == (228, 1024, 512, 256, 8)
    assert shapes["xx"] == shapes["yx"] == (8, 256, 512, 1024, 16)
    assert shapes["yy"] == shapes["xy"] == (8, 256, 512, 1024, 228)
    assert PUBLISHED == {"learning_rate": 1e-4, "batch_size": 512, "epochs": 300, "patience": 30, "average": 0.0}


def test_the_loss_is_the_sum_of_four_mean_squared_errors():
    nets = weights().nets
    nets["x"][0][1].data += 0.3  # a bias that is not zero
    rng = np.random.default_rng(1)
    x, y = (torch.from_numpy(rng.standard_normal((20, d)).astype(np.float32)) for d in (5, 3))
    zx, zy = (published_net(nets[name], end=True)(side) for name, side in (("x", x), ("y", y)))
    terms = [("xx", zx, x), ("yy", zy, y), ("xy", zx, y), ("yx", zy, x)]
    expected = sum(nn.functional.mse_loss(published_net(nets[name])(z), target) for name, z, target in terms)
    assert training.losses(nets, x[None], y[None]).item() == pytest.approx(expected.item(), rel=1e-5)


def test_starting_weights_are_glorot_uniform_with_zero_biases():
    shapes = training.widths(16, 16, (1024, 512, 256), 8)
    flat = torch.from_numpy(training.start(shapes, np.random.default_rng(0)))[None]
    for layers in training.Weights(shapes, flat).nets.values():
        for weight, bias in layers:
            bound = math.sqrt(6 / sum(weight.shape[1:]))
            assert 0.98 * bound < weight.abs().max() <= bound * (1 + 1e-6)
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert (bias == 0).all()


def test_dropout_is_on_every_input_of_the_cross_decoders_and_nowhere_else():
    masks = training.Masks(SHAPES, 50, 0.5, np.random.default_rng(0))
    keep = masks.shape(torch.from_numpy(masks.draw())[None].float() * 2)
    assert {name: [tuple(mask.shape) for mask in drawn] for name, drawn in keep.items()} == {
        "xy": [(1, 50, 4), (1, 50, 8), (1, 50, 16)],
        "yx": [(1, 50, 4), (1, 50, 8), (1, 50, 16)],
    }
    values = torch.cat([mask.flatten() for drawn in keep.values() for mask in drawn])
    assert set(values.unique().tolist()) == {0.0, 2.0}
    assert values.mean().item() == pytest.approx(1.0, abs=4 / math.sqrt(len(values)))


@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.5])
def test_a_share_of_inputs_as_large_as_asked_is_dropped(dropout):
    masks = training.Masks(SHAPES, 500, dropout, np.random.default_rng(0))
    drawn = masks.draw()
    assert drawn.mean() == pytest.approx(1 - dropout, abs=0.01)
    assert not (masks.draw() == drawn).all() or dropout == 0


def test_gradient_and_step_are_those_of_torch(monkeypatch):
    """One step of ours against torch.nn with torch.optim.Adam on the same batch, without dropout."""
    rng = np.random.default_rng(2)
    x, y = (torch.from_numpy(rng.standard_normal((1, 40, d)).astype(np.float32)) for d in (5, 3))
    nets = {name: published_net(layers, end=len(name) == 1) for name, layers in weights().nets.items()}
    adam = torch.optim.Adam([p for net in nets.values() for p in net.parameters()], lr=1e-2, eps=1e-7)
    zx, zy = nets["x"](x[0]), nets["y"](y[0])
    terms = [("xx", zx, x), ("yy", zy, y), ("xy", zx, y), ("yx", zy, x)]
    sum(nn.functional.mse_loss(nets[name](z), target[0]) for name, z, target in terms).backward()
    adam.step()
    settings = training.Settings(learning_rate=1e-2, batch_size=40, dropout=0.0, epochs=1)
    cells, first = [np.arange(40)], training.start(SHAPES, np.random.default_rng(0))[None]
    found = training.train(x, y, first, SHAPES, cells, cells, settings, [np.random.default_rng(0)], torch.float32)
    for name, layers in found.nets.items():
        theirs = [layer for layer in nets[name] if isinstance(layer, nn.Linear)]
        for (weight, bias), other in zip(layers, theirs, strict=True):
            torch.testing.assert_close(weight[0].T, other.weight.data, rtol=0, atol=2e-5)
            torch.testing.assert_close(bias[0, 0], other.bias.data, rtol=0, atol=2e-5)


def test_the_weights_with_the_lowest_stop_loss_are_kept_and_a_problem_out_of_patience_is_left_alone():
    master = weights(problems=2)
    rng = np.random.default_rng(3)
    x, y = (torch.from_numpy(rng.standard_normal((2, 30, d)).astype(np.float32)) for d in (5, 3))
    best = training.Best(master, x, y, patience=2)
    states = [master.flat.clone() * scale for scale in (0.5, 2.0, 3.0, 0.0)]
    losses = []
    for state in states:
        master.flat.copy_(state)
        losses.append(training.losses(master.nets, x, y))
        stopped = best.look(master)
    order = torch.stack(losses)
    assert (order[0] < order[1]).all()
    assert (order[3] < order[0]).all()  # the last would be better, and comes too late
    assert stopped
    torch.testing.assert_close(best.flat, states[0], rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stacked_problems_give_what_each_gives_alone(precision):
    problems = [vectors(seed=i, bits=i) for i in range(4)] + [vectors(200, 3, seed=9)]
    settings = {"hidden": (64, 32), "precision": precision}
    together = lmi_many(problems, stack=3, seed=5, **settings)
    for (x, y), found in zip(problems, together, strict=True):
        alone = lmi(x, y, seed=5, **settings)
        np.testing.assert_allclose(found.pointwise, alone.pointwise, rtol=0, atol=1e-9)
        assert found.bits == pytest.approx(alone.bits, abs=1e-12)
    assert [found.n for found in together] == [150] * 4 + [100]


def test_many_problems_on_several_threads_are_the_same():
    problems = [vectors(seed=i) for i in range(3)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        several = [found.bits for found in lmi_many(problems, **SMALL)]
        torch.set_num_threads(1)
        assert several == [found.bits for found in lmi_many(problems, **SMALL)]
    finally:
        torch.set_num_threads(before)


def test_constant_sides_and_groups_find_their_place_among_others():
    x, y = vectors()
    clones = np.repeat(np.arange(150), 2)
    found = lmi_many([(x, y), (np.ones_like(x), y), (x, y)], groups=[None, None, clones], stack=2, **SMALL)
    assert found[1].bits == 0.0
    assert found[0].bits == lmi(x, y, **SMALL).bits
    assert found[2].bits == lmi(x, y, groups=clones, **SMALL).bits
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
    assert published.batch(100) == 100
    ours = training.Settings()
    assert ours.schedule(500) == training.FEW
    assert training.FEW.steps(500) == training.FEW.fewest
    assert training.FEW.steps(1199) == training.FEW.passes * 10  # 10 batches of 128 a pass
    assert ours.schedule(1200) == training.MANY
    assert training.MANY.steps(2000) == training.MANY.passes * 8  # 8 batches of 256 a pass
    assert training.MANY.steps(12_000) == training.MANY.most
    assert training.Settings(patience=2).schedule(2000) == replace(training.MANY, patience=2)


def test_a_running_mean_of_weights_lies_between_those_of_the_steps():
    """Of two steps: the start, pulled to the weights of step 1 and then of step 2, is a third; none is either alone."""
    shapes = training.widths(3, 2, (6,), 2)
    first = training.start(shapes, np.random.default_rng(0))[None]
    x, y = (torch.from_numpy(np.random.default_rng(1).standard_normal((1, 60, d), dtype=np.float32)) for d in (3, 2))

    def weights(average: float, epochs: int) -> np.ndarray:
        settings = training.Settings(epochs=epochs, average=average, learning_rate=1e-3, patience=99)
        cells, rngs = np.arange(60), [np.random.default_rng(2)]
        found = training.train(x, y, first.copy(), shapes, [cells[:40]], [cells[40:]], settings, rngs, torch.float32)
        return found.flat.detach().numpy()

    one, two = weights(0.0, 1), weights(0.0, 2)
    assert not np.array_equal(one, two)
    kept = [min(0.5, step / (step + 10)) for step in (1, 2)]
    after_one = kept[0] * first + (1 - kept[0]) * one
    np.testing.assert_allclose(weights(0.5, 2), kept[1] * after_one + (1 - kept[1]) * two, atol=1e-6)


def test_heavy_tails_on_both_sides_calm_the_training():
    rng = np.random.default_rng(0)
    light, heavy = rng.standard_normal((3000, 4)), rng.standard_t(3, (3000, 4))
    heavy = np.clip(heavy / heavy.std(0), -10, 10)
    assert training.calm(light, light) == training.calm(light, heavy) == training.calm(heavy, light) == 1
    assert training.calm(heavy, heavy) == training.CALMEST
    middling = np.sign(light) * np.sqrt(np.sqrt(5.0)) * rng.random((3000, 4)) ** (1 / 400)  # a fourth moment near 5
    assert training.calm(middling, middling) == pytest.approx((4 / 5) ** 3, rel=0.05)


def test_each_problem_of_a_stack_trains_at_its_own_rate():
    x, y = vectors(n=3000)
    tails = np.random.default_rng(3).standard_t(3, (3000, 1))
    problems = [(x, y), (x * tails, y * tails)]
    options = {"hidden": (32, 16), "precision": "float32"}
    together = lmi_many(problems, stack=2, **options)
    alone = [lmi(*pair, **options) for pair in problems]
    np.testing.assert_allclose([e.bits for e in together], [e.bits for e in alone], atol=0.01)
    full_rate = lmi(*problems[1], learning_rate=training.MANY.learning_rate, **options)
    assert full_rate.bits != alone[1].bits
    assert lmi(*problems[0], learning_rate=training.MANY.learning_rate, **options).bits == alone[0].bits


def test_a_rough_upper_bound_of_memory_is_one():
    shapes = training.widths(16, 16, (1024, 512, 256), 8)
    parameters = training.start(shapes, np.random.default_rng(0)).size
    assert training.Settings().memory(shapes, 400, 100) > 28 * parameters


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "cuda"}, "no GPU is visible"),
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


def test_auto_is_the_processor_where_no_gpu_is():
    assert pick_device("cpu").type == "cpu"
    assert training.Settings(precision="float32").dtype(torch.device("cpu")) == torch.float32
