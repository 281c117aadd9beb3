"""Compare our scVI training with scvi-tools': seconds an epoch, losses at one size, seconds and bits of preset small.

Both sides use the same networks, optimiser and stopping rule, on one thread. The library's side is
`scvi.model.SCVI.train` with its own loader, loss and logs. Finished rows are kept in build/scvi_training.jsonl and
reused by later runs: remove the file to measure again.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scvi
import torch
from anndata import AnnData
from common import arguments, machine, report, simulate_counts, table
from scipy.sparse import csr_matrix, vstack
from scvi.distributions import ZeroInflatedNegativeBinomial

from noise_scaling import datasets, information, models, signals
from noise_scaling.counts import thin
from noise_scaling.models.scvi import _batch_size, _learning_rate, log_likelihood
from noise_scaling.models.scvi_data import Counts, whole_batches
from noise_scaling.models.training import limits
from noise_scaling.seeds import derive
from noise_scaling.splits import split

CELLS, GENES, VALIDATION, EPOCHS = 20_000, 2_000, 2_000, 3
SEEDS = (100, 101)
SIDES = {"library": None, "ours, 32": {"precision": "32"}, "ours, bf16": {"precision": "bf16"}}
UNITS = [("pbmc68k", 100, 1.0), ("pbmc10k", 100, 1.0), ("pbmc10k", 1000, 1.0), ("pbmc10k", 3000, 1.0)]


class Library:
    """scvi-tools' SCVI with the settings of one of our presets, trained as in its own documentation."""

    def __init__(self, seed: int, settings: dict[str, Any], most_epochs: int | None = None) -> None:
        self.seed, self.settings, self.most_epochs = seed, settings, most_epochs

    def fit(self, train: csr_matrix, validation: csr_matrix) -> Library:
        s, n = self.settings, train.shape[0]
        batch = whole_batches(n, s["batch_size"] or _batch_size(n))
        epoch = math.ceil(n / batch)
        bounds = limits(s, n_cells=n, epoch=epoch, check_every=math.ceil(s["check_every"] / epoch) * epoch)
        cells = np.arange(n + validation.shape[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scvi.settings.seed = self.seed % 2**32
            data = AnnData(vstack([train, validation], format="csr").astype(np.float32))
            scvi.model.SCVI.setup_anndata(data)
            self.model = scvi.model.SCVI(
                data, n_hidden=s["n_hidden"], n_latent=s["dims"], gene_likelihood="zinb", dispersion="gene"
            )
            self.model.train(
                max_epochs=min(bounds.steps // epoch, self.most_epochs or bounds.steps), accelerator="cpu",
                batch_size=batch, check_val_every_n_epoch=bounds.every // epoch, early_stopping=True,
                early_stopping_monitor="elbo_validation", early_stopping_patience=s["patience"],
                early_stopping_min_delta=s["min_delta"], enable_progress_bar=False,
                datasplitter_kwargs={"external_indexing": [cells[:n], cells[n:], cells[:0]]},
                plan_kwargs={
                    "lr": s["learning_rate"] or _learning_rate(batch), "weight_decay": 1e-6, "eps": s["eps"],
                    "n_epochs_kl_warmup": 1, "reduce_lr_on_plateau": s["reduce_lr"], "lr_patience": 3, "lr_min": 1e-6,
                },
            )  # fmt: skip
        self.history = {"elbo_validation": self.model.history["elbo_validation"]["elbo_validation"].tolist()}
        return self

    def embed(self, counts: csr_matrix) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.model.get_latent_representation(AnnData(counts.astype(np.float32)))


def timed(make: Any, train: csr_matrix, validation: csr_matrix) -> tuple[Any, float, float]:
    """Fit a model; return it, wall seconds and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    model = make().fit(train, validation)
    return model, time.perf_counter() - wall, time.process_time() - processor


def epochs(side: str, seed: int, n_cells: int, n_genes: int) -> dict:
    """Measure seconds per epoch, training and validation included, and the losses."""
    counts = simulate_counts(n_cells + VALIDATION, n_genes, umis=600)
    train, validation = counts[:n_cells], counts[n_cells:]
    base = models.settings("scvi", preset="published")
    steps = math.ceil(n_cells / base["batch_size"])

    def make(n_epochs: int) -> Any:
        if SIDES[side] is None:
            return Library(seed, base, n_epochs)
        options = SIDES[side] | {"fixed_steps": n_epochs * steps, "check_every": 1}
        return models.create("scvi", preset="published", seed=seed, device="cpu", **options)

    make(1).fit(train[:1024], validation[:512])  # compile, import, warm up
    model, wall, processor = timed(lambda: make(EPOCHS), train, validation)
    return {
        "side": side, "seed": seed, "seconds": wall / EPOCHS, "processor_seconds": processor / EPOCHS,
        "losses": model.history["elbo_validation"],
    }  # fmt: skip


def loss_alone(form: str, n_cells: int, n_genes: int, repeats: int = 30) -> dict:
    """Return the median milliseconds of a batch's loss and its gradient, without the networks, and the loss."""
    counts = simulate_counts(n_cells, n_genes, umis=600)
    batch = next(Counts(counts[:512], "cpu").in_order())
    drawn, matrix = torch.Generator().manual_seed(0), batch.dense
    outputs = [torch.randn(shape, generator=drawn).requires_grad_() for shape in [matrix.shape] * 2 + [(n_genes,)]]
    scale, zeros, log_theta = outputs

    def dense() -> torch.Tensor:
        mean, theta = batch.library[:, None] * scale.softmax(1), log_theta.exp()
        return ZeroInflatedNegativeBinomial(mu=mean, theta=theta, zi_logits=zeros).log_prob(matrix).sum(1)

    forms = {"scvi-tools": dense, "ours": lambda: log_likelihood(scale, zeros, log_theta, batch)}
    seconds = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        value = forms[form]().mean()
        value.backward()
        seconds.append(time.perf_counter() - start)
    return {"form": form, "ms": 1e3 * float(np.median(seconds[3:])), "nats": float(value.detach())}


def unit(name: str, n_cells: int, fraction: float, seed: int, side: str) -> dict:
    """Train the small preset once; return its time, its loss and the bits in its embedding of the test cells."""
    data = datasets.load(name)
    pools = split(
        data.cell_ids, seed=derive(seed, "split", name), n_test=data.card.n_test,
        n_validation=data.card.n_validation, eligible=signals.test_eligible(data.signal),
    )  # fmt: skip
    counts = data.counts
    if fraction < 1:
        counts = thin(counts, fraction, seed=derive(seed, "thin", name), cell_ids=data.cell_ids, gene_ids=data.gene_ids)
    settings = models.settings("scvi") | {"learning_rate": 2e-3}

    def make() -> Any:
        drawn = derive(seed, "model", "scvi", n_cells)
        return Library(drawn, settings) if side == "library" else models.create("scvi", seed=drawn, device="cpu")

    train, validation = counts[pools.train[:n_cells]], counts[pools.validation]
    model, wall, processor = timed(make, train, validation)
    pair = signals.align(data.signal, pools.test, model.embed(counts[pools.test]), seed=derive(seed, "pairs"))
    found = information.estimate(pair.x, pair.y, seed=derive(seed, "estimator"), device="cpu")
    return {
        "dataset": name, "cells": n_cells, "fraction": fraction, "seed": seed, "side": side, "seconds": wall,
        "processor_seconds": processor, "loss": min(model.history["elbo_validation"]), "bits": found.bits,
        "stderr": found.stderr,
    }  # fmt: skip


def kept(path: Path, measure: Callable[..., dict], *arguments: Any) -> dict:
    """Return the row for these arguments: an earlier run's from `path`, or measured now and appended."""
    key = [measure.__name__, *arguments]
    lines = path.read_text().splitlines() if path.exists() else []
    for line in map(json.loads, lines):
        if line["key"] == key:
            return line["row"]
    row = measure(*arguments)
    with path.open("a") as file:
        file.write(json.dumps({"key": key, "row": row}) + "\n")
    return row


def main() -> None:
    args = arguments(__doc__)
    torch.set_num_threads(1)
    where = machine("scvi-tools", "torch", "lightning")
    seeds, size, units = (SEEDS, (CELLS, GENES), UNITS) if not args.quick else (SEEDS[:1], (1024, 200), UNITS[:1])
    keep = (
        Path(__file__).parents[1] / "build" / "scvi_training.jsonl" if not args.quick else args.results / "rows.jsonl"
    )
    keep.parent.mkdir(exist_ok=True)
    found = [kept(keep, epochs, side, seed, *size) for seed in seeds for side in SIDES]
    alone = [kept(keep, loss_alone, form, *size) for form in ("scvi-tools", "ours")]
    small = [kept(keep, unit, *which, SEEDS[0], side) for which in units for side in ("library", "ours")]
    rows = [
        [r["side"], r["seed"], r["seconds"], r["processor_seconds"], *(f"{x:.2f}" for x in r["losses"])] for r in found
    ]
    clocks = {"seconds": "wall", "processor_seconds": "processor"}
    median = {(c, s): float(np.median([r[c] for r in found if r["side"] == s])) for c in clocks for s in SIDES}
    ratios = "; ".join(
        f"{side} {median[c, 'library'] / median[c, side]:.2f}x ({clocks[c]})"
        for side in list(SIDES)[1:]
        for c in clocks
    )
    step = (
        1e3
        * median["seconds", "ours, 32"]
        / math.ceil(size[0] / models.settings("scvi", preset="published")["batch_size"])
    )
    columns = ["dataset", "cells", "fraction", "side", "seconds", "processor_seconds", "loss", "bits", "stderr"]
    parts = [
        f"{size[0]:,} cells x {size[1]:,} genes, batch 512, width 512 (preset published), one thread. Seconds of an "
        f"epoch with its validation on {VALIDATION:,} cells; validation loss after each epoch.",
        table(["", "seed", "seconds", "processor s", *(f"epoch {k + 1}" for k in range(EPOCHS))], rows),
        f"Medians of the seconds, library over ours: {ratios}. Processor "
        "seconds are the fairer where others use the machine.",
        "The loss of one batch and its gradient alone, in plain torch: "
        + "; ".join(f"{r['form']} {r['ms']:.1f} ms ({r['nats']:.2f} nats a cell)" for r in alone)
        + f". One step of ours, networks and validation included, takes {step:.0f} ms.",
        "The small preset to its end, early stopping included, and the bits then found. The library's side has its "
        "loader, loss and optimiser, and a learning rate of 2e-3 at every batch.",
        table(columns, [[r[c] for c in columns] for r in small]),
    ]
    report(
        args.results,
        "scvi",
        "scVI beside scvi-tools' own training",
        where,
        parts,
        {"epochs": found, "loss": alone, "units": small},
    )


if __name__ == "__main__":
    main()
