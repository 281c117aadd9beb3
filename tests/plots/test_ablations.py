import base64
import re

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.errors import TooLittle
from noise_scaling.plots import ablations, page

FRACTIONS = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01)


def row(**values) -> dict:
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    head = {"dataset": "pbmc10k", "signal": "protein", "model": "pca", "preset": "small", "estimator": "default"}
    return blank | head | {"status": "ok", "n_cells": 1000} | values


def curve(variant: str, u_bar: float, i_max: float, seed: int = 0, **values) -> list[dict]:
    return [
        row(
            variant=variant, fraction=q, umis_per_cell=1000 * q, seed=seed,
            mi_bits=float(laws.noise_law(1000 * q, u_bar, i_max)), **values,
        )
        for q in FRACTIONS
    ]  # fmt: skip


def test_effects_are_paired_differences_and_parameters_of_eq_1():
    table = measurements.sort(curve("", 300, 3) + curve("genes_full_depth", 200, 3.1) + curve("thin_per_gene", 300, 3))
    found = ablations.effects(table).set_index("ablation")
    genes = found.loc["genes chosen, and medians taken, at full depth"]
    u = 1000 * np.array(FRACTIONS)
    difference = laws.noise_law(u, 200, 3.1) - laws.noise_law(u, 300, 3)
    assert genes["effect"] == pytest.approx(difference.mean())
    assert genes["seeds"] == 1
    assert np.isnan(genes["stderr"])  # six depths of one seed are one draw of the cells
    assert genes["low_depth"] == pytest.approx(difference[-2:].mean())
    assert (genes["u_bar_without"], genes["u_bar_with"]) == (pytest.approx(300, rel=1e-3), pytest.approx(200, rel=1e-3))
    assert genes["i_max_with"] - genes["i_max_without"] == pytest.approx(0.1, abs=1e-3)
    assert found.loc["each gene thinned to a fixed total", "effect"] == 0


def test_the_standard_error_of_an_effect_is_by_seed():
    rows = [r for seed, i_max in enumerate((3.0, 3.1, 3.4)) for r in curve("epoch_patience", 300, i_max, seed=seed)]
    rows += [r for seed in range(3) for r in curve("", 300, 3, seed=seed)]
    (line,) = ablations.effects(measurements.sort(rows))[:1].to_dict("records")
    means = [np.mean(laws.noise_law(1000 * np.array(FRACTIONS), 300, i)) for i in (3.0, 3.1, 3.4)]
    assert line["stderr"] == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))


def test_effects_come_sorted_whatever_the_order_of_the_rows():
    rows = [
        line
        for dataset, model in (("pbmc10k", "scvi"), ("larry_subset", "pca"), ("pbmc10k", "pca"))
        for line in curve("", 300, 3, dataset=dataset, model=model)
        + curve("epoch_patience", 300, 2, dataset=dataset, model=model)
    ]
    found = ablations.effects(pd.DataFrame(rows))[:3]
    assert found[["dataset", "model"]].to_numpy().tolist() == [
        ["larry_subset", "pca"], ["pbmc10k", "pca"], ["pbmc10k", "scvi"]
    ]  # fmt: skip


def test_depths_a_rounding_apart_are_one_depth():
    rows = [r for r in curve("", 300, 3) + curve("epoch_patience", 300, 3) if r["fraction"] in (1.0, 0.1, 0.01)]
    twice = [r | {"seed": 1, "umis_per_cell": r["umis_per_cell"] + 2e-4} for r in rows]
    (line,) = ablations.effects(measurements.sort(rows + twice))[:1].to_dict("records")
    assert line["pairs"] == 6
    assert np.isnan([line["u_bar_without"], line["u_bar_with"]]).all()  # three depths are too few


def test_the_nominal_depth_moves_the_law_and_no_bits():
    rows = [r | {"umis_per_cell_nominal": 0.9 * r["umis_per_cell"]} for r in curve("", 300, 3)]
    found = pd.DataFrame(ablations._effect_rows("", ablations.nominal_depth(measurements.sort(rows)))).iloc[0]
    assert (found["effect"], found["pairs"]) == (0, 6)
    assert found["u_bar_with"] / found["u_bar_without"] == pytest.approx(0.9, rel=1e-3)
    assert found["i_max_with"] == pytest.approx(found["i_max_without"], abs=1e-3)


def test_effects_of_the_nominal_depth_are_in_the_download_alone(tmp_path):
    rows = [r | {"umis_per_cell_nominal": 0.9 * r["umis_per_cell"]} for r in curve("", 300, 3)]
    path = measurements.write(measurements.sort(rows + curve("epoch_patience", 300, 2)), tmp_path / "t.csv")
    shown = page.show(ablations.effects_table, path).data
    assert "<p>In the download alone: 1 row of the nominal depth on the axis, 0 bits by construction.</p>" in shown
    assert ">patience counted in epochs<" in shown
    assert ">nominal depth on the axis<" not in shown
    full = base64.b64decode(re.search(r"base64,([\w+/=]+)", shown)[1]).decode()
    assert full.count("\nnominal depth on the axis") == 1
    assert 'download="effects_ours_default.csv"' in shown


