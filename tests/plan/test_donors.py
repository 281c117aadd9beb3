"""What donors add, read from rows whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import measurements, paths
from noise_scaling.plan.donors import donors, sentence
from noise_scaling.plots import plan_page


@pytest.fixture
def rows():
    """Bits of one donor, 0.1 more of two, 0.3 and 0.01 times the seed more of four."""
    table = measurements.read(paths.MEASUREMENTS / "campaign.csv").query("model == 'pca' and dataset == 'simulated'")
    table = table[(table["variant"] == "") & (table["n_cells"] == table["n_cells"].max())].query(
        "estimator == 'default'"
    )
    return pd.concat([
        table.assign(variant=f"blocks_{k}", mi_bits=table["mi_bits"] + more + 0.01 * table["seed"] * (k == 4))
        for k, more in ((1, 0.0), (2, 0.1), (4, 0.3))
    ])  # fmt: skip


def test_what_donors_add_is_paired_by_seed_and_depth(rows):
    found = donors(rows.sample(frac=1, random_state=0)).set_index("donors")
    np.testing.assert_allclose(found["added_bits"], [0.1, 0.31])
    np.testing.assert_allclose(found.loc[2, ["low", "high"]].astype(float), 0.1)
    # three seeds: the standard error is 0.01 / sqrt(3), and t at 0.975 with two degrees of freedom 4.3027
    np.testing.assert_allclose(found.loc[4, "high"] - 0.31, 4.3027 * 0.01 / np.sqrt(3), rtol=1e-4)


def test_without_one_donor_nothing_is_compared(rows):
    assert donors(rows[rows["variant"] != "blocks_1"]).empty
    assert donors(pd.DataFrame()).empty
    assert donors(rows[rows["seed"] == 0]).empty  # one seed has no interval


def test_the_sentence_names_cells_model_and_interval(rows, tmp_path):
    measurements.write(rows, tmp_path / "donors.csv")
    said = sentence(tmp_path / "donors.csv")
    assert "4 donors in place of one added +0.31 bits (+0.29 to +0.33) for pca at 1,800 cells of simulated" in said
    assert "not measured yet" in sentence(tmp_path / "none.csv")


def test_the_page_shows_what_was_measured():
    shown = plan_page.donors("data/measurements").data
    assert "of 4 comparisons with one donor" in shown
    assert "stem cells" in shown
