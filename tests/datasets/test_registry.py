"""The registry: every card is complete, and a card that is not is refused where it is wrong."""

import copy

import numpy as np
import pytest
import yaml

from noise_scaling import datasets, paths
from noise_scaling.datasets.registry import default_grid, read_registry
from noise_scaling.datasets.sources import LOADERS, register
from noise_scaling.errors import InputError

CARDS = [datasets.card(name) for name in datasets.names()]


def test_the_registry_holds_what_the_design_lists():
    assert set(datasets.names()) == {
        "pbmc68k", "simulated", "pbmc10k", "larry_subset", "merfish_poa", "worm_embryo",
        "xenium_breast", "merfish_hypothalamus", "seqfish_embryo", "cell_mixtures", "rna_mixtures", "cell_lines5",
        "citeseq_pbmc49", "pbmc_facs", "a549_dex", "citeseq_cbmc", "citeseq_inhouse", "fucci", "pbmc5k_extra",
        "pbmc", "larry", "merfish", "mouse_embryo",
    }  # fmt: skip
    assert datasets.names("table") == ["published", "published_parent", "published_follow_up"]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_grid_of_a_card_fits_its_cells(card):
    assert card.n_test + card.n_validation + max(card.cell_numbers) <= card.n_cells
    assert list(card.cell_numbers) == sorted(card.cell_numbers)
    assert card.fractions[0] == 1
    steps = np.diff(np.log(card.fractions))
    assert steps.max() < 0
    assert np.ptp(steps) < 0.01 * abs(steps.mean())  # log-spaced, to the digits given


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_signal_has_a_title_that_begins_with_its_data_sets_name(card):
    """Figures, tables and the page of data sets take its names from there (plots/style.py)."""
    assert set(card.signals) <= set(card.titles)
    assert len({title.rpartition(", ")[0] for title in card.titles.values()}) == 1


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_file_has_an_address_or_says_how_to_get_it(card):
    for file in card.files:
        assert (file.url or "").startswith("https://") or file.how
        assert file.sha256 is None or file.bytes is not None


def test_the_papers_depths_are_the_published_ones():
    """Gowri et al. go from 8100, 2580, 367 and 2500 UMI per cell down to 10."""
    for name, deepest in {"pbmc": 8100, "larry": 2580, "merfish": 367, "mouse_embryo": 2500}.items():
        assert datasets.card(name).fractions[-1] * deepest == pytest.approx(10, rel=2e-3)
        assert len(datasets.card(name).fractions) == 10


def test_the_default_grid_uses_every_cell_and_ends_at_ten_umis():
    grid = default_grid(3000, 2000.0)
    assert (grid["n_test"], grid["n_validation"]) == (1000, 300)
    assert grid["cell_numbers"][0] == 100
    assert grid["cell_numbers"][-1] == 1700
    assert grid["fractions"][-1] * 2000 == pytest.approx(10)
    assert default_grid(3, 5.0) == {"n_test": 1, "n_validation": 1, "cell_numbers": (1,), "fractions": (1.0,)}
    assert default_grid(10**6, 2000.0)["n_test"] == 3000


def broken(change):
    def apply(cards):
        change(cards["pbmc68k"])

    return apply


FAULTS = {
    "no title": (broken(lambda c: c.pop("title")), "pbmc68k: 'title' is a required property"),
    "no grid": (broken(lambda c: c.pop("cell_numbers")), "'cell_numbers' is a required property"),
    "misspelt": (broken(lambda c: c.update(organsim="human")), "'organsim' was unexpected"),
    "cells as text": (broken(lambda c: c.update(n_cells="many")), "pbmc68k/n_cells"),
    "fraction above 1": (broken(lambda c: c.update(fractions=[2])), "pbmc68k/fractions/0"),
    "fraction 0": (broken(lambda c: c.update(fractions=[0])), "pbmc68k/fractions/0"),
    "kind of signal": (
        broken(lambda c: c["signals"]["bulk_labels"].update(kind="word")),
        "pbmc68k/signals/bulk_labels/kind",
    ),
    "default signal": (broken(lambda c: c.update(signal="age")), "unknown default signal of pbmc68k 'age'"),
    "plain http": (broken(lambda c: c.update(url="http://example.org")), "pbmc68k/url"),
    "short sha256": (
        broken(lambda c: c.update(files=[{"name": "a", "url": "https://a.b/c", "bytes": 1, "sha256": "12"}])),
        "pbmc68k/files/0",
    ),
    "no address and no way": (
        broken(lambda c: c.update(files=[{"name": "a", "url": None, "bytes": None, "sha256": None}])),
        "'how' is a required property",
    ),
    "out of its folder": (
        broken(lambda c: c.update(files=[{"name": "../../a", "url": "https://a.b/c", "bytes": 1, "sha256": None}])),
        "pbmc68k/files/0/name",
    ),
    "limit as a word": (broken(lambda c: c.update(limits=["small"])), "pbmc68k/limits/0"),
    "name with a space": (lambda cards: cards.update({"my data": cards["pbmc68k"]}), "'my data' does not match"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_card_that_does_not_fit_is_refused_where_it_is_wrong(tmp_path, fault):
    change, said = FAULTS[fault]
    cards = copy.deepcopy(yaml.safe_load(paths.DATASETS_YML.read_text(encoding="utf-8")))
    change(cards)
    path = tmp_path / "datasets.yml"
    path.write_text(yaml.safe_dump(cards))
    with pytest.raises(InputError) as caught:
        read_registry(path)
    assert said in str(caught.value)


def test_a_registry_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_registry(tmp_path / "none.yml")
    (tmp_path / "bad.yml").write_text("a: [1")
    with pytest.raises(InputError, match="is not YAML"):
        read_registry(tmp_path / "bad.yml")
    (tmp_path / "list.yml").write_text("[1, 2]")
    with pytest.raises(InputError, match="does not fit its schema at the top"):
        read_registry(tmp_path / "list.yml")


def test_every_card_of_cells_has_a_loader_and_every_loader_a_card():
    assert set(LOADERS) == set(datasets.names())


def test_a_new_data_set_is_a_card_and_a_loader(tmp_path, monkeypatch):
    cards = yaml.safe_load(paths.DATASETS_YML.read_text())
    (tmp_path / "datasets.yml").write_text(yaml.safe_dump(cards | {"mine": cards["simulated"]}))
    monkeypatch.setattr(paths, "DATASETS_YML", tmp_path / "datasets.yml")
    monkeypatch.setitem(LOADERS, "mine", None)  # taken out again at the end
    with_signals = []

    @register("mine")
    def mine(card, files, signal):
        with_signals.append((card.name, files, signal))
        return datasets.simulate(n_cells=20, n_genes=10, seed=1)

    assert datasets.load("mine", signal="label").n_cells == 20
    assert with_signals == [("mine", {}, "label")]
    with pytest.raises(InputError, match="unknown signal of 'mine'"):
        datasets.load("mine", signal="none")
