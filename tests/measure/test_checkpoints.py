"""A training that is killed goes on from its checkpoint, in the folder of units, to the same row to the bit."""

import multiprocessing
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from noise_scaling.measure.run import measure
from noise_scaling.models import scvi, training
from noise_scaling.models.training import Training

ASK = {
    "cell_numbers": [60], "fractions": [0.5], "estimators": ["mixed_ksg"], "variant": "fixed_steps_60",
    "keep_embeddings": True, "progress": False,
}  # fmt: skip
LAST = 45


def hang_on_the_way(model: str, folder: Path) -> None:
    """Measure, with a checkpoint after each step, and hang at step LAST."""

    def update(self, batch, go_on=Training.update):
        if self.progress.step == LAST:
            time.sleep(600)
        return go_on(self, batch)

    training.CHECKPOINT_SECONDS, Training.update = 0.0, update
    measure("pbmc68k", models=[model], results=folder, **ASK)


def checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob("*/*.checkpoint"))


def embedding(folder: Path) -> np.ndarray:
    (path,) = folder.glob("*/*.npy")
    return np.load(path)


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """The steps that trainings take in this process."""
    taken, update = [], Training.update

    def noted(self, batch):
        taken.append(self.progress.step)
        return update(self, batch)

    monkeypatch.setattr(Training, "update", noted)
    return taken


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder and row of each model's training that nothing stopped."""
    made = {}

    def of(model: str):
        if model not in made:
            folder = tmp_path_factory.mktemp(model)
            made[model] = folder, measure("pbmc68k", models=[model], results=folder, **ASK).iloc[0]
        return made[model]

    return of


@pytest.mark.parametrize("model", ["scvi", "geneformer"])
def test_killed_in_the_middle_it_goes_on_to_the_same_row(model, whole, tmp_path, steps):
    process = multiprocessing.get_context("fork").Process(target=hang_on_the_way, args=(model, tmp_path))
    process.start()
    while not any(last_step(path) == LAST for path in checkpoints(tmp_path)):
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    folder, right = whole(model)
    steps.clear()
    row = measure("pbmc68k", models=[model], results=tmp_path, **ASK).iloc[0]
    assert steps[0] == LAST
    timed = ["train_seconds", "mi_seconds"]
    assert row.drop(timed).to_dict() == right.drop(timed).to_dict()
    np.testing.assert_array_equal(embedding(tmp_path), embedding(folder))
    assert checkpoints(tmp_path) == []


def last_step(path: Path) -> int:
    with path.open("rb") as file:
        return torch.load(file, weights_only=True)["progress"]["step"]


@pytest.fixture(scope="module")
def results_of_a_stopped_training(tmp_path_factory) -> Path:
    """The folder of units of a training that was stopped at step LAST."""

    def stop(self):
        if self.progress.step == LAST:
            raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(Training, "_is_over", stop)
        with pytest.raises(KeyboardInterrupt):
            measure("pbmc68k", models=["scvi"], results=folder, **ASK)
    return folder


@pytest.fixture
def stopped(results_of_a_stopped_training, tmp_path, monkeypatch) -> Path:
    """The checkpoint of a training that was stopped at step LAST, in a folder of the test's own."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    shutil.copytree(results_of_a_stopped_training, tmp_path, dirs_exist_ok=True)
    (path,) = checkpoints(tmp_path)
    return path


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda whole: whole[: len(whole) // 2], "is no whole checkpoint"),
        (lambda whole: b"", "is no whole checkpoint"),
        (lambda whole: b"something else", "is no whole checkpoint"),
        (lambda whole: whole.replace(b"batch_size", b"batch_siye"), "is of a training with other settings"),
    ],
)
def test_a_checkpoint_of_no_use_is_removed_with_a_sentence(spoil, said, whole, stopped, tmp_path, steps, capsys):
    stopped.write_bytes(spoil(stopped.read_bytes()))
    right = whole("scvi")[1]["mi_bits"]
    steps.clear()
    row = measure("pbmc68k", models=["scvi"], results=tmp_path, **ASK).iloc[0]
    assert steps[0] == 0
    assert f"{stopped} {said}" in (found := capsys.readouterr().err)
    assert found.endswith(": it is removed and the training starts anew\n")
    assert row["mi_bits"] == right
    assert checkpoints(tmp_path) == []


def test_a_training_that_diverges_leaves_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(scvi._Training, "loss", lambda self, batch: next(self.net.parameters()).sum() * np.inf)
    row = measure("pbmc68k", models=["scvi"], results=tmp_path, **ASK).iloc[0]
    assert row["error"].startswith("FloatingPointError: scVI's loss is not finite")
    assert checkpoints(tmp_path) == []


def test_a_checkpoint_that_cannot_be_written_costs_no_training(tmp_path, monkeypatch, whole):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training.torch, "save", full)
    with pytest.warns(UserWarning, match="no checkpoint at .*No space left on device.*would start anew"):
        row = measure("pbmc68k", models=["scvi"], results=tmp_path, **ASK).iloc[0]
    assert row["mi_bits"] == whole("scvi")[1]["mi_bits"]


def test_seconds_of_a_row_count_the_runs_that_were_stopped(stopped, tmp_path, monkeypatch):
    read = Training._read

    def earlier(self, path):
        content = read(self, path)
        return content | {"progress": content["progress"] | {"seconds": 1000.0}}

    monkeypatch.setattr(Training, "_read", earlier)
    seconds = measure("pbmc68k", models=["scvi"], results=tmp_path, **ASK).iloc[0]["train_seconds"]
    assert 1000 < seconds < 1600
