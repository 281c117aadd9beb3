"""Fit your own curve, in headless Chromium: the same numbers as Python's fit, by paste, by file, by address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from noise_scaling import laws, measurements
from noise_scaling.plots import fit_page

from .driver import Page
from .pages import DEPTHS, UNNAMED, downloaded, fits_a_phone, page, row, text

CURVES = [(u_bar, i_max, noise) for u_bar in (20.0, 300.0, 4000.0) for i_max in (0.8, 2.5, 4.5) for noise in (0.02,)]
CURVES += [(1e9, 8.0, 0.3)]


def points(u_bar: float, i_max: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int(u_bar + 10 * i_max))
    u = np.repeat(DEPTHS, 2)
    return u, laws.noise_law(u, u_bar, i_max) + rng.normal(0, noise, len(u))


@pytest.fixture(scope="module")
def url(scripts: Path) -> str:
    rows = [
        row(model="pca", n_cells=100, fraction=u / 1000, seed=i % 2, umis_per_cell=u, mi_bits=b)
        for i, (u, b) in enumerate(zip(*points(*CURVES[4]), strict=True))
    ]
    table = measurements.write(measurements.sort(rows), scripts / "fit.csv")
    return page(scripts, "fit.html", fit_page.fit_your_curve(table, table).data)


@pytest.fixture
def fit(browser: Page, url: str) -> Iterator[Page]:
    browser.open(url)
    yield browser
    assert (browser.console, browser.requests) == ([], [])


@pytest.mark.parametrize("curve", CURVES, ids=str)
def test_the_fit_is_pythons(curve: tuple[float, float, float], fit: Page) -> None:
    u, bits = points(*curve)
    pairs = json.dumps(np.c_[u, bits].tolist())
    found, python = fit.evaluate(f"fitting.fit({pairs})"), laws.fit_noise_law(u, bits)
    assert found["status"] == python.status
    if python.status in (laws.AT_BOUND, laws.NOT_IDENTIFIED):
        return
    for name in ("u_bar", "i_max"):
        assert found[name] == pytest.approx(getattr(python, name), rel=5e-3)
        ends = [found[f"{name}_low"], found[f"{name}_high"]]
        assert ends == pytest.approx(python.interval(name), rel=0.02)
    assert found["r_squared"] == pytest.approx(python.r_squared, abs=1e-4)


def test_a_fit_that_failed_or_is_at_its_bound_has_no_numbers(fit: Page) -> None:
    fit.evaluate("fitting.solve = ((solve) => (points) => ({ ...solve(points), converged: false }))(fitting.solve)")
    fit.evaluate("document.querySelector('[data-part=u_bar]').dispatchEvent(new Event('input', {bubbles: true}))")
    assert text(fit, "said") == "10 points: the fit failed, no minimum found within 500 steps."
    assert downloaded(fit, "fit")[0]["status"] == laws.FAILED
    bound = '{u_bar: 8e7, i_max: 9, u_bar_low: NaN, i_max_low: 30, i_max_high: null, status: "at bound"}'
    assert fit.evaluate(f"charts.lawSaid({bound})") == "ū not determined, I_max not determined (over 30.00)"


def test_curves_are_named_by_model_and_preset() -> None:
    u, bits = points(*CURVES[4])
    pairs = enumerate(zip(u, bits, strict=True))
    rows = [row(model="geneformer", fraction=a / 1000, seed=i % 2, umis_per_cell=a, mi_bits=b) for i, (a, b) in pairs]
    table = measurements.sort(rows)
    (curve,) = fit_page._curves(table.assign(preset="small"), "ours")
    assert curve["name"].endswith(": small Geneformer (ours)")
    (curve,) = fit_page._curves(table.assign(preset="published"), "published")
    assert curve["name"].endswith(": Geneformer (published)")


def test_points_that_are_pasted_are_fitted_and_refused_in_a_sentence(fit: Page) -> None:
    def paste(points: str) -> str:
        fit.evaluate(
            f"(t => {{ t.value = {json.dumps(points)}; t.dispatchEvent(new Event('input', {{bubbles: true}})) }})"
            "(document.querySelector('[data-part=points]'))"
        )
        return text(fit, "said")

    assert "5 points: ū = 100 (100 to 100) UMIs per cell, Imax = 2.00" in paste(
        "umis_per_cell;seed;mi_bits\n" + "\n".join(f"{u};0;{laws.noise_law(u, 100, 2)}" for u in DEPTHS)
    )
    assert float(downloaded(fit, "fit")[0]["u_bar"]) == pytest.approx(100, rel=1e-3)
    slider = float(fit.evaluate("document.querySelector('[data-part=u_bar]').value"))
    assert 10**slider == pytest.approx(100, rel=0.03)  # it follows in its own steps
    commas = "\n".join(f"{u};{laws.noise_law(u, 50, 2):.4f}".replace(".", ",") for u in DEPTHS)
    assert "5 points: ū = 50" in paste(commas)
    assert "line 1 has a depth of 1,000: write it without the comma" in paste("1,000;2,5\n20;0,6\n40;1")
    assert fit.evaluate("document.querySelector('[data-part=curve]').value") == "own"
    assert "no columns u and bits in the first line, which has a, b" in paste("a,b\n1,2")
    assert "2 different depths cannot fit Eq. 1: give at least 3" in paste("10 1\n10 1\n20 1")
    assert "line 3 has a depth of -1: it must be above 0" in paste("u,bits\n1,1\n-1,2")
    assert "line 1 has 3 values, not 2: write 1,000 as 1000, or name all columns" in paste("1,000,1\n2,000,2\n3,000,3")
    assert "line 2 has 3 values, not 2" in paste("10 1\n20 1 7\n30 2")
    assert "line 2 has 3 values, not 2" in paste("u,bits\n1,000,1")
    assert "3 points" in paste("seed,u,bits,note\n0,10,1\n0,20,1.2,x\n1,40,1.3,")
    assert "line 2 has no two numbers" in paste("1 1\n2 x\n3 1")
    assert fit.evaluate("document.querySelector('[data-part=fit]').getAttribute('href')") is None


def test_the_address_holds_the_state(browser: Page, scripts: Path, url: str) -> None:
    browser.open(url)
    browser.evaluate(
        "(t => { t.value = '10 1\\n30 1.5\\n100 1.9\\n300 2.1'; t.dispatchEvent(new Event('input', {bubbles: true})) })"
        "(document.querySelector('[data-part=points]'))"
    )
    said, address = text(browser, "said"), browser.evaluate("location.hash")
    browser.open("about:blank")
    browser.open(f"{url}{address}")
    assert text(browser, "said") == said
    assert "4 points" in said


def test_it_is_labelled_and_fits_a_phone(fit: Page, url: str) -> None:
    assert fit.evaluate(UNNAMED) == 0
    assert fits_a_phone(fit, url)
