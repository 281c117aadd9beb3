"""Measure trained Geneformer in its published size and its controls on a GPU, within a time limit.

    python benchmarks/gpu_sweep.py --minutes 25 --workers 8

Covers the depth axis of each data set at its largest number of cells, model by model, from the ends of the axis
inwards, then the same at fewer cells, so that a partial run is useful. Finished units are kept in build/gpu/units and a
restarted run continues from them. A measurement that would exceed the limit, by the longest time of its model so far,
is not started. The table, data/gpu/measurements.csv, is updated as it grows; a .json file holds the GPU's name. The
network is small and leaves most of a GPU idle, so `--workers` trainings share it, each with its own processor core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from noise_scaling import datasets, measurements, models
from noise_scaling.errors import InputError
from noise_scaling.files import write_atomically
from noise_scaling.measure import status
from noise_scaling.measure.run import measure
from noise_scaling.measure.workers import fork_safe_cuda

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ("pbmc5k_extra", "xenium_breast", "pbmc_facs")
RESERVE = 20.0  # seconds reserved for writing the table and exiting
MARGIN = 1.5  # a measurement may take this many times the longest one of its model so far


class Axis(NamedTuple):
    """Some depths of one model at one number of cells, which are measured together."""

    dataset: str
    model: str
    n_cells: int
    fractions: tuple[float, ...]


def axes(
    cards: list[datasets.Card], names: list[str], *, depths: int, workers: int, numbers_of_cells: int | None = None
) -> Iterator[Axis]:
    """Yield axes: largest number of cells first, then by data set, by model, and the ends of the depth axis first."""
    for rank in range(max(len(card.cell_numbers[:numbers_of_cells]) for card in cards)):
        for card in cards:
            numbers = sorted(card.cell_numbers, reverse=True)[:numbers_of_cells]
            for model in names if rank < len(numbers) else ():
                fractions = _from_the_ends(card.fractions, depths)
                for start in range(0, len(fractions), workers):
                    yield Axis(card.name, model, numbers[rank], tuple(fractions[start : start + workers]))


def _from_the_ends(fractions: tuple[float, ...], depths: int) -> list[float]:
    """Return `depths` evenly spaced depths, deepest, shallowest, then inwards: a partial curve still spans its axis."""
    falling = sorted(fractions, reverse=True)
    rest = [falling[i] for i in np.unique(np.linspace(0, len(falling) - 1, depths).round().astype(int))]
    return [rest.pop(0 if i % 2 == 0 else -1) for i in range(len(rest))]


def at_hand(names: list[str]) -> list[datasets.Card]:
    """Return the cards of the data sets that load here; without a network this may be only the simulated one."""
    found = []
    for name in names:
        try:
            found.append(datasets.load(name).card)
        except (InputError, ImportError) as error:
            print(f"without {name}: {error}", flush=True)
    return found


def sweep(todo: Iterator[Axis], options: argparse.Namespace, until: float) -> int:
    """Measure until the time limit; return the number of points measured."""
    longest: dict[str, float] = {}
    done = 0
    for axis in todo:
        left = until - RESERVE - time.monotonic()
        if left < MARGIN * longest.get(axis.model, 0.0) or left <= 0:
            print(f"stopped before {axis}: {left:.0f} s left", flush=True)
            break
        start = time.monotonic()
        rows = measure(
            axis.dataset, models=[axis.model], cell_numbers=[axis.n_cells], fractions=axis.fractions,
            seeds=[options.seed], preset=preset(axis.model, options.preset), estimators=options.estimators,
            device=options.device, workers=options.workers, results=options.folder / "units", keep_embeddings=True,
            progress=False,
        )  # fmt: skip
        seconds = time.monotonic() - start
        longest[axis.model] = max(longest.get(axis.model, 0.0), seconds)
        done += len(axis.fractions)
        print(f"{axis} {rows['mi_bits'].round(2).tolist()} bits, {seconds:.1f} s", flush=True)
        write(options)
    return done


def preset(model: str, wanted: str) -> str:
    """Return the wanted preset, or the published preset for a model that lacks the wanted one."""
    return wanted if wanted in models.MODELS[model].PRESETS else "published"


def write(options: argparse.Namespace) -> None:
    """Write all rows measured so far, their provenance, and the training curves."""
    table = status.kept_units([options.folder / "units"])
    measurements.write(table, options.output)
    about = measurements.provenance(table, " ".join(["python benchmarks/gpu_sweep.py", *sys.argv[1:]]))
    path = options.output.with_suffix(".json")
    about["gpu"] = gpu_name() if options.device == "cuda" else _gpu_before(path)
    write_atomically(path, json.dumps(about, indent=1) + "\n")
    write_curves(table, options)


def _gpu_before(path: Path) -> object:
    """Return the GPU that an earlier run noted at `path`, for a CPU run that adds rows to its table."""
    return json.loads(path.read_text()).get("gpu") if path.exists() else None


def write_curves(table: pd.DataFrame, options: argparse.Namespace) -> None:
    """Write the validation losses of the trained Geneformers, step by step."""
    rows = []
    for unit in table[table["model"] == "geneformer"].itertuples():
        history = measurements.read_history(options.folder / "units", unit.config_hash)
        for step, loss in zip(history.get("step", []), history.get("loss_validation", []), strict=True):
            rows.append((unit.dataset, unit.n_cells, unit.fraction, unit.seed, int(step), round(loss, 4)))
    columns = ["dataset", "n_cells", "fraction", "seed", "step", "loss_validation"]
    text = pd.DataFrame(rows, columns=columns).sort_values(columns[:5]).to_csv(index=False, lineterminator="\n")
    write_atomically(options.curves, text)


def gpu_name() -> str:
    """Return the driver's name of the GPU: asking torch would start CUDA, which forked workers could not use then."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25.0, help="begin nothing that would end later than this")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to see that it runs")
    parser.add_argument("--preset", default="published_trained", help="of models that have it; else the published one")
    parser.add_argument("--models", nargs="+", default=["geneformer", "untrained_geneformer", "scvi", "pca"])
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--depths", type=int, default=7, help="of the card's, evenly spaced with both ends")
    parser.add_argument("--numbers", type=int, help="of cells, the largest first; all by default")
    parser.add_argument("--estimators", nargs="+", default=["default", "lmi"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "gpu", help="where finished points are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "data" / "gpu" / "measurements.csv")
    parser.add_argument("--curves", type=Path, default=ROOT / "data" / "curves" / "gpu.csv", help="losses by step")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    fork_safe_cuda()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU is visible to torch: run this where one is, or with --device cpu --preset small")
        return 2
    cards = at_hand(options.datasets)
    shape = {"depths": options.depths, "workers": options.workers, "numbers_of_cells": options.numbers}
    todo = axes(cards, options.models, **shape) if cards else iter(())
    done = sweep(todo, options, until)
    print(f"{done} points; the table: {options.output}" if done else "nothing was measured")
    return 0 if done else 1


if __name__ == "__main__":
    raise SystemExit(main())
