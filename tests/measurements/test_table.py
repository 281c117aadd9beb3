import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.errors import InputError


def row(**changes):
    kinds = {str: "x", int: 1, float: 0.5}
    base = {name: kinds[kind] for name, kind in measurements.COLUMNS.items()}
    return base | {"status": "ok", "error": ""} | changes


def test_write_read_round_trip(tmp_path):
    rows = [row(seed=2), row(seed=1, mi_bits=np.nan, status="error", error="ValueError: a, b")]
    path = measurements.write(rows, tmp_path / "deep" / "table.csv")
    table = measurements.read(path)
    assert table["seed"].tolist() == [1, 2]
    assert table["error"].tolist() == ["ValueError: a, b", ""]
    assert np.isnan(table["mi_bits"][0])
    pd.testing.assert_frame_equal(table, measurements.sort(rows))
    before = path.read_bytes()
    measurements.write(table, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t: t.drop(columns="seed"), "missing columns"),
        (lambda t: t.assign(more=1), "unknown columns"),
        (lambda t: t.assign(n_cells="many"), "n_cells"),
        (lambda t: pd.concat([t, t]), "share a key"),
        (lambda t: t.assign(fraction=np.nan), "fraction"),
    ],
)
def test_not_a_table(change, word):
    with pytest.raises(InputError, match=word):
        measurements.sort(change(pd.DataFrame([row()])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mi_bits": np.inf}, "no possible mi_bits, the first of x at 1 cells: found inf"),
        ({"mi_bits": np.nan}, "no possible mi_bits"),
        ({"umis_per_cell": 0.0}, "no possible umis_per_cell"),
        ({"umis_per_cell": -5.0}, "no possible umis_per_cell"),
        ({"umis_per_cell": np.nan}, "no possible umis_per_cell"),
        ({"n_cells": 0}, "no possible n_cells"),
        ({"status": "weird"}, "status must be ok or error"),
    ],
)
def test_a_measured_row_holds_possible_values(change, said, tmp_path):
    path = tmp_path / "table.csv"
    measurements.sort([row(**change)]).to_csv(path, index=False)
    with pytest.raises(InputError, match=f"table.csv: .*{said}"):
        measurements.read(path)
    if "status" not in change:
        measurements.sort([row(**change, status="error")]).to_csv(path, index=False)
        assert len(measurements.read(path)) == 1


@pytest.mark.parametrize("order", [("failed", "good"), ("good", "failed")])
@pytest.mark.parametrize("first_wins", [True, False])
def test_a_row_that_was_measured_takes_the_place_of_one_that_failed(order, first_wins, tmp_path):
    rows = {"good": row(), "failed": row(mi_bits=np.nan, status="error", error="no luck")}
    paths = [measurements.write([rows[name]], tmp_path / f"{name}.csv") for name in order]
    assert measurements.gather(paths, first_wins=first_wins)["status"].tolist() == ["ok"]


def test_gather_is_idempotent_and_names_conflicts(tmp_path):
    one = measurements.write([row(seed=1), row(seed=2)], tmp_path / "one.csv")
    two = measurements.write([row(seed=2, train_seconds=99.0), row(seed=3)], tmp_path / "two.csv")
    both = measurements.gather([one, two])
    assert both["seed"].tolist() == [1, 2, 3]
    again = measurements.gather([measurements.write(both, tmp_path / "both.csv"), two, one])
    pd.testing.assert_frame_equal(again, both)
    three = measurements.write([row(seed=3, mi_bits=0.75)], tmp_path / "three.csv")
    with pytest.raises(InputError, match=r"0\.5 bits in .*two\.csv and 0\.75 bits in .*three\.csv"):
        measurements.gather([one, two, three])
    changed = measurements.write([row(seed=4, data_sha256="other")], tmp_path / "changed.csv")
    with pytest.raises(InputError, match=r"in .*one\.csv and .*changed\.csv are of different cells or counts"):
        measurements.gather([one, changed])
    assert len(measurements.gather([one, changed], first_wins=True)) == 3


def test_a_table_cut_off_by_hand_is_refused(tmp_path):
    path = measurements.write([row(seed=1), row(seed=2)], tmp_path / "table.csv")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 20])
    with pytest.raises(InputError, match="is cut off: its last line has no end"):
        measurements.gather([path])
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    assert len(measurements.gather([path], rows=1)) == 1
    with pytest.raises(InputError, match="1 rows in 1 files where 2 were asked for"):
        measurements.gather([path], rows=2)


def test_a_unit_is_whole_or_not_there(tmp_path):
    key = "ab" * 12
    assert measurements.read_unit(tmp_path, key) is None
    measurements.write_unit(tmp_path, key, [row()])
    assert measurements.read_unit(tmp_path, key) == [row()]
    path = measurements.unit_path(tmp_path, key)
    path.write_text(path.read_text()[:50])
    assert measurements.read_unit(tmp_path, key) is None


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        measurements.write([row()], tmp_path / "file" / "table.csv")


def test_published_table(published):
    table = measurements.read_published(published)
    assert len(table) == 4844
    counts = table["dataset"].value_counts()
    assert counts.to_dict() == {"pbmc": 1927, "larry": 1200, "merfish": 1199, "mouse_embryo": 518}
    fits = laws.fit_curves(table)
    assert len(fits) == 200
    assert set(fits["status"]) <= set(laws.STATUSES)
    assert (fits.loc[fits["status"] != laws.CONVERGED, "note"] != "").all()
    deepest = table.groupby([*laws.CURVE, "n_cells"])["umis_per_cell"].max().rename("deepest").reset_index()
    over = fits["u_bar"] > fits.merge(deepest)["deepest"]
    assert fits["status"].isin([laws.CONVERGED, laws.BEYOND]).sum() >= 190
    assert not (over & (fits["status"] == laws.CONVERGED)).any()
    assert (fits["status"] == laws.BEYOND).sum() > 10


