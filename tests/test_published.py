"""The published table's doubtful rows, against counts made by hand from the file."""

import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling import published as careful


@pytest.fixture(scope="module")
def table(published) -> pd.DataFrame:
    return measurements.read_published(published)


def test_every_doubt_has_its_rows(table):
    why = careful.reasons(table)
    doubted = table.assign(why=why)[why != ""]
    assert set(doubted["why"]) == set(careful.REASONS)
    assert (why == careful.LOW_SEED).sum() == 200  # a hundred points, two signals
    kept = careful.sound(table)
    assert len(kept) + careful.doubtful(table).sum() == 4844
    assert not ((kept["dataset"] == "pbmc") & (kept["seed"] == 2303)).any()


def test_larry_keeps_one_projection_a_depth(table):
    kept = careful.sound(table)
    rows = kept[(kept["dataset"] == "larry") & (kept["model"] == "random_projection")]
    assert len(rows) == 10  # of 300: three seeds, ten cell numbers, one value per depth
    assert set(rows["n_cells"]) == {100_000}


def test_only_projections_are_copies(table):
    assert set(table.loc[careful.copies(table), "model"]) == {"random_projection"}
    values = careful.projection_values(table).groupby("dataset")["values_per_depth"].max()
    assert values.to_dict() == {"larry": 1, "merfish": 1, "mouse_embryo": 1, "pbmc": 10}


def test_the_notes_carry_the_numbers(table):
    fits = laws.fit_curves(table[table["model"] == "scvi"])
    cells = laws.fit_curves(table[table["model"] == "pca"], law=laws.CELL_NUMBER_LAW)
    notes = careful.notes(table, fits, cells).set_index("found")["number"]
    numbers = " | ".join(notes)
    for expected in ("3 of 4", "100 of 100", "14 (0) of 100", "27 (0) of 100", "59 of 4,844"):
        assert expected in numbers
    assert notes["scVI, mouse embryo: seeds"] == "1"
