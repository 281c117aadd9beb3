"""Our weights under the names of transformers' BertForMaskedLM, the reference of tests and benchmarks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from noise_scaling.models.geneformer_net import Net, Shape

_OUTSIDE = {
    "tokens.weight": "bert.embeddings.word_embeddings.weight",
    "positions.weight": "bert.embeddings.position_embeddings.weight",
    "types.weight": "bert.embeddings.token_type_embeddings.weight",
    "norm": "bert.embeddings.LayerNorm",
    "head": "cls.predictions.transform.dense",
    "head_norm": "cls.predictions.transform.LayerNorm",
    "bias": "cls.predictions.bias",
    "output": "cls.predictions.decoder.weight",
}
_INSIDE = {
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}


def bert_settings(shape: Shape) -> dict[str, Any]:
    """The arguments of transformers' BertConfig for a network of this shape."""
    return {
        "vocab_size": shape.vocabulary, "hidden_size": shape.width, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "intermediate_size": shape.feed_forward, "hidden_act": "relu",
        "hidden_dropout_prob": shape.dropout, "attention_probs_dropout_prob": shape.dropout,
        "max_position_embeddings": shape.context, "layer_norm_eps": 1e-12, "initializer_range": 0.02,
        "pad_token_id": shape.vocabulary - 2, "tie_word_embeddings": shape.tied,
    }  # fmt: skip


def bert_weights(net: Net) -> dict[str, Tensor]:
    """The network's weights for `BertForMaskedLM(BertConfig(**bert_settings(net.shape))).load_state_dict`."""
    ours = net.state_dict()
    theirs = {}
    for name, tensor in ours.items():
        stem, _, kind = name.rpartition(".")
        if name in _OUTSIDE:
            theirs[_OUTSIDE[name]] = tensor
        elif stem in _OUTSIDE:
            theirs[f"{_OUTSIDE[stem]}.{kind}"] = tensor
        else:
            theirs |= _of_layer(stem, kind, tensor)
    head = {"cls.predictions.decoder.weight": ours["tokens.weight"], "cls.predictions.decoder.bias": ours["bias"]}
    return head | theirs


def _of_layer(stem: str, kind: str, tensor: Tensor) -> dict[str, Tensor]:
    """One of `layers.I.PART`; query, key and value are one matrix here and three there."""
    _, i, part = stem.split(".", 2)
    where = f"bert.encoder.layer.{i}"
    if part == "attention.query_key_value":
        thirds = zip(("query", "key", "value"), torch.chunk(tensor, 3), strict=True)
        return {f"{where}.attention.self.{name}.{kind}": third for name, third in thirds}
    return {f"{where}.{_INSIDE[part]}.{kind}": tensor}
