"""The interactive pages in headless Chromium: driven by keys and values, their numbers held to Python's."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from noise_scaling import laws, measurements, plan, plan_data
from noise_scaling.paths import ROOT
from noise_scaling.plots import curve_zoo, plan_page

from .browser import find_chromium
from .driver import Page, driven

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")

DEPTHS = np.array([10.0, 30, 100, 300, 1000])
TRUTH = {
    ("pca", 100): (250.0, 2.0),
    ("pca", 1000): (250.0, 2.5),
    ("scvi", 100): (400.0, 2.2),
    ("scvi", 1000): (500.0, 3.1),
}
BLANK = {str: "", int: 0, float: 0.0}


def table(estimator: str = "default") -> pd.DataFrame:
    """Two seeds 0.02 bits above and below Eq. 1 with known parameters, and a control without information."""
    rows = []
    for (model, n), (u_bar, i_max) in {**TRUTH, ("shuffled", 1000): (1.0, 0.0)}.items():
        for u in DEPTHS:
            for seed in (0, 1):
                bits = float(laws.noise_law(u, u_bar, i_max)) + (0.02 if seed else -0.02)
                key = {"dataset": "pbmc10k", "signal": "protein", "model": model, "preset": "small", "n_cells": n}
                key |= {"fraction": u / 1000, "seed": seed, "estimator": estimator, "status": "ok"}
                values = {"umis_per_cell": u, "mi_bits": bits, "mi_stderr": 0.05}
                rows.append({name: BLANK[kind] for name, kind in measurements.COLUMNS.items()} | key | values)
    return measurements.sort(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages' scripts, as the built book has them."""
    out = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "book" / "_static", out / "_static")
    (out / "_static" / "plotly.min.js").write_text(get_plotlyjs())
    measurements.write(table(), out / "ours.csv")
    other = table("lmi").assign(dataset="pbmc68k", signal="bulk_labels")
    measurements.write(other, out / "other.csv")
    return out


