import numpy as np
import pytest

from noise_scaling import laws, measurements
from noise_scaling.errors import TooLittle
from noise_scaling.plots import model_size, page

FRACTIONS = (1.0, 0.3, 0.1, 0.03, 0.01)


def curve(variant: str, parameters: int, u_bar: float, i_max: float, **values) -> list[dict]:
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    head = {"dataset": "pbmc10k", "signal": "protein", "model": "geneformer", "preset": "small", "estimator": "default"}
    return [
        blank | head | {"status": "ok", "n_cells": 1000, "fraction": q, "umis_per_cell": 1000 * q, "variant": variant}
        | {"n_parameters": parameters, "mi_bits": float(laws.noise_law(1000 * q, u_bar, i_max))} | values
        for q in FRACTIONS
    ]  # fmt: skip


def test_sizes_are_fitted_where_several_were_measured_on_the_same_points():
    rows = (
        curve("", 300_000, 400, 2.0) + curve("width_256", 2_000_000, 250, 2.4) + curve("", 300_000, 9, 1.0, n_cells=50)
    )
    rows += curve("", 300_000, 400, 2.0, seed=1)  # a seed that only one size has
    found = model_size.sizes(measurements.sort(rows))
    assert found["n_parameters"].tolist() == [300_000, 2_000_000]
    assert found["seeds"].tolist() == [1, 1]
    np.testing.assert_allclose(found["u_bar"], [400, 250], rtol=1e-3)
    np.testing.assert_allclose(found["i_max"], [2.0, 2.4], rtol=1e-3)
    np.testing.assert_allclose(found["full_depth_bits"], laws.noise_law(1000, np.array([400, 250]), np.array([2, 2.4])))


def test_the_points_behind_the_verdict_and_full_depth_are_told(tmp_path):
    rows = [*curve("", 300_000, 400, 2.0), *curve("width_256", 2_281_122, 300, 1.9)]
    rows += curve("", 300_000, 900, 2.0, dataset="simulated", signal="vector")
    rows += curve("width_256", 2_281_122, 900, 1.0, dataset="simulated", signal="vector")
    rows += curve("", 0, 900, 2.1, dataset="simulated", signal="vector", model="untrained_geneformer")
    said = page.show(model_size.widest_told, measurements.write(measurements.sort(rows), tmp_path / "a.csv")).data
    wide, narrow = (
        laws.noise_law(1000 * np.array(FRACTIONS), 300, 1.9),
        laws.noise_law(1000 * np.array(FRACTIONS), 400, 2),
    )
    assert f"the widest is above the narrowest at {(wide > narrow).sum()} of 5 points of all depths and seeds" in said
    assert f"the widest finds {wide[0]:.2f} bits, the narrowest {narrow[0]:.2f}" in said
    assert (
        f"the most are {max(wide[0], narrow[0]):.2f}, by that of {'2.3 M' if wide[0] > narrow[0] else '300,000'} par"
        in said
    )
    assert said.count("The verdict leaves this out") == 1
    assert said.index("simulated") < said.index("The verdict leaves this out")


def test_the_figure_has_a_point_for_each_size(tmp_path):
    table = measurements.sort(curve("", 300_000, 400, 2.0) + curve("width_16", 80_000, 420, 1.8))
    table["mi_bits"] += 0.02 * np.sin(np.arange(len(table)))
    figure = model_size.sizes_figure(table)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [80_000, 300_000]
    for axes in figure.axes[1:]:
        assert axes.containers[0][0].get_xdata().tolist() == [80_000, 300_000]
    found = model_size.sizes(table)
    for axes, name in zip(figure.axes[1:], ("i_max", "u_bar"), strict=True):
        (line,) = axes.containers
        np.testing.assert_allclose(line[0].get_ydata(), found[name])
        ends = np.array(line[2][0].get_segments())[:, :, 1]
        limits = axes.get_ylim()
        np.testing.assert_allclose(ends, found[[f"{name}_low", f"{name}_high"]].clip(*limits))  # 95 % intervals
        cut = found.loc[found[f"{name}_high"] > limits[1], "n_parameters"]
        (arrows,) = (line for line in axes.lines if line.get_marker() == "^")
        assert arrows.get_xydata().tolist() == [[n, limits[1]] for n in cut]  # where a bar goes on, none elsewhere
        assert axes.get_shared_x_axes().joined(axes, figure.axes[0])
    assert len(cut) == 2  # of u_bar
    assert found["i_max"].max() > 0.5 * figure.axes[1].get_ylim()[1]
    path = measurements.write(table[table["variant"] == ""], tmp_path / "one.csv")
    for draw in (model_size.sizes, model_size.sizes_figure, model_size.widest_told):
        assert page.show(draw, path).data.startswith("<p>No model was measured at several sizes")


def test_a_fit_that_is_not_identified_is_left_out_of_the_figure_and_no_value_off_its_axes():
    flat = [row | {"mi_bits": 0.001 * row["umis_per_cell"]} for row in curve("width_256", 9_000_000, 400, 2.0)]
    table = measurements.sort(curve("", 300_000, 400, 2.0) + curve("width_16", 80_000, 420, 1.8) + flat)
    found = model_size.sizes(table).set_index("n_parameters")
    assert found.loc[9_000_000, "status"] != laws.CONVERGED
    figure = model_size.sizes_figure(table)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [80_000, 300_000, 9_000_000]
    for axes, name in zip(figure.axes[1:], ("i_max", "u_bar"), strict=True):
        assert axes.containers[0][0].get_xdata().tolist() == [80_000, 300_000]
        low, high = axes.get_ylim()
        assert low < found.loc[80_000, name] < high


def test_other_models_and_ablations_are_no_sizes():
    rows = curve("", 1, 400, 2.0) + curve("fixed_steps_10", 1, 300, 2.0) + curve("width_16", 2, 9, 1.0, model="pca")
    with pytest.raises(TooLittle):
        model_size.sizes(measurements.sort(rows))
