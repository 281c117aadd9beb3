"""Where compiled code is kept, and that it comes out the same when it is compiled anew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from noise_scaling import paths

THIN = """
import hashlib, numpy, scipy.sparse
from noise_scaling.counts import thin
counts = scipy.sparse.csr_matrix(numpy.arange(600, dtype=numpy.int32).reshape(20, 30))
kept = thin(counts, 0.3, seed=1, cell_ids=[f"cell{i}" for i in range(20)])
found = hashlib.sha256(kept.indptr.tobytes() + kept.indices.tobytes() + kept.data.tobytes()).hexdigest()
"""


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Neither package nor home can be written; the temporary folder is this test's."""
    monkeypatch.setattr(paths, "_writable", lambda folder: False)
    monkeypatch.setattr(paths.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    return tmp_path


def test_compiled_code_goes_to_a_temporary_folder_of_ones_own(nowhere):
    for _ in range(2):
        os.environ["NUMBA_CACHE_DIR"] = ""
        paths.give_numba_a_cache()
        assert os.environ["NUMBA_CACHE_DIR"] == str(nowhere / f"noise-scaling-numba-{os.getuid()}")
    assert [(each.stat().st_mode & 0o777) for each in nowhere.iterdir()] == [0o700]


def test_another_users_folder_is_not_taken(nowhere, monkeypatch):
    monkeypatch.setattr(paths.os, "getuid", lambda: 12345)
    (nowhere / "noise-scaling-numba-12345").mkdir()
    paths.give_numba_a_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]).parent == nowhere
    assert not os.environ["NUMBA_CACHE_DIR"].endswith("12345")


def test_what_can_be_written(tmp_path):
    assert paths._writable(tmp_path / "not" / "yet")
    assert not paths._writable(Path("/proc/no/such"))


@pytest.mark.any_machine
def test_a_cold_cache_thins_as_a_warm_one(tmp_path):
    command = [sys.executable, "-c", f"{THIN}print(found)"]
    variables = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [subprocess.run(command, env=variables, capture_output=True, text=True, check=True) for _ in range(2)]
    here = {}
    exec(THIN, here)
    assert {run.stdout.strip() for run in runs} == {here["found"]}
    assert any(tmp_path.rglob("*.nbi"))
