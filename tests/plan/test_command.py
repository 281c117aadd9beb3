"""`noise-scaling plan`: JSON, text and table; pilots of every kind; and one sentence for what cannot be."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from noise_scaling import cli, datasets, laws, measurements
from noise_scaling.measure import run
from noise_scaling.paths import PRICES_YML
from noise_scaling.plan import designs, evidence, library, options, prices, questions

LAW = {"v0": 0.01, "v1": 6.0, "v2": 2.0, "v3": 60.0, "s": 0.5}
N, U = (x.ravel() for x in np.meshgrid([100.0, 300, 1000, 3000], [10.0, 30, 100, 300, 1000]))
LINEAR = ["--cost-per-cell", "0.5", "--cost-per-million-reads", "100"]
PRICES = ["--budget", "1000", *LINEAR]
BLANK = {str: "", int: 0, float: 0.0}
KEYS = {
    "model", "n_cells", "umis_per_cell", "reads_per_cell", "bits", "bits_low", "bits_high", "cost", "inside",
    "library_umis_per_cell",
}  # fmt: skip


def pilot(folder, **columns):
    file = folder / "pilot.csv"
    pd.DataFrame({"N": N, "u": U, "bits": laws.noise_budget(N, U, **LAW)} | columns).to_csv(file, index=False)
    return str(file)


def table(model, law, estimator="default", variant=""):
    rows = []
    for n, u in zip(N, U, strict=True):
        key = {"dataset": "toy", "signal": "s", "model": model, "preset": "small", "n_cells": int(n)}
        key |= {"fraction": u / 1000, "estimator": estimator, "variant": variant, "status": "ok"}
        values = {"umis_per_cell": u, "mi_bits": float(laws.noise_budget(n, u, **law))}
        rows.append({name: BLANK[kind] for name, kind in measurements.COLUMNS.items()} | key | values)
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """A tenth of the bootstrap: intervals are held to account in test_designs."""
    monkeypatch.setattr(evidence, "DRAWS", 20)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Two models, one that cells do not train, a control, a second estimator, a deviation."""
    parts = [
        table("pca", LAW | {"v0": 0.3}), table("scvi", LAW), table("shuffled", LAW), table("random_projection", LAW),
        table("scvi", LAW | {"v0": 1}, "lmi"), table("scvi", LAW | {"v0": 0.005}, variant="train_full_depth"),
    ]  # fmt: skip
    return str(measurements.write(pd.concat(parts), tmp_path_factory.mktemp("toy") / "toy.csv"))


