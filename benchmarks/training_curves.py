"""Train each trained model once for the book's training curves: data/curves/training.csv and its provenance."""

from __future__ import annotations

import json

import pandas as pd
import torch
from common import machine

from noise_scaling import datasets, models, paths
from noise_scaling.seeds import derive
from noise_scaling.splits import split

DATASET, CELLS, SEED = "pbmc68k", 300, 0
LOSSES = {"scvi": ("elbo_validation",), "geneformer": ("loss_train", "loss_validation")}


def main() -> None:
    torch.set_num_threads(1)
    data = datasets.load(DATASET)
    cells = split(
        data.cell_ids, seed=derive(SEED, "split", DATASET), n_test=data.card.n_test, n_validation=data.card.n_validation
    )
    train, validation = data.counts[cells.training_cells(CELLS)], data.counts[cells.validation]
    rows = []
    for name, losses in LOSSES.items():
        model = models.create(name, seed=derive(SEED, "model", name, CELLS), device="cpu").fit(train, validation)
        for loss in losses:
            pairs = zip(model.history["step"], model.history[loss], strict=True)
            rows += [(name, loss, int(step), round(value, 5)) for step, value in pairs]
    table = pd.DataFrame(rows, columns=["model", "loss", "step", "value"])
    folder = paths.ROOT / "data" / "curves"
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "training.csv", index=False, lineterminator="\n")
    about = {
        "dataset": DATASET, "data_sha256": data.data_sha256, "cells": CELLS, "fraction": 1.0, "seed": SEED,
        "preset": "small", "settings": {name: models.settings(name) for name in LOSSES},
        "numbers_version": {name: models.MODELS[name].NUMBERS_VERSION for name in LOSSES},
        "machine": machine("torch", "scvi-tools"),
    }  # fmt: skip
    (folder / "training.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
