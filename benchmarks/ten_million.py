"""An atlas of 10^7 simulated cells whose information is known, measured by one command: `make ten-million`.

    python benchmarks/ten_million.py [--cells 10020000] [--folder build/ten_million]

Cells have a latent state of four numbers; a stage (45, in order) shares a known number of bits with it; depths are
those of the published embryo atlas (Qiu et al. 2024), and each stage has one or two of 74 embryos. The files are parts
of a million cells, in a folder that `noise-scaling measure` takes as one data set. Parts and units that are there are
kept, so that it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from common import RESULTS, machine, report, table
from numba import njit
from tqdm import tqdm

from noise_scaling import datasets, measurements
from noise_scaling.datasets import simulator
from noise_scaling.errors import InputError
from noise_scaling.files import replacing, write_atomically
from noise_scaling.seeds import derive, generator

GENES, LATENTS, STAGES, EMBRYOS, BITS, UMIS, DEPTH_SIGMA = 24_552, 4, 45, 74, 3.0, 2_500.0, 0.35
LOADING, INFORMATIVE, GENE_SIGMA, SEED = 0.3, 0.3, 2.25, 0
PART, BLOCK = 1_000_000, 4_000
NARROW = {"shuffle": True, "compression": "lzf"}
BYTES_PER_CELL = {"simulated": 2.3e3, "thinned": 1.5e3}  # measured; a bound
FRACTIONS = (0.16, 0.04, 0.01)
NUMBERS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
N_TEST, N_VALIDATION = 10_000, 2_000


class Run(NamedTuple):
    """Models that one command measures, of a variant and a preset, at least at this many training cells."""

    models: tuple[str, ...]
    variant: str = ""
    preset: str = "small"
    at_least: int = 0


RUNS = (
    Run(("random_projection", "pca")),
    Run(("scvi", "geneformer"), "fixed_steps_500"),
    Run(("geneformer",), "fixed_steps_100", "published", at_least=1_000_000),
)
"""Networks take a stated number of steps, whatever N is; the published network has about 2 seconds a step here."""


@njit(nogil=True, cache=True)
def draw(
    base: np.ndarray, at: np.ndarray, factors: np.ndarray, depth: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row pointers, genes and counts: Poisson(depth) molecules of each cell, dealt over genes in proportion to shares.

    `base` are a gene's shares [genes], `factors` [cells, informative] what a cell's state makes of those of the genes
    `at`. Molecules are sorted uniforms, by exponential spacings, walked along the cumulative shares.
    """
    starts, size, end = np.zeros(len(depth) + 1, np.int64), int(depth.sum() * 1.2) + 1000, 0
    genes, counts = np.empty(size, np.uint16), np.empty(size, np.uint16)
    shares = base.copy()
    for cell in range(len(depth)):
        for i in range(len(at)):
            shares[at[i]] = base[at[i]] * factors[cell, i]
        spacings = rng.standard_exponential(rng.poisson(depth[cell]) + 1)
        scale, place, gene, upto, last = shares.sum() / spacings.sum(), 0.0, 0, shares[0], -1
        for molecule in range(len(spacings) - 1):
            place += spacings[molecule] * scale
            while place > upto and gene < len(shares) - 1:
                gene += 1
                upto += shares[gene]
            if gene == last:
                counts[end - 1] += 1
            else:
                genes[end], counts[end], last = gene, 1, gene
                end += 1
        starts[cell + 1] = end
    return starts, genes[:end], counts[:end]


def _genes() -> tuple[np.ndarray, np.ndarray]:
    """Log means, wider than the simulator's so that a cell has about 1,100 genes as in the atlas, and loadings."""
    return simulator.draw_genes(GENES, LATENTS, LOADING, INFORMATIVE, GENE_SIGMA, SEED)


