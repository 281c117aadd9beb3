"""The tables behind the Calibration page, worked by hand, and figures that hold what they are given."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws
from noise_scaling.errors import TooLittle
from noise_scaling.plots import calibration, estimators


@pytest.fixture
def suite():
    rows = [
        ("gaussian_2", 5000, "default", 0, 2.0, 1.9, 9.0),
        ("gaussian_2", 5000, "default", 1, 2.0, 1.7, 1.0),
        ("gaussian_2", 5000, "lmi", 0, 2.0, 0.8, 9.0),
        ("gaussian_0", 5000, "default", 0, 0.0, -0.04, 2.0),
        ("gaussian_4", 5000, "default", 0, 4.0, 3.0, 6.0),
        ("gaussian_4", 280, "default", 0, 4.0, 2.0, 0.5),
    ]
    return pd.DataFrame(rows, columns=["problem", "cells", "method", "seed", "true", "bits", "seconds"])


def test_scores_by_hand(suite):
    table = calibration.scores(suite).set_index(["estimator", "cells"])
    line = table.loc[("default", 5000)]
    assert line["problems"] == 3
    assert line["mean size of error (bits)"] == pytest.approx((0.2 + 0.04 + 1.0) / 3)
    assert line["within 15 %"] == "1 of 2"
    assert line["found at 0 bits"] == pytest.approx(0.04)
    assert line["estimates"] == 4
    assert table.loc[("lmi", 5000), "within 15 %"] == "0 of 1"


def test_findings_by_hand(suite):
    near, far, slow = (make(suite).data for make in (calibration.how_near, calibration.furthest, calibration.how_long))
    assert "found within 15 % of the truth: default (ours) 1 of 2, LMI (ours) 0 of 1." in near
    assert "none of them finds more than 0.04 bits" in near
    assert "by -1.00 of 4.00 bits, and finds more than is there on 0 of 3 problems" in far
    assert "in the median: default (ours) 5, LMI (ours) 9." in slow  # of the medians of three problems: 5, 2 and 6


def test_figures_hold_every_estimator_and_number(suite):
    figure = calibration.recovered_figure(suite)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["default (ours)", "LMI (ours)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["280 cells", "5,000 cells"]
    (equal,) = (line for line in figure.axes[0].lines if hasattr(line, "get_slope"))
    assert (equal.get_xy1(), equal.get_slope()) == ((0, 0), 1)
    assert figure.axes[0].containers[0][0].get_xydata().tolist() == [[4.0, 2.0]]
    at_5000 = figure.axes[0].containers[2]
    drawn = dict(zip(at_5000[0].get_xdata(), at_5000[0].get_ydata(), strict=True))
    assert drawn == {2.0: pytest.approx(1.8), 0.0: -0.04, 4.0: 3.0}
    bars = {x: high - low for (x, low), (_, high) in at_5000[2][0].get_segments()}
    assert bars[2.0] == pytest.approx(2 * 0.2 / 2**0.5)  # the sd over two seeds 0.2 apart, up and down
    assert [list(axis) for axis in (figure.axes[0].get_xticks(), figure.axes[0].get_yticks())] == [
        [0, 1, 2, 3, 4, 5]
    ] * 2
    errors = calibration.errors_figure(suite)
    texts = [text.get_text() for text in errors.axes[0].texts]
    assert sorted(set(texts) - {"+0.00"}) == ["-0.04", "-0.20", "-1.00", "-1.20"]
    assert {text.get_color() for text in errors.axes[0].texts if abs(float(text.get_text())) < 1.1} == {"black"}
    assert errors.get_figheight() > 1 + 0.2 * len(errors.axes[0].get_yticks())  # room for a line of text a problem
    lines = calibration.cost_figure(suite).axes[0].lines
    assert [line.get_label() for line in lines] == ["default (ours)", "LMI (ours)"]
    assert lines[0].get_xydata().tolist() == [[280, 0.5], [5000, 5.0]]  # medians over problems of medians over seeds


def test_our_lmi_beside_the_published_code_is_paired_by_draw():
    """Worked by hand: draws that one alone was run on do not count."""
    rows = [
        ("a", 5000, "lmi", 0, 1.0), ("a", 5000, "latentmi", 0, 1.1), ("a", 5000, "lmi", 1, 1.2),
        ("a", 5000, "latentmi", 1, 1.1), ("a", 5000, "lmi", 2, 9.0), ("b", 1000, "lmi", 0, 0.5),
        ("b", 1000, "latentmi", 0, 0.75), ("c", 1000, "default", 0, 1.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["problem", "cells", "method", "seed", "bits"])
    found = calibration.beside_published(table).set_index("problem")
    assert found["difference"].to_dict() == pytest.approx({"a": 0.0, "b": -0.25})
    assert found.loc["a", "stderr"] == pytest.approx(0.1)
    assert found["draws"].to_dict() == {"a": 2, "b": 1}
    said = calibration.lmi_sentence(table).data
    assert "At 3,000 pairs and more our LMI less the published code is +0.00 to +0.00 bits, on the 1 problem " in said
    assert "is -0.25 to -0.25 bits" in said
    assert "nan" not in said
    assert "not run on the same problems" in calibration.lmi_sentence(table[table["method"] == "lmi"]).data


def measured(*estimators_, seeds=2):
    """PCA above scVI by 0.2 bits under the default, below by 0.2 under LMI; LMI's curves are flatter."""
    laws_of = {
        ("pca", "default"): (200.0, 3.0), ("scvi", "default"): (200.0, 2.8),
        ("pca", "lmi"): (100.0, 1.5), ("scvi", "lmi"): (100.0, 1.7),
    }  # fmt: skip
    rows = []
    for (model, estimator), (u_bar, i_max) in laws_of.items():
        for u in (10.0, 40.0, 160.0, 640.0, 2560.0) if estimator in estimators_ else ():
            for seed in range(seeds):
                rows.append(
                    ("d", "s", model, "small", 100, u / 2560, seed, estimator, u, laws.noise_law(u, u_bar, i_max))
                )
    columns = ["dataset", "signal", "model", "preset", "n_cells", "fraction", "seed", "estimator", "umis_per_cell"]
    return pd.DataFrame(rows, columns=[*columns, "mi_bits"]).assign(status="ok", variant="")


