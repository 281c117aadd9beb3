"""The network of Geneformer: BERT's encoder and masked-token head over packed cells, in plain PyTorch.

The layers, their order and their number of parameters are those of the reference (transformers' BertForMaskedLM, its
embeddings tied or not; Devlin et al. 2019, Theodoris et al. 2023). Only the computation differs: there is no padding,
and the head and the last layer are computed only at masked places.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

_LOGITS = 1024
"""Masked places whose logits are held at once: 0.1 GB at 24,552 genes on a CPU, three times that on a GPU."""

MASK = -1
"""Position of the mask in the vocabulary: last, after the genes and the pad."""


# Each batch has lengths of its own. By default the caches of oneDNN and of torch keep the programs for 1,024 of them:
# on a CPU in bfloat16 memory grows by 30 MB with every step, and no time is saved.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")

_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Without cuDNN's attention, which plans anew for every length: on an H100 in bfloat16 a step took half a second."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are those of Gowri et al. (arXiv 2503.02726, supplement)."""

    vocabulary: int  # genes, pad and mask
    context: int = 512  # tokens of a cell, at most
    width: int = 256  # of embeddings and layers
    feed_forward: int = 512  # width of the layers' hidden part
    heads: int = 4  # attention heads, a divisor of `width`
    layers: int = 3
    dropout: float = 0.02  # of embeddings, attention and layers, in training
    tied: bool = True  # whether the output matrix is the token embedding


class Group(NamedTuple):
    """Cells of similar length, a run of the batch's tokens, whose attention is computed in one call."""

    n_tokens: int
    n_cells: int
    length: int  # of the longest cell
    places: Tensor | None  # [tokens] position of each token in [cells x length]; None where all cells are equally long
    mask: Tensor | None  # bool [cells, 1, 1, length], True for tokens; None where all cells are equally long


class Packed(NamedTuple):
    """The tokens of a batch of cells, concatenated, with the cells sorted by length."""

    ids: Tensor  # int64 [tokens]
    positions: Tensor  # int64 [tokens], the rank of each token in its cell
    lengths: np.ndarray  # int64 [cells]
    groups: list[Group]


def pack(ids: np.ndarray, positions: np.ndarray, lengths: np.ndarray, device: str = "cpu") -> Packed:
    """Build a batch from tokens and ranks, int64 [tokens], cell after cell; `lengths` [cells] ascend from 1 or more."""
    groups = [_group(lengths[a:b], device) for a, b in _like_lengths(lengths, 0.15 if device == "cpu" else 1.0)]
    tokens, ranks = (torch.from_numpy(values).to(device, non_blocking=True) for values in (ids, positions))
    return Packed(tokens, ranks, lengths, groups)


def _like_lengths(lengths: np.ndarray, waste: float) -> list[tuple[int, int]]:
    """Split cells sorted by length into runs whose padding is at most `waste` of the tokens (8 places are free)."""
    runs, start, total = [], 0, 0
    for i, length in enumerate(lengths.tolist()):
        if total and length * (i + 1 - start) > (1 + waste) * (total + length) and length > lengths[start] + 8:
            runs.append((start, i))
            start, total = i, 0
        total += length
    return [*runs, (start, len(lengths))]


def _group(lengths: np.ndarray, device: str) -> Group:
    n, longest, total = len(lengths), int(lengths[-1]), int(lengths.sum())
    if lengths[0] == longest:
        return Group(total, n, longest, None, None)
    held = np.arange(longest) < lengths[:, None]
    places = torch.from_numpy(np.flatnonzero(held)).to(device)
    return Group(total, n, longest, places, torch.from_numpy(held[:, None, None]).to(device))


class Queries(NamedTuple):
    """The places to predict in a group of cells: `n` of them, with the position of each in [cells x most]."""

    n: int
    most: int  # largest number in one cell
    places: Tensor


