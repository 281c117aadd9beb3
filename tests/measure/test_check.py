from dataclasses import replace
from functools import partial

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy

from noise_scaling import information
from noise_scaling.errors import InputError
from noise_scaling.measure import check_pairs, controls
from noise_scaling.measure.check import Report, check, of_pair
from noise_scaling.measure.check_rules import FAILED, OK, TIE, Check, estimated
from noise_scaling.signals import Aligned


def gaussians(n=300, dims=2, seed=0):
    """One bit: the first dimension of x and y at a correlation of sqrt(3) / 2."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dims))
    return Aligned(x, np.sqrt(0.75) * x[:, :1] + 0.5 * rng.standard_normal((n, 1)), None)


def classes(n=400, seed=0):
    """Two clouds and the label of each cell, wrong for one in ten."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 2, n)
    x = rng.standard_normal((n, 3)) + 4 * code[:, None]
    return Aligned(x, np.where(rng.random(n) < 0.1, 1 - code, code), None)


def failed(report):
    return {found.name for found in report.of_status(FAILED)}


def test_healthy_pairs_pass():
    """Of ten draws nine; of twenty larger ones, and by the default, benchmarks/results/check_verdicts.md tells."""
    answers = [of_pair(gaussians(seed=seed), estimator="ksg", seed=seed).answer for seed in range(10)]
    assert answers.count("yes") >= 9
    answers = [of_pair(classes(seed=seed), estimator="mixed_ksg", seed=seed).answer for seed in range(10)]
    assert answers.count("yes") >= 9
    assert of_pair(classes()).answer == "yes"


def test_the_verdict_is_one_sentence_with_the_number():
    found = of_pair(gaussians(1000), estimator="ksg")
    assert found.bits == pytest.approx(1, abs=0.12)
    assert found.verdict.startswith(
        f"Trust at least {found.bits:.2f} ± {found.stderr:.2f} bits (1,000 cells, 2 dimensions, KSG)"
    )
    assert found.verdict.count(".") == found.verdict.rstrip(".").count(".") + 1
    assert len(found.estimates) == 28


def test_independent_pairs_hold_nothing():
    pair = gaussians()
    rng = np.random.default_rng(1)
    assert of_pair(pair._replace(y=rng.permutation(pair.y)), estimator="ksg").answer == "nothing found"
    labels = classes()
    assert of_pair(labels._replace(y=rng.permutation(labels.y)), estimator="mixed_ksg").answer == "nothing found"


@pytest.mark.parametrize("pair", [gaussians(), classes()], ids=["vectors", "labels"])
def test_repeated_cells_are_counted_and_fail(pair):
    n, again = len(pair.x), np.arange(len(pair.x) // 10)
    rows = np.r_[np.arange(n), again]
    report = of_pair(Aligned(pair.x[rows], pair.y[rows], None), estimator="ksg" if pair.y.ndim == 2 else "mixed_ksg")
    assert report.answer == "no"
    assert f"{n // 10} of {len(rows)} cells repeat another" in report.verdict


def test_pairs_in_both_orders_are_repeated():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 100, 3))
    assert len(np.unique(check_pairs.copies(Aligned(np.r_[x, y], np.r_[y, x], None)))) == 100
    assert len(np.unique(check_pairs.copies(Aligned(x, y, None)))) == 100


def test_what_copies_do_to_an_estimate_shows_when_they_are_shuffled_together():
    """Each pair twice: a cell's copy is its nearest neighbour on both sides, which KSG takes for information."""
    pair = gaussians(200)
    twice = Aligned(np.repeat(pair.x, 2, axis=0), np.repeat(pair.y, 2, axis=0), None)
    shuffled = [case.pair for case in check_pairs.cases(twice, 0) if case.setting == check_pairs.SHUFFLED]
    assert len(shuffled) == 4
    for one in shuffled:
        assert len(np.unique(check_pairs.copies(one))) == 200
        assert abs(np.corrcoef(one.x[:, 0], one.y[:, 0])[0, 1]) < 0.3


def by_value(pair):
    order = np.argsort(pair.y.ravel(), kind="stable")
    return Aligned(pair.x[order], pair.y[order], None)


