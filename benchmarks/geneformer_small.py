"""How Geneformer's small preset was chosen: bits and seconds of the preset, its controls and one-setting variants.

The seed is used by no reported measurement. Rows are saved as they are measured; a stopped run continues from them.
"""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from common import arguments, machine, report, table
from scipy.sparse import csr_matrix

from noise_scaling import datasets, information, models, signals
from noise_scaling.counts import thin
from noise_scaling.seeds import derive
from noise_scaling.splits import Split, split

SEED = 100  # reported measurements use 0, 1, 2
DATA, CELLS, FRACTIONS = ("pbmc10k", "simulated"), (100, 1000), (1.0, 0.1, 0.01)
MODELS = ("random_projection", "pca", "untrained_geneformer", "geneformer")
VARIANTS = {
    "learning rate 3e-3, 100 steps of warm-up": {"learning_rate": 3e-3, "warmup": 100},
    "learning rate 1e-2": {"learning_rate": 1e-2},
    "biases start at 0": {"frequency_start": False},
    "batches of 32 cells": {"batch_tokens": None},
    "256 tokens of a cell, 8 cells": {"train_tokens": 256, "batch_size": 8},
    "800 steps": {"max_steps": 800},
    "last layer": {"layer": "last"},
    "3 layers": {"layers": 3},
}


def units(quick: bool) -> list[dict]:
    grid = [
        {"data": data, "cells": n, "fraction": q, "model": model, "changed": ""}
        for data in DATA for n in CELLS for q in FRACTIONS for model in MODELS
    ]  # fmt: skip
    changed = [
        {"data": "pbmc10k", "cells": 1000, "fraction": q, "model": "geneformer", "changed": name}
        for name in VARIANTS for q in (1.0, 0.1)
    ]  # fmt: skip
    if not quick:
        return grid + changed
    return [unit for unit in grid if (unit["data"], unit["cells"], unit["fraction"]) == ("simulated", 100, 0.01)]


@cache
def pools(name: str, n_cells: int, fraction: float) -> tuple[datasets.Dataset, Split, list[csr_matrix]]:
    """Return the data set, its split, and the thinned training, validation and test cells."""
    data = datasets.load(name)
    cells = split(
        data.cell_ids, seed=derive(SEED, "split", name), n_test=data.card.n_test, n_validation=data.card.n_validation,
        eligible=signals.test_eligible(data.signal), groups=signals.groups(data.signal),
    )  # fmt: skip
    seed, names, genes = derive(SEED, "thin", name), data.cell_ids, data.gene_ids
    rows = (cells.training_cells(n_cells), cells.validation, cells.test)
    return data, cells, [
        thin(data.counts[at], fraction, seed=seed, cell_ids=names[at], gene_ids=genes) for at in rows
    ]  # fmt: skip


def measured(unit: dict) -> dict:
    """Measure a unit; return it with bits, standard error, and processor seconds to train and to embed."""
    data, cells, (train, validation, test) = pools(unit["data"], unit["cells"], unit["fraction"])
    seed = derive(SEED, "model", unit["model"], unit["cells"])
    model = models.create(unit["model"], seed=seed, device="cpu", **VARIANTS.get(unit["changed"], {}))
    start = time.process_time()
    model.fit(train, validation)
    trained = time.process_time()
    embedding = model.embed(test)
    done = time.process_time()
    pair = signals.align(data.signal, cells.test, embedding, seed=derive(SEED, "pairs"))
    found = information.estimate(
        pair.x, pair.y, seed=derive(SEED, "estimator"), device="cpu", groups=pair.groups
    )  # fmt: skip
    steps = (model.history.get("step") or [0])[-1]
    return unit | {
        "bits": round(found.bits, 4), "stderr": round(found.stderr, 4), "train_seconds": round(trained - start, 2),
        "embed_seconds": round(done - trained, 2), "steps": int(steps), "genes": train.shape[1],
    }  # fmt: skip


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    torch.set_num_threads(1)
    path = options.results / "geneformer_small.json"
    wanted = units(options.quick)
    rows = [row for row in _kept(path) if _unit(row) in wanted]
    done = [_unit(row) for row in rows]
    for unit in wanted:
        if unit not in done:
            rows.append(measured(unit))
            write(options.results, rows, wanted)


def _kept(path: Path) -> list[dict]:
    return json.loads(path.read_text())["rows"] if path.exists() else []


def _unit(row: dict) -> dict:
    return {name: row[name] for name in ("data", "cells", "fraction", "model", "changed")}


def write(results: Path, rows: list[dict], wanted: list[dict]) -> None:
    parts = [
        f"Seed {SEED}; information.estimate's default; processor seconds on one thread; {len(rows)} of {len(wanted)} "
        "units measured. One seed: the differences between settings that are below 0.05 bits say nothing.",
        "The preset beside its controls, bits:",
        table(["data", "cells", "fraction", *MODELS, "seconds to train", "to embed", "steps"], _grid(rows)),
        "One setting changed, on pbmc10k with 1,000 cells:",
        table(["", "bits, full depth", "a tenth", "seconds, full depth", "a tenth"], _changed(rows)),
    ]
    where = machine("torch", "scipy")
    numbers = {"rows": rows, "complete": len(rows) == len(wanted), "preset": models.settings("geneformer")}
    report(results, "geneformer_small", "Geneformer's small preset", where, parts, numbers)


def _grid(rows: list[dict]) -> list[list[object]]:
    lines = []
    for data in DATA:
        for n in CELLS:
            for q in FRACTIONS:
                here = {r["model"]: r for r in rows if _unit(r) | {"model": ""} == {
                    "data": data, "cells": n, "fraction": q, "model": "", "changed": ""}}  # fmt: skip
                ours = here.get("geneformer", {})
                bits = [f"{here[m]['bits']:.2f}" if m in here else "-" for m in MODELS]
                lines.append([data, n, f"{q:g}", *bits, *(
                    ours.get(name, "-") for name in ("train_seconds", "embed_seconds", "steps"))])  # fmt: skip
    return lines


def _changed(rows: list[dict]) -> list[list[object]]:
    lines = []
    for name in ("", *VARIANTS):
        here = {
            r["fraction"]: r for r in rows
            if (r["data"], r["cells"], r["model"], r["changed"]) == ("pbmc10k", 1000, "geneformer", name)
        }  # fmt: skip
        both = [here.get(q) for q in (1.0, 0.1)]
        lines.append([
            name or "the preset", *(f"{r['bits']:.2f}" if r else "-" for r in both),
            *(f"{np.round(r['train_seconds'], 1)}" if r else "-" for r in both),
        ])  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
