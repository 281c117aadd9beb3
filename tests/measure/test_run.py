import json
import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch

from noise_scaling import datasets, measurements, models
from noise_scaling.errors import InputError
from noise_scaling.measure import slice as measure_slice
from noise_scaling.measure.run import measure
from noise_scaling.measure.slice import Slice
from noise_scaling.models.pca import PCA

SMALL = {"cell_numbers": [50, 100], "fractions": [1.0, 0.1], "seeds": [0], "progress": False}
CHEAP = SMALL | {"models": ["random_projection", "pca", "shuffled"], "estimators": ["mixed_ksg"]}


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
    assert set(cheap["method"]) == {"mixed_ksg"}
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


def test_the_same_seed_gives_the_same_table_to_the_bit():
    drawn = CHEAP | {"estimators": ["default"], "models": ["pca", "shuffled"], "fractions": [0.1], "cell_numbers": [50]}
    one, other = (measure("pbmc68k", **drawn) for _ in range(2))
    pd.testing.assert_frame_equal(numbers(one), numbers(other), check_exact=True)
    assert set(one["method"]) == {"classifier"}


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

    monkeypatch.setattr(measure_slice.models, "create", refuse)
    pd.testing.assert_frame_equal(measure("pbmc68k", **CHEAP, results=tmp_path), first)
    pd.testing.assert_frame_equal(numbers(first), numbers(cheap))


def test_an_interrupted_run_goes_on_to_the_same_table(tmp_path, monkeypatch, cheap):
    embed, seen = Slice._embed, []

    def interrupted(self, point, unit, trained):
        seen.append(point)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return embed(self, point, unit, trained)

    monkeypatch.setattr(Slice, "_embed", interrupted)
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
        patch.setattr(models.MODELS["random_projection"], "embed", broken)
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
        ({"preset": "huge"}, "unknown preset"),
        ({"models": ["shuffled"], "preset": "huge"}, "unknown preset"),
        ({"n_test": 0}, "n_test"),
        ({"results": __file__}, "is a file"),
        ({"estimators": ["guess"]}, "unknown estimator"),
        ({"fractions": [1.5]}, r"\(0, 1\]"),
        ({"cell_numbers": [400]}, "400 training cells asked for, 350 left"),
        ({"n_test": 900}, "test cells asked for"),
        ({"device": "tpu"}, "unknown device"),
        ({"signal": "colour"}, "colour"),
        ({"variant": "upside_down"}, "unknown variant"),
        ({"variant": "epoch_patience"}, "means nothing for model"),
    ],
)
def test_bad_requests_measure_nothing(change, word, tmp_path):
    with pytest.raises(InputError, match=word):
        measure("pbmc68k", **(CHEAP | {"results": tmp_path} | change))
    assert not list(tmp_path.rglob("*"))


def test_single_values_and_text_are_read_as_papermill_hands_them_over(cheap, tmp_path):
    texts = {
        "models": "[pca]",
        "estimators": "mixed_ksg",
        "cell_numbers": "100",
        "fractions": 1,
        "seeds": 0,
        "n_test": "280.0",
        "signal": "",
    }
    rows = measure("pbmc68k", **texts, progress=False)
    mine = cheap[(cheap["model"] == "pca") & (cheap["n_cells"] == 100) & (cheap["fraction"] == 1)]
    pd.testing.assert_frame_equal(numbers(rows), numbers(mine.reset_index(drop=True)))


def test_a_table_of_other_measurements_is_not_replaced(tmp_path):
    output, settings = tmp_path / "t.csv", CHEAP | {"cell_numbers": [100], "fractions": [1.0]}
    measure("pbmc68k", **settings, output=output)
    measure("pbmc68k", **settings | {"seeds": [0, 1]}, output=output)  # holds all of the first
    before = output.read_bytes()
    for change in ({"seeds": [0]}, {"seeds": [0, 1], "n_test": 200}, {"seeds": [0, 1], "cell_numbers": [200]}):
        with pytest.raises(InputError, match=r"t\.csv holds .* rows that this run does not measure"):
            measure("pbmc68k", **settings | change, output=output)
    for other in (b"a,b\n1,2\n", before[:-9], b"\x89HDF\r\n"):
        output.write_bytes(other)
        with pytest.raises(InputError, match="no table to be replaced"):
            measure("pbmc68k", **settings, output=output)
        assert output.read_bytes() == other


def test_too_few_test_cells_fail_before_the_work(tmp_path):
    cells = datasets.load("pbmc68k").adata[:60].copy()
    cells.write_h5ad(tmp_path / "few.h5ad")
    with pytest.raises(InputError, match="has 20 test cells, too few for an estimate: at least 30"):
        measure(tmp_path / "few.h5ad", signal="obs:bulk_labels", models=["pca"], results=tmp_path / "units")
    assert not (tmp_path / "units").exists()