def beside(pair, column):
    """The embedding with one more dimension, rotated."""
    x = np.column_stack([pair.x, column])
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((x.shape[1],) * 2))[0]
    return pair._replace(x=x @ turn)


@pytest.mark.parametrize("pair", [gaussians(), classes()], ids=["vectors", "labels"])
@pytest.mark.parametrize("what", ["the row number", "the signal"])
def test_an_embedding_that_holds_the_answer(pair, what):
    pair = by_value(pair)
    pair = beside(pair, np.arange(len(pair.x)) if what == "the row number" else pair.y)
    report = of_pair(pair, estimator="ksg" if pair.y.ndim == 2 else "mixed_ksg")
    assert report.answer == "no"
    assert f"the embedding holds {what}" in report.verdict


def test_a_row_number_shows_where_cells_are_left_out():
    pair = gaussians(600)
    kept = np.sort(np.random.default_rng(0).permutation(600)[:300])
    pair = Aligned(np.column_stack([pair.x, np.arange(600)])[kept], pair.y[kept], None)
    assert failed(of_pair(pair, kept, estimator="ksg")) >= {"leak"}
    assert "leak" not in failed(of_pair(pair, estimator="ksg"))


def test_a_constant_number_of_the_signal_is_no_leak():
    pair = gaussians()
    report = of_pair(pair._replace(y=np.column_stack([pair.y, np.ones(len(pair.y))])), estimator="ksg")
    assert "leak" not in failed(report)


def test_what_still_grows_is_not_called_nothing():
    """A tenth of a bit from 300 cells on, nothing from fewer."""
    settings = {case.setting for case in check_pairs.cases(gaussians(200), 0)}
    rows = table(**dict.fromkeys(settings, 0.1) | {check_pairs.KNOWN: 2.0, check_pairs.SHUFFLED: 0.0})
    rows = rows.assign(stderr=0.06)
    rows.loc[rows["setting"] == check_pairs.PARTS, "bits"] = 0.0
    grown = Report(0.1, 0.06, 300, 2, "ksg", tuple(estimated(rows)), rows)
    assert (grown["growth"].status, grown.answer) == (FAILED, "lower bound")
    rows.loc[rows["setting"] == check_pairs.PARTS, "bits"] = 0.1
    still = Report(0.1, 0.06, 300, 2, "ksg", tuple(estimated(rows)), rows)
    assert (still["growth"].status, still.answer) == (OK, "nothing found")


def test_too_few_cells_in_too_many_dimensions_are_a_lower_bound():
    """KSG finds half of a bit among 11 dimensions of noise."""
    report = of_pair(gaussians(150, dims=12), estimator="ksg")
    assert report.answer == "lower bound"
    assert failed(report) >= {"known_signal"}
    assert report["known_signal"].value < 0.8


