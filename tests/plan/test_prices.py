"""Price cards against scPower's and Satija's arithmetic, and price files that cannot be read."""

import re
from dataclasses import fields

import numpy as np
import pytest
import yaml

from noise_scaling.errors import InputError
from noise_scaling.paths import PRICES_YML
from noise_scaling.plan import prices

CARDS = prices.read_prices()
KIT, S4 = CARDS.preparations["10x_3p_kit"], CARDS.sequencing["novaseq_6000_s4"]


def test_every_card_has_a_date_and_a_source_that_can_be_opened():
    for card in (*CARDS.preparations.values(), *CARDS.sequencing.values()):
        assert card.url.startswith("https://"), card.name
        assert re.match(r"20\d\d-\d\d", card.date), card.name
        assert set(card.assumed) <= set(vars(card)), card.name


def test_an_invoice_is_scpowers():
    # budgetCalculation.restrictedDoublets(nSamples=100, nCells=4000, readDepth=25000, costKit=5600, cellsPerLane=8000,
    # costFlowCell=14032, readsPerFlowcell=4100e6, rounding=TRUE): 50 lanes are 9 kits, 1e10 reads 3 flow cells
    n = 50 * KIT.singlets
    assert KIT.recovered(n) == pytest.approx(400_000)
    assert KIT.cost(n) == 9 * 5600
    assert S4.units(400_000 * 25_000) * S4.price == 3 * 14_032
    # at its 6.1 % of multiplets scPower's reads of a single cell are 25,000 / (1 + .82 share)
    share = 7.67e-6 * 8000
    assert KIT.per_cell(n) * n == pytest.approx(400_000 * (1 + 0.82 * share))


def test_loading_is_satijas():
    # 20,000 recovered cells over six lanes: 57 % of those loaded, 4.6e-6 multiplets a loaded cell, 2.7 % of multiplets
    lane = prices.Preparation("lane", "", 2000, 1, 10_000, recovery=0.57, multiplets=4.6e-6 / 0.57)
    n = 20_000 * (1 - 4.6e-6 * 20_000 / 6 / 0.57)
    assert lane.libraries_for(n) == 3  # ours: no more lanes than the vendor loads
    assert lane.recovered(n, 6) == pytest.approx(20_000)
    assert lane.recovered(n, 6) / lane.recovery == pytest.approx(35_088, abs=1)


def test_hashing_loads_more_cells_and_reads_more_multiplets():
    # Satija's case: 20,000 cells of hashed samples take one lane, of plain ones as many as keep multiplets low
    hashed, plain = (CARDS.preparations[name] for name in ("10x_3p_hashed_lane", "10x_3p_lane"))
    assert (hashed.libraries_for(20_000), plain.libraries_for(20_000)) == (1, 3)
    assert hashed.cost(20_000) < plain.cost(20_000)
    assert hashed.per_cell(20_000) > plain.per_cell(20_000) > 1


def test_kits_lanes_and_flow_cells_come_whole():
    full = np.floor(KIT.singlets)
    assert list(KIT.libraries_for(np.array([1, full, full + 1, 6 * KIT.singlets]))) == [1, 1, 2, 6]
    assert list(KIT.kits_for(np.array([1, 6, 7]))) == [1, 1, 2]
    assert KIT.libraries_for(100, donors=5) == 5
    assert S4.affordable(14_031) == 0
    assert S4.affordable(28_064) == 2
    loose = prices.linear(0.5, 4)
    assert loose.preparations["per_cell"].cost(100.5) == pytest.approx(50.25)
    assert loose.sequencing["per_million_reads"].units(2.5e6) == pytest.approx(2.5)


@pytest.mark.parametrize("n", [1.0, 500, 7000, 44_000])
def test_multiplets_are_paid_for(n):
    m, libraries = KIT.recovered(n), KIT.libraries_for(n)
    assert m - KIT.multiplets * m**2 / libraries == pytest.approx(n)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda f: f["preparations"]["10x_3p_kit"].update(price=-5), "preparations/10x_3p_kit/price"),
        (lambda f: f["preparations"]["10x_3p_kit"].update(price="1e3"), "'1e3' is not of type 'number'"),
        (lambda f: f["sequencing"]["novaseq_x_25b"].update(reads=0), "sequencing/novaseq_x_25b/reads"),
        (lambda f: f["sequencing"]["novaseq_x_25b"].pop("source"), "'source' is a required property"),
        (lambda f: f["preparations"]["10x_3p_kit"].update(cells=80_000), "61% multiplets"),
        (lambda f: f.update(default=["nope"]), "unknown kit under default in mine.yml 'nope'"),
        (lambda f: f.update(colour="red"), "Additional properties"),
        (lambda f: f.clear(), "required property"),
    ],
)
def test_a_wrong_price_file_is_one_sentence(change, word, tmp_path):
    file = yaml.safe_load(PRICES_YML.read_text())
    change(file)
    (tmp_path / "mine.yml").write_text(yaml.safe_dump(file))
    with pytest.raises(InputError, match=re.escape(word)) as said:
        prices.read_prices(tmp_path / "mine.yml")
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("content", ["a: [", "\xff", "- 1", ""])
def test_what_is_no_price_file_is_refused(content, tmp_path):
    (tmp_path / "mine.yml").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"mine\.yml"):
        prices.read_prices(tmp_path / "mine.yml")


def test_a_date_may_be_a_day(tmp_path):
    file = yaml.safe_load(PRICES_YML.read_text().replace("date: 2022-11\n", "date: 2025-06-25\n"))
    (tmp_path / "mine.yml").write_text(yaml.safe_dump(file))
    assert prices.read_prices(tmp_path / "mine.yml").preparations["10x_3p_lane"].date == "2025-06-25"


def test_what_is_assumed_is_a_sentence_and_every_field_has_its_words():
    assert prices.assumed(KIT) == (
        "What each library costs beside the kit is assumed for “10x Chromium 3', kit of six lanes”, since no public "
        "source is known"
    )
    several = prices.assumed(CARDS.preparations["10x_3p_hashed_lane"])
    assert several.startswith("What each library costs beside the kit and the date are assumed for “")
    for card in (*CARDS.preparations.values(), *CARDS.sequencing.values()):
        assert set(card.assumed) <= set(prices.WORDS)
        assert set(prices.WORDS) >= {f.name for f in fields(card)} - {
            "name", "title", "source", "url", "assumed", "whole",
        }  # fmt: skip