def page(folder: Path, name: str, body: str) -> str:
    """A page around a widget, as an address."""
    file = folder / name
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>page</title>'
    file.write_text(f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>')
    return file.as_uri()


@pytest.fixture(scope="module")
def zoo_url(folder: Path) -> str:
    return page(folder, "zoo.html", curve_zoo.zoo(folder / "ours.csv", folder / "other.csv", static="_static").data)


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with driven(find_chromium()) as tab:
        yield tab


@pytest.fixture
def zoo(browser: Page, zoo_url: str) -> Iterator[Page]:
    """The zoo as it is when opened; in the end nothing was said on the console, nothing asked of the network."""
    browser.open(zoo_url)
    yield browser
    assert (browser.console, browser.requests) == ([], [])


def text(opened: Page, part: str) -> str:
    return opened.evaluate(f"document.querySelector('[data-part=\"{part}\"]').textContent")


def fit_rows(opened: Page) -> list[list[str]]:
    rows = "document.querySelectorAll('[data-part=table] tbody tr')"
    return opened.evaluate(f"[...{rows}].map(r => [...r.cells].map(c => c.textContent))")


def downloaded(opened: Page, part: str) -> list[dict[str, str]]:
    address = opened.evaluate(f"document.querySelector('[data-part=\"{part}\"]').href")
    kind, _, body = address.partition(",")
    assert kind == "data:text/csv;charset=utf-8"
    return list(csv.DictReader(io.StringIO(unquote(body))))


def focus(opened: Page, part: str) -> None:
    """Go to a control as a keyboard does: Tab until it has the focus."""
    for _ in range(30):
        opened.press("Tab")
        if opened.evaluate("document.activeElement.dataset.part") == part:
            return
    raise AssertionError(f"Tab never reached {part}")


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
    assert zoo.evaluate(options.format("estimator")) == ["default (ours)"]
    focus(zoo, "source")
    zoo.press("ArrowDown")
    assert zoo.evaluate(options.format("signal")) == ["PBMC 68k, cell type"]
    assert zoo.evaluate(options.format("estimator")) == ["LMI (the paper's)"]


def test_the_zoo_downloads_what_it_shows(zoo: Page) -> None:
    points, fits = downloaded(zoo, "points"), downloaded(zoo, "fits")
    assert (len(points), len(fits)) == (3 * 5 * 2, 3)
    for row in points:
        u_bar, i_max = TRUTH.get((row["model"], 1000), (1.0, 0.0))
        law = float(laws.noise_law(float(row["umis_per_cell"]), u_bar, i_max))
        assert float(row["mi_bits"]) == pytest.approx(law + (0.02 if row["seed"] == "1" else -0.02), abs=1e-5)
        if row["model"] != "shuffled":
            assert float(row["fitted_bits"]) == pytest.approx(law, abs=1e-4)
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


def fits_a_phone(opened: Page, url: str) -> bool:
    """Whether no part of the page sticks out of a narrow window."""
    opened.resize(400, 900)
    opened.open(url)
    width = opened.evaluate("document.documentElement.scrollWidth")
    opened.resize(1280, 900)
    return width == 400


def test_the_zoo_fits_a_phone_and_names_what_the_eye_sees(zoo: Page, zoo_url: str) -> None:
    assert fits_a_phone(zoo, zoo_url)
    unnamed = "[...document.querySelectorAll('select, input')].filter(c => !c.labels.length).length"
    assert zoo.evaluate(unnamed) == 0
    assert zoo.evaluate("document.querySelector('.fallback img').alt.length") > 40


@pytest.mark.parametrize("missing", ["_static/plotly.min.js", "_static/"])
def test_without_scripts_a_figure_stands_in_their_place(missing: str, folder: Path, browser: Page) -> None:
    body = curve_zoo.zoo(folder / "ours.csv", folder / "other.csv", static="_static").data
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


GRID = [(n, u) for n in (100, 300, 1000, 3000) for u in DEPTHS]
BUDGETS = {
    "scvi": {"v0": 0.01, "v1": 6.0, "v2": 2.0, "v3": 60.0, "s": 0.5},
    "pca": {"v0": 0.02, "v1": 5.0, "v2": 0.5, "v3": 30.0, "s": 0.8},
}


def grid_table() -> pd.DataFrame:
    """Two models on a grid of cells and depths, by the noise budget with a little noise."""
    rng, rows = np.random.default_rng(1), []
    for model, law in BUDGETS.items():
        for n, u in GRID:
            bits = float(laws.noise_budget(n, u, **law)) + rng.normal(0, 0.02)
            key = {"dataset": "pbmc10k", "signal": "protein", "model": model, "preset": "small", "n_cells": n}
            key |= {"fraction": u / 1000, "estimator": "default", "status": "ok"}
            values = {"umis_per_cell": u, "mi_bits": bits}
            rows.append({name: BLANK[kind] for name, kind in measurements.COLUMNS.items()} | key | values)
    return measurements.sort(rows)


@pytest.fixture(scope="module")
def planner_url(folder: Path) -> str:
    table = str(measurements.write(grid_table(), folder / "grid.csv"))
    return page(folder, "plan.html", plan_page.planner(table, folder / "other.csv", static="_static").data)


@pytest.fixture
def planner(browser: Page, planner_url: str) -> Iterator[Page]:
    """The planner as it is when opened; in the end nothing was said on the console, nothing asked of the network."""
    browser.open(planner_url)
    yield browser
    assert (browser.console, browser.requests) == ([], [])


@pytest.fixture(scope="module")
def fitted() -> dict[str, plan_data.Candidate]:
    return {candidate.model: candidate for candidate in plan_data.candidates(grid_table())}


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
    library = plan.library(saturation, umis=1000.0)
    made = plan.plan(candidate.fit, candidate.measured, plan.Purchase(*prices), library)
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


def enter(opened: Page, part: str, value: str) -> None:
    """Go to a number field by Tab, which selects its content, and type over it."""
    focus(opened, part)
    opened.type(value)


def test_the_planner_by_keyboard(planner: Page, fitted: dict) -> None:
    enter(planner, "budget", "300")
    candidate = fitted["scvi"]
    library = plan.library(0.5, umis=1000.0)
    made = plan.plan(candidate.fit, candidate.measured, plan.Purchase(300, 0.05, 4), library)
    said = text(planner, "said")
    assert f"Best: scVI on {made.best.n_cells:,} cells at {made.best.umis_per_cell:,.0f} UMIs per cell" in said
    assert f"{made.best.bits:.2f} bits (95 % {made.best.low:.2f} to {made.best.high:.2f})" in said
    assert f"Runner-up: {made.runner_up.n_cells:,} cells" in said
    other = plan.plan(fitted["pca"].fit, candidate.measured, plan.Purchase(300, 0.05, 4), library)
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
    library = plan.library(0.5, umis=1000.0)
    line = [
        point for point in zip(*by_name["what the budget buys"], strict=True) if point[1] < 0.99 * library.molecules
    ]
    assert len(line) > 5
    for n, u in line:
        assert n * (0.05 + float(library.reads(u)) * 4e-6) == pytest.approx(150, rel=1e-6)


def test_the_planner_fits_a_phone_and_names_what_the_eye_sees(planner: Page, planner_url: str) -> None:
    assert fits_a_phone(planner, planner_url)
    unnamed = "[...document.querySelectorAll('select, input')].filter(c => !c.labels.length).length"
    assert planner.evaluate(unnamed) == 0
