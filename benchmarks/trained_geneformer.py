"""How Geneformer's preset `published_trained` was chosen, and how its bits grow with the steps.

    python benchmarks/trained_geneformer.py settings --device cuda --workers 12
    python benchmarks/trained_geneformer.py curves --device cuda --workers 12

`settings`: one setting changed at a time, on data sets and a seed that nothing is reported of; writes
results/trained_geneformer.md. `curves`: losses, and bits of the test cells, along trainings of the preset; writes
data/curves/trained_geneformer.csv. Points are spread over processes that share the card.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import RESULTS, machine, report, table

from noise_scaling import datasets, information, models, paths, signals
from noise_scaling.measure.slice import Grid, Slice
from noise_scaling.models.geneformer_data import medians_of, tokens_of, usable_tokens
from noise_scaling.models.geneformer_training import MaskedTraining, log_frequencies
from noise_scaling.seeds import derive

PRESET = "published_trained"
TUNED_ON = (("citeseq_pbmc49", 0.1407), ("seqfish_embryo", 0.4978), ("citeseq_inhouse", 0.1505))
TUNING_SEED = 100
SETTINGS: dict[str, dict] = {
    "the preset": {},
    "rate 3e-4": {"learning_rate": 3e-4},
    "masked 0.3": {"masked": 0.3},
    "tied": {"tied": True},
    "dropout 0.1": {"dropout": 0.1},
    "rate 2e-3": {"learning_rate": 2e-3},
}
LOOKS = [100 * 2**i for i in range(8)]
SHOWN = (("pbmc5k_extra", 1.0), ("pbmc5k_extra", 0.1231), ("xenium_breast", 0.3734))


def point(task: dict) -> dict | None:
    """One training with bits of the test cells before it, at the checks asked for, and of the weights kept.

    None where it would begin after the task's time.
    """
    if time.time() > task["until"]:
        return None
    torch.set_num_threads(1)
    one = _slice(task)
    train, held, test = one.pools.train(task["n_cells"]), one.pools.validation, one.pools.test
    options = {"preset": PRESET, "device": task["device"], **task["options"]}
    model = models.create("geneformer", seed=derive(task["seed"], "model", "geneformer", task["n_cells"]), **options)
    model._medians = medians_of(train)
    cells, exam, scored = (
        tokens_of(counts, model._medians, model.settings["context"]) for counts in (train, held, test)
    )
    model._net = model.network(train.shape[1])
    if model.settings["frequency_start"]:
        model._net.bias.data.copy_(log_frequencies(cells, len(model._net.bias)))
    model._net.to(task["device"])
    embeddings: dict[int, np.ndarray] = {}

    def look(step: int) -> None:
        with torch.no_grad():
            embeddings[step] = model._embed(scored, test.shape[0])

    class Watched(MaskedTraining):
        def _check(self, losses: torch.Tensor) -> float:
            validation = super()._check(losses)
            if self.progress.step in task["looks"]:
                look(self.progress.step)
            return validation

    look(0)
    training = Watched(
        model._net, usable_tokens(cells, at_least=10), usable_tokens(exam, at_least=10), model.settings,
        seed=model.seed, device=task["device"],
    )  # fmt: skip
    start = time.perf_counter()
    training.run()
    seconds = time.perf_counter() - start
    look(-1)
    history = training.history
    best = int(np.argmin(history["loss_validation"]))
    return {name: task[name] for name in ("dataset", "fraction", "n_cells", "seed", "setting")} | {
        "seconds": seconds, "steps": history["step"][-1], "best_step": history["step"][best],
        "lowest_loss": history["loss_validation"][best], "history": history,
        "bits": {str(step): _bits(one, embedding) for step, embedding in embeddings.items()},
    }  # fmt: skip


def _slice(task: dict) -> Slice:
    data = datasets.load(task["dataset"])
    grid = Grid(
        data, ("geneformer",), (task["n_cells"],), (task["fraction"],), PRESET, ("default",), data.card.n_test,
        data.card.n_validation, task["device"],
    )  # fmt: skip
    return Slice(grid, grid.split(task["seed"]), task["seed"], task["fraction"])


def _bits(one: Slice, embedding: np.ndarray) -> tuple[float, float]:
    """As a row of `measure` has them, and the standard error."""
    pair = signals.align(one.grid.data.signal, one.cells.test, embedding, seed=derive(one.seed, "pairs"))
    found = information.estimate(pair.x, pair.y, seed=derive(one.seed, "estimator"), device="cpu", groups=pair.groups)
    return round(float(found.bits), 4), round(float(found.stderr), 4)


def run(tasks: list[dict], options: argparse.Namespace) -> list[dict]:
    """The tasks' results, those kept in the log first; each new one is kept there at once."""
    found = [json.loads(line) for line in options.log.read_text().splitlines()] if options.log.exists() else []
    done = {_key(result) for result in found}
    left = [task | {"until": time.time() + 60 * options.minutes} for task in tasks if _key(task) not in done]
    options.log.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool, options.log.open("a") as log:
        for result in filter(None, pool.imap_unordered(point, left)):
            found.append(result)
            log.write(json.dumps(result) + "\n")
            log.flush()
            print({name: value for name, value in result.items() if name != "history"}, flush=True)
    return found


