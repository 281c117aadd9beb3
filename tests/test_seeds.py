import numpy as np
import pytest

from noise_scaling import seeds

pytestmark = pytest.mark.any_machine


def test_streams_are_named():
    assert seeds.derive(1, "split", "pbmc") == seeds.derive(1, "split", "pbmc")
    # names are kept apart: ("ab", "c") is not ("a", "bc")
    every = {seeds.derive(s, *names) for s in range(50) for names in (("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"))}
    assert len(every) == 200
    assert all(0 <= seed < 2**63 for seed in every)


def test_same_on_every_machine():
    # BLAKE2b of '[1,"a"]', first 8 bytes little-endian, halved; from Python's hashlib, fixed here
    assert seeds.derive(1, "a") == 1695903217051011858


def test_streams_are_uncorrelated():
    draws = np.array([seeds.generator(0, "stream", i).standard_normal(2000) for i in range(20)])
    off = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(off).max() < 4.5 / np.sqrt(2000)