def test_order_jobs_and_resume_cannot_change_a_number(tmp_path):
    """Shuffled order, split over jobs and stopped halfway: one table, byte for byte but for the clock readings."""
    drawn = CHEAP | {"estimators": ["default"], "models": ["pca", "shuffled"], "fractions": [0.1]}
    shuffled = drawn | {"models": ["shuffled", "pca"], "cell_numbers": [100, 50]}
    jobs = [
        measure("pbmc68k", **(drawn | {"models": [model], "cell_numbers": [n]}), results=tmp_path)
        for n in (100, 50)
        for model in shuffled["models"]
    ]
    for path in sorted(tmp_path.rglob("*.json"))[::2]:  # half of the units are lost
        path.unlink()
    texts = {
        numbers(table).to_csv()
        for table in (
            measure("pbmc68k", **drawn),
            measure("pbmc68k", **shuffled),
            measurements.sort(pd.concat(jobs)),
            measure("pbmc68k", **shuffled, results=tmp_path),
        )
    }
    assert len(texts) == 1


@pytest.mark.parametrize(("variant", "changed"), [("train_full_depth", "train"), ("test_full_depth", "test")])
def test_separate_depths(variant, changed, cheap):
    table = measure("pbmc68k", **(CHEAP | {"models": ["pca"], "fractions": [0.1]}), variant=variant)
    assert set(table["variant"]) == {variant}
    at = {q: cheap[(cheap["model"] == "pca") & (cheap["fraction"] == q)].reset_index(drop=True) for q in (0.1, 1.0)}
    full, thin = at[1.0], at[0.1]
    column, other = ("umis_per_cell_train", "umis_per_cell")[:: 1 if changed == "train" else -1]
    assert table[column].tolist() == full[column].tolist()
    assert table[other].tolist() == thin[other].tolist()
    assert (table["mi_bits"] != thin["mi_bits"]).all()


def test_thinning_per_gene_makes_depth_depend_on_cells():
    """Few cells lose more to rounding down: the realised depth of 50 training cells lies below that of 350."""
    table = measure(
        "pbmc68k",
        **CHEAP | {"models": ["pca"], "cell_numbers": [50, 350], "fractions": [0.02]},
        variant="thin_per_gene",
    ).set_index("n_cells")
    assert table.loc[50, "umis_per_cell_train"] < 0.8 * table.loc[350, "umis_per_cell_train"]
    assert table.loc[350, "umis_per_cell_train"] < table.loc[350, "umis_per_cell_nominal"]


def test_pairs_in_both_orders_are_twice_as_many():
    settings = SMALL | {"models": ["pca"], "signal": "pair", "cell_numbers": [100], "fractions": [1.0]}
    settings |= {"estimators": ["ksg"]}
    ours, both = (measure("simulated", **settings, variant=v) for v in ("", "both_pair_orders"))
    assert both["n_test"][0] == 2 * ours["n_test"][0]


def test_one_partner_thinned_is_read_beside_a_deep_one():
    """At full depth it is the protocol; below, more is left than where both partners are thinned."""
    settings = SMALL | {"models": ["pca"], "signal": "pair", "cell_numbers": [400], "fractions": [1.0, 0.05]}
    settings |= {"estimators": ["ksg"], "progress": False}
    plain, both, one = (
        measure("simulated", **settings, variant=v).set_index("fraction")
        for v in ("", "train_full_depth", "one_partner_thinned")
    )
    assert one.loc[1.0, "mi_bits"] == plain.loc[1.0, "mi_bits"]
    assert both.loc[0.05, "mi_bits"] < one.loc[0.05, "mi_bits"] < one.loc[1.0, "mi_bits"]
    assert one["dims"].tolist() == plain["dims"].tolist()
    assert one.loc[0.05, "umis_per_cell"] == both.loc[0.05, "umis_per_cell"]


def test_kept_embeddings_need_no_training(tmp_path, monkeypatch, cheap):
    settings = CHEAP | {"fractions": [0.1], "cell_numbers": [50]}
    measure("pbmc68k", **settings | {"estimators": ["classifier"]}, results=tmp_path, keep_embeddings=True)
    assert {np.load(path).shape for path in tmp_path.rglob("*.npy")} == {(280, 16)}
    monkeypatch.setattr(measure_slice.models, "create", lambda *_, **__: pytest.fail("trained again"))
    kept = measure("pbmc68k", **settings, results=tmp_path, keep_embeddings=True)
    monkeypatch.undo()
    fresh = measure("pbmc68k", **settings)
    pd.testing.assert_frame_equal(numbers(kept), numbers(fresh), check_exact=True)


def test_an_embedding_cut_off_by_hand_is_made_again(tmp_path):
    settings = CHEAP | {"fractions": [0.1], "cell_numbers": [50], "models": ["pca"]}
    first = measure("pbmc68k", **settings, results=tmp_path, keep_embeddings=True)
    (path,) = tmp_path.rglob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (unit,) = (path for path in tmp_path.rglob("*.json") if "embedding" not in path.name)
    unit.unlink()
    again = measure("pbmc68k", **settings, results=tmp_path, keep_embeddings=True)
    pd.testing.assert_frame_equal(numbers(again), numbers(first), check_exact=True)
    assert path.read_bytes() == whole