@pytest.mark.parametrize(
    ("model", "i_max", "u_bar"), [("scvi", 2.47, 316), ("geneformer", 2.04, 297), ("pca", 1.20, 766)]
)
def test_published_parameters(published, model, i_max, u_bar):
    """The numbers printed in the paper's figure for the embryo atlas at 10^7 cells."""
    table = measurements.read_published(published)
    curve = table[(table["dataset"] == "mouse_embryo") & (table["model"] == model) & (table["n_cells"] == 10**7)]
    fit = laws.fit_noise_law(curve["umis_per_cell"], curve["mi_bits"])
    assert fit.i_max == pytest.approx(i_max, abs=0.006)
    assert fit.u_bar == pytest.approx(u_bar, rel=0.003)


def test_another_csv_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="not the published table"):
        measurements.read_published(tmp_path / "other.csv")


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KB; skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_the_old_table_stays(tiny_disk):
    path = measurements.write([row(seed=1)], tiny_disk / "table.csv")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"cannot write .*table\.csv: No space left on device; free the disk"):
        measurements.write([row(seed=s, error="x" * 300) for s in range(400)], path)
    assert path.read_bytes() == before
    assert [p.name for p in tiny_disk.iterdir()] == ["table.csv"]
    with pytest.raises(InputError, match="No space left"):
        measurements.write_unit(tiny_disk / "units", "ab" * 12, [row(error="y" * 70_000)])
    assert not list((tiny_disk / "units").rglob("*.json*"))


def test_the_first_table_wins_where_that_is_asked(tmp_path):
    """Two machines' rows of one key differ in the last digit: an error, or the first's."""
    here = measurements.write([row(seed=1, mi_bits=0.5)], tmp_path / "here.csv")
    there = measurements.write([row(seed=s, mi_bits=np.nextafter(0.5, 1)) for s in (1, 2)], tmp_path / "there.csv")
    with pytest.raises(InputError, match="differ"):
        measurements.gather([here, there])
    assert measurements.gather([here, there], first_wins=True)["mi_bits"].tolist() == [0.5, np.nextafter(0.5, 1)]


def spreadsheet(text: str) -> str:
    """As a German spreadsheet saves it."""
    return text.replace(",", ";").replace(".", ",")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        spreadsheet,
        lambda text: "\n".join(f"{i - 1 if i else ''},{line}" for i, line in enumerate(text.splitlines())) + "\n",
        lambda text: text.replace(",200,", ",200.0,"),
    ],
    ids=["windows", "byte order mark", "semicolons", "tabs", "spreadsheet", "with an index", "whole floats"],
)
def test_a_table_that_went_through_another_program_reads_the_same(change, tmp_path):
    path = measurements.write([row(seed=1, mi_bits=1.25, n_cells=200), row(seed=2, mi_bits=1 / 3)], tmp_path / "t.csv")
    before = measurements.read(path)
    path.write_bytes(change(path.read_text()).encode())
    pd.testing.assert_frame_equal(measurements.read(path), before)


def test_a_hash_of_digits_stays_text(tmp_path):
    digits = "12e456789012345678901234"
    path = measurements.write([row(config_hash=digits, dataset="007")], tmp_path / "t.csv")
    assert measurements.read(path)[["config_hash", "dataset"]].values.tolist() == [[digits, "007"]]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text + text, "holds its header twice"),
        (lambda text: text.replace(",status", ",state"), "not a measurements table of this version"),
        (
            lambda text: text.replace("dataset,", "dataset,batch,").replace("\nd,", "\nd,1,"),
            "not a measurements table of this version",
        ),
        (lambda text: "a,b\n1,2\n", "not a measurements table: its columns are .*'b'"),
        (lambda text: text.replace(",ok,", ",fine,"), "found 'fine'"),
        (lambda text: text.replace(",200,", ",200.5,"), "'n_cells' of the measurements table must hold int"),
        (lambda text: text[:-30] + "\n", "cells|columns|hold"),
        (lambda text: "", "cannot be read as CSV"),
        (lambda text: "\udcff\udcfe\n", "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_whole_table_is_one_sentence(change, word, tmp_path):
    path = measurements.write([row(dataset="d", n_cells=200), row(dataset="d", seed=2)], tmp_path / "t.csv")
    path.write_bytes(change(path.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=word) as error:
        measurements.read(path)
    assert "\n" not in str(error.value)


def test_a_run_of_fewer_seeds_is_not_joined_with_one_of_more():
    head = {"dataset": "d", "signal": "s", "preset": "small", "estimator": "default", "version": "1"}
    depths, cells = (1.0, 0.5, 0.2), (50, 350)
    more = [head | {"fraction": q, "n_cells": n, "seed": s} for q in depths for n in cells for s in range(3)]
    demo = [head | {"fraction": q, "n_cells": n, "seed": s} for q in (1.0, 0.36) for n in (50, 100) for s in range(2)]
    both = pd.DataFrame(more + demo).drop_duplicates()
    assert len(measurements.of_one_run(both)) == len(more)
    # a seed that was added at one depth takes nothing from the others, and the demo alone is whole
    added = pd.DataFrame([*demo, head | {"fraction": 1.0, "n_cells": 50, "seed": 2}])
    assert len(measurements.of_one_run(added)) == len(added)
    assert len(measurements.of_one_run(both.assign(version="published"))) == len(both)
