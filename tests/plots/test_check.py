import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from noise_scaling.measure import check_pairs
from noise_scaling.measure.check import of_pair
from noise_scaling.plots import check
from noise_scaling.signals import Aligned


@pytest.fixture(scope="module")
def report():
    """Each cell twice."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 2))
    y = x[:, :1] + rng.standard_normal((100, 1))
    return of_pair(Aligned(np.r_[x, x], np.r_[y, y], None), estimator="ksg")


def test_the_figure_has_the_verdict_and_every_estimate(report):
    figure = check.check_figure(report)
    left, right = figure.axes
    assert " ".join(figure.get_suptitle().split()) == report.verdict
    shown = report.estimates[report.estimates["setting"] != check_pairs.PARTS]
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert len(labels) == shown.groupby(["setting", "level"]).ngroups == 10
    drawn = {label: bar.lines[0] for label, bar in zip(labels, left.containers, strict=True)}
    means = shown.groupby("setting")["bits"].mean()
    assert drawn[check_pairs.SHUFFLED].get_xdata()[0] == pytest.approx(means[check_pairs.SHUFFLED])
    assert to_hex(drawn[check_pairs.SHUFFLED].get_color()) == check.LOOKS[report["shuffled"].status][0]
    line, points = right.lines
    assert line.get_xdata().tolist() == [200, 100, 50]
    assert line.get_ydata()[0] == pytest.approx(report.bits)
    assert len(points.get_xdata()) == 3 + 6 + 4
    assert right.get_ylim()[0] <= 0
    assert points.get_ydata().min() >= right.get_ylim()[0]
    assert points.get_ydata().max() < right.get_ylim()[1] < 1.2 * max(points.get_ydata().max(), 0.1)


def test_the_table_names_every_check(report):
    html = check.checks_table(report).data
    assert all(one.name in html and one.text in html for one in report.checks)


def test_the_sentence_counts_what_the_benchmark_found(tmp_path):
    rows = pd.DataFrame({
        "case": ["sound", "poor", "twice", "healthy", "healthy"], "seed": [0, 0, 0, 1, 2],
        "true": [1, 1, np.nan, 2, 2], "bits": [0.9, 0.5, 3, 1.9, 1],
        "answer": ["yes", "yes", "no", "yes", "lower bound"],
        "failed": ["", "", "repeated_cells", "", "growth"], "right": [True, False, True, True, True],
    })  # fmt: skip
    (tmp_path / "v.json").write_text(json.dumps({"verdicts": rows.to_dict("records")}))
    said = check.verdicts_table(tmp_path / "v.json").data
    assert "Right in 2 of 3 cases; trusted are 1 of 2 draws of healthy." in said
    assert "50% to 90% of it, 70% in the median" in said
