"""Every published setting, as a number from the paper, read off what is built and trained with the published preset.

Source of the numbers: Gowri et al. (arXiv 2503.02726), methods and supplement, and the supplement of Sadalski et al.
Nothing here reads `PRESETS`.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from noise_scaling import models
from noise_scaling.models.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")

CELLS, GENES = 800, 800  # cells that divide 1e7 and 1e8: a limit of one cell less is seen


@pytest.fixture(scope="module")
def counts() -> csr_matrix:
    """940 cells of 800 genes; a cell shows about 550."""
    rng = np.random.default_rng(0)
    return csr_matrix(rng.poisson(rng.gamma(2, 0.6, GENES), (CELLS + 140, GENES)).astype(np.int32))


@pytest.fixture(scope="module")
def built(counts):
    """Each published model, fitted, but for the steps: those of a network are recorded, not taken."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in models.MODELS:
            recorded: list[Training] = []
            patch.setattr(Training, "run", lambda self, checkpoint, kept=recorded: kept.append(self))
            short = {"rounds": 1, "cells_seen": 0} if name == "lda" else {}
            model = models.create(name, preset="published", seed=1, device="cpu", **short)
            model.fit(counts[:CELLS], counts[CELLS:])
            found[name] = SimpleNamespace(model=model, training=recorded[0] if recorded else None)
    return found


def rate(training: Training, step: int) -> float:
    """The learning rate at a step."""
    schedule = training.step_scheduler
    return schedule.base_lrs[0] * schedule.lr_lambdas[0](step)


def masked_share(training: Training) -> float:
    """Of the tokens of three batches, 98,000 in all."""
    batches = [batch for batch, _ in zip(training.batches(0), range(3), strict=False)]
    return sum(len(b.places) for b in batches) / sum(int(b.batch.lengths.sum()) for b in batches)


def one(values) -> object:
    """The value that all of them have."""
    (value,) = set(values)
    return value


