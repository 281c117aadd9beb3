"""Devices and precision, as asked of `measure` and a configuration, and as a model takes them."""

import os
import time
from pathlib import Path

import pytest

from noise_scaling import cli
from noise_scaling.errors import InputError
from noise_scaling.measure import fitting
from noise_scaling.measure.grid import check_config, jobs
from noise_scaling.measure.run import measure
from noise_scaling.models import MODELS
from noise_scaling.models.training import Training

ASK = {
    "cell_numbers": [60], "fractions": [0.5], "estimators": ["mixed_ksg"], "variant": "fixed_steps_20",
    "progress": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "precision", "found"),
    [
        ("geneformer", "bf16", (4, "bf16")), ("geneformer", "32", (4, "")), ("geneformer", "", (4, "")),
        ("scvi", "32", (1, "32")), ("scvi", "auto", (1, "")), ("pca", "bf16", (1, "")), ("shuffled", "bf16", (1, "")),
        ("untrained_geneformer", "bf16", (1, "")),
    ],
)  # fmt: skip
def test_a_model_takes_what_means_something_for_it(model, precision, found):
    """The small presets train in 32 bits (Geneformer) and by the hardware (scVI); scVI trains on one device."""
    assert fitting.taken(model, "small", 4, precision) == found


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"models": ["pca", "scvi"], "devices": 2}, "devices is 2 and pca, scvi train on one: leave --devices out, or"),
        ({"models": ["pca"], "precision": "32"}, "precision '32' means nothing for pca: leave --precision out, or ask"),
        ({"models": ["scvi"], "precision": "8"}, "unknown precision '8': choose one of 32, auto, bf16"),
        ({"models": ["geneformer"], "devices": 0}, "devices (--devices) must be a whole number from 1 on: found 0"),
        ({"models": ["geneformer"], "devices": 2, "workers": 2}, "workers is 2 and devices is 2: they would share"),
    ],
)
def test_what_does_not_fit_is_one_sentence(asked, sentence):
    with pytest.raises(InputError) as caught:
        measure("pbmc68k", **asked)
    assert str(caught.value).startswith(sentence)


@pytest.fixture(scope="module")
def alone():
    return measure("pbmc68k", models=["scvi", "geneformer"], **ASK).set_index("model")


@pytest.mark.parametrize("limit", [{}, {"unit_seconds": 600}])
def test_two_processes_measure_what_one_measures(limit, alone, capfd):
    """The weights differ by rounding; the model that trains on one device has the same row."""
    found = measure("pbmc68k", models=["scvi", "geneformer"], devices=2, **ASK, **limit).set_index("model")
    assert found.loc["geneformer", "mi_bits"] == pytest.approx(alone.loc["geneformer", "mi_bits"], abs=0.02)
    assert found.loc["geneformer", "config_hash"] != alone.loc["geneformer", "config_hash"]
    timed = ["train_seconds", "mi_seconds"]
    assert found.loc["scvi"].drop(timed).to_dict() == alone.loc["scvi"].drop(timed).to_dict()
    assert capfd.readouterr().err == ""


def test_a_training_in_two_processes_that_is_stopped_leaves_none(tmp_path, monkeypatch):
    def hang(self, batch):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(600)

    monkeypatch.setattr(Training, "update", hang)
    row = measure("pbmc68k", models=["geneformer"], devices=2, unit_seconds=8, **ASK).iloc[0]
    assert row["error"] == "TimeLimit: stopped after 8 s"
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    until = time.monotonic() + 10
    while {state(pid) for pid in pids} != {"Z"}:
        assert time.monotonic() < until
        time.sleep(0.1)


def state(pid: int) -> str:
    """Of a process: its one letter; a zombie's where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_precision_is_the_models(monkeypatch, tmp_path):
    """By the command line: scVI trains in the precision asked for, under a hash of its own."""
    seen, create = [], MODELS["scvi"].__init__

    def noted(self, **settings):
        seen.append(settings["precision"])
        create(self, **settings)

    monkeypatch.setattr(MODELS["scvi"], "__init__", noted)
    monkeypatch.chdir(tmp_path)
    command = "measure --models scvi --cell-numbers 50 --fractions 1 --estimators mixed_ksg --variant fixed_steps_10"
    for more in ([], ["--precision", "bf16"], ["--precision", "auto"]):
        assert cli.main([*command.split(), "--output", f"{len(seen)}.csv", *more]) == 0
    assert seen == ["auto", "bf16"], "the third is the preset's own, and is there"


CONFIG = {
    "folder": "build/tiny", "preset": "small", "estimators": ["default"], "device": "auto", "seeds": [0],
    "models": ["pca", "scvi", "geneformer"], "datasets": {"pbmc68k": {"cell_numbers": [50], "fractions": [1]}},
}  # fmt: skip


def test_a_job_is_told_what_its_models_take():
    config = CONFIG | {"devices": 2, "precision": 32}
    found = {job.part: job.parameters() for job in jobs(check_config(config))}
    assert {"devices", "precision"} & set(found["cpu"]) == set()
    assert (found["gpu"]["devices"], found["gpu"]["precision"]) == (2, "32")
    plain = [job.parameters() for job in jobs(check_config(CONFIG))]
    assert not any({"devices", "precision"} & set(job) for job in plain)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"devices": 0}, "devices does not fit: 0 is less than the minimum of 1"),
        ({"precision": "half"}, "precision must be one of 'auto', '32', 32, 'bf16': found 'half'"),
        ({"models": ["pca"], "devices": 2}, "devices is 2 and pca train on one: leave --devices out"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(changes, sentence):
    with pytest.raises(InputError) as caught:
        check_config(CONFIG | changes)
    assert sentence in str(caught.value)