BROKEN = {
    "noise_on_embedding": lambda found, x, y, seed: {"bits": found.bits + max(np.log2(x.var()), 0)},
    "noise_on_signal": lambda found, x, y, seed: {"bits": found.bits + max(np.log2(y.var()), 0)},
    "random_projection": lambda found, x, y, seed: {"bits": found.bits + 2 * (x.shape[1] == 1)},
    "fewer_components": lambda found, x, y, seed: {"bits": found.bits + 2 * (x.shape[1] == 1)},
    "growth": lambda found, x, y, seed: {"bits": found.bits * (len(x) / 500)},
    "shuffled": lambda found, x, y, seed: {"bits": found.bits + 0.2},
    "known_signal": lambda found, x, y, seed: {"bits": found.bits * 1.4},
    "split_halves": lambda found, x, y, seed: {"stderr": found.stderr / 10},
}
"""What a broken estimator makes of KSG's answer, by the check that it fails."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_estimator_fails_its_check(name, monkeypatch):
    def broken(x, y, *, seed=0):
        found = information.ksg(x, y)
        return replace(found, **BROKEN[name](found, x, y, seed))

    sound = information.ESTIMATORS["ksg"]
    monkeypatch.setitem(information.ESTIMATORS, "broken", replace(sound, name="broken", function=broken))
    report = of_pair(gaussians(500), estimator="broken")
    assert name in failed(report)
    too_low = name in ("random_projection", "fewer_components", "growth")
    assert report.answer == ("lower bound" if too_low else "no")
    assert report[name].text in report.verdict
    assert name not in failed(of_pair(gaussians(500), estimator="ksg"))


@pytest.mark.parametrize(("beyond", "status"), [(-0.1, OK), (0, OK), (0.19, TIE), (0.2, TIE), (0.21, FAILED)])
def test_two_standard_errors_beyond_the_limit_are_a_tie(beyond, status):
    assert Check("growth", 0.1 + beyond, 0.1, 0.1, "", beyond, too_low=False).status == status


def table(**bits):
    """Estimates with the given bits of a setting, all of a standard error of 0.05; 1 bit where none is given."""
    rows = [
        (case.setting, case.level, case.repeat, len(case.pair.x), bits.get(case.setting, 1.0), 0.05, 2.0)
        for case in check_pairs.cases(gaussians(200), 0)
    ]
    return pd.DataFrame(rows, columns=["setting", "level", "repeat", "n", "bits", "stderr", "true"])


def test_values_limits_and_errors_are_those_of_the_rules():
    found = {one.name: one for one in estimated(table(**{check_pairs.KNOWN: 1.5, check_pairs.SHUFFLED: 0.03}))}
    known, null, rise = found["known_signal"], found["shuffled"], found["noise_on_signal"]
    assert (known.value, known.limit, known.stderr) == pytest.approx((0.75, 0.8, 0.05 / 2 / np.sqrt(3)))
    assert (known.status, known.too_low) == (FAILED, True)
    assert (null.value, null.limit, null.stderr, null.status) == (pytest.approx(0.03), 0.02, 0.025, TIE)
    assert (rise.value, rise.limit, rise.stderr) == (0, 0.05, pytest.approx(0.05 * np.sqrt(2)))
    assert found["growth"].value == found["split_halves"].value == 0


def test_growth_and_halves_by_hand():
    """Halves of 0.5 and 0.9 bits: they grow by 0.3 of 1 bit, and are 0.4 / (0.05 sqrt 2) standard errors apart."""
    rows = table()
    halves = (rows["setting"] == check_pairs.PARTS) & (rows["level"] == 2)
    rows.loc[halves, "bits"] = [0.5, 0.9] * 3
    found = {one.name: one for one in estimated(rows)}
    assert (found["growth"].value, found["growth"].status) == (pytest.approx(0.3), FAILED)
    assert found["split_halves"].value == pytest.approx(0.4 / (0.05 * np.sqrt(2)))
    assert "grows by 30% from 100 to 200 cells" in found["growth"].text


def test_parts_share_no_cell_and_no_group():
    pair = gaussians(240)._replace(groups=np.repeat(np.arange(60), 4))
    for level in (2, 4):
        parts = [case.pair for case in check_pairs.cases(pair, 0) if case.setting == check_pairs.PARTS]
        parts = [part for part in parts if len(part.x) == 240 / level][:level]
        assert len(parts) == level
        assert len(set.union(*(set(part.groups) for part in parts))) == sum(len(set(p.groups)) for p in parts) == 60


@pytest.mark.any_machine
def test_vectors_made_from_an_embedding_share_what_is_said():
    """Of Gaussians the log determinants of sample covariances; their bias is 64 / (2 n ln 2) < 0.01 bits."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 8)) @ rng.standard_normal((8, 8))
    y, bits = controls.from_embedding(x, np.empty((1, 8)), rng)
    both = [np.linalg.slogdet(np.cov(side.T))[1] for side in (x, y, np.hstack([x, y]))]
    assert y.shape == (5000, 8)
    assert bits == pytest.approx(2, abs=0.1)
    assert (both[0] + both[1] - both[2]) / 2 / np.log(2) == pytest.approx(bits, abs=0.06)


@pytest.mark.any_machine
@pytest.mark.parametrize("form", ["labels", "vectors"])
def test_few_places_share_what_counts_say(form):
    """An embedding of 4 places holds at most 2 bits; of labels the counts of both give the information."""
    rng = np.random.default_rng(0)
    place = rng.integers(0, 4, 4000)
    x = rng.standard_normal((4, 3))[place]
    y, bits = controls.from_embedding(x, place if form == "labels" else np.empty((1, 3)), rng)
    assert 1.5 < bits < 2
    if form == "labels":
        counts = np.histogram2d(place, y, bins=(4, y.max() + 1))[0]
        found = entropy(counts.sum(0), base=2) + entropy(counts.sum(1), base=2) - entropy(counts.ravel(), base=2)
        assert found == pytest.approx(bits, abs=0.05)