def queries_of(places: np.ndarray, batch: Packed, device: str = "cpu") -> list[Queries]:
    """Split the places to predict, int64 [places], ascending positions in the batch's tokens, by group of cells."""
    cells = np.repeat(np.arange(len(batch.lengths)), batch.lengths)[places]
    each = np.bincount(cells, minlength=len(batch.lengths))
    slots = np.arange(len(places)) - np.repeat(np.cumsum(each) - each, each)
    found, first, done = [], 0, 0
    for group in batch.groups:
        mine = each[first : first + group.n_cells]
        n, most = int(mine.sum()), max(1, int(mine.max()))
        grid = (cells[done : done + n] - first) * most + slots[done : done + n]
        found.append(Queries(n, most, torch.from_numpy(grid).to(device, non_blocking=True)))
        first, done = first + group.n_cells, done + n
    return found


def _again(f: Callable[..., Tensor], *given: Any) -> Tensor:
    """Return f(*given); on a CPU, where memory is scarcest, the backward pass recomputes it with the same draws."""
    return checkpoint(f, *given, use_reentrant=False) if given[0].device.type == "cpu" else f(*given)


class _CrossEntropy(torch.autograd.Function):
    """Summed cross-entropy with the bits of torch's own, whose gradient overwrites the logits: one array, not three."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        log_p = logits.detach()
        torch.log_softmax(log_p, 1, out=log_p)
        ctx.save_for_backward(log_p, targets)
        return F.nll_loss(log_p, targets, reduction="sum")

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        log_p, targets = ctx.saved_tensors
        for part, at in zip(log_p.split(64), targets.split(64), strict=True):
            gradient = torch.zeros_like(part).index_put_((torch.arange(len(at)), at), -outer)
            torch._log_softmax_backward_data(gradient, part, 1, part.dtype, out=part)
        return log_p, None


def _weighted_sum(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    with sdpa_kernel(_ATTENTION):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


class Attention(nn.Module):
    """Multi-head self-attention within each cell."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, shape.dropout
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.output = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, groups: list[Group]) -> Tensor:  # [tokens, width] -> [tokens, width]
        parts = self.query_key_value(x).split([g.n_tokens for g in groups])
        return self.output(torch.cat([self._attend(part, g) for part, g in zip(parts, groups, strict=True)]))

    def at(self, x: Tensor, groups: list[Group], wanted: Tensor, queries: list[Queries]) -> Tensor:
        """Compute `forward` only at the `wanted` places, [wanted, width]; `queries` is `queries_of` these places."""
        weight, bias, width = self.query_key_value.weight, self.query_key_value.bias, x.shape[1]
        asked = F.linear(x.index_select(0, wanted), weight[:width], bias[:width]).split([q.n for q in queries])
        known = F.linear(x, weight[width:], bias[width:]).split([g.n_tokens for g in groups])
        parts = zip(asked, known, groups, queries, strict=True)
        return self.output(torch.cat([self._attend_at(*part) for part in parts]))

    def _attend(self, x: Tensor, group: Group) -> Tensor:  # [tokens, 3 width] -> [tokens, width]
        q, k, v = self._heads(x, group, 3)
        y = self._weigh(q, k, v, group.mask).flatten(0, 1)  # [cells x length, width]
        return y if group.places is None else y.index_select(0, group.places)

    def _attend_at(self, asked: Tensor, known: Tensor, group: Group, queries: Queries) -> Tensor:
        grid = asked.new_zeros(group.n_cells * queries.most, asked.shape[1]).index_copy(0, queries.places, asked)
        q = grid.view(group.n_cells, queries.most, self.heads, -1).transpose(1, 2)
        k, v = self._heads(known, group, 2)
        y = self._weigh(q, k, v, group.mask).flatten(0, 1)
        return y.index_select(0, queries.places)

    def _heads(self, x: Tensor, group: Group, n: int) -> tuple[Tensor, ...]:
        """Reshape [tokens, n width] to n times [cells, heads, length, width / heads]."""
        if group.places is not None:
            x = x.new_zeros(group.n_cells * group.length, x.shape[1]).index_copy(0, group.places, x)
        return x.view(group.n_cells, group.length, n, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)

    def _weigh(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:  # -> [cells, queries, width]
        rate = self.dropout if self.training else 0.0
        y = _again(_weighted_sum, q, k, v, mask, rate) if rate else _weighted_sum(q, k, v, mask, rate)
        return y.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Attention, then a feed-forward net with ReLU; each is added to its input and then normalised (as in BERT)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(shape), _norm(shape)
        self.up, self.down = nn.Linear(shape.width, shape.feed_forward), nn.Linear(shape.feed_forward, shape.width)
        self.output_norm = _norm(shape)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, groups: list[Group]) -> Tensor:  # [tokens, width] -> [tokens, width]
        return self._after(x, self.attention(x, groups))

    def at(self, x: Tensor, groups: list[Group], wanted: Tensor, queries: list[Queries]) -> Tensor:
        """Compute `forward` only at the `wanted` places."""
        return self._after(x.index_select(0, wanted), self.attention.at(x, groups, wanted, queries))

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.attention_norm(x + self.dropout(attended))
        return self.output_norm(x + self.dropout(self.down(F.relu(self.up(x)))))


