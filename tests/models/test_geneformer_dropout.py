"""Dropout drawn entry by entry, against torch's attention and against the definition."""

import math

import pytest
import torch
import torch.nn.functional as F

from noise_scaling.models import geneformer_dropout


def test_without_dropout_it_is_torchs_attention(monkeypatch):
    monkeypatch.setattr(geneformer_dropout, "ENTRIES", 150)  # one cell at a time
    x = torch.randn(3, 4, 2, 7, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.ones(4, 1, 1, 7, dtype=torch.bool)
    mask[0, ..., 4:] = False
    found = geneformer_dropout.attention(*x.unbind(0), mask, 1e-15)
    expected = F.scaled_dot_product_attention(*x.unbind(0), attn_mask=mask)
    torch.testing.assert_close(found, expected)
    slope = torch.ones_like(found)
    torch.testing.assert_close(torch.autograd.grad(found, x, slope), torch.autograd.grad(expected, x, slope))


def test_with_dropout_it_is_the_definition(monkeypatch):
    """Dropped weights are 0 and the others grow by 1 / (1 - share), in the output and in its slope."""
    gone = torch.randint(0, 2 * 2 * 49, (30,), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(geneformer_dropout, "_drawn", lambda n, share: gone)
    x = torch.randn(3, 2, 2, 7, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    q, k, v = x.unbind(0)
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(5), -1)
    kept = torch.ones(weights.numel()).index_fill(0, gone, 0).view_as(weights)
    expected, found = (weights * kept / 0.7) @ v, geneformer_dropout.attention(q, k, v, None, 0.3)
    torch.testing.assert_close(found, expected)
    slope = torch.linspace(-1, 1, found.numel()).view_as(found)
    torch.testing.assert_close(torch.autograd.grad(found, x, slope), torch.autograd.grad(expected, x, slope))


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_each_entry_is_dropped_as_often_as_asked(share):
    """Poisson many draws with replacement: an entry stays with probability exp(log(1 - share)) = 1 - share."""
    torch.manual_seed(0)
    n = 400_000
    y = geneformer_dropout.Dropout(share).train()(torch.ones(n // 100, 100))
    gone = (y == 0).float()
    error = math.sqrt(share * (1 - share) / n)
    assert gone.mean().item() == pytest.approx(share, abs=4 * error)
    assert y.max().item() == pytest.approx(1 / (1 - share))
    pairs = (gone.view(-1)[:-1] * gone.view(-1)[1:]).mean().item()  # neighbours, independently
    assert pairs == pytest.approx(share**2, abs=4 * share / math.sqrt(n))


def test_nothing_is_dropped_outside_training():
    x = torch.ones(50, 50)
    assert torch.equal(geneformer_dropout.Dropout(0.5).eval()(x), x)
