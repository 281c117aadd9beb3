"""The planner in headless Chromium: driven by keys, its numbers held to `noise-scaling plan`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from noise_scaling import cli, laws, measurements
from noise_scaling.plan import prices
from noise_scaling.plots import plan_page

from .driver import Page
from .pages import DEPTHS, UNNAMED, downloaded, enter, fit_rows, fits_a_phone, focus, page, row, text

GRID = [(n, u) for n in (100, 300, 1000, 3000) for u in DEPTHS]
BUDGETS = {
    "scvi": {"v0": 0.01, "v1": 6.0, "v2": 2.0, "v3": 60.0, "s": 0.5},
    "pca": {"v0": 0.02, "v1": 5.0, "v2": 0.5, "v3": 30.0, "s": 0.8},
}
SET = """(([name, value]) => {
  const control = document.querySelector(`[data-part="${name}"]`);
  control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
})"""
"""Sets a control as a hand does, and lets the page know."""
GROUPS = "JSON.parse(document.querySelector('script.data').textContent).groups"


def grid_table(models: dict[str, dict[str, float]] = BUDGETS, **values: object) -> pd.DataFrame:
    """Models on a grid of cells and depths, by the noise budget with a little noise; one that cells do not train."""
    rng, rows = np.random.default_rng(1), []
    for model, law in (models | {"random_projection": BUDGETS["pca"]}).items():
        for n, u in GRID:
            bits = float(laws.noise_budget(n, u, **law)) + rng.normal(0, 0.02)
            point = {"model": model, "n_cells": n, "fraction": u / 1000, "umis_per_cell": u, "mi_bits": bits}
            rows.append(row(**point) | values)
    return measurements.sort(rows)


@pytest.fixture(scope="module")
def tables(scripts: Path) -> dict[str, Path]:
    """A data set whose library is not known, one whose panel is a fifth of it, and an imaged one."""
    key = {"pbmc10k": "protein", "pbmc68k": "bulk_labels", "merfish_poa": "space"}
    return {
        name: measurements.write(grid_table(dataset=name, signal=signal), scripts / f"{name}.csv")
        for name, signal in key.items()
    }


@pytest.fixture(scope="module")
def planner_url(scripts: Path, tables: dict[str, Path]) -> str:
    both = pd.concat([measurements.read(tables[name]) for name in ("pbmc10k", "merfish_poa")])
    ours = measurements.write(both, scripts / "ours.csv")
    return page(scripts, "plan.html", plan_page.planner(ours, tables["pbmc68k"]).data)


@pytest.fixture
def planner(browser: Page, planner_url: str) -> Iterator[Page]:
    """The planner as it is when opened; in the end nothing was said on the console, nothing asked of the network."""
    browser.open(planner_url)
    yield browser
    assert (browser.console, browser.requests) == ([], [])


def choose(opened: Page, **controls: object) -> None:
    for name, value in controls.items():
        opened.evaluate(f"{SET}({json.dumps([name.replace('_', '-'), str(value)])})")


def answered(opened: Page) -> dict:
    """What the page's JSON download holds."""
    kind, _, body = opened.evaluate("document.querySelector('[data-part=json]').href").partition(",")
    assert kind == "data:application/json;charset=utf-8"
    return json.loads(unquote(body))


PRICES = prices.read_prices()
SETTINGS = [  # data set, controls of the page, options of the command
    ("pbmc10k", {}, ["--budget", "20000"]),
    ("pbmc68k", {}, ["--budget", "20000"]),
    ("pbmc68k", {"amount": 12000, "kit": "parse_wt_mega", "saturation": 30},
     ["--budget=12000", "--kit=parse_wt_mega", "--saturation=.3"]),
    ("pbmc10k", {"amount": 20000, "flow": "novaseq_6000_s4", "usable": 70},
     ["--budget", "20000", "--flow-cell", "novaseq_6000_s4", "--usable", "0.7"]),
    ("pbmc10k", {"question": "share", "amount": 90}, ["--share", "0.9"]),
    ("pbmc68k", {"question": "bits", "amount": 1.9, "at_reads": 30000},
     ["--bits=1.9", "--at-reads=30000", "--saturation=.5"]),
    ("pbmc10k", {"amount": 150, "kit": "linear", "library_umis": 4000},
     ["--budget=150", "--cost-per-cell=.05", "--cost-per-million-reads=4", "--library-umis=4000"]),
    ("pbmc10k", {"amount": 140, "kit": "linear", "per_cell": 1, "per_million": 2, "planned": "pca"},
     ["--budget=140", "--cost-per-cell=1", "--cost-per-million-reads=2", "--model", "pca"]),
    ("pbmc10k", {"question": "compare", "one": "3,000:2000", "two": "600:4000"},
     ["--compare", "3,000:2000", "600:4000"]),
    ("pbmc10k", {"amount": 20000, "donors": 6}, ["--budget", "20000", "--donors", "6"]),
    ("pbmc68k", {"have": "1000:900", "amount": 50}, ["--have", "1000:900", "--budget", "50"]),
    ("pbmc10k", {"have": "3000:500", "question": "share", "amount": 95, "kit": "10x_3p_hashed_lane"},
     ["--have", "3000:500", "--share", ".95", "--kit", "10x_3p_hashed_lane"]),
]  # fmt: skip


