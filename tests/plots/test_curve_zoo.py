"""What the interactive pages embed: every row, fits that are laws' own, no deviations, JSON that is safe in HTML."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.measurements import table_audit
from noise_scaling.plots import curve_zoo, interactive, plan_page

DEPTHS = (10.0, 30.0, 100.0, 300.0, 1000.0)
BLANK = {str: "", int: 0, float: 0.0}


def rows(model: str, *, n: int = 100, depths=DEPTHS, **values) -> list[dict]:
    key = {"dataset": "pbmc10k", "signal": "protein", "model": model, "preset": "small", "estimator": "default"}
    blank = {name: BLANK[kind] for name, kind in measurements.COLUMNS.items()}
    return [
        blank | key | {"n_cells": n, "fraction": u / 1000, "umis_per_cell": u, "status": "ok"}
        | {"mi_bits": float(laws.noise_law(u, 300, 2.5)) + 0.001 * (i % 2)} | values
        for i, u in enumerate(depths)
    ]  # fmt: skip


def written(folder, *parts: list[dict]) -> str:
    return str(measurements.write(pd.DataFrame([row for part in parts for row in part]), folder / "table.csv"))


def embedded(path: str) -> list[dict]:
    """The curves of the first of the two tables that a page shows."""
    return [c for c in curve_zoo.zoo_data(path, path)["curves"] if c["source"] == curve_zoo.OURS]


def test_a_curve_carries_its_rows_and_its_fit(tmp_path):
    (curve,) = embedded(written(tmp_path, rows("pca")))
    table = measurements.read(tmp_path / "table.csv")
    fit = laws.fit_noise_law(table["umis_per_cell"], table["mi_bits"])
    assert curve["bits"] == pytest.approx(table.sort_values("fraction")["mi_bits"].tolist(), abs=1e-5)
    assert (curve["fit"]["u_bar"], curve["fit"]["i_max"]) == pytest.approx((fit.u_bar, fit.i_max), rel=1e-5)
    assert np.array(curve["fit"]["covariance"]) == pytest.approx(fit.covariance, rel=1e-5)


def test_deviations_failed_rows_and_controls(tmp_path):
    parts = [rows("pca"), rows("pca", variant="thin_per_gene"), rows("scvi", status="error"), rows("shuffled")]
    curves = embedded(written(tmp_path, *parts))
    assert [(c["model"], len(c["u"]), c["fit"]["status"]) for c in curves] == [
        ("pca", 5, "converged"), ("shuffled", 5, "no fit"),
    ]  # fmt: skip


def test_a_curve_too_short_to_fit_says_so(tmp_path):
    (curve,) = embedded(written(tmp_path, rows("pca", depths=DEPTHS[:2])))
    assert curve["fit"]["status"] == laws.FAILED
    assert "2 different values of depth" in curve["fit"]["note"]


def test_a_fit_that_failed_has_its_reason_and_no_number():
    fit = laws.fit_noise_law(DEPTHS, laws.noise_law(np.array(DEPTHS), 300, 2.5))
    failed = replace(fit, status=laws.FAILED, note="no minimum found within 500 steps")
    assert curve_zoo._fit(failed, 5) == {"n_points": 5, "status": failed.status, "note": failed.note}


def test_presets_of_one_model_are_told_apart():
    looks = interactive.kinds([("scvi", "small"), ("scvi", "published"), ("pca", "small")])
    assert [look["label"] for look in looks.values()] == ["scVI (published)", "scVI (small)", "PCA"]
    assert [look["symbol"] for look in looks.values()] == ["circle", "circle-open", "triangle-up"]


def test_json_in_a_page():
    text = interactive.as_json({"a": [math.nan, 1.5, math.inf], "b": "</script>"})
    assert "</" not in text
    assert json.loads(text) == {"a": [None, 1.5, None], "b": "</script>"}


def test_every_published_row_is_in_the_zoo_with_both_fits(published_table, tmp_path):
    data = curve_zoo.zoo_data(written(tmp_path, rows("pca")), "published")
    curves = [c for c in data["curves"] if c["source"] == curve_zoo.PUBLISHED]
    assert len(curves) == 200  # 5 signals, 4 models, 10 numbers of cells
    assert sum(len(c["u"]) for c in curves) == 4844
    flagged = int((table_audit.reasons(published_table) != "").sum())
    assert sum(len(c["flagged"]) for c in curves) == flagged
    assert all(("kept_fit" in c) == bool(c["flagged"]) for c in curves)
    assert len(interactive.as_json(data)) < 1_000_000


def test_the_planner_has_the_published_laws_in_two_versions(published_table, tmp_path):
    own = written(tmp_path, *[rows("pca", n=n) for n in (100, 300, 1000)])
    groups = plan_page.planner_groups(own, "published")
    names = [group["name"].rsplit("(", 1)[1] for group in groups]
    assert names == [
        "ours, default)",
        *["published, all rows, LMI)"] * 4,
        *["published, not flagged, LMI)"] * 4,
    ]
    scvi = [next(m for m in g["models"] if m["name"] == "scvi") for g in groups if "proteins (pub" in g["name"]]
    assert scvi[0]["parameters"] != scvi[1]["parameters"]  # PBMC's seed 2303 is among the flagged
    assert len(interactive.as_json(groups)) < 1_500_000


@pytest.fixture
def published_table(published) -> pd.DataFrame:
    return measurements.read_published(published)