def _key(task: dict) -> tuple:
    return tuple(task[name] for name in ("dataset", "fraction", "n_cells", "seed", "setting"))


def tasks_of(
    points: tuple, options: argparse.Namespace, settings: dict[str, dict], looks: list[int], seed: int
) -> list[dict]:
    """Every setting at every point, at the largest number of cells of its card; bits along the way of the preset."""
    return [
        {"dataset": name, "fraction": fraction, "n_cells": max(datasets.card(name).cell_numbers), "seed": seed,
         "setting": setting, "options": settings[setting], "device": options.device,
         "looks": [] if settings[setting] else looks}
        for setting in settings for name, fraction in points
    ]  # fmt: skip


def write_settings(found: list[dict], options: argparse.Namespace) -> None:
    """The table of settings, points side by side, bits beside those before training."""
    points = sorted({(r["dataset"], r["fraction"], r["n_cells"]) for r in found}, key=lambda p: (p[0], -p[1]))
    at = {(r["setting"], r["dataset"], r["fraction"]): r for r in found}
    lines = []
    for setting in SETTINGS:
        mine = [at.get((setting, name, fraction)) for name, fraction, _ in points]
        lines.append([setting, *("-" if r is None else _cell(r) for r in mine)])
    before = [at[("the preset", name, fraction)]["bits"]["0"] for name, fraction, _ in points]
    lines.append(["not trained", *(f"{bits:.2f} ± {error:.2f}" for bits, error in before)])
    header = ["setting", *(f"{name}, N = {n:,}, q = {fraction:g}" for name, fraction, n in points)]
    text = (
        f"Seed {TUNING_SEED}; bits by the default estimator (the step of the lowest validation loss; seconds to train "
        f"beside others on one device, {options.device}). Of these data sets, seed and cells nothing is reported."
    )
    for result in found:
        result.pop("history")
    report(options.results, "trained_geneformer", "Geneformer's preset published_trained", machine("torch"),
           [text, table(header, lines)], {"settings": SETTINGS, "gpu": _card(options), "points": found})  # fmt: skip


def _cell(result: dict) -> str:
    bits, error = result["bits"]["-1"]
    return f"{bits:.2f} ± {error:.2f} ({result['best_step']:,}; {result['seconds']:.0f} s)"


def write_curves(found: list[dict], options: argparse.Namespace) -> None:
    """data/curves/trained_geneformer.csv: a row for each value of each curve."""
    rows = []
    for result in found:
        key = (result["dataset"], result["fraction"], result["n_cells"], result["seed"])
        steps = result["history"]["step"]
        for name in ("loss_train", "loss_validation"):
            pairs = zip(steps, result["history"][name], strict=True)
            rows += [(*key, name, int(step), round(value, 5), np.nan) for step, value in pairs]
        kept = {result["best_step"] if step == "-1" else int(step): pair for step, pair in result["bits"].items()}
        rows += [(*key, "bits", int(step), *pair) for step, pair in sorted(kept.items())]
    columns = ["dataset", "fraction", "n_cells", "seed", "curve", "step", "value", "stderr"]
    curves = pd.DataFrame(rows, columns=columns).sort_values(columns[:6])
    folder = paths.ROOT / "data" / "curves"
    curves.to_csv(folder / "trained_geneformer.csv", index=False, lineterminator="\n")
    about = {
        "preset": PRESET, "settings": models.settings("geneformer", preset=PRESET), "gpu": _card(options),
        "numbers_version": models.MODELS["geneformer"].NUMBERS_VERSION, "machine": machine("torch"),
    }  # fmt: skip
    (folder / "trained_geneformer.json").write_text(json.dumps(about, indent=1) + "\n")


def _card(options: argparse.Namespace) -> str | None:
    return torch.cuda.get_device_name() if options.device == "cuda" else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["settings", "curves"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--workers", type=int, default=4, help="trainings at a time")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no training later than this")
    parser.add_argument("--log", type=Path, help="where finished trainings are kept (default: in build/gpu)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the table (default: %(default)s)")
    options = parser.parse_args()
    options.log = options.log or paths.ROOT / "build" / "gpu" / f"trained_{options.what}.jsonl"
    if options.what == "settings":
        tasks = tasks_of(TUNED_ON, options, SETTINGS, LOOKS, TUNING_SEED)
        write_settings(run(tasks, options), options)
    else:
        tasks = tasks_of(SHOWN, options, {"the preset": {}}, LOOKS, 0)
        write_curves(run(tasks, options), options)


if __name__ == "__main__":
    main()
