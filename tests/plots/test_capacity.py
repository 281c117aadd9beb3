"""Dimensions, and the authors' later tables: numbers that were put in, and the committed fits made again."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import datasets, laws, measurements
from noise_scaling.measurements import published
from noise_scaling.plots import capacity, follow_up, page

FRACTIONS = (1.0, 0.3, 0.1, 0.03, 0.01)


def curve(dims: int, u_bar: float, i_max: float, **values) -> list[dict]:
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    head = {"dataset": "pbmc10k", "signal": "protein", "model": "pca", "preset": "small", "estimator": "default"}
    head |= {"status": "ok", "variant": f"dims_{dims}"}
    return [
        blank | head | {"n_cells": n, "fraction": q, "umis_per_cell": 1000 * q}
        | {"mi_bits": float(laws.noise_law(1000 * q, u_bar, i_max)) - 20 / n} | values
        for q in FRACTIONS for n in (100, 400, 10_000)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rows = [*curve(4, 100, 2), *curve(16, 200, 3), *curve(64, 300, 3.3), *curve(16, 9, 9, variant="")]
    return measurements.sort(rows)


def test_each_number_of_dimensions_has_its_law(table):
    found = capacity.dimensions(table).set_index("dims")
    np.testing.assert_allclose(found["u_bar"], [100, 200, 300], rtol=0.01)
    np.testing.assert_allclose(found["i_max"], [2, 3, 3.3], rtol=0.01)
    np.testing.assert_allclose(
        found["full_depth_bits"], laws.noise_law(1000, np.array([100, 200, 300]), np.array([2, 3, 3.3])), atol=0.01
    )
    assert found["cells_90"].between(100, 400).all()
    said = capacity.sentences(table).data
    assert (
        "PCA, with 64 dimensions in place of 16: ū is multiplied by 1.50 to 1.50 (intervals lie apart in 0 of" in said
    )
    assert "<i>I</i><sub>max</sub> is multiplied by 1.10 to 1.10" in said
    assert "with 4, 16, 64 dimensions:" in said
    assert "Measured: PCA, with 4, 16, 64 dimensions, on 1 signal, at 1 seed." in said
    drawn = capacity.dimensions_figure(table).axes[2].containers[0][0]
    assert drawn.get_xdata().tolist() == [4, 16, 64]
    np.testing.assert_allclose(drawn.get_ydata(), [100, 200, 300], rtol=0.01)


def test_the_figure_has_every_seed_and_its_models_alone(table):
    two = pd.concat([table, table.assign(seed=1, mi_bits=table["mi_bits"] + 0.2)], ignore_index=True)
    figure = capacity.dimensions_figure(two)
    means, seeds = figure.axes[0].lines[:2]
    assert sorted(seeds.get_xdata()) == [4, 4, 16, 16, 64, 64]
    np.testing.assert_allclose(np.sort(seeds.get_ydata())[::2] + 0.1, means.get_ydata())
    ends = np.array(figure.axes[1].containers[0][2][0].get_segments())[:, :, 1]
    found = capacity.dimensions(two)
    np.testing.assert_allclose(ends[:, 0], found["i_max_low"])
    assert figure.legends[0].get_texts()[0].get_text() == "PCA"
    assert "scVI" not in capacity.sentences(two).data


def test_one_number_is_too_little(table, tmp_path):
    path = measurements.write(table[table["variant"] == "dims_16"], tmp_path / "one.csv")
    for draw in (capacity.sentences, capacity.dimensions_figure, capacity.dimensions):
        assert "several numbers of dimensions" in page.show(draw, path).data


def test_the_committed_fits_made_again():
    if not datasets.at_hand(datasets.card("published_follow_up")):
        pytest.skip("the authors' later tables are not at hand")
    again, kept = follow_up.fits(), published.statistics("follow_up")
    assert again["status"].tolist() == kept["status"].tolist()
    good = kept["status"] == laws.CONVERGED
    columns = ["curve", "deepest_bits", "u_bar", "i_max"]
    np.testing.assert_allclose(again.loc[good, columns], kept.loc[good, columns], rtol=1e-3)


def test_sentences_hold_numbers_of_the_tables():
    assert (
        "4.28 bits at full depth where it is fine-tuned on 100 cells and 4.25 on 100,000"
        in follow_up.pretrained_sentence().data
    )
    trials = follow_up.trials_sentence().data
    assert "0.07 to 3.94" in trials
    assert "0.0001 3.87 to 3.94" in trials
    assert "of 0.7 M" in follow_up.sizes_sentence().data
    flat = follow_up.sizes_figure().axes[2].lines[0]
    assert (flat.get_ydata()[0], flat.get_xdata()[-1]) == (pytest.approx(4.27611), 100_000)
    shown = follow_up.table().data
    assert shown.count("<tr") == 1 + 7 + 10 + 9
    assert all(f">{name}<" in shown for name in ("0.7 M parameters", "1,000 training cells", "trial 0"))
    assert "14.31" not in shown  # of a u_bar at its bound
