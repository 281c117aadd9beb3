"""The parent paper's tables: the committed ones are those of its files, and say what the files say."""

import pytest

from noise_scaling import datasets, measurements, paths
from noise_scaling.errors import InputError
from noise_scaling.measurements import parent


@pytest.fixture
def files():
    """Skip unless the paper's files can be read without network."""
    if not datasets.at_hand(datasets.card("published_parent")):
        pytest.skip("the files of published_parent are not at hand")


def test_the_committed_tables_are_those_of_the_files(files, tmp_path, monkeypatch):
    committed = paths.PUBLISHED / "parent"
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path)
    (tmp_path / "parent").mkdir()
    parent.main()
    assert {path.name for path in committed.iterdir()} == {f"{name}.csv" for name in parent.TABLES}
    for path in committed.iterdir():
        assert path.read_text() == (tmp_path / "parent" / path.name).read_text(), path.name


def test_curves_are_rows_of_our_table():
    curves = parent.read_parent()
    assert set(measurements.COLUMNS) <= set(curves)
    plain = curves[curves["variant"] == ""]
    assert plain.groupby(["dataset", "signal"]).size().tolist() == [340] * 5
    assert plain["n_cells"].max() == 196_332
    # The last line of PBMC_CITEseq_scaling.csv that is of a VAE: 114,072 cells, all molecules.
    row = plain.query("dataset == 'pbmc' and model == 'scvi' and n_cells == 114072 and fraction == 1")
    assert row["umis_per_cell"].unique() == pytest.approx([8153.87])
    assert (curves["version"] == "published_parent").all()


def test_the_other_tables():
    shapes = {name: len(parent.read_parent(name)) for name in parent.TABLES}
    assert shapes == {
        "curves": 1730, "estimators": 90, "inference": 45, "finetuning": 20, "ranks": 10, "transformers": 8,
        "simulation": 20, "linear_probe": 11,
    }  # fmt: skip
    inference = parent.read_parent("inference")
    depth = inference["fraction"] * 8156.74
    assert inference["umis_per_cell"].to_numpy() == pytest.approx(depth.to_numpy(), rel=1e-4)
    ranks = parent.read_parent("ranks").pivot(index="umis_per_cell", columns="encoding", values="mi_bits")
    assert (ranks["count"] - ranks["rank"]).iloc[-1] == pytest.approx(0.7018, abs=1e-4)
    with pytest.raises(InputError, match="unknown table of the parent paper 'fits'"):
        parent.read_parent("fits")
