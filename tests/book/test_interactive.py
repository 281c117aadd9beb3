"""The zoo in headless Chromium: driven by keys, its numbers held to Python's; the laws in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.plots import curve_zoo

from .driver import Page
from .pages import DEPTHS, UNNAMED, downloaded, fit_rows, fits_a_phone, focus, page, row, text

TRUTH = {
    ("pca", 100): (250.0, 2.0),
    ("pca", 1000): (250.0, 2.5),
    ("scvi", 100): (400.0, 2.2),
    ("scvi", 1000): (500.0, 3.1),
}


def table(estimator: str = "default") -> pd.DataFrame:
    """Two seeds 0.02 bits above and below Eq. 1 with known parameters, and a control without information."""
    rows = []
    for (model, n), (u_bar, i_max) in {**TRUTH, ("shuffled", 1000): (1.0, 0.0)}.items():
        for u in DEPTHS:
            bits = float(laws.noise_law(u, u_bar, i_max))
            point = {"model": model, "n_cells": n, "fraction": u / 1000, "umis_per_cell": u, "estimator": estimator}
            rows += [
                row(**point, seed=seed, mi_bits=bits + (0.02 if seed else -0.02), mi_stderr=0.05) for seed in (0, 1)
            ]
    return measurements.sort(rows)


@pytest.fixture(scope="module")
def folder(scripts: Path) -> Path:
    """Scripts and two tables: one of each estimator, on different data sets."""
    measurements.write(table(), scripts / "ours.csv")
    measurements.write(table("lmi").assign(dataset="pbmc68k", signal="bulk_labels"), scripts / "other.csv")
    return scripts


@pytest.fixture(scope="module")
def zoo_url(folder: Path) -> str:
    return page(folder, "zoo.html", curve_zoo.zoo(folder / "ours.csv", folder / "other.csv").data)


@pytest.fixture
def zoo(browser: Page, zoo_url: str) -> Iterator[Page]:
    """The zoo as it is when opened; in the end nothing was said on the console, nothing asked of the network."""
    browser.open(zoo_url)
    yield browser
    assert (browser.console, browser.requests) == ([], [])


def test_the_zoo_shows_the_known_parameters_of_every_model(zoo: Page) -> None:
    rows = fit_rows(zoo)
    assert [row[0] for row in rows] == ["scVI", "PCA", "shuffled (control)"]
    assert rows[0][1] == "1,000"
    assert [row[2].split(" ")[0] for row in rows] == ["500", "250", "–"]
    assert [row[3].split(" ")[0] for row in rows] == ["3.10", "2.50", "–"]
    best = float(laws.noise_law(1000, 500, 3.1))
    assert "3 curves, 2 with a fit that converged" in text(zoo, "said")
    assert f"scVI trained on 1,000 cells, {best:.2f} bits at 1,000 UMIs per cell" in text(zoo, "said")


def test_the_zoo_by_keyboard(zoo: Page) -> None:
    focus(zoo, "cells")
    zoo.press("ArrowUp")  # from 1,000 training cells to 100
    assert [row[2].split()[0] for row in fit_rows(zoo)] == ["400", "250"]
    zoo.press("Tab")  # to the radio buttons
    zoo.press("ArrowDown")  # all numbers of cells of one model
    assert [row[1] for row in fit_rows(zoo)] == ["100", "1,000"]
    assert zoo.evaluate("document.querySelector('[data-part=cells]').disabled")
    zoo.press("ArrowDown")  # one curve
    assert "ū = 400 (" in text(zoo, "said")
    assert zoo.evaluate("document.querySelector('[data-part=said]').getAttribute('aria-live')") == "polite"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert zoo.evaluate(outline) == "solid"


def test_the_zoo_keeps_estimators_apart_and_shows_the_table_beside(zoo: Page) -> None:
    options = "[...document.querySelector('[data-part={}]').options].map(o => o.textContent)"
    assert zoo.evaluate(options.format("estimator")) == ["default"]
    focus(zoo, "source")
    zoo.press("ArrowDown")
    assert zoo.evaluate(options.format("signal")) == ["PBMC 68k, cell type"]
    assert zoo.evaluate(options.format("estimator")) == ["LMI"]


def test_the_zoo_downloads_what_it_shows(zoo: Page) -> None:
    points, fits = downloaded(zoo, "points"), downloaded(zoo, "fits")
    assert (len(points), len(fits)) == (3 * 5 * 2, 3)
    for point in points:
        u_bar, i_max = TRUTH.get((point["model"], 1000), (1.0, 0.0))
        law = float(laws.noise_law(float(point["umis_per_cell"]), u_bar, i_max))
        assert float(point["mi_bits"]) == pytest.approx(law + (0.02 if point["seed"] == "1" else -0.02), abs=1e-5)
        if point["model"] != "shuffled":
            assert float(point["fitted_bits"]) == pytest.approx(law, abs=1e-4)
    assert [float(row["u_bar"]) for row in fits[:2]] == pytest.approx([500, 250], rel=1e-3)


def test_the_zoo_draws_points_lines_and_bands(zoo: Page) -> None:
    traces = zoo.evaluate(
        "document.querySelector('[data-part=chart]').data.map(t => [t.name, t.mode, t.x.length, Math.max(...t.y)])"
    )
    assert [t[0] for t in traces] == [
        "2 standard errors",
        "Eq. 1",
        "scVI",
        "2 standard errors",
        "Eq. 1",
        "PCA",
        "shuffled (control)",
    ]
    assert [t[2] for t in traces if t[0] in ("scVI", "PCA")] == [5, 5]
    assert traces[1][3] == pytest.approx(float(laws.noise_law(1000, 500, 3.1)), abs=1e-4)
    fit = laws.fit_noise_law(
        *table().query("model == 'scvi' and n_cells == 1000")[["umis_per_cell", "mi_bits"]].T.to_numpy()
    )
    assert traces[0][3] == pytest.approx(fit.band(np.array([1000.0]))[1][0], abs=1e-4)


def test_the_zoo_fits_a_phone_and_names_what_the_eye_sees(zoo: Page, zoo_url: str) -> None:
    assert fits_a_phone(zoo, zoo_url)
    assert zoo.evaluate(UNNAMED) == 0
    assert zoo.evaluate("document.querySelector('.fallback img').alt.length") > 40


@pytest.mark.parametrize("missing", ["_static/plotly.min.js", "_static/"])
def test_without_scripts_a_figure_stands_in_their_place(missing: str, folder: Path, browser: Page) -> None:
    body = curve_zoo.zoo(folder / "ours.csv", folder / "other.csv").data
    browser.open(page(folder, "bare.html", body.replace(missing, "nowhere/")))
    shown = "['.controls', '.results', '.fallback'].map(c => document.querySelector(c).checkVisibility())"
    assert browser.evaluate(shown) == [False, False, True]


LAW_CASES = {
    "laws.noiseLaw(50, 300, 3.2)": float(laws.noise_law(50, 300, 3.2)),
    "laws.noiseLaw(1e-3, 300, 0.4)": float(laws.noise_law(1e-3, 300, 0.4)),
    "laws.noiseBudget(1234, 567, [0.01, 20, 0.5, 60, 0.3, 1])": float(
        laws.noise_budget(1234, 567, 0.01, 20, 0.5, 60, 0.3, 1)
    ),
    "laws.noiseBudget(1e7, 9, [0.003, 20, 2.5, 0, 0.71, 0.8])": float(
        laws.noise_budget(1e7, 9, 0.003, 20, 2.5, 0, 0.71, 0.8)
    ),
    "laws.quantile([1, 2, 4, 8, 16], 0.3)": float(np.quantile([1, 2, 4, 8, 16], 0.3)),
}


def test_javascript_and_python_agree_on_the_laws(zoo: Page) -> None:
    for expression, value in LAW_CASES.items():
        assert zoo.evaluate(expression) == pytest.approx(value, abs=1e-9), expression
