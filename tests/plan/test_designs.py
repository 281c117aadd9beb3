"""Plans against closed forms: saturation by Lambert's W, optima by hand, laws that are known."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import lambertw

from noise_scaling import cli, laws, measurements
from noise_scaling.errors import InputError
from noise_scaling.plan import command, designs, evidence

# v0, v1, v2, v3, s: a law with room for both cells and depth
LAW = {"v0": 0.01, "v1": 6.0, "v2": 2.0, "v3": 60.0, "s": 0.5}
N, U = (x.ravel() for x in np.meshgrid([100.0, 300, 1000, 3000], [10.0, 30, 100, 300, 1000]))
MEASURED = designs.Range((100, 3000), (10, 1000))


@pytest.fixture(scope="module")
def fit():
    noise = np.random.default_rng(0).normal(0, 0.01, len(N))
    return laws.fit_noise_budget(N, U, laws.noise_budget(N, U, **LAW) + noise).bootstrap(100)


@pytest.mark.parametrize("saturation", [1e-6, 0.1, 0.5, 0.9, 0.99])
def test_molecules_of_a_library_are_lamberts(saturation):
    # (1 - exp(-x)) / x = 1 / c with c = 1 / (1 - S) has the solution x = c + W(-c exp(-c))
    c = 1 / (1 - saturation)
    x = c + lambertw(-c * np.exp(-c)).real
    found = designs.library(saturation, reads=1e4)
    assert found.molecules == pytest.approx(1e4 / x, rel=1e-4 if saturation < 1e-3 else 1e-9)
    assert found.saturation(1e4) == pytest.approx(saturation, abs=1e-12)


def test_saturation_is_what_10x_reports():
    # their worked example (pbmc_1k_v3): 10,196,940 unique of 34,982,401 reads are a saturation of 0.7085123
    found = designs.library(0.7085123, reads=34_982_401)
    assert found.umis(34_982_401) == pytest.approx(10_196_940, rel=1e-6)
    same = designs.library(0.7085123, umis=10_196_940)
    assert same.molecules == pytest.approx(found.molecules, rel=1e-6)


def test_reads_and_umis_are_inverse_and_bounded():
    found = designs.library(0.3, reads=2000)
    reads = np.array([1.0, 100, 2000, 10_000])
    assert found.reads(found.umis(reads)) == pytest.approx(reads, rel=1e-9)
    assert found.umis(1e12) == pytest.approx(found.molecules)
    assert found.reads(found.molecules * 1.1) == np.inf
    assert designs.library(0, reads=10).umis(123.0) == 123.0


@pytest.mark.parametrize("saturation", [-0.1, 1.0, 60.0])
def test_a_saturation_that_is_no_share_is_refused(saturation):
    with pytest.raises(InputError, match="share from 0 to below 1"):
        designs.library(saturation, reads=100)


def test_the_best_design_is_the_one_by_calculus(fit):
    # every read new, v2 = v3 s-terms as fitted: along the budget N (c + p u) = B the optimum has d bits / d log N = 0
    purchase, source = designs.Purchase(1000, 0.5, 100), designs.library(0, reads=1)
    made = designs.plan(fit, MEASURED, purchase, source)

    def nsr(n):
        u = (1000 / n - 0.5) / 1e-4
        p = fit.parameters
        return p["v0"] + p["v1"] / u + p["v2"] * n ** -p["s"] + p["v3"] * n ** -p["s"] / u

    n = made.best.n_cells
    assert nsr(n) <= min(nsr(n * 0.98), nsr(n * 1.02))
    scan = np.geomspace(10, 1999, 200_001)
    assert n == pytest.approx(scan[np.argmin(nsr(scan))], rel=1e-3)
    assert made.best.bits == pytest.approx(0.5 * np.log2(1 + 1 / nsr(n)), abs=1e-9)
    assert made.best.n_cells * (0.5 + made.best.umis_per_cell * 1e-4) == pytest.approx(1000)
    assert made.best.cost == pytest.approx(1000)


def test_the_optimum_that_can_be_written_down():
    # noise v1/u + v2/N with u N = B (cells free): u / N = v1 / v2, so N = sqrt(B v2 / v1)
    def bits(n):
        return -(4.0 / (1e6 / n) + 9.0 / n)

    assert designs.best_cells(bits, 10, 1e5) == pytest.approx(np.sqrt(1e6 * 9 / 4), rel=1e-6)


def test_interval_runner_up_and_flat_range(fit):
    made = designs.plan(fit, MEASURED, designs.Purchase(1000, 0.5, 100), designs.library(0.3, umis=1000))
    assert made.best.low < made.best.bits < made.best.high
    assert made.runner_up.bits < made.best.bits
    ratio = made.runner_up.n_cells / made.best.n_cells
    assert ratio >= 1.99 or ratio <= 0.51
    assert 0.5 < made.ahead <= 1
    assert made.flat[0] < made.best.n_cells < made.flat[1]


def test_outside_the_measured_range_it_says_so_and_plans_within(fit):
    made = designs.plan(fit, MEASURED, designs.Purchase(50_000, 0.5, 100), designs.library(0, reads=1))
    assert "training cells (measured: 100 to 3,000)" in made.outside[0]
    assert made.inside.n_cells == 3000
    assert made.inside.umis_per_cell == pytest.approx(1000)
    assert made.inside.cost == pytest.approx(3000 * (0.5 + 0.1))  # money is left: the range ends first
    small = designs.plan(
        fit, designs.Range((10, 10_000), (1, 1e9)), designs.Purchase(1000, 0.5, 100), designs.library(0, reads=1)
    )
    assert (small.outside, small.inside) == ([], None)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((-5, 1, 1), "the budget"),
        ((100, 0, 1), "cost per cell"),
        ((100, 1, np.nan), "million reads"),
        ((5, 1, 1), "5.0"),
    ],
)
def test_prices_that_cannot_be_are_refused(values, word):
    with pytest.raises(InputError, match=word):
        designs.Purchase(*values)


def test_usable_reads_cost_more():
    half = designs.Purchase(1000, 0.5, 100, 0.5)
    assert half.reads(100) == pytest.approx(designs.Purchase(1000, 0.5, 100).reads(100) / 2)
    with pytest.raises(InputError, match=r"0\.7 for 70 %"):
        designs.Purchase(1000, 0.5, 100, 70)


def pilot(folder, **columns):
    values = {"N": N, "u": U, "bits": laws.noise_budget(N, U, **LAW)} | columns
    file = folder / "pilot.csv"
    pd.DataFrame(values).to_csv(file, index=False)
    return str(file)


PRICES = ["--budget", "1000", "--cost-per-cell", "0.5", "--cost-per-million-reads", "100"]


def test_a_plan_from_a_pilot(tmp_path, capsys):
    file = pilot(tmp_path)
    (candidate,) = evidence.pilot(file).candidates
    assert candidate.fit.parameters["s"] == pytest.approx(0.5, rel=1e-3)
    assert candidate.measured == MEASURED
    assert cli.main(["plan", "--pilot", file, "--saturation", "0", *PRICES]) == 0
    said = capsys.readouterr().out
    made = designs.plan(candidate.fit, MEASURED, designs.Purchase(1000, 0.5, 100), designs.library(0, reads=1))
    assert f"best       {made.best.n_cells:,} cells at {made.best.umis_per_cell:,.0f} UMIs" in said


@pytest.mark.parametrize(
    ("columns", "options", "word"),
    [
        ({"bits": ["x"] * len(N)}, [], "line 2: found 'x', not a number"),
        ({"u": np.full(len(N), 10.0)}, [], "1 different depths"),
        ({"N": -N}, [], "above 0"),
        ({"u": U * 0}, [], "line 2: found '0.0', not a number above 0"),
        ({"bits": N * 0}, [], "no information was measured"),
        ({"bits": N * 0 - 0.1}, [], "no information was measured"),
        ({"bits": N * 0 + 63}, [], "give bits, not percent"),
        ({"bits": N * 0 + np.inf}, [], "line 2: found 'inf'"),
        ({}, ["--saturation", "50"], "0.6 for 60 %"),
        ({}, ["--at-reads", "5"], "--saturation"),
        ({}, ["--model", "pca"], "leave it out"),
        ({}, ["--dataset", "pbmc68k"], "one thing"),
    ],
)
def test_a_bad_pilot_is_one_sentence(columns, options, word, tmp_path, capsys):
    assert cli.main(["plan", "--pilot", pilot(tmp_path, **columns), *options, *PRICES]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


def test_a_pilot_without_its_columns_is_refused(tmp_path, capsys):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert cli.main(["plan", "--pilot", str(tmp_path / "other.csv"), *PRICES]) == 2
    assert "no column n_cells or N: found a, b" in capsys.readouterr().err


BLANK = {str: "", int: 0, float: 0.0}


def table(model, law, estimator="default", variant=""):
    rows = []
    for n, u in zip(N, U, strict=True):
        key = {"dataset": "toy", "signal": "s", "model": model, "preset": "small", "n_cells": int(n)}
        key |= {"fraction": u / 1000, "estimator": estimator, "variant": variant, "status": "ok"}
        values = {"umis_per_cell": u, "mi_bits": float(laws.noise_budget(n, u, **law))}
        rows.append({name: BLANK[kind] for name, kind in measurements.COLUMNS.items()} | key | values)
    return pd.DataFrame(rows)


@pytest.fixture
def toy(tmp_path):
    """Two models, a control, a second estimator and a deviation that must stay out of the fit."""
    parts = [
        table("pca", LAW | {"v0": 0.03}), table("scvi", LAW), table("shuffled", LAW),
        table("scvi", LAW | {"v0": 1}, "lmi"), table("scvi", LAW | {"v0": 2}, variant="thin_per_gene"),
    ]  # fmt: skip
    return str(measurements.write(pd.concat(parts), tmp_path / "toy.csv"))


def test_a_plan_from_measurements_ranks_the_models(toy):
    found = evidence.evidence("toy", source=toy)
    assert [c.model for c in found.candidates] == ["pca", "scvi"]
    assert [c.fit.parameters["v0"] for c in found.candidates] == pytest.approx([0.03, 0.01], rel=1e-3)
    other = evidence.evidence("toy", source=toy, estimator="lmi")
    assert [c.fit.parameters["v0"] for c in other.candidates] == pytest.approx([1], rel=1e-3)


def test_the_command_names_best_and_runner_up(toy, capsys):
    assert cli.main(["plan", "--dataset", "toy", "--measurements", toy, "--saturation", "0.4", *PRICES]) == 0
    said = capsys.readouterr().out
    assert "Most bits for the budget: scvi; the runner-up, pca, comes" in said
    assert said.index("\nscvi (fit to 20 points: converged)") < said.index("\npca (fit")
    assert cli.main(["plan", "--dataset", "toy", "--measurements", toy, *PRICES]) == 0
    assert f"{command.ASSUMED_SATURATION:.0%} at 1,000 UMIs per cell is assumed" in capsys.readouterr().out


def test_an_unknown_data_set_is_told_the_known_ones_without_a_download(capsys, monkeypatch, toy):
    monkeypatch.setattr(evidence.datasets, "fetch", lambda name: pytest.fail("nothing to download"))
    assert cli.main(["plan", "--dataset", "nope", *PRICES]) == 2
    assert "unknown measured data set 'nope': choose one of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--dataset", "nope"], "'nope': choose one of toy"),
        (["--dataset", "toy", "--model", "nope"], "'nope': choose one of pca, scvi"),
        (["--dataset", "toy", "--signal", "nope"], "unknown signal"),
        (["--dataset", "toy", "--estimator", "nope"], "unknown estimator"),
    ],
)
def test_an_unknown_name_is_one_sentence(options, word, toy, capsys):
    assert cli.main(["plan", *options, "--measurements", toy, *PRICES]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


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
        ([{}, {"model": "scvi"}, {"model": "random_projection"}], [], "toy, s, default",
         ["pca", "random_projection", "scvi"]),
        ([{}, {"model": "scvi"}], ["--model", "scvi"], "toy, s, default", ["scvi"]),
        ([{}, {"preset": "published"}], [], "toy, s, default", ["pca", "pca"]),
    ],
)  # fmt: skip
def test_what_measure_writes_is_a_pilot(parts, options, name, models, tmp_path, capsys):
    file = measured_pilot(tmp_path, *parts)
    assert cli.main(["plan", "--pilot", file, "--saturation", "0.4", *options, *PRICES]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Plan from pilot mine.csv ({name}).\n")
    assert re.findall(r"^(\w+) \(fit to 20 points", said, flags=re.MULTILINE) == models


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
        ([{}], ["--measurements", "x.csv"], "leave it out"),
    ],
)
def test_a_pilot_that_leaves_a_choice_is_one_sentence(parts, options, word, tmp_path, capsys):
    assert cli.main(["plan", "--pilot", measured_pilot(tmp_path, *parts), *options, *PRICES]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


def test_a_table_of_measure_gives_the_plan_of_its_numbers(tmp_path, capsys):
    """Whole table or three columns of it, semicolons or commas: one plan."""
    file, said = measured_pilot(tmp_path, {}), []
    columns = pd.read_csv(file)[["n_cells", "umis_per_cell", "mi_bits"]]
    columns.to_csv(tmp_path / "three.csv", index=False)
    columns.to_csv(tmp_path / "sheet.csv", index=False, sep=";", decimal=",")
    for one in (file, tmp_path / "three.csv", tmp_path / "sheet.csv"):
        assert cli.main(["plan", "--pilot", str(one), "--saturation", "0.4", *PRICES]) == 0
        said.append(re.search(r"best +[\d,]+ cells at [\d,]+ UMIs .*: [\d.]+ bits", capsys.readouterr().out)[0])
    assert len(set(said)) == 1


def test_a_free_pilot_with_failed_rows_and_controls(tmp_path, capsys):
    law = laws.noise_budget(N, U, **LAW)
    rows = pd.DataFrame({"n": N, "u": U, "bits": law, "model": "pca", "status": "ok"})
    failed = rows.iloc[:2].assign(bits=np.nan, status="error")
    pd.concat([failed, rows, rows.assign(model="shuffled")]).to_csv(tmp_path / "free.csv", index=False)
    assert cli.main(["plan", "--pilot", str(tmp_path / "free.csv"), *PRICES]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Plan from pilot free.csv (left out: 2 failed, 20 of controls).")
    assert "shuffled (" not in said


def test_an_estimate_lies_in_its_interval_and_more_bits_than_measured_are_named(tmp_path, capsys):
    """A saturated label at three depths, whose bootstrap lies to one side; 1.485 bits is the label's entropy."""
    n, u = np.repeat([50.0, 100, 200], 3), np.tile([34.3, 91.0, 227.6], 3)
    bits = [1.227, 1.480, 1.520, 1.259, 1.473, 1.527, 1.288, 1.487, 1.527]
    for values in (bits, np.repeat([1.556, 1.879, 1.772], 3)):
        pd.DataFrame({"N": n, "u": u, "bits": values}).to_csv(tmp_path / "p.csv", index=False)
        assert cli.main(["plan", "--pilot", str(tmp_path / "p.csv"), *PRICES]) == 0
        said = capsys.readouterr().out
        found = re.findall(r": ([\d.]+) bits \(([\d.]+) to ([\d.]+)\)", said)
        assert len(found) >= 2
        assert all(float(low) <= float(bit) <= float(high) for bit, low, high in found)
    pd.DataFrame({"N": n, "u": u, "bits": bits}).to_csv(tmp_path / "p.csv", index=False)
    assert cli.main(["plan", "--pilot", str(tmp_path / "p.csv"), *PRICES]) == 0
    assert "more bits than the 1.53 that were measured at most" in capsys.readouterr().out


@pytest.mark.parametrize("bits", [U * 0 + 0.5, 2 - laws.noise_budget(N, U, **LAW)], ids=["constant", "falling"])
def test_bits_that_do_not_rise_are_no_ground_for_a_plan(bits, tmp_path, capsys):
    assert cli.main(["plan", "--pilot", pilot(tmp_path, bits=bits), *PRICES]) == 0
    assert "do not plan from it" in capsys.readouterr().out
    assert cli.main(["plan", "--pilot", pilot(tmp_path), *PRICES]) == 0
    assert "do not plan from it" not in capsys.readouterr().out


def test_a_pilot_may_name_its_columns_and_failures_its_own_way(tmp_path):
    bits = np.where(np.arange(len(N)) == 3, np.nan, laws.noise_budget(N, U, **LAW))
    frame = pd.DataFrame({" N": N, "U ": U, "Bits": bits, "status": np.where(np.isnan(bits), "failed", " OK")})
    frame.to_csv(tmp_path / "p.csv", index=False)
    found = evidence.pilot(tmp_path / "p.csv")
    assert "left out: 1 failed" in found.name
    assert found.candidates[0].fit.n_points == len(N) - 1
