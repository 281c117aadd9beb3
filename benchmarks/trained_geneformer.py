"""How Geneformer's preset `published_trained` was chosen: one setting at a time, on data without reported results.

    python benchmarks/trained_geneformer.py --device cuda --workers 9

Writes results/trained_geneformer.md and .json: the lowest validation loss and the bits of the test cells, also for the
starting weights and, for the first setting, at steps in between. Trainings run in several processes that share the GPU;
finished trainings are kept in build/gpu and not repeated.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, machine, report, table

from noise_scaling import datasets, information, models, paths, signals
from noise_scaling.measure.slice import Grid, Slice
from noise_scaling.models.geneformer_data import medians_of, tokens_of, usable_tokens
from noise_scaling.models.geneformer_training import MaskedTraining, log_frequencies
from noise_scaling.seeds import derive

PRESET = "published_trained"
POINTS = (("citeseq_pbmc49", 0.1407), ("seqfish_embryo", 0.4978), ("citeseq_inhouse", 0.1505))
"""Data sets and depths; each is measured at the largest number of cells of its card."""
SEED = 100
START = {"masked": 0.15, "max_steps": 1500}
SETTINGS: dict[str, dict] = {
    "at the start: rate 1e-3, 15 % masked": START,
    "rate 3e-4": START | {"learning_rate": 3e-4},
    "30 % masked": START | {"masked": 0.3},
    "tied": START | {"tied": True},
    "dropout 0.1": START | {"dropout": 0.1},
    "rate 2e-3": START | {"learning_rate": 2e-3},
}
LOOKS = (100, 200, 400, 800)
"""Steps after which the first setting is scored."""


def point(task: dict) -> dict | None:
    """Train once; return bits before it, at the requested steps and of the kept weights; None if the time is over."""
    if time.time() > task["until"]:
        return None
    torch.set_num_threads(1)
    one = _slice(task)
    train, held, test = one.pools.train(task["n_cells"]), one.pools.validation, one.pools.test
    options = {"preset": PRESET, "device": task["device"], **SETTINGS[task["setting"]]}
    model = models.create("geneformer", seed=derive(SEED, "model", "geneformer", task["n_cells"]), **options)
    model.gene_medians = medians_of(train)
    cells, exam, scored = (tokens_of(counts, model.gene_medians, 512) for counts in (train, held, test))
    model._net = model.network(train.shape[1])
    model._net.bias.data.copy_(log_frequencies(cells, len(model._net.bias)))
    model._net.to(task["device"])
    embeddings: dict[str, np.ndarray] = {}

    def look(step: str) -> None:
        with torch.no_grad():
            embeddings[step] = model._embed(scored, test.shape[0])

    class Watched(MaskedTraining):
        def _check(self, losses: torch.Tensor) -> float:
            validation = super()._check(losses)
            if self.progress.step in task["looks"]:
                look(str(self.progress.step))
            return validation

    look("0")
    training = Watched(
        model._net, usable_tokens(cells, at_least=10), usable_tokens(exam, at_least=10), model.settings,
        seed=model.seed, device=task["device"],
    )  # fmt: skip
    start = time.perf_counter()
    training.run()
    seconds = time.perf_counter() - start
    look("kept")
    best = int(np.argmin(training.history["loss_validation"]))
    return {name: task[name] for name in ("dataset", "fraction", "n_cells", "setting")} | {
        "seconds": seconds, "steps": training.history["step"][-1], "kept": training.history["step"][best],
        "loss": training.history["loss_validation"][best],
        "bits": {step: _bits(one, embedding) for step, embedding in embeddings.items()},
    }  # fmt: skip


def _slice(task: dict) -> Slice:
    data = datasets.load(task["dataset"])
    grid = Grid(
        data, ("geneformer",), (task["n_cells"],), (task["fraction"],), PRESET, ("default",), data.card.n_test,
        data.card.n_validation, task["device"],
    )  # fmt: skip
    return Slice(grid, grid.split(SEED), SEED, task["fraction"])


def _bits(one: Slice, embedding: np.ndarray) -> tuple[float, float]:
    """Return bits and standard error, computed as for a row of `measure`."""
    pair = signals.align(one.grid.data.signal, one.cells.test, embedding, seed=derive(SEED, "pairs"))
    found = information.estimate(pair.x, pair.y, seed=derive(SEED, "estimator"), device="cpu", groups=pair.groups)
    return round(float(found.bits), 4), round(float(found.stderr), 4)


def run(options: argparse.Namespace) -> list[dict]:
    """Return the results of every setting at every point: from the log, or trained now and added to the log."""
    found = [json.loads(line) for line in options.log.read_text().splitlines()] if options.log.exists() else []
    done = {(result["setting"], result["dataset"]) for result in found}
    tasks = [
        {"dataset": name, "fraction": fraction, "n_cells": max(datasets.card(name).cell_numbers), "setting": setting,
         "device": options.device, "looks": () if i else LOOKS, "until": time.time() + 60 * options.minutes}
        for i, setting in enumerate(SETTINGS) for name, fraction in POINTS if (setting, name) not in done
    ]  # fmt: skip
    options.log.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool, options.log.open("a") as log:
        for result in filter(None, pool.imap_unordered(point, tasks)):
            found.append(result)
            log.write(json.dumps(result) + "\n")
            log.flush()
            print(result, flush=True)
    return found


def write(found: list[dict], options: argparse.Namespace) -> None:
    """Write the tables: settings by points, and the first setting by training step."""
    at = {(result["setting"], result["dataset"]): result for result in found}
    where = [f"{name}, N = {max(datasets.card(name).cell_numbers):,}, q = {fraction:g}" for name, fraction in POINTS]
    start = [at[next(iter(SETTINGS)), name] for name, _ in POINTS]
    lines = [["not trained", *(_cell(result, "0") for result in start)]]
    for setting in SETTINGS:
        mine = [at.get((setting, name)) for name, _ in POINTS]
        if not any(mine):
            continue
        lines.append([setting, *("-" if r is None else f"{_cell(r, 'kept')}, step {r['kept']:,.0f}" for r in mine)])
    along = [[step, *(_cell(result, step) for result in start)] for step in ("0", *map(str, LOOKS), "kept")]
    parts = [
        f"Seed {SEED}, on data sets that the preset's own measurements do not touch; bits by the default estimator, "
        "and the step of the lowest validation loss, whose weights are kept. All else as in the preset, but 1,500 "
        "steps. A dash: not trained, the time was up. Losses of different shares of masks do not compare; bits do.",
        table(["setting", *where], lines),
        "Along the first setting's training:",
        table(["steps", *where], along),
    ]
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else None
    numbers = {"gpu": gpu, "settings": SETTINGS, "points": found}
    report(options.results, "trained_geneformer", f"Geneformer's preset {PRESET}", machine("torch"), parts, numbers)


def _cell(result: dict, step: str) -> str:
    bits, error = result["bits"][step]
    return f"{bits:.2f} ± {error:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--workers", type=int, default=4, help="trainings at a time")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no training later than this")
    parser.add_argument("--log", type=Path, default=paths.ROOT / "build" / "gpu" / "trained.jsonl")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    options = parser.parse_args()
    write(run(options), options)


if __name__ == "__main__":
    main()
