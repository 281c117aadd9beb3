"""Processes that torchrun (or srun) started, here two on the CPU over gloo: one training, one set of files."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from noise_scaling import datasets, models
from noise_scaling.errors import InputError
from noise_scaling.measure.run import follow, leading, measure
from noise_scaling.models import team

ASK = {
    "models": ["pca", "geneformer"], "cell_numbers": [60], "fractions": [0.5], "estimators": ["mixed_ksg"],
}  # fmt: skip
TINY = {"width": 16, "feed_forward": 16, "fixed_steps": 20}
SCRIPT = """
import json, sys
from noise_scaling import cli, datasets, models
from noise_scaling.models.geneformer import Geneformer
from noise_scaling.models.team import place

folder, tiny = sys.argv[1], json.loads(sys.argv[2])
Geneformer.PRESETS["small"] |= tiny
counts = datasets.load("pbmc68k").counts
model = models.create("geneformer", seed=1, device="cpu").fit(counts[:100], counts[100:150])
model.save(f"{folder}/model_{place()[0]}.safetensors")
sys.exit(cli.main(sys.argv[3:]))
"""


def launch(folder: Path, *arguments: str) -> list[tuple[tuple[str, str], int]]:
    """Two processes, started as torchrun would on one machine: what each said, and its status."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in "01":
        said = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        said |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-c", SCRIPT, str(folder), json.dumps(TINY), *arguments]
        started.append(
            subprocess.Popen(command, env=os.environ | said, cwd=folder, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )  # fmt: skip
    return [(process.communicate(timeout=200), process.returncode) for process in started]


@pytest.fixture(scope="module")
def alone():
    """Weights and table of one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS["geneformer"].PRESETS, "small", models.settings("geneformer") | TINY)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        counts = datasets.load("pbmc68k").counts
        model = models.create("geneformer", seed=1, device="cpu").fit(counts[:100], counts[100:150])
        torch.set_num_threads(before)
        return model.state()[0], measure("pbmc68k", **ASK, progress=False).set_index("model")


def test_two_started_processes_train_as_one_and_the_first_writes(alone, tmp_path):
    asked = [word for name, values in ASK.items() for word in (f"--{name.replace('_', '-')}", *map(str, values))]
    (first, second) = launch(tmp_path, "measure", *asked, "--output", "t.csv")
    assert (first[1], second[1]) == (0, 0), first[0][1] + second[0][1]
    assert first[0][0] == "2 rows in t.csv\n"
    assert second[0] == ("", "")
    weights, table = alone
    for rank in "01":
        found = load_file(tmp_path / f"model_{rank}.safetensors")
        for name, tensor in weights.items():
            torch.testing.assert_close(found[name], tensor, atol=1e-4, rtol=1e-3, equal_nan=True)
    rows = pd.read_csv(tmp_path / "t.csv").set_index("model")
    np.testing.assert_allclose(rows["mi_bits"], table.loc[rows.index, "mi_bits"], atol=0.02)
    assert rows.loc["pca", "mi_bits"] == pytest.approx(table.loc["pca", "mi_bits"], abs=1e-12)
    assert rows.loc["geneformer", "config_hash"] != table.loc["geneformer", "config_hash"], "it is of two devices"
    assert len(list(tmp_path.glob("results/units/*/*.json"))) == 2
    assert not list(tmp_path.glob("results/units/*/*.checkpoint"))


def test_the_second_does_what_the_first_says_and_ends_with_it():
    """A failed training of all is no end; an error of the first, or its table, is."""
    trained = []

    def fail(point):
        trained.append(point)
        raise FloatingPointError

    one = SimpleNamespace(seed=0, fraction=0.5, train_along=fail)
    said = iter([(0, 0.5, "a"), (0, 0.5, "b"), "the table"])
    assert follow([one], SimpleNamespace(share=lambda _: next(said))) == "the table"
    assert trained == ["a", "b"]
    with pytest.raises(InputError, match="of the first"):
        follow([one], SimpleNamespace(share=lambda _: InputError("of the first")))
    told = []
    with pytest.raises(InputError), leading(SimpleNamespace(share=told.append)):
        raise InputError("of the first")
    assert str(told[0]) == "of the first"


def test_what_does_not_fit_a_launcher_is_one_sentence(monkeypatch):
    said = {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert team.place() == (0, 4)
    with pytest.raises(InputError, match="devices is 3 and the launcher started 4 processes: leave devices out"):
        team.check_devices(3, "cpu")
    with pytest.raises(InputError, match="launcher started 4 processes: leave workers and unit_seconds out"):
        measure("pbmc68k", models=["pca"], workers=2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(InputError, match="4 processes were started, 3 on this node: start as many on every node"):
        team.launched.__wrapped__("cpu")


def test_a_job_of_slurm_with_one_task_a_step_stands_alone(monkeypatch):
    """A batch script has SLURM_NTASKS of the job, and no step; a job of the workflow has a step of one task."""
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert team.place() == (0, 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert team.place() == (0, 1)


def test_srun_is_read_as_torchrun_would_say_it(monkeypatch):
    """The second task of the second of two nodes, two tasks a node."""
    said = {
        "PROCID": "3", "LOCALID": "1", "NODEID": "1", "JOB_ID": "1234567", "STEP_NUM_TASKS": "4",
        "STEP_TASKS_PER_NODE": "2(x2)", "STEP_NODELIST": "gpu[07-08]",
    }  # fmt: skip
    for name, value in said.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert team._as_torchrun_says_it() == {
        "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "GROUP_RANK": "1", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "gpu07", "MASTER_PORT": "19567",
    }  # fmt: skip
