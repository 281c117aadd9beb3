import json

import numpy as np
import pandas as pd
import pytest

from noise_scaling import measurements, paths
from noise_scaling.errors import TooLittle
from noise_scaling.plots import page, trained

FRACTIONS = (1.0, 0.1, 0.01)
TABLE = paths.ROOT / "data" / "gpu" / "measurements.csv"


def rows(model: str, bits: tuple[float, ...], preset: str = trained.PRESET) -> list[dict]:
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    head = {"dataset": "pbmc10k", "signal": "protein", "model": model, "preset": preset, "estimator": "default"}
    return [
        blank | head | {"status": "ok", "n_cells": 1000, "fraction": q, "umis_per_cell": 1000 * q, "mi_bits": b}
        | {"mi_stderr": 0.03}
        for q, b in zip(FRACTIONS, bits, strict=True)
    ]  # fmt: skip


def test_a_gain_is_one_beyond_two_standard_errors_of_the_difference():
    table = measurements.sort(
        rows("geneformer", (2.0, 1.05, 0.2)) + rows("untrained_geneformer", (1.5, 1.0, 0.4))
        + rows("geneformer", (9, 9, 9), "small")
    )  # fmt: skip
    found = trained.gains(table)
    assert found["trained_is"].tolist() == ["above", "a tie", "below"]
    np.testing.assert_allclose(found["difference"], [0.5, 0.05, -0.2])
    np.testing.assert_allclose(found["standard_error"], np.hypot(0.03, 0.03))
    said = trained.verdict(table).data
    assert "of 3 depths above at 1 (1,000 UMIs per cell), a tie at 1 (100 UMIs per" in said
    assert "; the difference is -0.20 to +0.50 bits." in said
    at = table[table["model"] == "geneformer"]["mi_bits"].idxmin()
    unsure = table.assign(mi_stderr=table["mi_stderr"].where(table.index != at, 0.9))
    assert "; the difference is +0.05 to +0.50 bits, 1 uncertain estimate left out." in trained.verdict(unsure).data
    two = measurements.sort([*table.to_dict("records"), *rows("pca", (3.0, 1.05, 0.0), "published")])
    assert (
        "at 3 points of data set, cells and depth, it is above at 1, a tie at 1, below at 1." in trained.lead(two).data
    )
    again = [
        row | {"seed": 1, "mi_bits": row["mi_bits"] + 0.4 * (row["model"] == "geneformer")}
        for row in two.to_dict("records")
    ]
    means = trained.gains(measurements.sort([*two.to_dict("records"), *again]))
    np.testing.assert_allclose(means["difference"], [0.7, 0.25, 0.0], atol=1e-9)  # 0.2 more in the mean
    np.testing.assert_allclose(means["standard_error"], np.hypot(0.03, 0.03) / np.sqrt(2))
    assert means["seeds"].eq(2).all()
    assert means["trained_is"].tolist() == ["above", "above", "a tie"]
    assert "below at deep ones (PBMC 10k: up to 10 UMIs per cell, and from 1,000 on)." in trained.lead(two).data
    below = two.assign(mi_bits=two["mi_bits"] - 9 * (two["model"] == "geneformer"))
    assert "shallow" not in trained.lead(below).data  # no side changes
    few = [row | {"n_cells": 500, "mi_bits": 9} for row in rows("geneformer", (1, 1, 1))]
    fewer = measurements.sort(
        [*table.to_dict("records"), *few, *(row | {"n_cells": 500} for row in rows("untrained_geneformer", (1, 1, 1)))]
    )
    assert trained.verdict(fewer).data == said  # of the most cells alone
    other = measurements.sort(rows("geneformer", (2.0, 1.05, 0.2)) + rows("pca", (3.0, 1.05, 0.0), "published"))
    assert trained.gains(other, "pca")["trained_is"].tolist() == ["below", "a tie", "above"]