def simulate_part(number: int, n_cells: int, path: Path, bar: tqdm) -> None:
    """One file: cells with a name, a stage and an embryo; counts as narrow integers, cell by cell."""
    seed = derive(SEED, "atlas", number)
    log_mean, loadings = _genes()
    at = np.flatnonzero(loadings.any(1))
    latent, stage, _ = simulator.draw_cells("label", n_cells, LATENTS, BITS, STAGES, seed)
    depth = generator(seed, "depth").lognormal(np.log(UMIS) - DEPTH_SIGMA**2 / 2, DEPTH_SIGMA, n_cells)
    stage = stage.astype(int)
    embryo = np.minimum((stage + generator(seed, "embryo").random(n_cells)) * EMBRYOS / STAGES, EMBRYOS - 1).astype(int)
    days = [f"E{8 + k / 4:05.2f}" for k in range(STAGES)]
    obs = pd.DataFrame(index=[f"P{number:02d}-{i:07d}" for i in range(n_cells)])
    obs["stage"] = pd.Categorical.from_codes(stage, days, ordered=True)
    obs["embryo_id"] = pd.Categorical.from_codes(embryo, [f"embryo_{k}" for k in range(EMBRYOS)])
    blocks = range(0, n_cells, BLOCK)

    def block(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cells = slice(start, start + BLOCK)
        factors = np.exp((latent[cells] @ loadings[at].T).astype(np.float32))
        return draw(np.exp(log_mean), at, factors, depth[cells], generator(seed, "block", start))

    with replacing(path) as draft, h5py.File(draft, "w") as file, ThreadPoolExecutor(os.cpu_count()) as threads:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "obs", obs)
        write_elem(file, "var", pd.DataFrame(index=[f"gene{g:05d}" for g in range(GENES)]))
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_cells, GENES)})
        genes = group.create_dataset("indices", (0,), np.uint16, maxshape=(None,), chunks=(1 << 18,), **NARROW)
        counts = group.create_dataset("data", (0,), np.uint16, maxshape=(None,), chunks=(1 << 18,), **NARROW)
        ends = [np.zeros(1, np.int64)]
        for starts, some, values in threads.map(block, blocks):
            for dataset, array in ((genes, some), (counts, values)):
                dataset.resize(len(dataset) + len(array), axis=0)
                dataset[len(dataset) - len(array) :] = array
            ends.append(ends[-1][-1] + starts[1:])
            bar.update(len(starts) - 1)
        group["indptr"] = np.concatenate(ends)


def simulate(folder: Path, n_cells: int) -> None:
    """All parts that are not there."""
    for draft in folder.glob(".part*"):  # left by a process that was killed
        shutil.rmtree(draft)
    sizes = [min(PART, n_cells - start) for start in range(0, n_cells, PART)]
    missing = [number for number in range(len(sizes)) if not (folder / _part(number)).exists()]
    needed = BYTES_PER_CELL["simulated"] * sum(sizes[i] for i in missing) + BYTES_PER_CELL["thinned"] * n_cells
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed: free some, name another "
            "folder with --folder, or ask for fewer cells with --cells"
        )
    with tqdm(total=sum(sizes[i] for i in missing), unit=" cells", desc="simulating") as bar:
        for number in missing:
            simulate_part(number, sizes[number], folder / _part(number), bar)


def _part(number: int) -> str:
    return f"part{number:02d}.h5ad"


def first_and_last(cells: Path) -> Path:
    """A folder with the first and the last part, to hold the cost of a tenth of the cells beside that of all."""
    folder, parts = cells.with_name("tenth"), sorted(cells.glob("part*.h5ad"))
    folder.mkdir(exist_ok=True)
    for part in {parts[0], parts[-1]}:
        if not (link := folder / part.name).exists():
            os.link(part, link)
    return folder


def n_cells_in(cells: Path) -> int:
    return datasets.on_disk.FileStore(sorted(cells.glob("*.h5ad"))).shape[0]