SCVI = {
    "n_hidden": (lambda t: t.net.z_encoder.encoder.fc_layers[0][0].out_features, 512),
    "n_hidden of the decoder": (lambda t: t.net.decoder.px_decoder.fc_layers[0][0].out_features, 512),
    "n_latent": (lambda t: t.net.z_encoder.mean_encoder.out_features, 16),
    "layers": (lambda t: (len(t.net.z_encoder.encoder.fc_layers), len(t.net.decoder.px_decoder.fc_layers)), (1, 1)),
    "dropout": (lambda t: [m.p for m in t.net.z_encoder.modules() if isinstance(m, torch.nn.Dropout)], [0.1]),
    "extra zeros": (lambda t: t.net.decoder.px_dropout_decoder.out_features, GENES),
    "dispersion a gene": (lambda t: tuple(t.net.px_r.shape), (GENES,)),
    "optimiser": (lambda t: type(t.optimizer), torch.optim.Adam),
    "learning rate": (lambda t: t.optimizer.defaults["lr"], 1e-3),
    "weight decay": (lambda t: t.optimizer.defaults["weight_decay"], 1e-6),
    "eps": (lambda t: t.optimizer.defaults["eps"], 0.01),
    "KL warm-up of an epoch": (lambda t: t.warmup, 2),
    "batch": (lambda t: t.source.batch_size, 512),
    "early stopping patience": (lambda t: t.limits.patience, 5),
    "min delta": (lambda t: t.limits.min_delta, 0.01),
    "checked each epoch": (lambda t: t.limits.every, 2),
    "best weights": (lambda t: t.limits.keep_best, True),
    "max epochs 1e7 / N": (lambda t: t.limits.steps, 12_500 * 2),
    "reduced on a plateau": (lambda t: type(t.check_scheduler), torch.optim.lr_scheduler.ReduceLROnPlateau),
    "least rate": (lambda t: t.check_scheduler.min_lrs, [1e-6]),
    "rate's factor and patience": (lambda t: (t.check_scheduler.factor, t.check_scheduler.patience), (0.6, 3)),
    "rate's threshold": (lambda t: (t.check_scheduler.threshold, t.check_scheduler.threshold_mode), (0.0, "abs")),
}
GENEFORMER = {
    "context": (lambda t: t.net.positions.num_embeddings, 512),
    "tokens of a cell at most": (lambda t: int(t.train.lengths.max()), 512),
    "tokens of a cell in a batch": (lambda t: int(next(t.batches(0)).batch.lengths.max()), 512),
    "width": (lambda t: t.net.tokens.embedding_dim, 256),
    "vocabulary: genes, pad, mask": (lambda t: t.net.tokens.num_embeddings, GENES + 2),
    "feed-forward": (lambda t: one(layer.up.out_features for layer in t.net.layers), 512),
    "heads": (lambda t: one(layer.attention.heads for layer in t.net.layers), 4),
    "layers": (lambda t: len(t.net.layers), 3),
    "dropout": (lambda t: one(m.p for m in t.net.modules() if isinstance(m, torch.nn.Dropout)), 0.02),
    "dropout of attention": (lambda t: one(layer.attention.dropout for layer in t.net.layers), 0.02),
    "layer-norm eps": (lambda t: one(m.eps for m in t.net.modules() if isinstance(m, torch.nn.LayerNorm)), 1e-12),
    "init": (lambda t: float(t.net.tokens.weight.detach().std()), pytest.approx(0.02, rel=0.01)),
    "parameters": (lambda t: sum(p.numel() for p in t.net.parameters()), 513 * (GENES + 2) + 1_779_712),
    "an output matrix of vocabulary x 256": (lambda t: tuple(t.net.output.shape), (GENES + 2, 256)),
    "init of it": (lambda t: float(t.net.output.detach().std()), pytest.approx(0.02, rel=0.01)),
    "masking": (masked_share, pytest.approx(0.15, abs=4 * (0.15 * 0.85 / 98_000) ** 0.5)),
    "optimiser": (lambda t: type(t.optimizer), torch.optim.AdamW),
    "learning rate": (lambda t: rate(t, 5000), 1e-3),
    "warm-up": (lambda t: [rate(t, step) for step in (0, 1, 2500)], [0, pytest.approx(2e-7), pytest.approx(5e-4)]),
    "linear to 0": (lambda t: [rate(t, (5000 + t.limits.steps) // 2), rate(t, t.limits.steps)],
                    [pytest.approx(5e-4, rel=1e-4), 0]),
    "weight decay, not of vectors": (lambda t: [g["weight_decay"] for g in t.optimizer.param_groups], [1e-3, 0.0]),
    "decayed are matrices": (lambda t: one(p.ndim for p in t.optimizer.param_groups[0]["params"]), 2),
    "gradient norm (HF Trainer)": (lambda t: t.max_norm, 1.0),
    "batch": (lambda t: len(next(t.batches(0)).batch.lengths), 64),
    "max epochs 1e8 / N": (lambda t: t.limits.steps, 125_000 * 13),
    "a check each 1,000 steps": (lambda t: t.limits.every, 1000),
    "patience of 5 checks": (lambda t: t.limits.patience, 5),
    "no min delta": (lambda t: t.limits.min_delta, 0.0),
    "best weights": (lambda t: t.limits.keep_best, True),
    "all validation cells": (lambda t: sum(len(b.batch.lengths) for b in t._exam), 140),
}  # fmt: skip


@pytest.mark.parametrize("setting", SCVI)
def test_scvi(built, setting):
    read, published = SCVI[setting]
    assert read(built["scvi"].training) == published


@pytest.mark.parametrize("setting", GENEFORMER)
def test_geneformer(built, setting):
    read, published = GENEFORMER[setting]
    assert read(built["geneformer"].training) == published


def test_linear_models(built):
    """16 directions of all genes; 16 axes of 750 variable genes."""
    assert built["random_projection"].model.directions.shape == (GENES, 16)
    assert built["pca"].model.axes.shape == (16, 750)


@pytest.mark.parametrize(
    ("name", "dims"),
    [(name, 256 if "geneformer" in name else 16) for name in models.MODELS],
)
def test_dimensions_of_the_embedding(built, counts, name, dims):
    model = built[name].model
    if hasattr(model, "_net"):
        model._net.eval()
    assert model.embed(counts[:3]).shape == (3, dims)


def test_geneformer_embeds_by_the_layer_before_the_last(built, counts, monkeypatch):
    """The last of the three layers is not asked."""
    model, asked = built["untrained_geneformer"].model, []
    for i, layer in enumerate(model._net.layers):
        monkeypatch.setattr(layer, "forward", lambda x, groups, i=i: (asked.append(i), x)[1])
    model.embed(counts[:3])
    assert asked == [0, 1]


@pytest.mark.parametrize("name", models.MODELS)
def test_a_model_says_what_the_rest_needs(name):
    kind = models.MODELS[name]
    assert kind.name == name
    assert kind.label
    assert kind.colour.startswith("#")
    assert kind.NUMBERS_VERSION >= 1
    assert set(kind.PRESETS) >= {"published", "small"}
    assert kind.wants_gpu == ("scvi" in name or "geneformer" in name)
    assert kind.train_seconds("small", n_cells=1000, n_genes=2000, nonzeros=500) >= 2


def test_the_trained_geneformer_has_the_published_network_and_no_other_setting_than_said():
    published, trained = (models.settings("geneformer", preset=name) for name in ("published", "published_trained"))
    changed = {name for name in published if published[name] != trained[name]}
    network = {"context", "width", "feed_forward", "heads", "layers", "dropout", "tied", "layer", "train_tokens"}
    assert not changed & network
    assert changed == {
        "batch_tokens",
        "warmup",
        "masked",
        "max_cells_seen",
        "max_steps",
        "check_every",
        "frequency_start",
    }
    said = models.MODELS["geneformer"].__doc__
    assert all(word in said for word in ("2,000 steps", "`warmup` of 100", "16,384 tokens", "30 % of the tokens"))
    assert (trained["max_steps"], trained["warmup"], trained["batch_tokens"]) == (2000, 100, 16_384)
    assert trained["masked"] == 0.3


def test_colours_markers_and_places_are_different():
    kinds = list(models.MODELS.values())
    for what in ("label", "colour", "marker", "order"):
        assert len({getattr(kind, what) for kind in kinds}) == len(kinds), what


def test_cost_by_hand():
    """scVI, small: 20 s and 4e-4 s for each of at most 5e5 cells and each 1,000 genes."""
    found = models.MODELS["scvi"].train_seconds("small", n_cells=100, n_genes=2000, nonzeros=500)
    assert found == pytest.approx(20 + 4e-4 * 2 * 5e5)
    found = models.MODELS["geneformer"].train_seconds("published", n_cells=100, n_genes=2000, nonzeros=256)
    assert found == pytest.approx(20 + 0.09 * 0.5 * 1e8)