def asked(capsys, *options: str) -> dict:
    assert cli.main(["plan", *options, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def test_the_answer_as_json(toy, capsys):
    found = asked(capsys, "--dataset", "toy", "--measurements", toy, "--saturation", "0.4", *PRICES)
    assert set(found["best"]) >= KEYS
    assert found["best"] == found["designs"][0]
    assert (found["best"]["model"], found["best"]["inside"]) == ("scvi", True)
    assert [d["model"] for d in found["designs"][:2]] == ["scvi", "pca"]
    assert any("random_projection is left out: cells do not train it" in text for text in found["warnings"])
    assert "The library's UMIs are not known of toy" in found["warnings"][0]
    (key, law), *_ = [item for item in evidence.evidence("toy", source=toy).laws.items() if item[0][0] == "scvi"]
    kits, flows = prices.linear(0.5, 100).named(None, None)
    shop = designs.Shop(kits, flows, {kits[0].name: library.library(0.4, umis=1000)})
    assert key == ("scvi", "small")
    assert found["best"]["bits"] == questions.for_budget([law], shop, 1000).designs[0].bits


def test_a_share_of_the_most_and_the_atlas(toy, capsys):
    options = ["--dataset", "toy", "--measurements", toy, *LINEAR]
    found = asked(capsys, *options, "--share", "0.9", "--atlas")
    assert found["best"]["bits"] >= found["target_bits"] - 1e-6
    row = found["atlas"][0]
    assert (row["model"], row["n_cells"], row["umis_per_cell"]) == ("scvi", 100, 10)
    assert row["bits_trained_deep"] == pytest.approx(float(laws.noise_budget(100, 10, **LAW | {"v0": 0.005})))
    assert row["bits_trained_alike"] == pytest.approx(float(laws.noise_budget(100, 10, **LAW)))
    assert "not measured yet" in str(
        asked(capsys, *options, "--estimator", "lmi", "--bits", "0.2", "--atlas")["warnings"]
    )


def test_text_and_the_table_of_a_spreadsheet(toy, capsys, tmp_path):
    options = ["--dataset", "toy", "--measurements", toy, "--budget", "9000", "--output", str(tmp_path / "plan.csv")]
    assert cli.main(["plan", *options, "--donors", "2", "--library-umis", "4000"]) == 0
    said = capsys.readouterr().out
    found = pd.read_csv(tmp_path / "plan.csv")
    best = found.iloc[0]
    assert f"scvi: {best.n_cells:,} cells at {best.umis_per_cell:,.0f} UMIs ({best.reads_per_cell:,.0f} reads" in said
    assert f"in all = {best.cost:>13,.2f}  USD" in said
    assert best.library_umis_per_cell == pytest.approx(4 * best.umis_per_cell)
    assert "4.00 of the library for each" in said
    assert "2 donors are paid for, a library each; " in said
    assert all(
        found[c].dtype.kind in "if" for c in ("n_cells", "reads_per_cell", "bits", "bits_low", "cost", "libraries")
    )
    assert cli.main(["plan", "--dataset", "toy", "--measurements", toy, "--compare", "3000:1500", "200:1500"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"Against the design 200:1500: \+0\.\d\d bits, more in 100% of draws; .* so that is ahead", said)


def test_own_prices_and_more_reads(toy, capsys, tmp_path):
    text = PRICES_YML.read_text().replace("price: 1500\n    libraries", "price: 700\n    libraries")
    (tmp_path / "mine.yml").write_text(text)
    options = ["--dataset", "toy", "--measurements", toy, "--kit", "10x_3p_lane", "--bits", "1.5"]
    ours, mine = (asked(capsys, *options, *more)["best"] for more in ([], ["--prices", str(tmp_path / "mine.yml")]))
    assert ours["cost"] - mine["cost"] == pytest.approx(800)
    found = asked(capsys, "--dataset", "toy", "--measurements", toy, "--have", "1000:500", "--budget", "50")
    assert {d["n_cells"] for d in found["designs"]} == {1000}
    assert found["best"]["cost"] <= 50
    now = next(d for d in found["designs"] if d["role"] == "as it is")
    assert (now["cost"], now["reads_per_cell"]) == (0, 500)


def test_every_published_set_has_a_plan_inside_its_range(published, capsys, monkeypatch):
    """The headline designs that once lay far outside: an atlas, a library, an imaged brain."""
    table, name = evidence.open_table("mouse_embryo", "published")
    monkeypatch.setattr(evidence, "open_table", lambda *_, **__: (table, name))
    for dataset in ("mouse_embryo", "larry"):
        rows = table[table["dataset"] == dataset]
        best = asked(capsys, "--dataset", dataset, "--budget", "20000")["best"]
        assert rows["n_cells"].min() <= best["n_cells"] <= rows["n_cells"].max()
        assert best["umis_per_cell"] <= rows["umis_per_cell"].max() * (1 + 1e-6)
        assert best["cost"] <= 20_000
    assert cli.main(["plan", "--dataset", "merfish", "--budget", "20000"]) == 2
    assert "imaging data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "options", "word"),
    [
        ({"bits": ["x"] * len(N)}, [], "line 2: found 'x', not a number"),
        ({"u": np.full(len(N), 10.0)}, [], "1 different depths"),
        ({"N": -N}, [], "above 0"),
        ({"u": U * 0}, [], "line 2: found '0.0', not a number above 0"),
        ({"bits": N * 0 - 0.1}, [], "no information was measured"),
        ({"bits": N * 0 + 63}, [], "give bits, not percent"),
        ({"bits": N * 0 + np.inf}, [], "line 2: found 'inf'"),
        ({}, ["--saturation", "50"], "0.6 for 60 %"),
        ({}, ["--at-reads", "5"], "--saturation"),
        (
            {},
            ["--at-reads", "-5", "--saturation", ".5"],
            "--at-reads must be a number above 0, at most 1e+15: found -5",
        ),
        ({}, ["--model", "pca"], "leave it out"),
        ({}, ["--dataset", "pbmc68k"], "one thing"),
        ({}, ["--bits", "2"], "found --budget and --bits"),
        ({}, ["--kit", "10x_3p_kit"], "--kit is of whole kits"),
        ({}, ["--usable", "70"], "0.7 for 70 %"),
        ({}, ["--library-umis", "100"], "cannot have 1,000 counted"),
        ({}, ["--donors", "0"], "--donors counts them"),
        ({}, ["--donors", "100000"], "cells are the most that were measured; give fewer donors"),
        ({}, ["--have", "9:9", "--compare", "9:9", "8:8"], "found --budget and --compare"),
        ({}, ["--have", "9:9"], "no model was measured on 9 cells"),
        ({}, ["--measurements", "x.csv"], "leave it out"),
        ({}, ["--saturation", "0.5", "--saturation-table", "x.csv"], "give one of them"),
    ],
)
def test_a_bad_pilot_or_option_is_one_sentence(columns, options, word, tmp_path, capsys):
    assert cli.main(["plan", "--pilot", pilot(tmp_path, **columns), *options, *PRICES]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--dataset", "nope", "--budget", "9"], "'nope': choose one of toy"),
        (
            ["--dataset", "toy", "--budget", "9", "--model", "nope"],
            "'nope': choose one of pca, random_projection, scvi",
        ),
        (["--dataset", "toy", "--budget", "9", "--model", "random_projection"], "a yardstick and no recommendation"),
        (["--dataset", "toy", "--budget", "9", "--signal", "nope"], "unknown signal"),
        (["--dataset", "toy", "--budget", "9", "--estimator", "nope"], "unknown estimator"),
        (["--dataset", "toy", "--budget", "9", "--kit", "nope"], "unknown kit 'nope': choose one of"),
        (["--dataset", "toy", "--budget", "9", "--flow-cell", "nope"], "unknown flow cell 'nope'"),
        (["--dataset", "toy", "--budget", "9"], "the budget of 9 USD buys no design within what was measured"),
        (["--dataset", "toy", "--budget", "9000", "--donors", "50"], "a library for each of 50 donors, costs "),
        (["--dataset", "toy", "--budget", "-9"], "the budget must be a number above 0"),
        (["--dataset", "toy", "--budget", "nan"], "the budget must be a number above 0"),
        (["--dataset", "toy", "--budget", "9", "--cost-per-cell", "1"], "linear prices have two parts"),
        (
            ["--dataset", "toy", "--budget", "9", "--cost-per-cell", "-1", "--cost-per-million-reads", "4"],
            "the cost per cell",
        ),
        (["--dataset", "toy", "--bits", "20"], "the most is"),
        (["--dataset", "toy", "--share", "1.1"], "0.9 for 90 %"),
        (["--dataset", "toy", "--budget", "9", "--prices", "nope.yml"], "nope.yml"),
        (["--dataset", "toy"], "a plan answers one question"),
        (["--budget", "9"], "give either --dataset or --pilot"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(options, word, toy, capsys):
    assert cli.main(["plan", *options, "--measurements", toy]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


def test_a_plan_never_takes_the_pilots_place(tmp_path, capsys):
    file = pilot(tmp_path)
    assert cli.main(["plan", "--pilot", file, "--output", file, *PRICES]) == 2
    assert "would take the place of the table itself" in capsys.readouterr().err
    assert pd.read_csv(file)["bits"].notna().all()


def test_an_unknown_data_set_is_told_the_known_ones_without_a_download(capsys, monkeypatch):
    monkeypatch.setattr(evidence.datasets, "fetch", lambda name: pytest.fail("nothing to download"))
    assert cli.main(["plan", "--dataset", "nope", *PRICES]) == 2
    assert "unknown measured data set 'nope': choose one of" in capsys.readouterr().err


PART = {"dataset": "toy", "signal": "s", "model": "pca", "preset": "small", "estimator": "default"}


def measured_pilot(folder, *parts: dict[str, object]) -> str:
    """What `measure` writes of some models, signals, estimators, ...: each part differs from PART as it says."""
    tables = [table("pca", LAW).assign(**PART | part) for part in parts]
    return str(measurements.write(pd.concat(tables), folder / "mine.csv"))


@pytest.mark.parametrize(
    ("parts", "options", "name", "models"),
    [
        ([{}], [], "toy, s, default", ["pca"]),
        ([{}, {"model": "shuffled"}, {"model": "known_2_bits"}], [],
         "toy, s, default, left out: 40 of controls", ["pca"]),
        ([{}, {"model": "scvi", "status": "error", "mi_bits": np.nan, "error": "E: x"}], [],
         "toy, s, default, left out: 20 failed", ["pca"]),
        ([{}, {"variant": "thin_per_gene"}], [], "toy, s, default, left out: 20 of variants", ["pca"]),
        ([{}, {"signal": "t"}], ["--signal", "t"], "toy, t, default", ["pca"]),
        ([{}, {"estimator": "lmi"}], ["--estimator", "lmi"], "toy, s, lmi", ["pca"]),
        ([{}, {"dataset": "other"}], ["--dataset", "other"], "other, s, default", ["pca"]),
        ([{}, {"model": "scvi"}], ["--model", "scvi"], "toy, s, default", ["scvi"]),
        ([{}, {"preset": "mine"}], [], "toy, s, default", ["pca", "pca (mine)"]),
    ],
)  # fmt: skip
def test_what_measure_writes_is_a_pilot(parts, options, name, models, tmp_path, capsys):
    found = asked(capsys, "--pilot", measured_pilot(tmp_path, *parts), "--saturation", "0.4", *options, *PRICES)
    assert found["evidence"] == f"pilot mine.csv ({name})"
    assert sorted(d["model"] for d in found["designs"] if d["role"] in ("best", "another model")) == models


@pytest.mark.parametrize(
    ("parts", "options", "word"),
    [
        ([{}, {"signal": "t"}], [], "several signals were measured: choose one of s, t with --signal"),
        ([{}, {"estimator": "lmi"}], [], "choose one of default, lmi with --estimator"),
        ([{}, {"dataset": "other"}], [], "choose one of other, toy with --dataset"),
        ([{}], ["--signal", "t"], "unknown signal 't'"),
        ([{}], ["--model", "scvi"], "'scvi': choose one of pca"),
        ([{"model": "shuffled"}], [], "no row to plan from: 20 rows, 20 of controls"),
        ([{"status": "error", "mi_bits": np.nan}], [], "no row to plan from: 20 rows, 20 failed"),
    ],
)
def test_a_pilot_that_leaves_a_choice_is_one_sentence(parts, options, word, tmp_path, capsys):
    assert cli.main(["plan", "--pilot", measured_pilot(tmp_path, *parts), *options, *PRICES]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


def test_a_table_of_measure_gives_the_plan_of_its_numbers(tmp_path, capsys):
    """Whole table or three columns of it, semicolons or commas: one plan."""
    file = measured_pilot(tmp_path, {})
    columns = pd.read_csv(file)[["n_cells", "umis_per_cell", "mi_bits"]]
    columns.to_csv(tmp_path / "three.csv", index=False)
    columns.to_csv(tmp_path / "sheet.csv", index=False, sep=";", decimal=",")
    found = [
        asked(capsys, "--pilot", str(one), "--saturation", "0.4", *PRICES)["best"]
        for one in (file, tmp_path / "three.csv", tmp_path / "sheet.csv")
    ]
    for key in ("n_cells", "umis_per_cell", "bits", "cost"):
        assert found[1][key] == pytest.approx(found[0][key], rel=1e-4)
        assert found[2][key] == found[1][key]


def test_a_pilot_may_name_its_columns_and_failures_its_own_way(tmp_path):
    bits = np.where(np.arange(len(N)) == 3, np.nan, laws.noise_budget(N, U, **LAW))
    frame = pd.DataFrame({" N": N, "U ": U, "Bits": bits, "status": np.where(np.isnan(bits), "failed", " OK")})
    frame.to_csv(tmp_path / "p.csv", index=False)
    found = evidence.pilot(tmp_path / "p.csv")
    assert "left out: 1 failed" in found.name
    (law,) = found.laws.values()
    assert law.fit.n_points == len(N) - 1
    assert law.fit.parameters["s"] == pytest.approx(0.5, rel=1e-3)


def test_more_bits_than_measured_are_named(tmp_path, capsys):
    """A saturated label at three depths, whose bootstrap lies to one side; 1.485 bits is the label's entropy."""
    n, u = np.repeat([50.0, 100, 200], 3), np.tile([34.3, 91.0, 227.6], 3)
    bits = [1.227, 1.480, 1.520, 1.259, 1.473, 1.527, 1.288, 1.487, 1.527]
    pd.DataFrame({"N": n, "u": u, "bits": bits}).to_csv(tmp_path / "p.csv", index=False)
    found = asked(capsys, "--pilot", str(tmp_path / "p.csv"), "--budget", "9000", *LINEAR)
    assert (
        "more bits than the 1.53 that were measured at most" in str(found["warnings"]) or found["best"]["bits"] < 1.53
    )
    for bits in (U * 0 + 0.5, 2 - laws.noise_budget(N, U, **LAW)):
        assert "do not plan from it" in str(asked(capsys, "--pilot", pilot(tmp_path, bits=bits), *PRICES)["warnings"])
    assert "do not plan from it" not in str(asked(capsys, "--pilot", pilot(tmp_path), *PRICES)["warnings"])


def test_cells_are_a_pilot(tmp_path, capsys, monkeypatch):
    """A file of cells is measured on a small grid first (here by a law), and planned from."""
    asked_for = {}

    def measured(file, **settings):
        asked_for.update(settings)
        rows = table("pca", LAW).drop_duplicates(["n_cells", "fraction"])
        return pd.concat([rows.assign(seed=seed) for seed in settings["seeds"]])

    monkeypatch.setattr(run, "measure", measured)
    datasets.load("pbmc68k").adata.write_h5ad(tmp_path / "my.h5ad")
    options = ["--pilot", str(tmp_path / "my.h5ad"), "--signal", "obs:bulk_labels", "--saturation", "0.5"]
    found = asked(capsys, *options, "--budget", "9000")
    assert found["evidence"] == "pilot my.h5ad (obs:bulk_labels; 40 measurements of pca)"
    assert found["best"]["inside"]
    assert len(set(asked_for["cell_numbers"])) == len(set(asked_for["fractions"])) - 1 == 4
    assert max(asked_for["fractions"]) == 1
    assert max(asked_for["cell_numbers"]) + asked_for["n_test"] <= 700


def test_the_assumed_saturation_is_named(toy, capsys):
    found = asked(capsys, "--dataset", "toy", "--measurements", toy, *PRICES)
    assert f"{options.ASSUMED_SATURATION:.0%} at the deepest measurement is assumed" in str(found["warnings"])


def test_depths_of_another_run_with_fewer_seeds_are_left_out_and_said(tmp_path):
    rows = table("pca", LAW)
    two = pd.concat([rows, rows.assign(seed=1)])
    other = rows[rows["fraction"] == 1].assign(fraction=0.9)
    file = measurements.write(pd.concat([two, other]), tmp_path / "t.csv")
    used, said = evidence._usable(measurements.read(file), "t.csv")
    assert len(used) == len(two)
    assert said == f"{len(other)} of runs with fewer seeds"
