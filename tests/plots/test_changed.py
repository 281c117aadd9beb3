"""The page *What changed*: each former number is the former way of reading the same table."""

import re

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.plots import changed, page


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> dict[str, list[str]]:
    """Two models whose curves are of Eq. 1 in a power of depth 1.5, three seeds, beside a demo of two."""
    rng, rows = np.random.default_rng(0), []
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    blank |= {"dataset": "pbmc10k", "signal": "protein", "preset": "small", "estimator": "default", "status": "ok"}
    for model, more in (("pca", 0.05), ("scvi", 0.3), ("random_projection", -1.0)):
        for n in (100, 300, 1000, 3000):
            for q in np.geomspace(1, 0.005, 8):
                i_max = 2.5 + more * np.log10(n / 100)
                bits = laws.channels_law(2000 * q, 400.0, i_max, 1.5)
                cell = {"model": model, "n_cells": n, "fraction": q, "umis_per_cell": 2000 * q}
                rows += [blank | cell | {"seed": s, "mi_bits": bits + rng.normal(0, 0.02)} for s in range(3)]
    rows += [rows[0] | {"fraction": 0.36, "umis_per_cell": 720.0, "seed": s} for s in range(2)]
    file = measurements.write(rows, tmp_path_factory.mktemp("changed") / "mine.csv")
    html = page.show(changed.changes, str(file)).data
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]
    return {row[0]: row[1:] for row in cells if row}


def test_intervals_of_the_law_behind_the_curves_held_it_seldom_and_do_now(shown):
    (row,) = (row for what, row in shown.items() if "</sub> by Eq. 1 in a power of depth" in what)
    assert int(row[0].rstrip("%")) > 70
    assert int(row[1].rstrip("%")) < 26  # of 8 curves


def test_starts_are_all_counted(shown):
    (row,) = (row for what, row in shown.items() if what.startswith("PCA: factor"))
    told = int(re.search(r"\((\d+) of 28 starts\)", row[0]).group(1))
    assert told < 14
    assert row[1].startswith("more than") or "over" in row[1] or "to" in row[1]


def test_points_are_tied_and_rows_of_another_run_left_out(shown):
    (best,) = (row for what, row in shown.items() if what.startswith("scVI is best"))
    assert "tied" in best[1]
    (runs,) = (row for what, row in shown.items() if what.startswith("Rows that pages draw from"))
    assert runs == ["290", "288, of one run each"]


def test_a_table_that_holds_too_little_has_fewer_lines(tmp_path):
    row = pd.Series({name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()})
    lone = row.to_dict() | {"dataset": "d", "model": "pca", "estimator": "lmi", "status": "ok", "mi_bits": 1.0}
    lone |= {"n_cells": 10, "fraction": 1.0, "umis_per_cell": 10.0, "preset": "small", "signal": "s"}
    html = page.show(changed.changes, str(measurements.write([lone], tmp_path / "one.csv"))).data
    assert "95 % intervals of <i>I</i><sub>max</sub>" in html
    assert "scVI is best" not in html
