"""What the tests of the models share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

sys.path.append(str(Path(__file__).parent))  # for bert_names, which benchmarks import too


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Nets this small are slower on two, many times so where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def two_kinds() -> csr_matrix:
    """240 cells of 80 genes, two kinds that differ threefold in half of the genes."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 240)
    means = np.where((np.arange(80) < 40) == kind[:, None], 1.5, 0.5)
    return csr_matrix(rng.poisson(means).astype(np.int32))