def hang_at_100(self, point, unit, trained, embed=Slice._embed):
    if point == ("pca", 100):
        time.sleep(3600)
    return embed(self, point, unit, trained)


def die_at_100(self, point, unit, trained, embed=Slice._embed):
    if point == ("pca", 100):
        os.kill(os.getpid(), signal.SIGKILL)
    return embed(self, point, unit, trained)


@pytest.mark.parametrize(("fault", "word"), [(hang_at_100, "TimeLimit: "), (die_at_100, "WorkerDied: ")])
def test_a_unit_that_hangs_or_dies_is_a_row_and_the_job_goes_on(fault, word, tmp_path, monkeypatch, cheap):
    thin = CHEAP | {"fractions": [0.1]}
    with monkeypatch.context() as patch:
        patch.setattr(Slice, "_embed", fault)
        table = measure("pbmc68k", **thin, results=tmp_path, unit_seconds=10)
    failed = table[table["status"] == measurements.ERROR]
    assert failed[["model", "n_cells"]].drop_duplicates().values.tolist() == [["pca", 100]]
    assert failed["error"].str.startswith(word).all()
    assert len(failed) == 1
    again = measure("pbmc68k", **thin, results=tmp_path, unit_seconds=60)
    same = cheap[cheap["fraction"] == 0.1].reset_index(drop=True)
    pd.testing.assert_frame_equal(numbers(again), numbers(same), check_exact=True)


def test_a_mistake_of_ours_in_a_worker_is_raised_with_its_traceback(monkeypatch):
    monkeypatch.setattr(Slice, "_embed", lambda *_: {}["nothing"])
    with pytest.raises(KeyError, match="nothing") as caught:
        measure("pbmc68k", **CHEAP, unit_seconds=60)
    assert "in _embedded" in str(caught.value.__cause__)


@pytest.mark.parametrize(("error", "workers"), [(MemoryError, 1), (torch.OutOfMemoryError, 1), (MemoryError, 2)])
def test_no_memory_is_a_row(error, workers, monkeypatch):
    def no_memory(*_):
        raise error("Unable to allocate 8 TiB")

    monkeypatch.setattr(Slice, "_embed", no_memory)
    table = measure("pbmc68k", **(CHEAP | {"models": ["pca"]}), workers=workers)
    assert set(table["error"]) == {f"{error.__name__}: Unable to allocate 8 TiB"}
    assert set(table["method"]) == {""}


def test_units_that_share_a_machine_give_the_same_table(cheap):
    table = measure("pbmc68k", **CHEAP, workers=3)
    pd.testing.assert_frame_equal(numbers(table), numbers(cheap), check_exact=True)


def test_training_and_test_cells_thinned_apart_give_the_protocols_rows_where_they_are_alike():
    asked = {"models": ["random_projection", "pca"], "cell_numbers": [100], "fractions": [1, 0.1], "progress": False}
    apart, alike = measure(**asked, fractions_train=[1, 0.1]), measure(**asked)
    exact = [name for name in measurements.COLUMNS if name not in measurements.TIMES]
    pd.testing.assert_frame_equal(measurements.protocol_rows(apart)[exact].reset_index(drop=True), alike[exact])
    rows = apart.set_index(["model", "fraction", "fraction_train"])
    assert len(rows) == 8
    u, trained = rows["umis_per_cell"], rows["umis_per_cell_train"]
    assert u["pca", 1.0, 0.1] == u["pca", 1.0, 1.0] > 5 * u["pca", 0.1, 1.0]
    assert trained["pca", 0.1, 1.0] == trained["pca", 1.0, 1.0] > 5 * trained["pca", 1.0, 0.1]
    bits = rows["mi_bits"]
    assert bits["random_projection", 0.1, 1.0] == bits["random_projection", 0.1, 0.1]  # nothing is learnt from cells
    full = measure(**asked | {"models": ["pca"], "variant": "train_full_depth", "fractions": [0.1]})
    assert full["mi_bits"].item() == bits["pca", 0.1, 1.0]


def test_a_model_is_trained_once_for_all_depths_of_the_test_cells(tmp_path, monkeypatch):
    trained, fit = [], PCA.fit
    monkeypatch.setattr(PCA, "fit", lambda self, *args, **kw: (trained.append(1), fit(self, *args, **kw))[1])
    asked = {"models": ["pca"], "cell_numbers": [60], "fractions": [1, 0.3, 0.1], "fractions_train": [0.3]}
    table = measure(**asked, results=tmp_path, progress=False)
    assert (len(table), len(trained)) == (3, 1)
    again = measure(**asked, results=tmp_path, progress=False)
    pd.testing.assert_frame_equal(again, table)
    assert len(trained) == 1


@pytest.mark.parametrize("asked", [{"variant": "test_full_depth"}, {"models": ["obsm:X"]}])
def test_cells_thinned_apart_refuse_what_they_mean_nothing_for(asked):
    with pytest.raises(InputError, match=r"fractions_train .* means nothing for|obsm:X"):
        measure(fractions_train=[1], **asked)
