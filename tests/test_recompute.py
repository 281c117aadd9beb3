"""Rows of the committed table measured again from scratch: thinning, training and estimate of a random handful."""

import json

import numpy as np
import pytest

from noise_scaling import datasets, measurements
from noise_scaling.measure import measure

MODELS = ("random_projection", "pca", "scvi", "untrained_geneformer", "shuffled", "known_2_bits")
HANDFUL = 8
DEPTHS = ["umis_per_cell", "umis_per_cell_train", "umis_per_cell_nominal"]


def handful(table):
    """Rows whose training takes seconds, drawn anew for every table: one of each model, then any."""
    quick = table[(table["status"] == measurements.OK) & (table["variant"] == "") & (table["estimator"] == "default")]
    quick = quick[quick["model"].isin(MODELS) & (quick["n_cells"] <= 350)]
    at_hand = {name: datasets.preload(name) is not None for name in quick["dataset"].unique()}
    quick = quick[quick["dataset"].map(at_hand)]
    rng = np.random.default_rng(len(table))
    each = [rng.choice(rows.index) for _, rows in quick.groupby("model")]
    rest = rng.choice(quick.index.difference(each), HANDFUL - len(each), replace=False)
    return quick.loc[[*each, *rest]]


def once_more(row):
    """The row measured from scratch: no embedding, model or thinned counts are taken from anywhere."""
    table = measure(
        row["dataset"], models=[row["model"]], cell_numbers=[row["n_cells"]], fractions=[row["fraction"]],
        seeds=[row["seed"]], estimators=[row["estimator"]], signal=row["signal"], progress=False,
    )  # fmt: skip
    return table.iloc[0]


@pytest.mark.parametrize("name", ["small"])
def test_a_random_handful_of_committed_rows_comes_out_again(root, name, monkeypatch):
    monkeypatch.setattr(datasets, "_PRELOADED", {})
    path = root / "data" / "measurements" / f"{name}.csv"
    made_here = json.loads(path.with_suffix(".json").read_text())["processor"] == measurements.processor()
    rows = handful(measurements.read(path))
    assert len(rows) == HANDFUL
    for _, row in rows.iterrows():
        what = row[measurements.KEY].to_dict()
        again = once_more(row)
        assert again["config_hash"] == row["config_hash"], what
        assert again["data_sha256"] == row["data_sha256"], what
        assert (again[DEPTHS] == row[DEPTHS]).all(), what  # thinning gives the same molecules on every machine
        if made_here:  # to the bit on a processor with the same instructions, else within the row's own error
            assert again["mi_bits"] == row["mi_bits"], what
        assert abs(again["mi_bits"] - row["mi_bits"]) <= row["mi_stderr"], what