def measure(cells: Path, fraction: float, run: Run) -> dict[str, object] | None:
    """`noise-scaling measure` of one depth, in a process of its own: its seconds and its peak memory.

    None where the cells are fewer than the run is for. What was measured before is read. A run that was stopped goes
    on; its seconds are then those of the last part.
    """
    folder, n_cells = cells.parent, n_cells_in(cells)
    numbers = [n for n in NUMBERS if run.at_least <= n <= n_cells - N_TEST - N_VALIDATION]
    if not numbers:
        return None
    output = folder / "tables" / f"{cells.name}_{fraction:g}_{run.preset}_{run.variant or 'protocol'}.csv"
    record = output.with_suffix(".json")
    if not (output.exists() and record.exists()):
        units = folder / "units"
        before = len(list(units.rglob("*.csv"))) if units.exists() else 0
        command = [sys.executable, "-m", "noise_scaling.cli", "measure", "--dataset", cells, "--signal", "obs:stage"]
        command += ["--models", *run.models, "--preset", run.preset, "--fractions", fraction, "--seeds", 0]
        command += ["--cell-numbers", *numbers, "--n-test", N_TEST, "--n-validation", N_VALIDATION]
        command += ["--results", units, "--output", output, "--keep-embeddings"]
        command += ["--variant", run.variant] if run.variant else []
        start = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), env=os.environ | {"OMP_NUM_THREADS": "1"})
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"noise-scaling measure ended with status {os.waitstatus_to_exitcode(status)}: run again")
        found = {
            "folder": cells.name, "cells": n_cells, "fraction": fraction, **run._asdict(),
            "seconds": time.perf_counter() - start, "processor_seconds": used.ru_utime + used.ru_stime,
            "peak_gb": used.ru_maxrss * 1024 / 1e9, "units_from_before": before,
        }  # fmt: skip
        write_atomically(record, json.dumps(found, indent=1) + "\n")
    return json.loads(record.read_text(encoding="utf-8"))


def write(cells: Path, runs: list[dict[str, object]], results: Path) -> None:
    """The rows with the bits that their counts hold, and what they took."""
    tables = {path.stem.split("_")[0]: [] for path in (cells.parent / "tables").glob("*.csv")}
    for path in sorted((cells.parent / "tables").glob("*.csv")):
        tables[path.stem.split("_")[0]].append(measurements.read(path))
    rows = measurements.sort(pd.concat(tables[cells.name]))
    known = datasets.simulate(1500, GENES, n_latent=LATENTS, bits=BITS, mean_umis=UMIS, signal="label", n_labels=STAGES,
                              depth_sigma=DEPTH_SIGMA, loading=LOADING, informative=INFORMATIVE, gene_sigma=GENE_SIGMA,
                              seed=SEED)  # fmt: skip
    depths = rows.groupby("fraction")["umis_per_cell"].mean()
    truth = dict(zip(depths.index, datasets.true_information(known, depths.to_numpy()), strict=True))
    size = sum(path.stat().st_size for path in cells.glob("*.h5ad")) / 1e9
    measurements.write(rows, results / "ten_million.csv")
    lines = [[
        r.model, r.preset, f"{r.n_cells:,}", r.umis_per_cell, r.mi_bits, r.mi_stderr, truth[r.fraction],
        r.train_seconds,
    ] for r in rows.itertuples()]  # fmt: skip
    costs = [[
        f"{run['cells']:,}", run["fraction"], ", ".join(run["models"]), run["preset"], run["seconds"],
        1e3 * run["processor_seconds"] / run["cells"], run["peak_gb"],
    ] for run in runs]  # fmt: skip
    header = ["model", "preset", "N", "UMIs a cell", "bits", "standard error", "bits in the counts", "seconds to train"]
    parts = [
        f"{runs[-1]['cells']:,} cells of {GENES:,} genes, {UMIS:,.0f} UMIs a cell, {size:.1f} GB; {BITS:g} bits are "
        f"shared by a cell's state and its stage, one of {STAGES}.",
        table(header, lines),
        table(["cells", "fraction", "models", "preset", "seconds", "processor ms a cell", "peak memory, GB"], costs),
    ]
    numbers = {"runs": runs, "gigabytes": size, "truth": {f"{q:g}": bits for q, bits in truth.items()}}
    report(results, "ten_million", "Ten million cells", machine("torch", "anndata", "h5py"), parts, numbers)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_020_000, help="cells to simulate (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build/ten_million"), help="(default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    options = parser.parse_args(given)
    cells = options.folder / "cells"
    simulate(cells, options.cells)
    runs = []
    tenth = first_and_last(cells)
    for fraction in FRACTIONS:
        for folder in (tenth, cells):
            for run in RUNS:
                if found := measure(folder, fraction, run):
                    runs.append(found)
                if folder == cells:
                    write(cells, runs, options.results)


if __name__ == "__main__":
    main()
