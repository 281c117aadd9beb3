"""The run of the public benchmark, on two tasks made up here: rows, scores by hand, what is gathered."""

import json
import sys

import numpy as np
import pytest

from noise_scaling.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import bmi
from information import run as suite_run
from information.run import Found


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Two tasks of one correlation, 3 draws of 200 pairs; what the benchmark's own estimators answer is made up."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    for seed in range(3):
        x, noise = np.random.default_rng(seed).standard_normal((2, 200, 1))
        for name in ("one", "two"):
            np.savez(folder / f"{name}_{seed}.npz", x=x, y=0.6 * x + 0.8 * noise)
    results = tmp_path / "results"
    (results / "bmi").mkdir(parents=True)
    (results / "bmi" / "tasks.json").write_text(json.dumps({"one": -0.5 * np.log2(1 - 0.36), "two": 1.0}))
    asked = []

    def ask(name, method, seed, pairs, *files):
        asked.append((method, seed, pairs, [file.name for file in files]))
        for file in files:
            failed = file.name.startswith("two")
            yield {"bits": np.nan if failed else 0.3, "note": "over 3 minutes" if failed else "", "seconds": 1.0}

    monkeypatch.setattr(bmi, "TASKS", folder)
    monkeypatch.setattr(bmi, "ask", ask)
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 1)
    return results, asked


def run(results, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["bmi", "--results", str(results), *arguments])
    bmi.main()


def test_rows_go_on_and_only_ours_is_run_anew(tasks, monkeypatch):
    results, asked = tasks
    run(results, monkeypatch, "--methods", "ksg", "cca_bmi", "--cells", "200", "100")
    assert asked == [
        ("cca_bmi", seed, n, [f"one_{seed}.npz", f"two_{seed}.npz"]) for n in (200, 100) for seed in range(3)
    ]
    ksg = suite_run.read(results / "bmi" / "ksg.csv")
    assert len(ksg) == 2 * 2 * 3
    asked.clear()
    (results / "bmi" / "ksg.csv").write_text(ksg.assign(bits=9.0).to_csv(index=False))
    run(results, monkeypatch, "--methods", "ksg", "cca_bmi", "--cells", "200", "100")
    assert asked == []
    assert (suite_run.read(results / "bmi" / "ksg.csv").bits == 9).all()
    run(results, monkeypatch, "--anew", "ksg", "--cells", "200", "100")
    again = suite_run.read(results / "bmi" / "ksg.csv")
    assert again.bits.tolist() == ksg.bits.tolist()
    found = again[(again.problem == "one") & (again.cells == 200)].bits.mean()
    assert found == pytest.approx(-0.5 * np.log2(1 - 0.36), abs=0.15)


def test_scores_by_hand(tasks):
    results, _ = tasks
    path = results / "bmi" / "default.csv"
    for name, n, seed, bits in (("one", 200, 0, 0.2), ("one", 200, 1, 0.5), ("two", 200, 0, 0.9), ("two", 200, 1, 1.2)):
        suite_run.append(path, name, n, "default", seed, Found(bits, 0.06, True, "", 2.0))
    suite_run.append(
        results / "bmi" / "mine.csv", "two", 200, "mine", 0, Found(np.nan, note="over 3 minutes", seconds=180.0)
    )
    table = bmi.scores(bmi.gather(results)).set_index("estimator")
    true = -0.5 * np.log2(1 - 0.36)
    line = table.loc["default"]
    assert (line["tasks"], line["draws"], line["within 15 %"], line["failed"]) == (2, 2, 2, 0)
    assert line["mean error"] == pytest.approx((0.35 - true + 0.05) / 2)
    assert line["above by 2 se"] == 2  # 0.5 of 0.32, and 1.2 of 1, by 0.06 each
    assert line["seconds"] == 2
    assert table.loc["mine", "failed"] == 1
    assert table.loc["mine", "above by 2 se"] == ""
    bmi.write(results)
    numbers = json.loads((results / "bmi.json").read_text())
    assert [row["bits"] for row in numbers["tasks"] if row["method"] == "mine"] == [None]
    assert "| two | 1.00 | 1.05 |  |" in (results / "bmi.md").read_text()