@pytest.mark.parametrize(("dataset", "controls", "options"), SETTINGS)
def test_page_and_command_give_the_same_numbers(
    dataset: str, controls: dict, options: list, planner: Page, tables: dict, capsys: pytest.CaptureFixture
) -> None:
    group = planner.evaluate(f"{GROUPS}.find(g => g.dataset === '{dataset}').name")
    choose(planner, group=group, **controls)
    here = answered(planner)
    command = ["plan", "--dataset", dataset, "--measurements", str(tables[dataset]), *options, "--json"]
    assert cli.main(command) == 0
    there = json.loads(capsys.readouterr().out)
    assert [d["role"] for d in here["designs"]] == [d["role"] for d in there["designs"]]
    for key in ("ties", "ahead_in_draws", "promise_error_bits", "library_umis_per_panel_umi"):
        assert here[key] == there[key], key
    for one, other in zip(here["designs"], there["designs"], strict=True):
        assert set(other) == set(one)
        for key, value in one.items():
            # the page's draws have eight digits, so the ends of intervals have fewer than the rest
            rel = 1e-6 if key in ("bits_low", "bits_high") else 1e-9
            assert other[key] == (pytest.approx(value, rel=rel) if isinstance(value, float) else value), key
    cells = fit_rows(planner)[0]
    best = there["best"]
    assert cells[2] == f"{best['n_cells']:,}"
    assert cells[7] == f"{best['bits']:.2f} ({best['bits_low']:.2f} to {best['bits_high']:.2f})"


