"""A tiny configuration through the rules that measure; the graph of the real one is checked in test_project.py."""

import fcntl
import importlib.util
import socket
import subprocess
import sys
import threading

import pytest
import yaml

from noise_scaling import measurements

TINY = {
    "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": [0], "unit_seconds": 120,
    "datasets": {"pbmc68k": {"models": ["pca"], "cell_numbers": [50], "fractions": [1, 0.1]}},
}  # fmt: skip


def run(root, config, *options):
    return subprocess.run(
        [sys.executable, "workflow/run.py", str(config), *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yml"
    path.write_text(yaml.safe_dump(TINY | {"folder": str(tmp_path / "run")}))
    return path


def test_measure_gather_and_do_only_what_is_missing(root, config, tmp_path):
    table = tmp_path / "run" / "measurements.csv"
    first = run(root, config, str(table))
    assert first.returncode == 0, first.stderr
    rows = measurements.read(table)
    ours = rows[(rows["model"] == "pca") & (rows["n_cells"] == 50) & (rows["seed"] == 0) & (rows["n_test"] == 280)]
    assert {1.0, 0.1} <= set(ours["fraction"])
    assert table.with_suffix(".json").exists()
    before = table.read_bytes()
    again = run(root, config, str(table))
    assert "Nothing to be done" in again.stderr + again.stdout
    # the table and one slice lost: they alone are made again, from the units kept, to the same bytes
    table.unlink()
    (tmp_path / "run" / "slices" / "protocol" / "pbmc68k_q0.1_seed0_cpu.csv").unlink()
    third = run(root, config, str(table))
    assert third.returncode == 0, third.stderr
    assert (third.stderr + third.stdout).count("Measure protocol/pbmc68k") == 1
    assert table.read_bytes() == before


def test_one_run_at_a_time(root, config, tmp_path):
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run(root, config)
    assert refused.returncode == 2
    assert refused.stderr.startswith("another run is at work in")


def test_a_wrong_configuration_stops_before_anything_runs(root, tmp_path):
    path = tmp_path / "wrong.yml"
    path.write_text(yaml.safe_dump(TINY | {"folder": str(tmp_path / "run"), "seedz": [1]}))
    refused = run(root, path)
    assert refused.returncode != 0
    assert "unknown key 'seedz' in the file: choose one of beside, datasets, device" in refused.stderr + refused.stdout
    assert not (tmp_path / "run" / "units").exists()


def script(root, name):
    spec = importlib.util.spec_from_file_location(name, root / f"workflow/scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_server_of_kernels_papermill_starts_its_own(root, tmp_path, monkeypatch):
    """No server, a socket that nobody answers on, and a server that dies while it is asked."""
    warm = script(root, "warm_kernel")
    asked = {"command": ["python", "-m", "ipykernel_launcher", "-f", "x"], "env": {}, "cwd": None}
    assert warm.forked(**asked) is None
    monkeypatch.setenv(warm.VARIABLE, str(tmp_path / "nobody"))
    assert warm.forked(**asked) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "dies"))
        server.listen()
        monkeypatch.setenv(warm.VARIABLE, str(tmp_path / "dies"))
        killed = threading.Thread(target=lambda: server.accept()[0].close())
        killed.start()
        assert warm.forked(**asked) is None
        killed.join()


def test_the_staged_book_is_not_executed_again(root, tmp_path):
    stage = script(root, "stage")
    pages = tmp_path / "pages"
    pages.mkdir()
    cell = '{"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": "", "outputs": []}'
    (pages / "fits.ipynb").write_text(f'{{"cells": [{cell}]}}')
    stage.main(pages, tmp_path / "site")
    assert yaml.safe_load((tmp_path / "site/_config.yml").read_text())["execute"]["execute_notebooks"] == "off"
    assert "hide-input" in (tmp_path / "site/notebooks/fits.ipynb").read_text()
    assert (tmp_path / "site/book/index.md").exists()
