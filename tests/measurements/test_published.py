"""The published table's flagged rows, against counts made by hand from the file."""

import pandas as pd
import pytest

from noise_scaling import cli, laws, measurements, paths
from noise_scaling.errors import InputError
from noise_scaling.measurements import published as stored
from noise_scaling.measurements import table_audit


@pytest.fixture(scope="module")
def table(published) -> pd.DataFrame:
    return measurements.read_published(published)


def test_every_flag_has_its_rows(table):
    why = table_audit.reasons(table)
    doubted = table.assign(why=why)[why != ""]
    assert set(doubted["why"]) == {table_audit.COPY, table_audit.LOW_SEED, table_audit.PARTIAL_SEED}
    assert (why == table_audit.LOW_SEED).sum() == 200  # a hundred points, two signals
    kept = table_audit.filtered(table)
    assert len(kept) + len(doubted) == 4844
    assert not ((kept["dataset"] == "pbmc") & (kept["seed"] == 2303)).any()


def test_larry_keeps_one_projection_a_depth(table):
    kept = table_audit.filtered(table)
    rows = kept[(kept["dataset"] == "larry") & (kept["model"] == "random_projection")]
    assert len(rows) == 10  # of 300: three seeds, ten cell numbers, one value per depth
    assert set(rows["n_cells"]) == {100_000}


def test_only_projections_are_copies(table):
    assert set(table.loc[table_audit.copies(table), "model"]) == {"random_projection"}
    assert table_audit.values_per_depth(table).to_dict() == {"larry": 1, "merfish": 1, "mouse_embryo": 1, "pbmc": 10}


def test_the_notes_carry_the_numbers(table):
    fits = laws.fit_curves(table[table["model"] == "scvi"])
    cells = laws.fit_curves(table[table["model"] == "pca"], law=laws.CELL_NUMBER_LAW)
    notes = table_audit.notes(table, fits, cells).set_index("found")["number"]
    numbers = " | ".join(notes)
    for expected in ("3 of 4", "100 of 100", "14 (0) of 100", "27 (0) of 100", "59 of 4,844"):
        assert expected in numbers
    assert notes["scVI, mouse embryo: seeds"] == "1"


def test_a_summary_gives_its_rows_back(table):
    summary = stored.points(table)
    assert summary["seeds"].max() == 3
    whole, kept = (stored.rows_of(summary, version) for version in (stored.ALL, stored.KEPT))
    for rows, truth in ((whole, table), (kept, table_audit.filtered(table))):
        order = [c for c in measurements.KEY if c != "seed"] + ["mi_bits"]
        both = [t.drop(columns="seed").sort_values(order, ignore_index=True) for t in (rows, truth)]
        pd.testing.assert_frame_equal(*both, check_exact=True)
    assert set(whole["seed"]) == {1, 2, 3}
    assert kept.merge(whole).shape == kept.shape  # a row has one seed in both


def test_equal_seeds_of_which_one_is_kept():
    point = dict(zip(stored._POINT, ("larry", "clone", "random_projection", 100, 1.0, 50), strict=True))
    every = {"mi_bits": 0.3, "lowest": 0.3, "highest": 0.3, "seeds": 3}
    one = {"mi_bits": 0.3, "lowest": 0.3, "highest": 0.3, "seeds": 1}
    summary = pd.DataFrame([point | every | {"rows": stored.ALL}, point | one | {"rows": stored.KEPT}])
    assert stored.rows_of(summary, stored.ALL)["seed"].tolist() == [1, 2, 3]
    assert stored.rows_of(summary, stored.KEPT)["seed"].tolist() == [1]


def test_without_a_checkout_one_sentence_says_what_is_missing(nothing_at_hand, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"neither the published table nor its summary is here.*fetch published"):
        stored.read()


COMMANDS = {
    "fit": ["fit", "published"],
    "fit, filtered": ["fit", "published-filtered"],
    "figure": ["figure", "information", "published", "--output", "figure.png"],
    "plan": ["plan", "--measurements", "published", "--dataset", "pbmc", "--signal", "protein"],
    "plan, by data set": ["plan", "--dataset", "larry"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_never_takes_anything_for_the_table(name, nothing_at_hand, monkeypatch, tmp_path, capsys):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    prices = ["--budget", "500", "--cost-per-cell", "0.05", "--cost-per-million-reads", "4"]
    assert cli.main(COMMANDS[name] + (prices if name.startswith("plan") else [])) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "collect_mi_results.csv (0.3 MB) could not be downloaded (no connection): when you are online" in said.err
    assert not list(here.iterdir())
