import pandas as pd

from noise_scaling import measurements
from noise_scaling.plots import training


def test_curves_are_found_by_their_units(tmp_path):
    table = pd.DataFrame(
        {"model": ["scvi", "scvi", "pca"], "n_cells": [100, 50, 50], "fraction": 1.0, "config_hash": ["aa", "bb", "cc"]}
    )
    history = {"step": [20, 40, 60], "loss_train": [3.0, 2.0, 1.0], "elbo_validation": [9.0, 7.0, 8.0]}
    for unit in ("aa", "bb"):
        measurements.write_history(tmp_path, unit, history)
    curves = training.kept_curves(table, tmp_path)
    assert curves == {"scvi": [(n, [20.0, 40.0, 60.0], [9.0, 7.0, 8.0]) for n in (50, 100)]}
    axes = training.loss_figure(curves).axes[0]
    lowest = [line.get_xdata().tolist() + line.get_ydata().tolist() for line in axes.lines if line.get_marker() == "."]
    assert lowest == [[40, 7], [40, 7]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["50 cells", "100 cells"]


def test_without_curves_a_sentence(tmp_path):
    table = pd.DataFrame({"model": ["pca"], "n_cells": [50], "fraction": [1.0], "config_hash": ["aa"]})
    for results in (None, tmp_path):
        assert "No loss curves" in training.loss_curves(table, results).data
