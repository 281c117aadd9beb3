"""The published Geneformer and scVI over the small data sets on a GPU, within a time limit, every beginning useful.

    python benchmarks/gpu_sweep.py --minutes 25

First Geneformer along the depth axis of one data set at its largest number of cells, then scVI, then the next data set;
then the same at fewer cells. What is finished is kept in build/gpu/units: started again it goes on. A point that would
not end within the limit is not begun, by the seconds that the model took so far. The table, data/measurements/gpu.csv,
is written after every point, with the card's name beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from noise_scaling import datasets, measurements
from noise_scaling.errors import InputError
from noise_scaling.files import write_atomically
from noise_scaling.measure import grid as measure_grid
from noise_scaling.measure import status
from noise_scaling.measure.run import measure

ROOT = Path(__file__).resolve().parents[1]
GRID = ROOT / "workflow" / "config" / "small.yml"
RESERVE = 20.0  # seconds kept for writing and leaving
MARGIN = 1.5  # a point may take so many times the longest of its model before


class Point(NamedTuple):
    """One training: its rows are those of its estimators."""

    dataset: str
    model: str
    n_cells: int
    fraction: float


def points(grid: dict, names: list[str], models: list[str]) -> Iterator[Point]:
    """Largest number of cells first; in it data set by data set, model by model, the ends of the depth axis first."""
    for rank in range(max(len(grid[name]["cell_numbers"]) for name in names)):
        for name in names:
            numbers = sorted(grid[name]["cell_numbers"], reverse=True)
            for model in models if rank < len(numbers) else ():
                yield from (Point(name, model, numbers[rank], q) for q in _from_the_ends(grid[name]["fractions"]))


def _from_the_ends(fractions: list[float]) -> list[float]:
    """Deepest, shallowest, then inwards: a curve that was cut short still spans its axis."""
    rest = sorted(fractions, reverse=True)
    return [rest.pop(0 if i % 2 == 0 else -1) for i in range(len(fractions))]


def at_hand(names: list[str]) -> list[str]:
    """Those of the data sets that load here; a machine without network may have the simulated one alone."""
    found = []
    for name in names:
        try:
            datasets.load(name)
            found.append(name)
        except (InputError, ImportError) as error:
            print(f"without {name}: {error}", flush=True)
    return found


def sweep(todo: Iterator[Point], options: argparse.Namespace, until: float) -> int:
    """Measure point by point until the limit; how many were done."""
    longest: dict[str, float] = {}
    done = 0
    for point in todo:
        left = until - RESERVE - time.monotonic()
        if left < MARGIN * longest.get(point.model, 0.0) or left <= 0:
            print(f"stopped before {point}: {left:.0f} s left", flush=True)
            break
        start = time.monotonic()
        rows = measure(
            point.dataset, models=[point.model], cell_numbers=[point.n_cells], fractions=[point.fraction],
            seeds=[options.seed], preset=options.preset, estimators=options.estimators, device=options.device,
            results=options.folder / "units", keep_embeddings=True, progress=False,
        )  # fmt: skip
        seconds = time.monotonic() - start
        longest[point.model] = max(longest.get(point.model, 0.0), seconds)
        done += 1
        print(f"{point} {rows['mi_bits'].round(2).tolist()} bits, {seconds:.1f} s", flush=True)
        write(options)
    return done


def write(options: argparse.Namespace) -> None:
    """All rows kept so far, and where they are from."""
    table = status.kept_units([options.folder / "units"])
    measurements.write(table, options.output)
    about = measurements.provenance(table, f"python benchmarks/gpu_sweep.py --minutes {options.minutes:g}")
    if torch.cuda.is_available():
        about["gpu"] = torch.cuda.get_device_name()
    write_atomically(options.output.with_suffix(".json"), json.dumps(about, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25.0, help="begin nothing that would end later than this")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to see that it runs")
    parser.add_argument("--preset", default="published", choices=["published", "small"])
    parser.add_argument("--models", nargs="+", default=["geneformer", "scvi"])
    parser.add_argument("--datasets", nargs="+", help="of the grid (default: all, those of most cells first)")
    parser.add_argument("--estimators", nargs="+", default=["default", "lmi"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "gpu", help="where finished points are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "data" / "measurements" / "gpu.csv")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU is visible to torch: run this where one is, or with --device cpu --preset small")
        return 2
    grid = measure_grid.read_config(GRID)["datasets"]
    by_size = sorted(grid, key=lambda name: max(grid[name]["cell_numbers"]), reverse=True)
    names = at_hand(options.datasets or by_size)
    done = sweep(points(grid, names, options.models), options, until) if names else 0
    print(f"{done} points; the table: {options.output}" if done else "nothing was measured")
    return 0 if done else 1


if __name__ == "__main__":
    raise SystemExit(main())