def test_the_figure_has_the_preset_beside_other_models_and_no_other_geneformer():
    every = (
        rows("geneformer", (2.0, 1.0, 0.5)) + rows("geneformer", (9, 9, 9), "small") + rows("pca", (3, 2, 1), "small")
    )
    figure = trained.depth_figure(measurements.sort(every))
    curves = [line.get_ydata().tolist() for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert sorted(curves) == [[0.5, 1.0, 2.0], [1, 2, 3]]
    figure = trained.depth_figure(
        measurements.sort(every + [row | {"seed": 1, "mi_bits": row["mi_bits"] + 1} for row in every])
    )
    curves = [line.get_ydata().tolist() for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert sorted(curves) == [[1.0, 1.5, 2.5], [1.5, 2.5, 3.5]]  # means over seeds


def test_what_the_small_one_learns_is_a_mean_over_depths_by_cells():
    few = rows("geneformer", (1.0, 0.9, 0.8), "small") + rows("untrained_geneformer", (1.0, 1.0, 0.9), "small")
    many = rows("geneformer", (2.0, 1.9, 1.5), "small") + rows("untrained_geneformer", (1.5, 1.4, 1.0), "small")
    table = measurements.sort(
        [row | {"n_cells": n} for n, some in ((100, few), (900, many)) for row in some]
        + rows("geneformer", (9, 9, 9)) + rows("untrained_geneformer", (0, 0, 0))
    )  # fmt: skip
    found = trained.by_cells(table)
    np.testing.assert_allclose(found["difference"], [-0.2 / 3, 0.5])
    np.testing.assert_allclose(found["standard_error"], [0.1 / 3, 0], atol=1e-12)  # of 0, -0.1 and -0.1
    assert found["trained_is"].tolist() == ["a tie", "above"]
    again = [
        row | {"seed": 1, "mi_bits": row["mi_bits"] + (row["model"] == "geneformer")}
        for row in table.to_dict("records")
    ]
    both = trained.by_cells(measurements.sort([*table.to_dict("records"), *again]))
    np.testing.assert_allclose(both["standard_error"], [0.5, 0.5])  # over seeds, the larger
    said = trained.small_verdict(table).data
    assert "At the fewest cells of each signal (100) it is a tie in 1 of 1, and the median difference is -0.07" in said
    assert "At the most cells of each signal (900) it is above in 1 of 1, and the median difference is +0.50" in said
    figure = trained.small_figure(table)
    dots = [line.get_xdata().tolist() for line in figure.axes[0].lines if line.get_marker() in "os"]
    assert dots == [[found["difference"][0]], [found["difference"][1]]]


def test_a_table_without_the_preset_gives_a_sentence(tmp_path):
    path = measurements.write(measurements.sort(rows("geneformer", (2, 1, 0), "small")), tmp_path / "t.csv")
    for draw in (trained.gains, trained.depth_figure):
        with pytest.raises(TooLittle):
            draw(measurements.read(path))
        assert trained.PRESET in page.show(draw, path).data


def test_the_committed_curves_are_those_of_the_committed_rows():
    rows, curves = measurements.read(TABLE), pd.read_csv(paths.ROOT / "data/curves/gpu.csv")
    mine = rows[(rows["model"] == "geneformer") & (rows["estimator"] == "default")]
    key = ["dataset", "n_cells", "fraction", "seed"]
    assert set(map(tuple, curves[key].to_numpy())) == set(map(tuple, mine[key].to_numpy()))
    assert set(mine["preset"]) == {trained.PRESET}
    assert mine[mine["n_cells"] > 1000].groupby("dataset").size().ge(6).sum() == 3  # depths, of three data sets
    assert len(trained.loss_figure("data/curves/gpu.csv").axes) == 3
    assert trained.lead(rows).data.count("UMIs per cell, and from") == 3  # as the page says in prose of all three sets
    fewer = trained.gains(rows).query("dataset == 'xenium_breast' and n_cells == 10_000 and umis_per_cell > 90")
    assert fewer.groupby("estimator")["trained_is"].unique().map(list).to_dict() == {
        "default": ["a tie"],
        "lmi": ["above"],
    }


def test_bits_along_the_steps_end_with_the_weights_kept(tmp_path):
    point = {"dataset": "a", "n_cells": 10, "fraction": 0.5, "kept": 300.0, "bits": {"0": [1, 0.1], "100": [2, 0.1]}}
    path = tmp_path / "points.json"
    path.write_text(json.dumps({"points": [point | {"bits": point["bits"] | {"kept": [3, 0.1]}}, point]}))
    (line,) = trained.steps_figure(path).axes[0].containers
    assert line[0].get_xdata().tolist() == [0, 100, 300]
    assert line[0].get_ydata().tolist() == [1, 2, 3]


def test_what_ranks_lose_is_a_difference_of_means(tmp_path):
    about = {"dataset": "pbmc10k", "signal": "protein", "readout": "random projection"}
    points = [
        about | {"seed": seed, "fraction": q, "umis_per_cell": 1000 * q, "counts": 2 * q + 0.1 * seed, "ranks": q}
        | {"first 512 ranks": q - 0.25, "first 64 ranks": q / 2}
        for seed in (0, 1) for q in (1.0, 0.1)
    ]  # fmt: skip
    file = tmp_path / "ranks.json"
    file.write_text(json.dumps({"points": points}))
    said = trained.ranks_verdict(file).data
    assert "at 1,000 UMIs per cell counts hold 2.05 bits, ranks less counts is -1.05, and the first 512 or 64" in said
    assert "ranks less all ranks -0.25 or -0.50" in said
    assert "at 100 UMIs per cell counts hold 0.25 bits, ranks less counts is -0.15" in said
    counts = trained.ranks_figure(file).axes[0].get_lines()[0]
    np.testing.assert_allclose(counts.get_xydata(), [(100, 0.25), (1000, 2.05)])
