"""The peak of a slice whose counts stay on disk: what the book's page on memory says, whatever N is."""

import json
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

CELLS, GENES, NONZEROS = 40_000, 4_000, 900

MEASURE = """
import json, resource, sys
from noise_scaling.measure.run import measure

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

ask = dict(signal="obs:kind", models=["random_projection", "pca"], estimators=["ksg"], progress=False)
small, large, results = sys.argv[1:]
measure(small, cell_numbers=[50], fractions=[0.5], n_test=60, n_validation=30, **ask)  # loads and compiles
before, peaks = peak(), []
for cells in (100, 30_000):
    found = measure(large, cell_numbers=[cells], fractions=[0.5], n_test=1000, n_validation=500, results=results, **ask)
    assert (found["status"] == "ok").all(), found["error"].tolist()
    peaks.append(peak() - before)
print(json.dumps(peaks))
"""


def write(path, n_cells, n_genes, nonzeros):
    """Cells of `nonzeros` counts each, of three kinds."""
    rng = np.random.default_rng(0)
    block = np.sort(np.argsort(rng.random((200, n_genes)), axis=1)[:, :nonzeros], axis=1).astype(np.int32)
    genes = np.tile(block.ravel(), n_cells // 200)
    starts = np.arange(n_cells + 1) * nonzeros
    counts = sp.csr_matrix((1 + rng.poisson(1, len(genes)).astype(np.int32), genes, starts), shape=(n_cells, n_genes))
    obs = pd.DataFrame(
        {"kind": np.array(["a", "b", "c"])[np.arange(n_cells) % 3]}, index=map("cell{}".format, range(n_cells))
    )
    anndata.AnnData(counts, obs, pd.DataFrame(index=map("g{}".format, range(n_genes)))).write_h5ad(path)


def test_the_peak_is_below_that_of_the_formula(tmp_path, monkeypatch):
    """36 million counts take 288 MB as CSR; read whole and thinned in memory the same file takes 1,000 MB, not 530."""
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "small.h5ad", 400, 100, 20)
    write(tmp_path / "large.h5ad", CELLS, GENES, NONZEROS)
    files = [str(tmp_path / name) for name in ("small.h5ad", "large.h5ad", "results")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *files], check=True, capture_output=True, text=True)
    few, many = json.loads(done.stdout.splitlines()[-1])
    assert few < 6e8
    assert many < 6e8 + 100 * CELLS + 16 * NONZEROS * 1500
