"""The atlas of ten million cells, at its beginning: simulated counts are what they are said to be, and are measured."""

from __future__ import annotations

import importlib.util
import json
import resource
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from noise_scaling import datasets, measurements, paths
from noise_scaling.errors import InputError
from noise_scaling.plots import ten_million

N_CELLS = 1500


@pytest.fixture(scope="module")
def benchmark():
    folder = paths.ROOT / "benchmarks"
    sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location("ten_million", folder / "ten_million.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))


@pytest.fixture
def cells(benchmark, monkeypatch, tmp_path):
    for name, value in {"GENES": 400, "PART": 1000, "N_TEST": 200, "N_VALIDATION": 50, "NUMBERS": (100, 10**4)}.items():
        monkeypatch.setattr(benchmark, name, value)
    benchmark.simulate(tmp_path / "cells", N_CELLS)
    return tmp_path / "cells"


def test_counts_follow_the_model_that_the_truth_is_computed_from(benchmark, cells):
    data = datasets.load(cells, signal="obs:stage")
    counts = data.counts[:]
    assert counts.shape == (N_CELLS, 400)
    log_mean, _ = benchmark._genes()
    latent, _, _ = benchmark.simulator.draw_cells(
        "label", 1000, benchmark.LATENTS, benchmark.BITS, benchmark.STAGES, benchmark.derive(benchmark.SEED, "atlas", 0)
    )
    expected = softmax(log_mean + latent @ benchmark._genes()[1].T, axis=1)
    first = counts[:1000].toarray()
    expected *= first.sum(1, keepdims=True)
    # multinomial counts: squared Pearson residuals average 1, over 1,000 cells of 400 genes within 2 %
    large = expected > 1
    assert (((first - expected) ** 2 / expected)[large]).mean() == pytest.approx(1, abs=0.02)
    umis = np.asarray(counts.sum(1)).ravel()
    assert umis.mean() == pytest.approx(benchmark.UMIS, rel=0.03)
    assert np.log(umis).std() == pytest.approx(benchmark.DEPTH_SIGMA, rel=0.1)


def test_what_is_there_stays_and_what_was_cut_off_is_made_again(benchmark, cells):
    parts = sorted(cells.glob("*.h5ad"))
    before = [part.read_bytes() for part in parts]
    parts[1].unlink()
    (cells / ".part01.h5ad.killed").mkdir()
    times = parts[0].stat().st_mtime_ns
    benchmark.simulate(cells, N_CELLS)
    assert parts[0].stat().st_mtime_ns == times
    assert parts[1].read_bytes() == before[1]
    assert sorted(cells.iterdir()) == parts, "a killed process leaves nothing"


def test_too_little_space_is_a_sentence_before_anything_is_written(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1_000_000))
    with pytest.raises(InputError, match=r"0.0 GB free and 38.0 GB are needed: free some"):
        benchmark.simulate(tmp_path / "cells", 10_000_000)
    assert not list((tmp_path / "cells").iterdir())


def test_runs_are_measured_once_and_reported_beside_the_truth(benchmark, cells, monkeypatch, tmp_path):
    """The command line is run here, in this process; what it took is then this process's."""
    Run = benchmark.Run
    monkeypatch.setattr(benchmark, "FRACTIONS", (0.16,))
    monkeypatch.setattr(benchmark, "RUNS", (Run(("random_projection",)), Run(("pca",), at_least=N_CELLS + 1)))
    calls = []

    class Here:
        def __init__(self, command, env):
            calls.append(command)
            from noise_scaling.cli import main

            assert main(command[3:]) == 0
            self.pid = 0

    monkeypatch.setattr(benchmark.subprocess, "Popen", Here)
    used = resource.getrusage(resource.RUSAGE_SELF)
    monkeypatch.setattr(benchmark.os, "wait4", lambda pid, options: (pid, 0, used))
    arguments = ["--cells", str(N_CELLS), "--folder", str(tmp_path), "--results", str(tmp_path / "results")]
    benchmark.main(arguments)
    benchmark.main(arguments)
    assert len(calls) == 2  # the tenth and all: the second time nothing
    rows = measurements.read(tmp_path / "results" / "ten_million.csv")
    assert rows["n_cells"].tolist() == [100]
    numbers = json.loads((tmp_path / "results" / "ten_million.json").read_text())
    assert [one["folder"] for one in numbers["runs"]] == ["tenth", "cells"]
    assert 0.5 < numbers["truth"]["0.16"] < benchmark.BITS


def test_the_page_says_what_is_simulated_and_what_was_measured(benchmark):
    cells = json.loads((paths.ROOT / "notebooks/ten_million.ipynb").read_text())["cells"]
    text = " ".join("".join(line for cell in cells for line in cell["source"]).split())
    for phrase in (
        f"10,020,000 cells of {benchmark.GENES:,} genes, {benchmark.UMIS:,.0f} molecules each, "
        f"{benchmark.STAGES} ordered stages, {benchmark.EMBRYOS} embryos; "
        f"a cell's state and its stage share {benchmark.BITS:g} bits",
        f"$N$ from {benchmark.NUMBERS[0]} to {benchmark.NUMBERS[-1]:,} at three depths",
    ):
        assert phrase in text
    assert len(benchmark.FRACTIONS) == 3
    said = ten_million.sentences("benchmarks/results").data
    rows, numbers = ten_million.read("benchmarks/results")
    most = rows[rows["model"] == "pca"].sort_values("n_cells").iloc[-1]
    assert f"{most['mi_bits']:.2f} on {most['n_cells']:,}" in said
    assert f"The counts hold {numbers['truth']['0.16']:.2f} bits." in said
    assert f"{numbers['gigabytes']:.1f} GB on disk" in said
    runs = pd.DataFrame(numbers["runs"])
    cost = (runs["processor_seconds"] / runs["cells"]).groupby([runs["fraction"], runs["preset"], runs["variant"]])
    assert (cost.last() / cost.first()).max() <= 1.3
    assert runs["peak_gb"].max() <= 4.0
    assert f"no process takes more than {runs['peak_gb'].max():.1f} GB of memory" in said


def test_the_cost_of_a_cell_is_compared_within_a_run_s_models_and_depth():
    runs = [
        {"fraction": q, "models": ["pca"], "preset": "small", "cells": n, "processor_seconds": s, "peak_gb": s / 100}
        for q, n, s in ((0.1, 10, 20), (0.1, 100, 100), (0.2, 10, 20), (0.2, 100, 300), (0.3, 10, 7))
    ]
    said = ten_million._cost_sentence(pd.DataFrame(runs))
    assert len(said) == 1
    assert (
        "Among 100 cells a cell takes 0.50 to 1.50 times the processor time that it takes among 10 (2 pairs" in said[0]
    )
    assert "more than 3.0 GB" in said[0]
    assert ten_million._cost_sentence(pd.DataFrame(runs[:1])) == []