def test_own_prices_are_a_file_for_the_command(
    planner: Page, planner_url: str, tables: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    choose(planner, kit="10x_3p_lane", flow="nextseq_high")
    given = answered(planner)
    for name, value in {"10x_3p_lane.price": "900.5", "nextseq_high.reads": "3e8"}.items():
        planner.evaluate(f"""(() => {{
          const field = document.querySelector('[data-own="{name}"]');
          field.value = "{value}";
          field.dispatchEvent(new Event("input", {{ bubbles: true }}));
        }})()""")
    here = answered(planner)
    assert here["best"]["cost"] != given["best"]["cost"]
    _, _, body = planner.evaluate("document.querySelector('[data-part=prices]').href").partition(",")
    (tmp_path / "prices.yml").write_text(unquote(body))
    asked = ["--dataset=pbmc68k", "--budget=20000", "--kit=10x_3p_lane", "--flow-cell=nextseq_high"]
    choose(planner, group=planner.evaluate(f"{GROUPS}.find(g => g.dataset === 'pbmc68k').name"))
    here = answered(planner)
    assert cli.main(
        ["plan", "--measurements", str(tables["pbmc68k"]), *asked, "--prices", str(tmp_path / "prices.yml"), "--json"]
    ) == 0  # fmt: skip
    there = json.loads(capsys.readouterr().out)
    for key in ("n_cells", "cost", "bits", "reads_paid_per_cell", "flow_cells"):
        assert there["best"][key] == pytest.approx(here["best"][key], rel=1e-9), key
    state = planner.evaluate("new Promise(done => setTimeout(() => done(location.hash), 400))")
    planner.open("about:blank")
    planner.open(f"{planner_url}{state}")
    assert answered(planner)["best"] == here["best"]
    assert planner.evaluate("document.querySelector('[data-own=\"10x_3p_lane.price\"]').value") == "900.5"


def test_an_order_is_in_the_words_of_a_biologist(planner: Page) -> None:
    """Kits, flow cells and what is assumed of them by their names: in the table, its notes, the fields for prices."""
    for kit, flow, words in (
        ("10x_3p_kit", "novaseq_x_25b_lane", "What each library costs beside the kit is assumed for “"),
        (
            "parse_wt_mega",
            "shared_reads",
            "the share of multiplets, what each library costs beside the kit and the share",
        ),
    ):
        choose(planner, amount=60000, kit=kit, flow=flow)
        ordered = fit_rows(planner)[0][8]
        assert f"\N{NO-BREAK SPACE}× {PRICES.preparations[kit].title}; " in ordered
        assert ordered.endswith(f"\N{NO-BREAK SPACE}× {PRICES.sequencing[flow].title}")
        assert words in text(planner, "warning")
        assert not re.search(r"\w_\w", text(planner, "said") + text(planner, "warning") + text(planner, "cards"))


def test_the_designs_need_no_scrolling_sideways(planner: Page) -> None:
    """In the widths that a page of 1400 and one of 900 leave them."""
    box = "document.querySelector('.scroll')"
    for width in (1044, 821):
        planner.evaluate(f"void ({box}.style.width = '{width}px')")
        assert planner.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")


def test_a_contour_has_its_bits_everywhere(planner: Page) -> None:
    law = [0.01, 6, 2, 60, 0.5, 1]
    for n in (300, 5000):
        u = planner.evaluate(f"planning.depthFor({n}, 1.5, {law})")
        assert float(laws.noise_budget(n, u, *law)) == pytest.approx(1.5, abs=1e-9)
    assert planner.evaluate(f"planning.depthFor(100, 2, {law})") is None  # NaN: 100 cells never reach 2 bits


def test_the_planner_by_keyboard(planner: Page) -> None:
    enter(planner, "amount", "3000")
    best = answered(planner)["best"]
    said = text(planner, "said")
    assert f"{best['n_cells']:,} cells at {best['umis_per_cell']:,.0f} UMIs per cell" in said
    assert f"{best['bits']:.2f} bits (95 % {best['bits_low']:.2f} to {best['bits_high']:.2f})" in said
    assert best["cost"] <= 3000
    focus(planner, "question")
    planner.press("ArrowDown", 2)  # a share of the most
    assert planner.evaluate("document.querySelector('[data-part=amount]').value") == "90"
    assert answered(planner)["best"]["bits"] < best["bits"]
    numbers = downloaded(planner, "designs")[0]
    assert float(numbers["bits"]) == answered(planner)["best"]["bits"]
    assert all(float(numbers[key]) >= 0 for key in ("n_cells", "reads_per_cell", "cost", "saturation"))


def test_an_address_opens_its_plan(planner: Page, planner_url: str) -> None:
    choose(planner, question="bits", amount=1.7, kit="parse_wt_mega", saturation=40)
    best = answered(planner)["best"]
    state = planner.evaluate("new Promise(done => setTimeout(() => done(location.hash), 400))")
    planner.open("about:blank")
    planner.open(f"{planner_url}{state}")
    assert answered(planner)["best"] == best
    planner.open("about:blank")
    planner.open(f"{planner_url}#group=nope&kit=nope&amount=-1&saturation=50&colour=red")
    assert text(planner, "said").startswith(("Best: ", "The amount asked for"))


def test_two_designs_to_begin_with_lie_within_what_was_measured_of_the_data_at_hand(planner: Page) -> None:
    def fields() -> list[str]:
        return [planner.evaluate(f"document.querySelector('[data-part={name}]').value") for name in ("one", "two")]

    choose(planner, question="compare")
    first = fields()
    for group in planner.evaluate(f"{GROUPS}.map(g => g.name)"):
        choose(planner, group=group)
        assert text(planner, "said").startswith("Better: ")
        assert [d["inside"] for d in answered(planner)["designs"]] == [True, True]
    assert fields() != first
    assert "one=" not in planner.evaluate("new Promise(done => setTimeout(() => done(location.hash), 400))")
    choose(planner, two="1000:500")
    kept = fields()
    choose(planner, group=planner.evaluate(f"{GROUPS}[0].name"))
    assert fields() == kept


def test_nothing_to_buy_may_be_a_tie(planner: Page, tables: dict, capsys: pytest.CaptureFixture) -> None:
    choose(planner, have="3000:1900", amount=50)
    assert "Buying nothing is already a tie with it." in text(planner, "said")
    options = ["--dataset", "pbmc10k", "--measurements", str(tables["pbmc10k"]), "--have", "3000:1900", "--budget=50"]
    assert cli.main(["plan", *options]) == 0
    assert "Buying nothing is already a tie with the first." in capsys.readouterr().out


WRONG = [
    ("amount", "0", "The amount asked for must be a number above 0."),
    ("saturation", "100", "Saturation: give a percentage from 0 to below 100."),
    ("usable", "170", "Usable reads: give a percentage above 0, at most 100, or leave it empty."),
    ("have", "9", "A design is CELLS:READS_PER_CELL, such as 20000:5000: write it so."),
    ("have", "9:9", "No model was measured on 9 cells: plan a library anew."),
    ("donors", "2.5", "Donors: give a whole number from 1 to 3,000, the most cells that were measured."),
    ("library-umis", "10", "A library of 10 UMIs per cell cannot have 1,000 counted of it."),
    ("amount", "9", "The budget buys no design within what was measured: the cheapest, "),
]


def test_a_wrong_number_is_one_sentence(planner: Page) -> None:
    for part, value, sentence in WRONG:
        before = planner.evaluate(f"document.querySelector('[data-part={part}]').value")
        enter(planner, part, value)
        assert text(planner, "said").startswith(sentence)
        assert fit_rows(planner) == []
        assert planner.evaluate("document.querySelector('[data-part=designs]').hasAttribute('href')") is False
        choose(planner, **{part: before})
        assert text(planner, "said").startswith("Best: ")


def test_no_input_gives_a_number_that_is_none(planner: Page) -> None:
    """400 draws of all controls, absurd values among them: no NaN, no Infinity, no lost sentence."""
    found = planner.evaluate("""(() => {
      let seed = 7;
      const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
      const one = (list) => list[Math.floor(random() * list.length)];
      const part = (name) => document.querySelector(`[data-part="${name}"]`);
      const texts = ["", "0", "-0", "-5", "1e-12", "0.5", "1", "50", "99.999", "1e3", "20000", "1e9", "1e300"];
      const names = ["amount", "per-cell", "per-million", "saturation", "at-reads", "usable", "library-umis", "donors"];
      const designs = ["", "9", "5:6:7", ":", "a:b", "-3:4", "1e300:1", "300:1e-9", "1000:500", "3000:2e4", "1e9:1e9"];
      const wrong = [];
      const draw = charts.draw;
      charts.draw = () => {};
      for (let i = 0; i < 400; i++) {
        for (const name of ["group", "planned", "question", "kit", "flow"]) {
          part(name).value = one([...part(name).options]).value;
        }
        for (const name of names) if (random() < 0.3) part(name).value = one(texts);
        for (const name of ["one", "two"]) part(name).value = one(random() < 0.5 ? designs.slice(-3) : designs);
        part("have").value = random() < 0.7 ? "" : one(designs);
        for (const field of document.querySelectorAll("[data-own]")) {
          if (random() > 0.05) continue;
          field.value = one(texts);
          field.dispatchEvent(new Event("input", { bubbles: true }));
        }
        if (random() < 0.5) part("donors").value = one(["1", "4"]);
        if (random() < 0.5) part("saturation").value = one(["0", "30", "90"]);
        part("amount").dispatchEvent(new Event("input", { bubbles: true }));
        const link = part("json").getAttribute("href") ?? "";
        const shown = part("said").textContent + part("warning").textContent + part("table").textContent;
        const all = ["group", "planned", "question", "kit", "flow", "one", "two", "have", ...names];
        const state = all.map((n) => part(n).value).join(" ");
        const kept = decodeURIComponent(link).replace('"ahead_in_draws": null', "");
        if (/NaN|Infinity|undefined|null/.test(shown + kept)) wrong.push([shown.slice(0, 300), state]);
        if (part("said").textContent.length < 20) wrong.push(["no sentence", state]);
      }
      charts.draw = draw;
      return wrong;
    })()""")
    assert found == []


def test_the_planner_draws_what_the_budget_buys(planner: Page) -> None:
    choose(planner, kit="linear", per_million=400, amount=600)
    traces = planner.evaluate("document.querySelector('[data-part=map]').data.map(t => [t.name ?? '', t.x, t.y])")
    by_name = {name: (x, y) for name, x, y in traces if name}
    assert by_name["best"][0][0] == answered(planner)["best"]["n_cells"]
    molecules = planner.evaluate("planning.molecules(0.5, 2000)")
    line = [point for point in zip(*by_name["what the budget buys"], strict=True) if point[1] < 999]
    assert len(line) > 20
    for n, u in line:
        reads = planner.evaluate(f"planning.readsOf({u}, {molecules})")
        assert n * (0.05 + reads * 4e-4) == pytest.approx(600, rel=1e-6)


OVERLAP = """[...document.querySelectorAll('[data-part=map], [data-part=along]')].map(chart => {
  const box = (s) => chart.querySelector(s).getBoundingClientRect();
  const legend = box('.legend'), title = box('.xtitle'), frame = chart.getBoundingClientRect();
  return legend.top >= title.bottom - 1 && legend.bottom <= frame.bottom + 1 && legend.right <= frame.right + 1;
})"""


def test_no_legend_lies_on_an_axis(planner: Page, planner_url: str) -> None:
    for width in (1400, 900, 420):
        planner.resize(width, 900)
        planner.open(planner_url)
        assert planner.evaluate(OVERLAP) == [True, True]
    planner.resize(1280, 900)


def test_the_planner_fits_a_phone_and_names_what_the_eye_sees(planner: Page, planner_url: str) -> None:
    assert fits_a_phone(planner, planner_url)
    assert planner.evaluate(UNNAMED) == 0
