"""benchmarks/gpu_sweep.py on the CPU: the order of its points, its limit, and that it goes on."""

import importlib.util
import types

import pytest

from noise_scaling import measurements
from noise_scaling.datasets.registry import Card
from noise_scaling.measure.run import measure


@pytest.fixture
def script(root):
    spec = importlib.util.spec_from_file_location("gpu_sweep", root / "benchmarks/gpu_sweep.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_beginning_of_the_order_is_useful(script):
    cards = [
        Card("a", "A", cell_numbers=(10, 30), fractions=(1, 0.5, 0.2, 0.1)),
        Card("b", "B", cell_numbers=(20,), fractions=(1, 0.1)),
    ]
    order = list(script.axes(cards, ["m", "n"], depths=7, workers=3))
    assert [axis.fractions for axis in order[:2]] == [(1, 0.1, 0.5), (0.2,)]
    assert [(axis.dataset, axis.model, axis.n_cells) for axis in order] == [
        ("a", "m", 30), ("a", "m", 30), ("a", "n", 30), ("a", "n", 30), ("b", "m", 20), ("b", "n", 20),
        ("a", "m", 10), ("a", "m", 10), ("a", "n", 10), ("a", "n", 10),
    ]  # fmt: skip
    few = next(script.axes(cards, ["m"], depths=2, workers=3))
    assert few.fractions == (1, 0.1)  # both ends
    largest = script.axes(cards, ["m"], depths=2, workers=3, numbers_of_cells=1)
    assert [(axis.dataset, axis.n_cells) for axis in largest] == [("a", 30), ("b", 20)]


def test_a_model_without_the_preset_takes_its_published_one(script):
    found = [script.preset(name, "published_trained") for name in ("geneformer", "untrained_geneformer", "scvi")]
    assert found == ["published_trained", "published_trained", "published"]


def test_it_stops_before_its_limit_and_goes_on(script, tmp_path, monkeypatch, capsys, root):
    """By a clock on which a point that is measured takes a second, and one that was kept takes none."""
    clock = types.SimpleNamespace(now=0.0)

    def measured(*arguments, **settings):
        before = len(list(tmp_path.glob("units/*/*.json")))
        rows = measure(*arguments, **settings)
        clock.now += len(list(tmp_path.glob("units/*/*.json"))) > before
        return rows

    monkeypatch.chdir(root)
    monkeypatch.setattr(script, "RESERVE", 0.0)
    monkeypatch.setattr(script, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(script, "measure", measured)
    options = ["--device", "cpu", "--preset", "small", "--models", "random_projection", "--datasets", "pbmc68k"]
    options += [
        "--depths",
        "10",
        "--estimators",
        "default",
        "--folder",
        str(tmp_path),
        "--output",
        str(tmp_path / "gpu.csv"),
    ]
    options += ["--curves", str(tmp_path / "curves.csv")]
    assert script.main([*options, "--minutes", "0"]) == 1
    assert not (tmp_path / "gpu.csv").exists()
    assert script.main([*options, "--minutes", "0.05"]) == 0
    assert "stopped before" in capsys.readouterr().out
    first = measurements.read(tmp_path / "gpu.csv")
    assert first["n_cells"].tolist() == [350, 350]  # after two of three seconds one more might take 1.5
    assert script.main([*options, "--minutes", "0.05"]) == 0
    assert len(measurements.read(tmp_path / "gpu.csv")) == 4


def test_without_a_gpu_it_says_so(script, monkeypatch, capsys):
    monkeypatch.setattr(script.torch.cuda, "is_available", lambda: False)
    assert script.main([]) == 2
    assert "no GPU is visible" in capsys.readouterr().out