def test_fits_under_both_estimators_are_those_the_curves_were_made_with():
    table = estimators.fits_by_estimator(measured("default", "lmi")).set_index("model")
    assert table.loc["pca", "u_bar, default"] == pytest.approx(200, rel=1e-3)
    assert table.loc["scvi", "u_bar, lmi"] == pytest.approx(100, rel=1e-3)
    assert table.loc["pca", "ratio of u_bar, lmi / default"] == pytest.approx(0.5, rel=1e-3)
    assert table.loc["scvi", "i_max, lmi - default"] == pytest.approx(-1.1, abs=1e-3)


def test_fits_are_those_of_every_other_page():
    table = measured("default", "lmi")
    table["mi_bits"] += np.random.default_rng(0).normal(0, 0.2, len(table))  # seeds differ
    both = estimators.fits_by_estimator(table).set_index("model")
    alone = laws.fit_curves(table[table["estimator"] == "default"]).set_index("model")
    for name in ("u_bar", "i_max", "r_squared"):
        assert both[f"{name}, default"].to_dict() == pytest.approx(alone[name].to_dict())


def test_order_of_models_counts_where_the_estimators_part():
    (line,) = estimators.order_of_models(measured("default", "lmi")).to_dict("records")
    counted = line["same order"], line["other order"], line["nearer than 0.1 bits"]
    assert sum(counted) == 5  # one pair of models at five depths
    assert counted[0] == 0
    assert counted[1] > 0  # deep: 0.2 bits apart, the other way round under LMI


def test_levels_are_means_over_the_rows_measured_by_both():
    table = measured("default", "lmi")
    alone = table[(table["estimator"] == "default") | (table["fraction"] < 0.5)]
    line = estimators.level_by_estimator(alone).set_index("model").loc["pca"]
    deep = [laws.noise_law(u, 200.0, 3.0) for u in (10.0, 40.0, 160.0, 640.0)]
    flat = [laws.noise_law(u, 100.0, 1.5) for u in (10.0, 40.0, 160.0, 640.0)]
    assert line["rows"] == 8
    assert line["difference"] == pytest.approx((sum(flat) - sum(deep)) / 4)


def test_variants_and_failures_are_left_out():
    table = measured("default", "lmi")
    other = table.assign(variant="stop_on_scored", mi_bits=9.0)
    failed = table.assign(status="error", mi_bits=9.0)
    assert len(estimators.both_estimators(pd.concat([table, other, failed]))) == len(table) / 2


@pytest.mark.parametrize("estimator", ["default", "lmi"])
def test_without_a_second_estimator_the_page_says_so(estimator):
    table = measured(estimator)
    for compute in (
        estimators.both_estimators, estimators.fits_by_estimator, estimators.order_of_models,
        estimators.level_by_estimator, estimators.estimators_figure,
    ):  # fmt: skip
        with pytest.raises(TooLittle, match="both with LMI and with the default estimator"):
            compute(table)


def test_levels_come_sorted_by_data_set_and_model():
    table = measured("default", "lmi")
    both = pd.concat([table[table["model"] == "scvi"], table[table["model"] == "pca"].assign(signal="t")])
    assert estimators.level_by_estimator(both)["model"].tolist() == ["pca", "scvi"]


def test_panels_stand_in_two_columns():
    table = measured("default", "lmi")
    three = pd.concat([table.assign(signal=signal) for signal in "abc"])
    for rows, shown in ((table, 1), (three, 3)):
        axes = estimators.estimators_figure(rows).axes
        assert [panel.axison for panel in axes] == [True] * shown + [False]
        assert axes[0].get_gridspec().ncols == 2


def test_controls_have_a_panel_of_their_own():
    """No curve of a control lies among those of the models; its bits at full depth are in the last panel."""
    table = measured("default", "lmi")
    known = table[table["model"] == "pca"].assign(model="known_2_bits")
    known = known.assign(mi_bits=1.9 + 0.05 * (known["estimator"] == "lmi") - 0.5 * (known["fraction"] < 1))
    panels = [axes for axes in estimators.estimators_figure(pd.concat([table, known])).axes if axes.axison]
    assert [len(axes.lines) for axes in panels] == [4, 4]  # of two models and two estimators; two lines and two markers
    markers = [line for line in panels[1].lines if line.get_marker() == "*"]
    assert [line.get_ydata().tolist() for line in markers] == [[pytest.approx(1.9)], [pytest.approx(1.95)]]


def test_the_figure_draws_both_estimators_of_each_model():
    axes = estimators.estimators_figure(measured("default", "lmi")).axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--", "-", "--"]
    for line, (u_bar, i_max) in zip(axes.lines, ((200, 2.8), (100, 1.7), (200, 3.0), (100, 1.5)), strict=True):
        assert line.get_ydata() == pytest.approx(laws.noise_law(line.get_xdata(), u_bar, i_max))


def test_names_of_problems_in_words():
    said = calibration.in_words("student_2, 1,000 cells; gaussian_1 beside mixture_3.5, twice; KSG_2")
    assert said == "Student t of 2 bits, 1,000 cells; Gaussian of 1 bit beside 45 classes of 3.5 bits, twice; KSG_2"