def test_a_row_without_its_partner_has_no_effect():
    table = measurements.sort(curve("", 300, 3, seed=1) + curve("epoch_patience", 300, 2, seed=0))
    with pytest.raises(TooLittle):
        ablations.effects(table)


def test_noise_by_source_is_the_spread_over_seeds():
    rng = np.random.default_rng(0)
    rows = [
        row(variant=variant, fraction=q, umis_per_cell=1000 * q, seed=seed, mi_bits=2 + sd * rng.standard_normal())
        for variant, sd in (("vary_split", 0.05), ("vary_estimator", 0.01))
        for q in FRACTIONS
        for seed in range(20)
    ]
    found = ablations.noise_by_source(measurements.sort(rows)).set_index("source")
    assert found.loc["split of the cells", "sd"] == pytest.approx(0.05, rel=0.15)
    assert found.loc["estimator", "degrees_of_freedom"] == 6 * 19
    line = found.loc["estimator"]
    assert line["sd_low"] < 0.01 < line["sd_high"]
    squares = 114 * line["sd"] ** 2  # chi-squared of 114 degrees of freedom: 2.5 % below 86.34, 2.5 % above 145.44
    assert (line["sd_low"], line["sd_high"]) == pytest.approx(np.sqrt([squares / 145.44, squares / 86.34]), rel=1e-3)


def test_separate_depths_stand_side_by_side():
    table = measurements.sort(
        curve("", 300, 3) + curve("train_full_depth", 250, 3) + curve("test_full_depth", 20, 3) + curve("", 300, 3, 1)
    )
    bits = ablations.separate_depths(table)
    assert len(bits) == len(FRACTIONS)
    np.testing.assert_allclose(bits["train_full_depth"], laws.noise_law(bits["u"], 250, 3))
    figure = ablations.separate_depths_figure(table)
    fits = ablations.depth_fits(table).set_index("thinned")
    assert fits.loc["train at full depth, test thinned", "u_bar"] == pytest.approx(250, rel=1e-3)
    assert fits.loc["train and test thinned", "bits_at_lowest_depth"] == pytest.approx(laws.noise_law(10, 300, 3))
    lines = figure.axes[0].lines[1:]
    assert [line.get_linestyle() for line in lines] == ["-", "--", ":"]
    for line, u_bar in zip(lines, (300, 250, 20), strict=True):
        np.testing.assert_allclose(line.get_ydata(), laws.noise_law(line.get_xdata(), u_bar, 3))


def test_ways_of_thinning_are_compared_on_the_seeds_that_all_of_them_have():
    """A seed that was thinned together alone, 1 bit higher, would lift that line above the others."""
    ways = [curve(variant, 300, 3) for variant in ("", "train_full_depth", "test_full_depth")]
    more = [row | {"seed": 7, "mi_bits": row["mi_bits"] + 1} for row in ways[0]]
    bits = ablations.separate_depths(measurements.sort([*ways[0], *ways[1], *ways[2], *more]))
    np.testing.assert_allclose(bits[""], bits["train_full_depth"])
    with pytest.raises(TooLittle, match="No seed has"):
        ablations.separate_depths(measurements.sort([*more, *ways[1], *ways[2]]))


def test_steps_held_fixed_and_early_stopping():
    rows = [
        row(fraction=1.0, umis_per_cell=1000.0, seed=s, n_cells=n, mi_bits=2.0, model="scvi")
        for s in (0, 1)
        for n in (100, 1000)
    ]
    fixed = [r | {"variant": "fixed_steps_500", "mi_bits": 2.25 - 0.25 * (r["n_cells"] == 100)} for r in rows]
    found = ablations.steps_effects(measurements.sort(rows + fixed)).set_index("n_cells")
    assert found["steps"].tolist() == [500, 500]
    assert found["difference"].tolist() == [0.0, 0.25]
    assert found["seeds"].tolist() == [2, 2]


def test_pages_say_when_nothing_was_measured(tmp_path):
    path = measurements.write(measurements.sort(curve("", 300, 3)), tmp_path / "t.csv")
    pieces = (ablations.effects, ablations.noise_by_source, ablations.steps_effects, ablations.depth_fits)
    for draw in (*pieces, ablations.separate_depths_figure):
        assert page.show(draw, path).data.startswith("<p>No ")


def test_the_parts_of_counting_pairs_in_both_orders_are_told_beside_the_whole():
    ways = {"both_pair_orders": 3.6, "both_orders_together": 3.1, "pairs_ungrouped": 3.2}
    rows = curve("", 300, 3) + [r for variant, i_max in ways.items() for r in curve(variant, 300, i_max)]
    table = measurements.sort(rows)
    mean = table.groupby("variant")["mi_bits"].mean()
    said = ablations.pair_orders(table).data
    whole, orders, cut = (mean[variant] - mean[""] for variant in ways)
    assert f"add {whole:.2f} bits in the mean of 1 curves" in said
    assert f"both orders alone {orders:.2f}, folds that cut groups alone {cut:.2f}. In 1 of 1" in said
    with pytest.raises(TooLittle):
        ablations.pair_orders(table[table["variant"] != "pairs_ungrouped"])
