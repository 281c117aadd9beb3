"""The paper's configuration for real: the atlas at 10,000 cells, N to 10^7, every model for a step or two."""

import json
import os
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

from noise_scaling import measurements

CELLS, GENES, FILES = 10_000, 120, 4
STEPS = "fixed_steps_2"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """Four files of the atlas's form, in which some genes rise with the day; a mirror with nothing else."""
    rng = np.random.default_rng(0)
    mirror = tmp_path_factory.mktemp("mirror")
    (mirror / "mouse_embryo").mkdir()
    slopes = rng.normal(0, 1.5, GENES) * (rng.random(GENES) < 0.3)
    for number in range(FILES):
        n = CELLS // FILES
        day = rng.integers(0, 45, n)
        counts = rng.poisson(np.exp(slopes * day[:, None] / 45) * 0.5).astype(np.float32)
        counts[:, 0] += 1
        obs = pd.DataFrame({"day": pd.Categorical([f"E{8 + d / 4:g}" for d in day]), "keep": "yes"})
        obs["cell_id"] = [f"run{number}_cell{i}" for i in range(n)]
        obs.index = [f"cell{i}" for i in range(n)]
        genes = pd.DataFrame(index=[f"ENSMUSG{g:05d}" for g in range(GENES)])
        written = anndata.AnnData(sp.csr_matrix(counts), obs, genes)
        written.write_h5ad(mirror / "mouse_embryo" / f"adata_JAX_dataset_{number + 1}.h5ad")
    return mirror


def test_the_papers_configuration_gives_its_table(root, atlas, tmp_path):
    """What does not fit 10,000 cells is a row with its sentence, and all else is measured.

    The paper's own file, but for the data sets that are not here, one seed and depth, few test cells, networks that
    train two steps, and one job for each training from 10^7 cells on; counts stay on disk, as the atlas's do.
    """
    config = yaml.safe_load((root / "workflow/config/paper.yml").read_text())
    less = {"folder": str(tmp_path / "run"), "device": "cpu", "seeds": [0], "estimators": ["mixed_ksg"]}
    embryo = config["datasets"]["mouse_embryo"] | {"fractions": [0.5], "n_test": 400, "n_validation": 100}
    embryo |= {"dataset": "mouse_embryo"}
    plain = embryo | {"models": ["random_projection", "pca"], "large_cells": 10_000_000}
    plain |= {"estimators": ["default", "mixed_ksg"]}
    networks = embryo | {"models": ["scvi", "geneformer"], "variants": [STEPS], "large_cells": 10_000_001}
    config = config | less | {"datasets": {"embryo": plain, "embryo_networks": networks}}
    (tmp_path / "paper.yml").write_text(yaml.safe_dump(config))
    table = tmp_path / "run/measurements.csv"
    run = subprocess.run(
        [sys.executable, "workflow/run.py", str(tmp_path / "paper.yml"), str(table), "--cores", "2"],
        cwd=root, env=os.environ | {"NOISE_SCALING_MIRROR": str(atlas), "NOISE_SCALING_CACHE": str(tmp_path / "cache"),
                               "NOISE_SCALING_IN_MEMORY_BELOW": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert list((tmp_path / "cache/surveys").iterdir()), "the counts stayed on disk, as the atlas's do"
    rows = measurements.read(table)
    assert len(rows) == 10 * (2 * 2 + 2)  # cell numbers; two models under two estimators, two under one
    fits = rows["n_cells"] <= CELLS - 500
    assert (rows.loc[fits, "status"] == measurements.OK).all(), rows.loc[fits, "error"].unique()
    assert rows.loc[~fits, "error"].str.contains("training cells asked for, 9500 left").all()
    assert sorted(rows["n_cells"].unique())[-1] == 10_000_000
    pca = rows[(rows["model"] == "pca") & (rows["estimator"] == "default") & fits]
    assert pca["mi_bits"].max() > 0.5
    assert json.loads(table.with_suffix(".json").read_text())
