"""Training and embedding from counts on disk: the same numbers as from memory."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from noise_scaling import models
from noise_scaling.counts.count_store import FileStore
from noise_scaling.counts.tokens import gene_medians

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"width": 16, "feed_forward": 16, "context": 24, "max_steps": 30, "check_every": 10, "batch_tokens": None}


@pytest.fixture(scope="module")
def counts() -> csr_matrix:
    return csr_matrix(np.random.default_rng(0).poisson(0.7, (120, 60)).astype(np.int32))


@pytest.fixture(scope="module")
def path(counts, tmp_path_factory):
    names = pd.DataFrame(index=[f"cell{i}" for i in range(120)]), pd.DataFrame(index=[f"gene{i}" for i in range(60)])
    file = tmp_path_factory.mktemp("store") / "cells.h5ad"
    anndata.AnnData(counts, *names).write_h5ad(file)
    return file


def create() -> models.Model:
    return models.create("geneformer", seed=0, device="cpu", **TINY)


def test_counts_on_disk_give_what_counts_in_memory_give(counts, path):
    """With the same medians; those of a store are within 0.2 % and can swap a pair of ranks."""
    mask = np.arange(120) < 80
    medians = gene_medians(counts[:80])
    memory = create().fit(counts[:80], counts[80:], genes_from=medians)
    disk = create().fit(FileStore(path).take(mask), FileStore(path).take(~mask), genes_from=medians)
    assert disk.history == memory.history
    np.testing.assert_array_equal(disk.embed(FileStore(path)), memory.embed(counts))
    own = create().fit(FileStore(path).take(mask), counts[80:])
    np.testing.assert_allclose(own.gene_medians, medians, rtol=2e-3)
