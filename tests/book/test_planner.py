"""The planner in headless Chromium: driven by keys, its numbers held to `noise_scaling.plan`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.plan import designs, evidence
from noise_scaling.plots import plan_page

from .driver import Page
from .pages import DEPTHS, UNNAMED, downloaded, enter, fit_rows, fits_a_phone, focus, page, row, text

GRID = [(n, u) for n in (100, 300, 1000, 3000) for u in DEPTHS]
BUDGETS = {
    "scvi": {"v0": 0.01, "v1": 6.0, "v2": 2.0, "v3": 60.0, "s": 0.5},
    "pca": {"v0": 0.02, "v1": 5.0, "v2": 0.5, "v3": 30.0, "s": 0.8},
}


def grid_table(models: dict[str, dict[str, float]] = BUDGETS, **values: object) -> pd.DataFrame:
    """Models on a grid of cells and depths, by the noise budget with a little noise."""
    rng, rows = np.random.default_rng(1), []
    for model, law in models.items():
        for n, u in GRID:
            bits = float(laws.noise_budget(n, u, **law)) + rng.normal(0, 0.02)
            point = {"model": model, "n_cells": n, "fraction": u / 1000, "umis_per_cell": u, "mi_bits": bits}
            rows.append(row(**point) | values)
    return measurements.sort(rows)


@pytest.fixture(scope="module")
def planner_url(scripts: Path) -> str:
    ours = measurements.write(grid_table(), scripts / "grid.csv")
    beside = measurements.write(grid_table(dataset="pbmc68k", signal="bulk_labels"), scripts / "beside.csv")
    return page(scripts, "plan.html", plan_page.planner(ours, beside, static="_static").data)


@pytest.fixture
def planner(browser: Page, planner_url: str) -> Iterator[Page]:
    """The planner as it is when opened; in the end nothing was said on the console, nothing asked of the network."""
    browser.open(planner_url)
    yield browser
    assert (browser.console, browser.requests) == ([], [])


@pytest.fixture(scope="module")
def fitted() -> dict[str, evidence.Candidate]:
    return {candidate.model: candidate for candidate in evidence.candidates(grid_table())}


SETTINGS = [  # budget, per cell, per million reads, usable, saturation
    (150, 0.05, 4, 1.0, 0.5),
    (1000, 0.5, 100, 0.7, 0.0),
    (40, 1.0, 2, 1.0, 0.9),
    (5000, 0.01, 0.5, 0.5, 0.3),
]


@pytest.mark.parametrize("model", BUDGETS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_javascript_and_python_plan_alike(model: str, setting: tuple, planner: Page, fitted: dict) -> None:
    *prices, saturation = setting
    candidate = fitted[model]
    library = designs.library(saturation, umis=1000.0)
    made = designs.plan(candidate.fit, candidate.measured, designs.Purchase(*prices), library)
    names = ("budget", "perCell", "perMillionReads", "usable")
    purchase = json.dumps(dict(zip(names, prices, strict=True)))
    find = "JSON.parse(document.querySelector('script.data').textContent).groups[0].models"
    molecules = f"planning.molecules({saturation}, {1000 / (1 - saturation)})"
    call = f"planning.plan({find}.find(m => m.name === '{model}'), {purchase}, {molecules})"
    found = planner.evaluate(call)
    for one, other in (
        (made.best, found["best"]), (made.runner_up, found["runnerUp"]), (made.inside, found["inside"]),
    ):  # fmt: skip
        assert (one is None) == (other is None)
        if one:
            there = [other[k] for k in ("cells", "umis", "reads", "saturation", "cost", "bits", "low", "high")]
            assert there == pytest.approx(list(vars(one).values()), rel=1e-6)
    assert found["flat"] == pytest.approx(made.flat, rel=1e-5)
    assert (found["ahead"], found["outside"]) == (made.ahead, made.outside)


def test_a_contour_has_its_bits_everywhere(planner: Page) -> None:
    law = [0.01, 6, 2, 60, 0.5, 1]
    for n in (300, 5000):
        u = planner.evaluate(f"planning.depthFor({n}, 1.5, {law})")
        assert float(laws.noise_budget(n, u, *law)) == pytest.approx(1.5, abs=1e-9)
    assert planner.evaluate(f"planning.depthFor(100, 2, {law})") is None  # NaN: 100 cells never reach 2 bits


def test_the_planner_by_keyboard(planner: Page, fitted: dict) -> None:
    enter(planner, "budget", "300")
    candidate = fitted["scvi"]
    library = designs.library(0.5, umis=1000.0)
    made = designs.plan(candidate.fit, candidate.measured, designs.Purchase(300, 0.05, 4), library)
    said = text(planner, "said")
    assert f"Best: scVI on {made.best.n_cells:,} cells at {made.best.umis_per_cell:,.0f} UMIs per cell" in said
    assert f"{made.best.bits:.2f} bits (95 % {made.best.low:.2f} to {made.best.high:.2f})" in said
    assert f"Runner-up: {made.runner_up.n_cells:,} cells" in said
    other = designs.plan(fitted["pca"].fit, candidate.measured, designs.Purchase(300, 0.05, 4), library)
    assert f"PCA would give {other.best.bits - made.best.bits:.2f} bits more" in said
    assert "measured: 100 to 3,000" in text(planner, "warning")
    rows = fit_rows(planner)
    assert [row[0] for row in rows][:2] == ["best", "runner-up"]
    assert rows[0][2] == f"{made.best.n_cells:,}"
    assert downloaded(planner, "designs")[0]["cells"] == rows[0][2]


def test_the_slider_moves_the_budget(planner: Page) -> None:
    focus(planner, "budget-slider")
    planner.press("End")
    assert planner.evaluate("document.querySelector('[data-part=budget]').value") == "10000000"
    assert "measured: 100 to 3,000" in text(planner, "warning")


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("budget", "0", "The budget must be a number above 0."),
        ("saturation", "100", "Saturation: give a percentage from 0 to below 100."),
        ("usable", "170", "Usable reads: give a percentage above 0, at most 100."),
        ("per-cell", "20", "The budget buys 7.5 cells before any read: plans start at 20."),
    ],
)
def test_a_wrong_number_is_one_sentence(part: str, value: str, sentence: str, planner: Page) -> None:
    enter(planner, part, value)
    assert text(planner, "said") == sentence
    assert fit_rows(planner) == []
    enter(planner, part, {"budget": "150", "saturation": "50", "usable": "100", "per-cell": "0.05"}[part])
    assert text(planner, "said").startswith("Best: scVI on ")


def test_the_planner_draws_the_budget_and_the_best_design(planner: Page) -> None:
    traces = planner.evaluate("document.querySelector('[data-part=map]').data.map(t => [t.name ?? '', t.x, t.y])")
    by_name = {name: (x, y) for name, x, y in traces if name}
    rows = fit_rows(planner)
    assert by_name["best"][0][0] == int(rows[0][2].replace(",", ""))
    library = designs.library(0.5, umis=1000.0)
    line = [
        point for point in zip(*by_name["what the budget buys"], strict=True) if point[1] < 0.99 * library.molecules
    ]
    assert len(line) > 5
    for n, u in line:
        assert n * (0.05 + float(library.reads(u)) * 4e-6) == pytest.approx(150, rel=1e-6)


def test_the_planner_fits_a_phone_and_names_what_the_eye_sees(planner: Page, planner_url: str) -> None:
    assert fits_a_phone(planner, planner_url)
    assert planner.evaluate(UNNAMED) == 0
