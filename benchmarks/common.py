"""Helpers of all benchmarks: simulated cells, interleaved timing, and the report with machine, versions and ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numba
import numpy as np
from scipy import sparse

from noise_scaling.measurements import processor

RESULTS = Path(__file__).resolve().parent / "results"
PEERS = RESULTS.parents[1] / "build" / "peers"
N_GENES = 20_000
UMIS_PER_CELL = 2_500
GENE_SPREAD = 2.6  # sd of log expression: gives 1,040 genes a cell, 1.4 % of counts above 16, as in 10x data


def arguments(description: str, **switches: str) -> argparse.Namespace:
    """Parse the options that every benchmark takes, and extra `switches`, given as name and help text."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes, in seconds: to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    for name, text in switches.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args()


def simulate_counts(n_cells: int, n_genes: int = N_GENES, *, umis: float = UMIS_PER_CELL, seed: int = 0):
    """Draw counts [cells, genes], int32 CSR: log-normal expression, log-normal depth (sd 0.4), Poisson molecules."""
    rng = np.random.default_rng(seed)
    profile = np.exp(GENE_SPREAD * rng.standard_normal(n_genes))
    depths = rng.poisson(umis * np.exp(0.4 * rng.standard_normal(n_cells) - 0.08))
    accept, alias = _alias_table(profile / profile.sum())
    indptr, indices, data = _draw_cells(depths, accept, alias, rng)
    return sparse.csr_matrix((data, indices, indptr), shape=(n_cells, n_genes))


def _alias_table(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Walker's alias table: a drawn gene i is kept with probability accept[i], else replaced by alias[i]."""
    accept = probabilities * probabilities.size
    alias = np.arange(probabilities.size)
    small, large = list(np.flatnonzero(accept < 1)), list(np.flatnonzero(accept >= 1))
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = high
        accept[high] -= 1 - accept[low]
        if accept[high] < 1:
            small.append(large.pop())
    return accept, alias


@numba.njit(cache=True)
def _draw_cells(depths, accept, alias, rng):
    n_genes = accept.size
    indptr = np.zeros(depths.size + 1, np.int32)
    indices, data = np.empty(depths.sum(), np.int32), np.empty(depths.sum(), np.int32)
    cell = np.zeros(n_genes, np.int32)
    end = 0
    for i in range(depths.size):
        for _ in range(depths[i]):
            u = rng.random() * n_genes
            gene = int(u)
            cell[gene if u - gene < accept[gene] else alias[gene]] += 1
        for gene in range(n_genes):
            if cell[gene]:
                indices[end], data[end] = gene, cell[gene]
                end += 1
                cell[gene] = 0
        indptr[i + 1] = end
    return indptr, indices[:end].copy(), data[:end].copy()


def interleave(
    runs: dict[str, Callable | tuple[Callable, Callable]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float | list[float]]:
    """Return the median seconds of each run. The runs take turns, so that a slow minute of the machine affects all.

    A run is a function, or a pair of functions: the first makes an input, untimed, and the second takes that input.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):  # the first turn compiles and is not counted
        for name, run in runs.items():
            prepare, work = run if isinstance(run, tuple) else (tuple, lambda _, run=run: run())
            prepared = prepare()
            start = clock()
            result = work(prepared)
            if turn:
                seconds[name].append(clock() - start)
            del prepared, result  # freed before the next run, and not timed
    return {name: np.median(times, axis=0).tolist() for name, times in seconds.items()}


def both_clocks() -> np.ndarray:
    """Return wall seconds, which other work on the machine stretches, and the processor seconds of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def machine(*packages: str) -> dict[str, object]:
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": round(os.getloadavg()[0], 2),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("noise-scaling", "numpy", "numba", *packages)},
        "command": " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def peers_python() -> str | None:
    """Return Python of the environment, created on first use, for peers whose pins clash with ours; None on failure."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        venv.create(PEERS, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "-r", Path(__file__).parent / "peers" / "requirements.txt"]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"no environment for the peers: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return str(python)


def table(header: list[str], rows: list[list[object]]) -> str:
    """Return a Markdown table; floats have three significant figures."""
    text = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *text]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(results: Path, name: str, title: str, where: dict, parts: list[str], numbers: dict) -> None:
    """Write NAME.md and NAME.json, and print NAME.md."""
    versions = ", ".join(f"{package} {version}" for package, version in where["versions"].items())
    line = (
        f"{where['processor']}, {where['cores']} cores, load {where['load_at_start']} at the start; "
        f"Python {where['python']}, {versions}; `{where['command']}`"
    )
    text = "\n\n".join([f"# {title}", line, *parts]) + "\n"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.md").write_text(text)
    (results / f"{name}.json").write_text(json.dumps({"machine": where, **numbers}, indent=1) + "\n")
    print(text)