@pytest.fixture
def files(tmp_path):
    """The same pairs in three forms."""
    pair = gaussians(200)
    label = np.where(pair.y[:, 0] > 0, "high", "low")
    np.savez(tmp_path / "p.npz", x=pair.x, y=pair.y, label=label)
    pd.DataFrame({"a": pair.x[:, 0], "b": pair.x[:, 1], "y": pair.y[:, 0], "label": label}).to_csv(
        tmp_path / "p.csv", index=False
    )
    obs = pd.DataFrame({"label": label}, index=[f"cell {i}" for i in range(200)])
    cells = anndata.AnnData(X=np.random.default_rng(0).random((200, 2)), obs=obs, obsm={"X_own": pair.x, "y": pair.y})
    cells.write_h5ad(tmp_path / "p.h5ad")
    return tmp_path


def test_the_same_pairs_from_every_kind_of_file(files):
    read = partial(check, estimator="ksg", progress=False)
    found = [
        read(files / "p.npz"),
        read(files / "p.csv", signal="obs:y"),
        read(files / "p.h5ad", embedding="obsm:X_own", signal="obsm:y"),
    ]
    assert found[1].bits == pytest.approx(found[0].bits, abs=1e-9)
    assert found[2].bits == found[0].bits
    labels = [
        check(files / f"p.{kind}", embedding=where, signal="obs:label", progress=False)
        for kind, where in (("npz", None), ("h5ad", "obsm:X_own"))
    ]
    assert labels[0].bits == labels[1].bits
    assert labels[0].method == "classifier"


def test_a_model_is_trained_and_scored_as_in_measure():
    from noise_scaling.measure.run import measure

    settings = {"cell_numbers": [350], "fractions": [1], "estimators": ["mixed_ksg"], "progress": False}
    row = measure("pbmc68k", models=["pca"], **settings).iloc[0]
    found = check("pbmc68k", estimator="mixed_ksg", progress=False)
    assert (found.n, found.dims) == (row["n_test"], row["dims"])
    assert found.bits == pytest.approx(row["mi_bits"], abs=2 * row["mi_stderr"])
    assert "pca was trained on 350 cells and embeds 280 others" in found.notes


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("nowhere.npz", {}, "no file"),
        ("p.h5ad", {"signal": "obs:label", "embedding": "obsm:X_other"}, "unknown obsm key 'X_other'"),
        ("p.h5ad", {"embedding": "obsm:X_own"}, "needs a signal"),
        ("p.h5ad", {"signal": "obs:label", "embedding": "nope"}, "obsm:KEY"),
        ("p.csv", {}, "unknown obs column 'y'"),
        ("p.npz", {"estimator": "nope"}, "unknown estimator 'nope'"),
        ("p.npz", {"seed": -1}, "--seed"),
        ("few.npz", {}, "60 pairs of cells are too few for a check: give at least 120"),
        ("still.npz", {}, "the embedding is the same in all cells"),
        ("holes.npz", {}, "NaN"),
        ("uneven.npz", {}, "row i of all must be the same cell"),
        ("text.npz", {}, "cannot be read"),
        ("text.csv", {}, "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(name, options, words, files):
    pair = gaussians(200)
    hole = np.where(np.arange(200)[:, None] == 3, np.nan, pair.x)
    pd.read_csv(files / "p.csv").rename(columns={"y": "z"}).to_csv(files / "p.csv", index=False)
    made = {"few": (pair.x[:60], pair.y[:60]), "still": (np.ones((200, 2)), pair.y), "holes": (hole, pair.y)}
    for key, (x, y) in (made | {"uneven": (pair.x, pair.y[:50])}).items():
        np.savez(files / f"{key}.npz", x=x, y=y)
    (files / "text.npz").write_text("no arrays")
    (files / "text.csv").write_text("")
    with pytest.raises(InputError) as caught:
        check(files / name, progress=False, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
