import json

import numpy as np
import pandas as pd
import pytest

from noise_scaling import measure as measuring
from noise_scaling import measurements
from noise_scaling.errors import InputError
from noise_scaling.measure import measure

SMALL = {"cell_numbers": [50, 100], "fractions": [1.0, 0.1], "seeds": [0], "progress": False}
CHEAP = SMALL | {"models": ["random_projection", "pca", "shuffled"]}


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=measurements.TIMES)


@pytest.fixture(scope="module")
def cheap() -> pd.DataFrame:
    return measure("pbmc68k", **CHEAP)


def test_rows_of_a_slice(cheap):
    assert list(cheap.columns) == list(measurements.COLUMNS)
    assert len(cheap) == 3 * 2 * 2
    assert set(cheap["status"]) == {measurements.OK}
    assert set(cheap["n_test"]) == {280}
    assert set(cheap["dims"]) == {16}
    # measured depth: binomial thinning of about 190,000 test molecules at q = 0.1
    full = cheap.loc[cheap["fraction"] == 1, "umis_per_cell"].iloc[0]
    thin = cheap.loc[cheap["fraction"] == 0.1, "umis_per_cell"].iloc[0]
    assert thin == pytest.approx(0.1 * full, abs=4 * np.sqrt(0.09 * full / 280))
    assert cheap["umis_per_cell_nominal"].max() == pytest.approx(486_651 / 700, abs=1e-9)


def test_depth_does_not_depend_on_the_number_of_cells(cheap):
    assert cheap.groupby("fraction")["umis_per_cell"].nunique().eq(1).all()


def test_controls(cheap):
    """Shuffled pairs give 0 within 3 standard errors (and a floor where the error is tiny); real ones do not."""
    shuffled = cheap[cheap["model"] == "shuffled"]
    assert (shuffled["mi_bits"].abs() < np.maximum(3 * shuffled["mi_stderr"], 0.08)).all()
    pca = cheap[(cheap["model"] == "pca") & (cheap["fraction"] == 1)]
    assert (pca["mi_bits"] > 10 * pca["mi_stderr"]).all()


def test_the_same_seed_gives_the_same_table_to_the_bit(cheap):
    pd.testing.assert_frame_equal(numbers(measure("pbmc68k", **CHEAP)), numbers(cheap), check_exact=True)


def test_two_halves_give_the_same_as_one(cheap, tmp_path):
    halves = [measure("pbmc68k", **(CHEAP | {"fractions": [q]}), output=tmp_path / f"{q}.csv") for q in (0.1, 1.0)]
    assert [len(h) for h in halves] == [6, 6]
    together = measurements.gather([tmp_path / "0.1.csv", tmp_path / "1.0.csv"])
    # through CSV, whose floats are written to be read back exactly
    pd.testing.assert_frame_equal(numbers(together), numbers(cheap), check_exact=True)


def test_alone_or_in_company(cheap):
    alone = measure("pbmc68k", **(CHEAP | {"models": ["pca"], "fractions": [0.1], "cell_numbers": [100]}))
    same = cheap[(cheap["model"] == "pca") & (cheap["fraction"] == 0.1) & (cheap["n_cells"] == 100)]
    pd.testing.assert_frame_equal(numbers(alone), numbers(same).reset_index(drop=True), check_exact=True)


def test_scvi_is_measured_and_repeats_to_the_bit():
    settings = SMALL | {"models": ["scvi"], "fractions": [0.1], "cell_numbers": [50]}
    one, other = measure("pbmc68k", **settings), measure("pbmc68k", **settings)
    pd.testing.assert_frame_equal(numbers(one), numbers(other), check_exact=True)
    assert one["mi_bits"][0] > 0.5
    assert one["n_parameters"][0] > 100_000


def test_finished_units_are_not_measured_again(tmp_path, monkeypatch, cheap):
    first = measure("pbmc68k", **CHEAP, results=tmp_path)

    def refuse(*arguments, **settings):
        raise AssertionError("trained again")

    monkeypatch.setattr(measuring.models, "create", refuse)
    pd.testing.assert_frame_equal(measure("pbmc68k", **CHEAP, results=tmp_path), first)
    pd.testing.assert_frame_equal(numbers(first), numbers(cheap))


def test_an_interrupted_run_goes_on_to_the_same_table(tmp_path, monkeypatch, cheap):
    embed, seen = measuring._Slice._embed, []

    def interrupted(self, name, n_cells):
        seen.append(name)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return embed(self, name, n_cells)

    monkeypatch.setattr(measuring._Slice, "_embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure("pbmc68k", **CHEAP, results=tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.rglob("*.json"))) == 7
    pd.testing.assert_frame_equal(numbers(measure("pbmc68k", **CHEAP, results=tmp_path)), numbers(cheap))


def test_a_failed_unit_is_a_row_and_is_tried_again(tmp_path, monkeypatch):
    def broken(self, counts):
        raise FloatingPointError("diverged\nbadly")

    settings = CHEAP | {"fractions": [1.0], "cell_numbers": [50]}
    with monkeypatch.context() as patch:
        patch.setattr(measuring.models.MODELS["random_projection"], "embed", broken)
        table = measure("pbmc68k", **settings, results=tmp_path)
    failed = table[table["model"] == "random_projection"].iloc[0]
    assert (failed["status"], failed["error"]) == ("error", "FloatingPointError: diverged badly")
    assert np.isnan(failed["mi_bits"])
    assert (table.loc[table["model"] != "random_projection", "status"] == "ok").all()
    assert (measure("pbmc68k", **settings, results=tmp_path)["status"] == "ok").all()


def test_a_unit_cut_off_by_hand_is_measured_again(tmp_path):
    settings = CHEAP | {"fractions": [1.0], "cell_numbers": [50], "models": ["pca"]}
    first = measure("pbmc68k", **settings, results=tmp_path)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(path.read_text()[:40])
    pd.testing.assert_frame_equal(numbers(measure("pbmc68k", **settings, results=tmp_path)), numbers(first))
    assert json.loads(path.read_text())[0]["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"models": ["mofa"]}, "unknown model"),
        ({"models": []}, "models must be a list"),
        ({"models": "pca"}, "models must be a list"),
        ({"preset": "huge"}, "unknown preset"),
        ({"estimators": ["guess"]}, "unknown estimator"),
        ({"fractions": [0.0]}, r"\(0, 1\]"),
        ({"fractions": [1.5]}, r"\(0, 1\]"),
        ({"fractions": [float("nan")]}, r"\(0, 1\]"),
        ({"cell_numbers": [0]}, "cell number"),
        ({"cell_numbers": [10.5]}, "cell number"),
        ({"cell_numbers": [400]}, "400 training cells asked for, 350 left"),
        ({"seeds": []}, "seeds must be a list"),
        ({"seeds": [-1]}, "seed"),
        ({"n_test": 900}, "test cells asked for"),
        ({"device": "tpu"}, "unknown device"),
        ({"signal": "colour"}, "colour"),
    ],
)
def test_bad_requests_measure_nothing(change, word, tmp_path):
    with pytest.raises(InputError, match=word):
        measure("pbmc68k", **(CHEAP | change), results=tmp_path)
    assert not list(tmp_path.rglob("*"))
