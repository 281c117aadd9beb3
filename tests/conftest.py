"""What the tests share."""

from pathlib import Path

import pytest

from noise_scaling import datasets
from noise_scaling.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def published() -> Path:
    """The published table; skipped where neither mirror nor network has it."""
    try:
        return datasets.fetch("published")
    except InputError as error:
        pytest.skip(str(error))
