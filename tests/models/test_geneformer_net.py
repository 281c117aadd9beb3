"""The network against the public reference: transformers' BertForMaskedLM."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bert_names import bert_settings, bert_weights
from transformers import BertConfig, BertForMaskedLM

from noise_scaling.models import geneformer_net
from noise_scaling.models.geneformer_net import Net, Packed, Shape, _CrossEntropy, pack, queries_of

pytestmark = pytest.mark.any_machine

SHAPE = Shape(vocabulary=152, context=40, width=32, feed_forward=48, heads=4, layers=3, dropout=0.0)
LENGTHS = np.array([1, 3, 17, 17, 18, 20, 39, 40])


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def both(request):
    shape = replace(SHAPE, tied=request.param)
    net = Net.start(shape, seed=0)
    with torch.no_grad():  # biases and norms away from their start, so that a wrong one shows
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    bert = BertForMaskedLM(BertConfig(**bert_settings(shape)))
    bert.load_state_dict(bert_weights(net))
    return net.eval(), bert.eval()


def tokens() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 150, LENGTHS.sum()), np.concatenate([np.arange(n) for n in LENGTHS])


def padded(values: torch.Tensor, fill: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(values.split(LENGTHS.tolist()), batch_first=True, padding_value=fill)


def logits(net: Net, batch: Packed) -> torch.Tensor:
    """[tokens, vocabulary] at every place; training never computes them all."""
    x = net.head_norm(F.relu(net.head(net.hidden(batch))))
    return F.linear(x, net.tokens.weight if net.output is None else net.output, net.bias)


def loss(net: Net, ids: np.ndarray, places: np.ndarray, targets: np.ndarray) -> torch.Tensor:
    batch = pack(ids, tokens()[1], LENGTHS)
    return net(batch, torch.from_numpy(places), torch.from_numpy(targets), queries_of(places, batch))


def test_same_weights_same_logits(both):
    net, bert = both
    ids, positions = tokens()
    grid = padded(torch.from_numpy(ids), SHAPE.vocabulary - 2)
    held = padded(torch.ones(len(ids), dtype=torch.long), 0)
    with torch.no_grad():
        expected = bert(input_ids=grid, attention_mask=held).logits[held.bool()]
        found = logits(net, pack(ids, positions, LENGTHS))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_same_weights_same_loss_and_gradients(both):
    """The loss on masked places and its gradient by every weight, query, key and value and the tied matrix included."""
    net, bert = both
    ids, _ = tokens()
    places = np.sort(np.random.default_rng(1).permutation(len(ids))[:30])
    labels = torch.full((len(ids),), -100)
    labels[places] = torch.from_numpy(ids)[places]
    shown = ids.copy()
    shown[places] = SHAPE.vocabulary - 1
    held = padded(torch.ones(len(ids), dtype=torch.long), 0)
    grid = padded(torch.from_numpy(shown), SHAPE.vocabulary - 2)
    expected = bert(input_ids=grid, attention_mask=held, labels=padded(labels, -100)).loss
    found = loss(net, shown, places, ids[places])
    assert found.item() == pytest.approx(expected.item(), abs=1e-4)
    bert.zero_grad(), net.zero_grad()
    expected.backward(), found.backward()
    ours = Net(net.shape)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), net.parameters(), strict=True):
            mine.copy_(other.grad)
    renamed, checked = bert_weights(ours), 0
    for name, parameter in bert.named_parameters():
        if name == "cls.predictions.bias" and not net.shape.tied:
            assert parameter.grad is None, "the reference has a bias of the matrix beside it, and uses that"
            checked += 1
            continue
        torch.testing.assert_close(renamed[name], parameter.grad, rtol=1e-3, atol=1e-5)
        checked += 1
    assert checked == len(list(bert.parameters()))


def parameters(shape: Shape) -> tuple[int, int]:
    """Ours and the reference's."""
    with torch.device("meta"):
        nets = Net(shape), BertForMaskedLM(BertConfig(**bert_settings(shape)))
    return tuple(sum(p.numel() for p in net.parameters()) for net in nets)


@pytest.mark.parametrize("vocabulary", [20_000, 24_554])
def test_parameters_are_those_of_the_reference(vocabulary):
    """Untied, the reference has a second bias that it does not use. 24,552 genes: 8.1 million tied, 14.4 untied."""
    tied, untied = 257 * vocabulary + 1_779_712, 513 * vocabulary + 1_779_712
    assert parameters(Shape(vocabulary)) == (tied, tied)
    assert parameters(Shape(vocabulary, tied=False)) == (untied, untied + vocabulary)
    assert vocabulary != 24_554 or (round(tied / 1e6, 1), round(untied / 1e6, 1)) == (8.1, 14.4)


def test_the_published_number_of_parameters_is_that_of_tied_embeddings():
    """13,480,151 (Sadalski et al., supplement) is the count of 45,527 entries, tied, and of no number untied."""
    assert parameters(Shape(45_527)) == (13_480_151, 13_480_151)
    assert not any((13_480_151 - 1_779_712) % each == 0 for each in (512, 513, 514))


