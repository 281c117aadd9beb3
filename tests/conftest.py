"""What the tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import torch

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


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    """As many after a test as before: numba's parallel functions (scanpy's) set OpenMP's number, which is torch's too.

    Small networks train up to eighty times slower on two threads where both cores are busy.
    """
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def nothing_at_hand(monkeypatch, tmp_path) -> None:
    """A machine without mirror, cache and network."""

    def offline(*_, **__):
        raise requests.ConnectionError("offline")

    monkeypatch.delenv("NOISE_SCALING_MIRROR", raising=False)
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "get", offline)
