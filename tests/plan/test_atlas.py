"""New cells read by a model trained on an atlas: which rows count, and the depth that keeps enough."""

import numpy as np
import pytest

from noise_scaling import laws, measurements, paths
from noise_scaling.plan import atlas

Q = (1.0, 0.3, 0.1, 0.03, 0.01)


def row(train: float, test: float, bits: float, **values) -> dict:
    head = {"dataset": "toy", "signal": "s", "model": "pca", "preset": "small", "estimator": "default", "status": "ok"}
    depths = {"fraction_train": train, "fraction": test, "umis_per_cell": 1000 * test, "n_cells": 500}
    return measurements.BLANK | head | depths | {"mi_bits": float(bits)} | values


def deep(q: float) -> float:
    return laws.noise_law(1000 * q, 50, 3)


def alike(q: float) -> float:
    return laws.noise_law(1000 * q, 150, 3) if q < 1 else deep(q)


@pytest.fixture
def factorial():
    rows = [row(1, q, deep(q)) for q in Q] + [row(q, q, alike(q)) for q in Q[1:]] + [row(0.1, 0.3, 0.7)]
    return measurements.sort([*rows, row(1, 1, 2, n_cells=90)])


def test_rows_of_the_factorial(factorial):
    found = atlas.atlas(factorial)
    assert found["n_cells"].tolist() == [500] * 5  # of 90 cells there is nothing to compare
    np.testing.assert_allclose(found["bits_trained_deep"], [deep(q) for q in Q[::-1]])
    np.testing.assert_allclose(found["bits_trained_alike"], [alike(q) for q in Q[::-1]])
    (said,) = atlas.depths(found)
    kept = [
        np.exp(np.interp(0.9 * deep(1), [curve(q) for q in Q[::-1]], np.log([1000 * q for q in Q[::-1]])))
        for curve in (deep, alike)
    ]
    assert f"pca: new cells of {kept[0]:.0f} UMIs of the panel keep 90% of what the deepest, 1,000, give" in said
    assert f"on 500 deep cells; of {kept[1]:.0f} where it is trained on cells as shallow as they" in said


def test_the_committed_factorial_joins_the_rows_of_its_data_set(factorial, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FACTORIAL", tmp_path / "factorial.csv")
    rows = factorial[factorial["fraction_train"] == factorial["fraction"]]
    assert atlas.atlas(atlas.with_factorial(rows)).empty
    other = factorial.assign(dataset="other")
    measurements.write(measurements.sort([*factorial.to_dict("records"), *other.to_dict("records")]), paths.FACTORIAL)
    assert len(atlas.atlas(atlas.with_factorial(rows))) == 5
    assert set(atlas.with_factorial(rows)["dataset"]) == {"toy"}
    nameless = rows.drop(columns="dataset")
    assert atlas.with_factorial(nameless) is nameless