def test_bfloat16_stays_near_float32(both):
    net, _ = both
    ids, _ = tokens()
    places = np.arange(0, len(ids), 5)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(net, ids, places, ids[places])
    # 8 bits of mantissa: a relative 0.4 % a product, far less on the mean of 31 losses
    assert half.item() == pytest.approx(loss(net, ids, places, ids[places]).item(), rel=0.01)


def test_a_cell_does_not_see_its_neighbours(both):
    """Alone, or among cells of other lengths, padded or not: one hidden state."""
    net, _ = both
    ids, positions = tokens()
    starts = np.cumsum(LENGTHS) - LENGTHS
    with torch.no_grad():
        together = net.hidden(pack(ids, positions, LENGTHS))
        for start, length in zip(starts, LENGTHS, strict=True):
            mine = slice(start, start + length)
            alone = net.hidden(pack(ids[mine], positions[mine], LENGTHS[:1] * 0 + length))
            torch.testing.assert_close(together[mine], alone, rtol=1e-4, atol=1e-5)


def test_the_last_layer_at_masked_places_alone_changes_nothing(both):
    """Loss and gradients as of the whole layer, with cells that have many, one or no place to guess."""
    net, _ = both
    ids, positions = tokens()
    batch = pack(ids, positions, LENGTHS)
    places = np.sort(np.random.default_rng(3).permutation(len(ids) - 40)[:25])
    masked, targets = torch.from_numpy(places), torch.from_numpy(ids[places])
    whole = F.cross_entropy(logits(net, batch)[masked], targets)
    losses = whole, net(batch, masked, targets, queries_of(places, batch))
    whole, alone = (torch.autograd.grad(loss, list(net.parameters()), allow_unused=True) for loss in losses)
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_dropout_acts_in_training_alone():
    net = Net.start(replace(SHAPE, dropout=0.5), seed=0)
    ids, positions = tokens()
    batch = pack(ids, positions, LENGTHS)
    with torch.no_grad():
        assert torch.equal(net.eval().hidden(batch), net.hidden(batch))
        assert not torch.equal(net.train().hidden(batch), net.hidden(batch))


def test_dropout_of_attention_is_computed_again_and_not_kept(monkeypatch):
    """The same draws in the backward pass: the same gradients to the bit, and no weight of a pair of tokens is kept."""
    net, kept, gradients = Net.start(replace(SHAPE, dropout=0.5), seed=0).train(), [], []
    places = np.arange(0, LENGTHS.sum(), 5)
    for again in (True, False):
        if not again:
            monkeypatch.setattr(geneformer_net, "checkpoint", lambda f, *given, use_reentrant: f(*given))
        torch.manual_seed(1)
        sizes: list[tuple[int, ...]] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(tuple(t.shape)) or t, lambda t: t):
            found = loss(net, tokens()[0], places, places % 150)
        gradients.append(torch.autograd.grad(found, list(net.parameters())))
        kept.append(sum(len(size) == 4 and size[2:] == (40, 40) for size in sizes))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert kept[0] == 0 < kept[1]


def test_logits_part_by_part_give_the_same_loss_and_gradients(both, monkeypatch):
    net, places = both[0], np.arange(0, LENGTHS.sum(), 5)
    whole = loss(net, tokens()[0], places, places % 150)
    monkeypatch.setattr(geneformer_net, "_LOGITS", 7)
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        parts = loss(net, tokens()[0], places, places % 150)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-6)
    assert not {n * SHAPE.vocabulary for n in (7, len(places))} & set(sizes)
    weights = list(net.parameters())
    for one, other in zip(*(torch.autograd.grad(of, weights, allow_unused=True) for of in (whole, parts)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("n", [0, 1, 64, 150])
def test_loss_over_the_logits_themselves_has_the_bits_of_torch(n):
    """Both its value and its gradient, which takes the place of the logits."""
    draw = torch.Generator().manual_seed(n)
    x, targets = torch.randn(n, 1000, generator=draw), torch.randint(1000, (n,), generator=draw)
    kept = x.clone().requires_grad_()
    expected = F.cross_entropy(3 * kept, targets, reduction="sum")
    expected.backward(torch.tensor(0.3))
    taken = x.clone().requires_grad_()
    logits = 3 * taken
    found = _CrossEntropy.apply(logits, targets)
    (gradient,) = torch.autograd.grad(found, logits, torch.tensor(0.3))
    assert torch.equal(found, expected)
    assert torch.equal(3 * gradient, kept.grad)
    assert gradient.data_ptr() == logits.data_ptr()


def test_loss_of_equal_logits_is_the_logarithm_of_the_vocabulary():
    net = Net(SHAPE)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    found = loss(net, tokens()[0], np.arange(9), np.arange(9))
    assert found.item() == pytest.approx(np.log(152), rel=1e-6)