class Net(nn.Module):
    """Masked-token model of ranked genes.

    At the published sizes it has 257 V + 1,779,712 parameters if tied, 513 V + 1,779,712 if not. The pad token, and the
    token-type embedding, whose second row is never used, are included because the reference has them.
    """

    output: nn.Parameter | None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.types = nn.Embedding(2, shape.width)
        self.norm, self.dropout = _norm(shape), nn.Dropout(shape.dropout)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.head, self.head_norm = nn.Linear(shape.width, shape.width), _norm(shape)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))
        output = None if shape.tied else nn.Parameter(torch.zeros(shape.vocabulary, shape.width))
        self.register_parameter("output", output)

    @classmethod
    def start(cls, shape: Shape, *, seed: int) -> Self:
        """Create a net of N(0, 0.02) weights, zero biases and unit norms, drawn on the CPU: the same for any device."""
        with torch.device("meta"):  # otherwise the layers would draw starting values from torch's global generator
            net = cls(shape)
        net.to_empty(device="cpu")
        draw = torch.Generator().manual_seed(seed)
        for name, parameter in net.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02, generator=draw)
            else:
                nn.init.constant_(parameter, float("norm" in name and name.endswith("weight")))
        return net

    def hidden(self, batch: Packed, layers: int | None = None) -> Tensor:
        """Return [tokens, width] after the first `layers` layers (all of them by default)."""
        x = self.tokens(batch.ids) + self.positions(batch.positions) + self.types.weight[0]
        x = self.dropout(self.norm(x))
        for layer in self.layers[:layers]:
            x = layer(x, batch.groups)
        return x

    def forward(self, batch: Packed, masked: Tensor, targets: Tensor, queries: list[Queries]) -> Tensor:
        """Return the mean cross-entropy, in nats, of the genes at the masked places of the batch.

        The last layer is computed only at the masked places, because its other outputs are not used; with the published
        three layers this takes 20 % less time.
        """
        last = cast(Layer, self.layers[-1])
        x = last.at(self.hidden(batch, len(self.layers) - 1), batch.groups, masked, queries)
        x = self.head_norm(F.relu(self.head(x)))
        parts = list(zip(x.split(_LOGITS), targets.split(_LOGITS), strict=True))
        of = partial(_again, self._loss) if len(parts) > 1 else self._loss
        return torch.stack([of(*part) for part in parts]).sum() / max(1, len(targets))  # 0 for an empty share

    def _loss(self, x: Tensor, targets: Tensor) -> Tensor:  # [n, width], [n] -> summed cross-entropy
        output = self.tokens.weight if self.output is None else self.output
        logits = F.linear(x, output, self.bias).float()  # no name for those in bfloat16: they are freed
        if logits.device.type == "cpu":
            return cast(Tensor, _CrossEntropy.apply(logits, targets))
        return F.cross_entropy(logits, targets, reduction="sum")


def _norm(shape: Shape) -> nn.LayerNorm:
    return nn.LayerNorm(shape.width, eps=1e-12)
