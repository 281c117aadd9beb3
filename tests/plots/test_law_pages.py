"""The pages of the laws: figures with their parts, tables with their numbers, sentences that follow the data."""

import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.laws import compare, holdout
from noise_scaling.laws.curves import fits_of
from noise_scaling.laws.grids import grids
from noise_scaling.plots import cells_or_depth, page, saturation, style, table_audit
from noise_scaling.plots import laws as law_pages
from noise_scaling.plots.figures import MOST_SIGNALS

N, U = (100, 300, 1000, 3000, 10_000, 30_000), np.geomspace(10, 2000, 6)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Two data sets that follow a noise budget with noise of 0.02 bits, two models, two seeds."""
    rng = np.random.default_rng(0)
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    blank |= {"preset": "small", "estimator": "default", "status": "ok"}
    rows = []
    for dataset, signal, v0 in (("larry_subset", "clone", 0.1), ("pbmc10k", "protein", 0.03)):
        for model, v2 in (("pca", 0.5), ("scvi", 2.0)):
            for n in N:
                for u in U:
                    bits = laws.noise_budget(n, u, v0, 20.0, v2, 500.0, 0.5)
                    cell = {"dataset": dataset, "signal": signal, "model": model, "n_cells": n, "fraction": u / 2000}
                    rows += [
                        blank | cell | {"seed": s, "umis_per_cell": u, "mi_bits": bits + rng.normal(0, 0.02)}
                        for s in (0, 1)
                    ]
    return measurements.sort(rows)


@pytest.fixture(scope="module")
def source(table, tmp_path_factory) -> str:
    return str(measurements.write(table, tmp_path_factory.mktemp("laws") / "mine.csv"))


def outside(figure):
    style.as_png(figure)
    (legend,) = figure.legends
    box = legend.get_window_extent()
    return not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_scores_name_every_law(source):
    shown = page.show(law_pages.scores, source).data
    assert "24 curves of 4 grids" in shown
    assert all(law.label in shown for law in laws.ALTERNATIVES.values())


def test_errors_figure_has_a_row_a_law(table):
    figure = law_pages.errors_figure(table)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == len(laws.ALTERNATIVES)
    assert outside(figure)
    found = law_pages.compared(table).groupby("label")
    for axes, column in zip(figure.axes, ("left_out", "ahead"), strict=True):
        bars, middles = axes.lines[:-1:2], axes.lines[1:-1:2]
        for label, bar, middle in zip(labels, bars, middles, strict=True):
            quartiles = found.get_group(label)[column].quantile([0.25, 0.5, 0.75])
            np.testing.assert_allclose([bar.get_xdata()[0], middle.get_xdata()[0], bar.get_xdata()[1]], quartiles)
            assert middle.get_marker() == ("s" if found.get_group(label)["n_parameters"].iloc[0] == 3 else "o")
        eq1 = found.get_group("Eq. 1")[column].median()
        assert axes.lines[-1].get_xdata()[0] == pytest.approx(eq1)


def test_residuals_of_the_true_law_lie_on_zero(table):
    figure = law_pages.residuals_figure(table)
    eq1 = figure.axes[0].lines[0].get_ydata()
    straight = figure.axes[3].lines[0].get_ydata()
    assert np.abs(eq1).max() < 0.02 < np.abs(straight).max()
    found = compare.curves(grids(table))
    left = compare.residuals(found, laws.ALTERNATIVES["noise_law"])
    low, middle, high = np.quantile(left[:, 0], [0.25, 0.5, 0.75])  # every curve has the same six depths: a bin each
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    at = np.isclose(corners[:, 0], figure.axes[0].lines[0].get_xdata()[0])
    assert (corners[at, 1].min(), eq1[0], corners[at, 1].max()) == pytest.approx((low, middle, high))


def test_residuals_are_binned_in_eighths_of_the_points():
    x = np.random.default_rng(0).permutation(np.geomspace(0.01, 1, 800))
    points = law_pages._binned(x, np.log(x))
    at, middle = points["x"].median(), points["left"].median()
    np.testing.assert_allclose(at, 0.01 ** (1 - np.arange(1, 16, 2) / 16), rtol=0.01)
    np.testing.assert_allclose(middle, np.log(at), atol=0.01)


def test_what_laws_leave_is_said_and_drawn_from_the_same_medians(source):
    said = page.show(law_pages.residuals_sentence, source).data
    drawn = page.show(law_pages.residuals_figure, source).axes[0].lines[0].get_ydata()
    assert f"Eq. 1 {drawn.min():+z.3f} to {drawn.max():+z.3f};" in said


def test_verdict_sets_eq1_ahead_where_it_is_the_truth(source):
    told = page.show(law_pages.verdict, source).data
    assert "Eq. 1 beside “straight line in log depth”, on a depth left out: Eq. 1 foretells better." in told
    assert "Points lie about as far as seeds alone would scatter them" in told


def test_laws_are_told_apart_by_the_kind_of_signal(table):
    found = law_pages.by_kind(table)
    assert list(found["kind"]) == ["measured values", "another cell's counts"]
    assert list(found["signal"]) == ["PBMC 10k, 14 proteins", "LARRY subset, clone"]
    compared = law_pages.compared(table)
    mine = compared[(compared["dataset"] == "larry_subset") & (compared["law"] == "two_sided")]
    assert found["noise on both sides"].iloc[1] == mine["left_out_median"].median()
    assert found["D"].between(0.5, 2).all()  # the tables are of Eq. 1
    assert "at bound: half of the curves" in law_pages.kinds_table(table).data
    assert [law_pages._channels(d) for d in (0.2, 1.234, np.inf)] == ["at bound", "1.23", "at bound"]
    said = law_pages.kind_lines(found)[1]
    assert said.startswith("Where signals are another cell's counts (1 signal), ")
    assert "median" not in said  # of one signal there is none
    assert "By signal" not in said
    several = law_pages.kind_lines(pd.concat([found, found]))[0]
    assert "(2 signals)" in several
    assert several.endswith(" for 2 signals.")
    assert law_pages.kind("mouse_embryo", "time") == "label"  # the published name of the card's day
    assert law_pages.kind("mine", "time") == ""


def test_the_simulators_exact_curves_tell_the_law_of_each_kind():
    missed = law_pages.exact().set_index("law")
    assert missed.loc["D channels", "measured values"] < 0.005 < 0.1 < missed.loc["Eq. 1", "measured values"]
    both = missed["another cell's counts"]
    assert both.idxmin() == "noise on both sides, D channels"
    assert both.min() < 0.01 < 0.2 < both["Eq. 1"]


def test_a_short_table_says_so(table, tmp_path):
    short = str(measurements.write(table[table["fraction"] > 0.1], tmp_path / "short.csv"))
    assert "No curve here has 5 depths" in page.show(law_pages.verdict, short).data
    assert "No grid here is large enough" in page.show(cells_or_depth.goals, short).data


def test_goals_follow_the_scores():
    names = ["grid", "dataset", "model", "design", "forecast", "rms", "median", "n_cells"]
    rows = []
    for i in range(5):
        for design in holdout.DESIGNS:
            for forecast, rms in (
                (holdout.LAW, 0.08),
                (holdout.CHOSEN, 0.05),
                (holdout.CARRY, 0.07),
                (holdout.LINE, 0.2),
            ):
                rows.append(((i,), "d", "m", design, forecast, rms, rms, 10))
    rates = pd.DataFrame({"free": [2.0, 2.0], "law": [3.0, 9.0], "surface": [2.1, 3.9]})
    found = cells_or_depth.goal_rows(pd.DataFrame(rows, columns=names), rates)
    assert found[0][holdout.LAW] == "0.080 RMS: not met"
    assert found[0][holdout.CHOSEN] == "0.050 RMS: met"
    assert found[2][holdout.LAW] == "0 of 5: not met"
    assert found[2][holdout.CHOSEN] == "5 of 5: met"
    assert found[4] == {
        "goal": "exchange rates within a factor 2 of the grid's own at 70 % of starts",
        holdout.LAW: "50% of 2: not met",
        holdout.CHOSEN: "100% of 2: met",
    }


def test_forecasts_of_an_exact_law_are_its_noise(table):
    scored = cells_or_depth.scored(table)
    assert (scored.loc[scored["forecast"] == holdout.LAW, "rms"] < 0.06).all()
    assert outside(cells_or_depth.forecasts_figure(table))


def test_forecasts_are_drawn_by_grid_and_design(table):
    found = cells_or_depth.forecasts(table).set_index(["design", "forecast", "grid"])["rms"]
    figure = cells_or_depth.forecasts_figure(table)
    first = figure.axes[0]
    names = [label.get_text() for label in first.get_yticklabels()]
    expected = [
        f"{title}, {model}" for model in ("PCA", "scVI") for title in ("LARRY subset, clone", "PBMC 10k, 14 proteins")
    ]
    assert names[::-1] == expected  # from top to bottom
    keys = sorted({key for *_, key in found.index}, key=lambda key: (key[2], key[0]), reverse=True)
    assert len(figure.axes) == len(holdout.DESIGNS)
    for axes, design in zip(figure.axes, holdout.DESIGNS, strict=True):
        assert axes is first or axes.get_shared_y_axes().joined(axes, first)
        drawn = {line.get_marker(): line for line in axes.lines}
        yardstick = {holdout.MOST_CELLS: holdout.CARRY, holdout.DEEPEST: holdout.LINE}.get(design, holdout.LOW_RANK)
        for marker, forecast in (("o", holdout.CHOSEN), ("^", holdout.LAW), ("D", yardstick)):
            assert drawn[marker].get_ydata().tolist() == [0, 1, 2, 3]
            assert drawn[marker].get_xdata().tolist() == [found[design, forecast, key] for key in keys]
        assert axes.get_title(loc="left") == f"{design}\n(yardstick: {yardstick})"


def test_contours_label_bits_and_lie_in_the_grid(table):
    figure = cells_or_depth.contours_figure(table)
    assert len(figure.axes) == 4
    style.as_png(figure)
    assert figure.axes[0].get_xlim()[0] == pytest.approx(100, rel=0.2)
    assert {"100", "1,000", "10,000"} <= {label.get_text() for label in figure.axes[0].get_xticklabels()}
    assert figure.legends[0].get_texts()[0].get_text() == "noise budget, bits"
    for axes in figure.axes:
        labels = [text for text in axes.texts if text.get_text() and not text.get_gid()]  # but titles of rows
        boxes = [text.get_window_extent() for text in labels]
        assert len(labels) >= 3
        assert all(axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max) for box in boxes)
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    low = table.assign(mi_bits=0.05 * table["mi_bits"] / table["mi_bits"].max())
    assert "no contour in range" in [text.get_text() for text in cells_or_depth.contours_figure(low).axes[0].texts]
    many = pd.concat([table.assign(dataset=f"{name}_{i}") for i in range(4) for name in set(table["dataset"])])
    assert len(cells_or_depth.contours_figure(many).axes) <= 2 * MOST_SIGNALS  # as many rows as a screen holds


def test_rates_and_seeds_are_told(source):
    assert "starts with an answer" in page.show(cells_or_depth.rates, source).data
    told = cells_or_depth.between_seeds(source).data
    (shares,) = cells_or_depth.seed_shares(measurements.read(source)).to_dict("records")
    assert f"{shares['starts']:,} starts" in told
    assert 0 <= shares["law"] <= 1


def test_seeds_of_another_grid_are_left_out_alone(table):
    one = table[(table["dataset"] == "pbmc10k") & (table["model"] == "pca")]
    first = one[(one["seed"] == 0) & (one["fraction"] > one["fraction"].min())]
    three = pd.concat([first, one.assign(seed=one["seed"] + 1)])
    shares = cells_or_depth.seed_shares(one)
    pd.testing.assert_frame_equal(cells_or_depth.seed_shares(three), shares)
    assert shares["starts"][0] > 0


def test_rates_figure_has_every_start_and_the_band_of_a_factor_2(table):
    rates = cells_or_depth.rated(table)
    for axes, column in zip(cells_or_depth.rates_figure(table).axes, ("law", "surface"), strict=True):
        corners = axes.collections[0].get_paths()[0].vertices
        right = corners[corners[:, 0] == corners[:, 0].max()]
        np.testing.assert_allclose([right[:, 1].min(), right[:, 1].max()], right[0, 0] * np.array([0.5, 2]))
        drawn = np.concatenate([line.get_xydata() for line in axes.lines[1:]])
        assert sorted(drawn[:, 0]) == sorted(rates["free"])
        top = min(rates["free"].max() * 3, 1e4)
        assert sorted(drawn[:, 1]) == sorted(rates[column].clip(upper=top))
        share = (np.abs(np.log(rates[column] / rates["free"])) < np.log(2)).mean()
        assert f"{100 * share:.0f} % of {len(rates)} within a factor of 2" in axes.get_title(loc="left")


def test_infinite_rates_are_words():
    assert cells_or_depth.factor(np.inf) == "no number"
    assert cells_or_depth.factor(3.14159) == "3.1 x"
    assert cells_or_depth.factor(np.nan) == "–"


def test_the_filtered_table_is_the_published_without_its_flagged_rows(published):
    whole, filtered = page.measured("published"), page.measured("published-filtered")
    assert len(whole.table) - len(filtered.table) == 1440
    assert "without 1,440 flagged rows" in filtered.name
    assert "1,440 of 4,844 rows" in table_audit.flagged().data


def test_seeds_figure_shows_who_lies_below(published):
    figure = table_audit.seeds_figure()
    below = [sum(line.get_xdata() - line.get_ydata() > 0.5) for line in figure.axes[0].lines[:2]]
    assert below == [14, 27]
    assert len(figure.axes[1].lines[0].get_xdata()) == 100
    dashed = next(line for line in figure.axes[0].lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(dashed.get_xdata() - dashed.get_ydata(), 0.5)  # as its caption says


def test_verdicts_keep_the_starts_that_no_number_of_cells_answers():
    keys = [("pbmc10k", "protein", "pca", "small", "default"), ("larry_subset", "clone", "pca", "small", "default")]
    starts = pd.DataFrame({
        "grid": [keys[0]] * 4 + [keys[1]] * 3, "model": "pca", "u": [10.0, 10, 20, 20, 10, 20, 30],
        "rate": [2.0, 3, 4, 9, 5.0, 6, 7], "known": [True, True, True, False, False, False, False],
    })  # fmt: skip
    (told,) = cells_or_depth.verdict_lines(starts)
    assert "times the cells, in the median of 7 starting points. From 4 of them even the most cells" in told
    # of the first grid 2, 3, 4 and more than 9: half is reached at 3; of the second nothing is but the bounds
    assert re.search(r"By signal: PBMC 10k, 14 proteins 3\.0 \([^)]*\); LARRY subset, clone more than 6\.0\.", told)


def test_a_row_of_rates_is_brought_to_twice_the_depth():
    key = ("pbmc10k", "protein", "pca", "small", "default")
    ends = {"law": 16.0, "law_low": 4.0, "law_high": 64.0, "surface": 64.0}
    head = {"grid": [key] * 3, "model": "pca", "n": 100.0, "u": 10.0, "deeper": 4.0, "free": [9.0, 16.0, 16.0]}
    every = pd.DataFrame({"u": 10.0, "rate": [3.0, 4.0, 4.0, 9.0], "known": [True, True, True, False]})
    assert cells_or_depth.rate_row(key, every, pd.DataFrame(head | ends)) == {
        "grid": "PBMC 10k, 14 proteins, PCA",
        "starts": 4,
        "without an answer": 1,
        "all starts": "4.0 x (4.0 x to 4.0 x)",
        "starts with an answer": "4.0 x",
        "noise budget": "4.0 x (2.0 x to 8.0 x)",
        "with residuals": "8.0 x",
        "noise budget within 2 x": "100%",
        "with residuals within 2 x": "0%",
    }


def test_saturation_is_read_along_full_depth_and_the_most_cells(table):
    found = saturation.saturations(table).set_index(["dataset", "model"])
    best = laws.noise_budget(np.array(N, float), 2000, 0.03, 20.0, 0.5, 500.0, 0.5)
    exact = np.exp(np.interp(0.9 * best[-1], best, np.log(N)))
    assert found.loc[("pbmc10k", "pca"), "n_90%_low"] <= exact <= found.loc[("pbmc10k", "pca"), "n_90%_high"]
    assert (found["u_90%"] < found["u_95%"]).all()
    shown = saturation.saturation(table).data
    assert "cells for 90%" in shown
    assert "UMIs per cell for 95%" in shown


def test_growth_counts_the_curves_whose_three_parameters_are_determined(table):
    rows = cells_or_depth.cell_rows(table)
    assert rows["fraction"].nunique() == 1  # the deepest
    found = fits_of(rows, ["dataset", "signal", "model"], law=laws.CELL_NUMBER_LAW).values()
    told = [fit.s for fit in found if fit.status == laws.CONVERGED]
    said = cells_or_depth.growth(table).data
    assert f"of Eq. 2 in {len(told)} of 4 curves" in said
    assert len(told) < 2 or f"lie between {np.quantile(told, 0.25):.2f} and" in said
