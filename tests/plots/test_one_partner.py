"""One partner thinned: exponents that were put in come out again."""

import numpy as np
import pytest

from noise_scaling import laws, measurements
from noise_scaling.plots import one_partner, page

U = np.geomspace(10, 1000, 8)


def rows(variant: str, sides: int, dataset: str, u_bar: float) -> list[dict]:
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    head = {"dataset": dataset, "signal": "space", "model": "pca", "preset": "small", "estimator": "default"}
    bits = laws.channels_law(U, u_bar, 1.5, sides=sides)
    return [
        blank | head | {"status": "ok", "n_cells": 500, "fraction": u / 1000, "umis_per_cell": u, "variant": variant}
        | {"mi_bits": float(b)} for u, b in zip(U, bits, strict=True)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table():
    made = [
        row
        for dataset, u_bar in (("merfish_poa", 200.0), ("seqfish_embryo", 300.0))
        for variant, sides in (("train_full_depth", 2), ("one_partner_thinned", 1))
        for row in rows(variant, sides, dataset, u_bar)
    ]
    return measurements.sort(made)


def test_the_exponent_returns_to_1(table):
    found = one_partner.exponents(table).set_index(["thinned", "dataset"])
    np.testing.assert_allclose(found.loc["one partner thinned", "exponent"], 1, atol=1e-3)
    assert (found.loc["both partners thinned", "exponent"] > 1.1).all()
    assert (found.loc["one partner thinned", "Eq. 1 errs"] < 1e-3).all()
    assert (found.loc["both partners thinned", "noise on both sides errs"] < 1e-3).all()
    said = one_partner.sentence(table).data
    assert "and 1.00 where one is (95 % interval 1.00 to 1.00). It " in said
    assert "in 2 of 2 curves). Noise on both sides predicts that it falls to 1, which lies" in said
    assert "0 of 2 with both partners thinned and 2 of 2 with one partner thinned" in said


def test_the_figure(table, tmp_path):
    figure = one_partner.partner_figure(table)
    assert len(figure.axes) == 2
    assert [line.get_linestyle() for line in figure.axes[0].lines[1:]] == ["None", "-", "None", "--"]
    path = measurements.write(table[table["variant"] == "train_full_depth"], tmp_path / "t.csv")
    assert "No pairs were measured with one partner" in page.show(one_partner.sentence, path).data
    assert "estimator default" in page.provenance(path, notebook="any.ipynb").data
