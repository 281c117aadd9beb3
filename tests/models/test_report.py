"""What a training says on its way, held to a clock and a terminal of the test's own."""

import io

import numpy as np
import pytest

from noise_scaling import models
from noise_scaling.measure.run import measure
from noise_scaling.models import report
from noise_scaling.models.report import Report, span

pytestmark = pytest.mark.usefixtures("one_thread")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [1000.0]
    monkeypatch.setattr(report.time, "monotonic", lambda: now[0])
    return now


def test_a_line_each_half_minute_with_speed_loss_and_the_time_left(clock, capsys):
    """Two steps of 50 cells a second: 100 cells/s, and 2,840 steps left after 30 s take 23.7 minutes."""
    said = Report("scvi N=50", steps=3000, done=100, unit="cells")
    for step in range(130):
        clock[0] += 0.5
        if step == 10:
            said.checked(812.3456789)
        said.step(50)
    said.close()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "scvi N=50: step 160 of at most 3,000, 100 cells/s, validation loss 812.346, at most 24 min left"
    assert second == "scvi N=50: step 220 of at most 3,000, 100 cells/s, validation loss 812.346, at most 23 min left"


def test_without_a_title_nothing_is_said(clock, capsys):
    said = Report("", steps=10, done=0, unit="cells")
    for _ in range(10):
        clock[0] += 100
        said.step(1)
    said.close()
    assert capsys.readouterr().err == ""


def test_a_bar_in_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(report.sys, "stderr", terminal)
    monkeypatch.setattr(report, "tqdm", lambda **kwargs: tqdm(**(kwargs | {"delay": 0, "mininterval": 0})))
    from tqdm import tqdm

    said = Report("geneformer N=50", steps=10, done=4, unit="tokens")
    said.checked(3.5)
    said.said -= 2
    for _ in range(6):
        said.step(100)
    said.close()
    shown = terminal.getvalue()
    assert "geneformer N=50:  40%" in shown
    assert "10/10" in shown
    assert "tokens/s, validation loss 3.5" in shown
    assert "\n" not in shown.strip(), "the bar is taken away at the end"


@pytest.mark.parametrize(
    ("seconds", "words"), [(20, "less than a minute"), (119, "at most 2 min"), (7500, "at most 2 h 5 min")]
)
def test_spans(seconds, words):
    assert span(seconds) == words


@pytest.mark.parametrize(("name", "unit"), [("scvi", "cells"), ("geneformer", "tokens")])
def test_a_training_says_how_far_it_is_and_trains_the_same(name, unit, two_kinds, monkeypatch, capsys):
    monkeypatch.setattr(report, "LINE_SECONDS", 0.0)
    options = {"seed": 0, "device": "cpu", "fixed_steps": 20}
    fitted = [
        models.create(name, **options).fit(two_kinds[:60], two_kinds[60:90], progress=title).embed(two_kinds[90:])
        for title in ("", f"{name} N=60")
    ]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert lines[-1].startswith(f"{name} N=60: step 20 of at most 20, ")
    assert f" {unit}/s, validation loss " in lines[-1]
    np.testing.assert_array_equal(*fitted)


def test_several_processes_say_it_once(two_kinds, monkeypatch, capfd):
    monkeypatch.setattr(report, "LINE_SECONDS", 0.0)
    model = models.create("geneformer", seed=0, device="cpu", fixed_steps=5, width=16, feed_forward=16)
    model.fit(two_kinds[:60], two_kinds[60:90], devices=2, progress="both")
    assert [line.partition(",")[0] for line in capfd.readouterr().err.splitlines() if line.startswith("both")] == [
        f"both: step {step} of at most 5" for step in range(1, 6)
    ]


@pytest.mark.parametrize("asked", [{}, {"unit_seconds": 600}])
@pytest.mark.parametrize("progress", [True, False])
def test_measure_says_it_here_and_in_workers_unless_it_is_silenced(asked, progress, monkeypatch, capfd):
    monkeypatch.setattr(report, "LINE_SECONDS", 0.0)
    ask = {"models": ["scvi"], "cell_numbers": [50], "fractions": [1], "variant": "fixed_steps_20"}
    measure("pbmc68k", **ask, estimators=["mixed_ksg"], progress=progress, **asked)
    said = capfd.readouterr().err
    assert ("pbmc68k q=1 seed=0 scvi N=50: step 20 of at most 20, " in said) == progress
    assert (said == "") == (not progress)
