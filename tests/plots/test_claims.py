import base64
import io
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements, paths
from noise_scaling.models import MODELS
from noise_scaling.plots import claims, claims_open, ledger, model_size, page, style

DEPTHS = np.geomspace(1, 0.01, 9)
CELLS = (100, 1000, 10_000)


def rows(dataset: str, model: str, bits) -> list[dict]:
    """One row a cell number and depth; `bits(n, u)`."""
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    head = blank | {"dataset": dataset, "signal": "s", "model": model, "preset": "small", "estimator": "default"}
    return [
        head | {"n_cells": n, "fraction": q, "umis_per_cell": 1000 * q, "mi_bits": bits(n, 1000 * q), "status": "ok"}
        for n in CELLS
        for q in DEPTHS
    ]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """scVI grows by 0.3 bits a decade of cells, PCA by 0.01; Geneformer lies below PCA but at 3 depths."""
    return measurements.sort(
        rows("one", "scvi", lambda n, u: laws.noise_law(u, 200, 2.5 + 0.3 * np.log10(n / 100)))
        + rows("one", "pca", lambda n, u: laws.noise_law(u, 200, 2.4 + 0.01 * np.log10(n / 100)))
        + rows("one", "geneformer", lambda n, u: laws.noise_law(u, 200, 2.4) + (0.05 if u < 40 else -0.2))
        + rows("one", "random_projection", lambda n, u: laws.noise_law(u, 400, 1.0))
    )


def share(table: pd.DataFrame, text: str) -> claims.Finding:
    return claims.find(next(c for c in claims.CLAIMS if c.text == text), table)


def test_a_model_above_all_others_is_best_everywhere(table):
    best = share(table, "scVI is the best model in almost all settings")
    assert (best.value, best.low, best.high, best.blocks, best.verdict) == (1, 1, 1, 9, "holds")


def test_best_of_two_is_no_best_and_controls_do_not_count(table):
    two = table[table["model"].isin(["scvi", "pca"])]
    controls = two[two["model"] == "pca"].assign(mi_bits=9.0)
    two = pd.concat([two, *(controls.assign(model=name) for name in ("known_2_bits", "untrained_geneformer"))])
    assert share(two, "scVI is the best model in almost all settings").blocks == 0


def test_variations_on_a_model_change_no_claim_of_the_paper(table):
    """They are set beside their own model: 2 bits above it here, or flat, where Eq. 1 fits nothing."""
    found = {name: kind.variation_of for name, kind in MODELS.items() if kind.variation_of}
    assert found == dict.fromkeys(["scvi_nb", "scvi_poisson", "scvi_linear"], "scvi") | dict.fromkeys(
        ["nmf", "pearson_pca", "lda"], "pca"
    )
    every = [table[table["model"] == kind].assign(model=name) for name, kind in found.items()]
    every = [rows.assign(mi_bits=rows["mi_bits"] + 2 - at * (at > 3)) for at, rows in enumerate(every)]
    for claim in claims.CLAIMS:
        assert repr(claims.find(claim, pd.concat([table, *every]))) == repr(claims.find(claim, table))
    drawn = model_size.variations_figure(pd.concat([table, *every]))
    assert [len(axes.collections) for axes in drawn.axes] == [3, 3]  # the bars of each variation
    more = table.assign(seed=7, mi_bits=9.0)  # a seed at which no variation was measured
    again = model_size.variations_figure(pd.concat([table, more, *every]))
    lines = [[list(line.get_xdata()) for axes in figure.axes for line in axes.lines] for figure in (drawn, again)]
    assert lines[0] == lines[1]
    assert lines[0] == [pytest.approx(bits) for bits in ([0, 0], [2], [2], [2], [0, 0], [2], [-2], [-3])]
    beside = model_size.variations(pd.concat([table, *every])).set_index("model")
    assert beside["difference"].to_dict() == pytest.approx(dict(zip(found, (2, 2, 2, 2, -2, -3), strict=True)))
    told = model_size.variations_told(pd.concat([table, more, *every])).data
    assert "scVI, Poisson finds more than scVI, +2.000" in told
    assert "scVI, linear decoder is tied with scVI, negative binomial, +0.000" in told  # of the same likelihood
    assert "replaced: nothing here" in told
    lost = [rows.assign(mi_bits=rows["mi_bits"] - 3 * (rows["model"] == "scvi_linear")) for rows in every]
    assert "replaced: the nonlinear decoder." in model_size.variations_told(pd.concat([table, *lost])).data


@pytest.mark.filterwarnings("error")  # the warnings on texts that overlap
def test_variations_on_many_signals_are_drawn_without_overlap(table):
    names = [f"a data set with a long name, the {i}th of twenty" for i in range(20)]
    every = [table[table["model"] == model].assign(model=name) for model, name in (("scvi", "scvi_nb"), ("pca", "lda"))]
    both = pd.concat([*every, table])
    figure = model_size.variations_figure(pd.concat([both.assign(dataset=name) for name in names]))
    style.as_png(figure)
    assert len(figure.axes[0].get_yticks()) == 20


def test_reversal_at_low_depth_is_seen(table):
    mostly = share(table, "PCA mostly beats Geneformer on the smaller sets")
    assert mostly.value == pytest.approx(6 / 9)
    assert mostly.low < 6 / 9 < mostly.high
    assert share(table, "… at low depth").value == 0
    full = share(table, "… at full depth")
    assert (full.value, full.blocks) == (1, 3)  # one depth: the blocks are the cell numbers
    assert full.verdict == "can't be told here"


def beside_pca(table, geneformer, control):
    """The table with two models so many bits above PCA, by depth (in UMIs)."""
    rows = table.sort_values(["model", "n_cells", "fraction"], ignore_index=True)
    pca, u = (rows.loc[rows["model"] == "pca", name].to_numpy() for name in ("mi_bits", "umis_per_cell"))
    for model, gap in (("geneformer", geneformer), ("random_projection", control)):
        rows.loc[rows["model"] == model, "mi_bits"] = pca + gap(u)
    return rows


def test_similar_models_lie_in_a_band_where_a_control_does_not(table):
    text = "PCA and Geneformer perform similarly"
    half = beside_pca(table, lambda u: np.where(u < 200, 0.15, -0.25), lambda u: np.where(u < 20, 0.1, -1.0))
    asked = DEPTHS[1000 * DEPTHS >= 20]
    found = share(half, text)
    assert found.value == pytest.approx((1000 * asked < 200).mean())
    assert found.tied == pytest.approx(1 - len(asked) / 9)
    near = beside_pca(table, lambda u: -0.15 + 0 * u, lambda u: -1.0 + 0 * u)
    assert (share(near, text).value, share(near, text).verdict) == (1, "holds")
    alike = beside_pca(table, lambda u: -0.15 + 0 * u, lambda u: 0.1 + 0 * u)
    assert share(alike, text).blocks == 0  # where the control is near too, nothing is told
    alone = near[near["model"] != "random_projection"]
    assert share(alone, text).verdict == "can't be told here"


def test_similar_is_tied_where_seeds_scatter_over_the_band(table):
    noisy = seeds(table, sd=0.3, rng=np.random.default_rng(0))
    assert share(noisy, "PCA and Geneformer perform similarly").tied == 1


def test_the_asymptote_is_left_where_depth_is_small(table):
    """Exact curves of Eq. 1 leave it there alone; 0.3 bits of misfit at the deepest counts are found beside them."""
    text = "The asymptote is left only where depth or saturation is small"
    exact = share(table, text)
    assert (exact.value, exact.verdict) == (1, "holds")
    deep = table["umis_per_cell"] > 500
    bent = table.assign(mi_bits=table["mi_bits"] - 0.6 * (deep & (table["model"] != "random_projection")))
    assert share(bent, text).value < 0.95


def test_gains_are_differences_of_the_ends(table):
    flat = share(table, "Random projections do not improve with cells")
    assert flat.value == pytest.approx(0, abs=1e-12)
    assert flat.verdict == "by construction"
    by_hand = np.mean([laws.noise_law(1000 * q, 200, 2.42) - laws.noise_law(1000 * q, 200, 2.41) for q in DEPTHS])
    assert share(table, "PCA gains little beyond 1,000 cells").value == pytest.approx(by_hand)
    assert share(table, "scVI gains more from cells than PCA").value == 1


def test_half_a_bit_is_no_little_gain(table):
    steep = rows("one", "pca", lambda n, u: laws.noise_law(u, 20, 2 + 0.5 * np.log10(n / 100)))
    found = share(measurements.sort(steep), "PCA gains little beyond 1,000 cells")
    assert found.low > 0.3
    assert found.verdict == "fails"


@pytest.mark.parametrize(("most", "blocks"), [(1900, 0), (2500, 9)])
def test_a_gain_takes_twice_the_cells_to_start_from(table, most, blocks):
    fewer = table.assign(n_cells=table["n_cells"].replace(10_000, most))
    assert share(fewer, "PCA gains little beyond 1,000 cells").blocks == blocks


def test_curves_of_eq_1_fit_and_collapse(table):
    assert share(table, "Eq. 1 fits at the largest size of every signal").value == 1
    assert share(table, "All observations collapse on one curve: scVI").value == pytest.approx(1, abs=1e-6)


def test_the_collapse_is_of_depths_held_out(table):
    # residuals that two parameters can follow, but not foretell
    bent = table.assign(mi_bits=table["mi_bits"] + np.where(table["umis_per_cell"] < 12, 0.6, 0.0))
    inside = bent[(bent["model"] == "scvi") & (bent["n_cells"] == 100)]
    fit = laws.fit_noise_law(inside["umis_per_cell"], inside["mi_bits"])
    spread = np.square(inside["mi_bits"] - inside["mi_bits"].mean()).sum()
    away = 0.0
    for u in inside["umis_per_cell"]:
        rest = inside[inside["umis_per_cell"] != u]
        other = laws.fit_noise_law(rest["umis_per_cell"], rest["mi_bits"])
        away += float(other.predict(u) - inside.loc[inside["umis_per_cell"] == u, "mi_bits"].iloc[0]) ** 2
    alone = bent[bent["n_cells"] == 100]
    found = share(alone, "All observations collapse on one curve: scVI").value
    assert found == pytest.approx(1 - away / spread, abs=2e-3)
    assert found < fit.r_squared


def test_a_flat_curve_is_asked_for_no_shape(table):
    flat = table.assign(mi_bits=0.2 + 0.01 * np.sin(np.arange(len(table))))
    assert share(flat, "Eq. 1 fits at the largest size of every signal").blocks == 0
    assert share(flat, "All observations collapse on one curve: scVI").verdict == "can't be told here"


def seeds(table, *, sd, rng):
    """Three seeds of a table."""
    parts = [table.assign(seed=s, mi_bits=table["mi_bits"] + rng.normal(0, sd, len(table))) for s in range(3)]
    return measurements.sort(pd.concat(parts))


def test_points_within_two_standard_errors_are_tied(table):
    # scVI above PCA by 0.1 bits at 100 cells and by 0.7 at 10,000; Geneformer far below
    noisy = seeds(table, sd=0.2, rng=np.random.default_rng(0))
    best = share(noisy, "scVI is the best model in almost all settings")
    assert 0.2 < best.tied < 0.8
    assert best.value > 0.85  # of those that are told
    same = noisy.assign(mi_bits=np.random.default_rng(1).normal(2, 0.3, len(noisy)))
    assert share(same, "scVI is the best model in almost all settings").tied > 0.8


def test_the_largest_cells_and_figure_1_are_rows_of_their_own(table):
    low = table.assign(mi_bits=table["mi_bits"] - 3.0 * ((table["model"] == "pca") & (table["n_cells"] == 10_000)))
    found = {text: [c for c in claims.CLAIMS if c.text == text][-1] for text in ("… at the largest number of cells",)}
    assert claims.find(found["… at the largest number of cells"], low).value == 0
    shown = [c for c in claims.CLAIMS if c.text == "… at the points of the paper's Figure 1"][-1]
    # full depth at 3 cell numbers and 9 depths at the largest, one of them both: 2 of 11 are above
    assert claims.find(shown, low).value == pytest.approx(2 / 11)


def control(table, model, bits, **other):
    rows = table[table["model"] == "pca"].assign(model=model, mi_bits=bits)
    return measurements.sort(pd.concat([table, rows.assign(**other)]))


def test_no_verdict_where_the_positive_control_fails(table):
    text = "scVI is the best model in almost all settings"
    assert share(control(table, "known_2_bits", 1.6), text).verdict == "holds"
    blind = share(control(table, "known_2_bits", 0.38), text)
    assert (blind.verdict, blind.blocks) == ("the positive control fails", 0)


def test_no_verdict_on_a_model_that_has_not_learnt(table):
    text = "PCA mostly beats Geneformer on the smaller sets"
    trained = table.loc[table["model"] == "geneformer", "mi_bits"].to_numpy()
    assert share(control(table, "untrained_geneformer", trained - 0.5), text).verdict == "can't be told here"
    for gain in (0.0, -0.2):
        found = share(control(table, "untrained_geneformer", trained - gain), text)
        assert found.verdict == "not tested at this size"
    assert share(control(table, "untrained_geneformer", trained), "scVI gains more from cells than PCA").value == 1


def test_cells_that_are_no_evidence_are_none_anywhere(table):
    for name in ("pbmc68k", "simulated"):
        for claim in (*claims.CLAIMS, *(c for c in claims_open.OPEN if not c.ablations)):
            assert claims.find(claim, table.assign(dataset=name)).blocks == 0


def test_an_interval_over_studies_is_wider_where_they_differ():
    signals, blocks = np.repeat(["a, s", "b, s", "c, s"], 30), np.tile(np.arange(30), 3).astype(str)
    values = pd.DataFrame({"signal": signals, "block": blocks, "num": np.repeat([1.0, 1.0, 0.0], 30), "den": 1.0})
    assert claims.interval(values)[1:3] == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    _, low, high, studies = claims.interval(values, over_studies=True)
    assert (low, high, studies) == (0, 1, 3)


def test_data_sets_of_one_publication_are_one_study():
    names = pd.Index(["merfish_poa", "pbmc5k_extra", "mine", "merfish_hypothalamus", "pbmc10k", "pbmc10k", "simulated"])
    of_each = ["merfish_hypothalamus", "pbmc10k", "mine", "merfish_hypothalamus", "pbmc10k", "pbmc10k", "simulated"]
    assert list(claims.study(names)) == of_each
    one = pd.DataFrame({"signal": ["pbmc10k, a", "pbmc5k_extra, a"], "block": "0", "num": [1.0, 0.0], "den": 1.0})
    assert claims.interval(one, over_studies=True)[3] == 1


def test_a_verdict_near_its_threshold_says_so():
    claim = claims.Claim("c", "s", "share", 0.75, 0.5, lambda table: table)
    for by, verdict in ((0, "partly"), (1, "partly"), (-1, "holds")):
        assert claims._verdict(claims.moved(claim, by), 0.7, 0.68, 0.72, 9) == verdict
    gain = claims.Claim("c", "s", "bits", 0.05, 0.2, lambda table: table)
    for by, verdict in ((0, "holds"), (1, "partly"), (-1, "holds")):
        assert claims._verdict(claims.moved(gain, by), 0.04, 0.03, 0.05, 9) == verdict
    said = ledger.how_many(pd.DataFrame([
        {"verdict": v, "stricter": s, "more lenient": "holds"} for v, s in (("partly", "partly"), ("holds", "holds"))
    ]))  # fmt: skip
    assert said.startswith("2 verdicts stand")
    assert said.endswith("change 1 of them.")


def test_developmental_time_is_its_own_claim(table):
    nothing = share(table, "Geneformer beats PCA on developmental time")
    assert (nothing.blocks, nothing.verdict) == (0, "can't be told here")
    worm = table.assign(dataset="worm_embryo")
    assert share(worm, "Geneformer beats PCA on developmental time").value == pytest.approx(3 / 9)


def test_simulated_cells_do_not_count(table):
    assert share(table.assign(dataset="simulated"), "scVI is the best model in almost all settings").blocks == 0


def test_an_interval_across_both_thresholds_tells_nothing():
    rng = np.random.default_rng(0)
    coin = pd.DataFrame(
        {"signal": "s", "block": [str(i) for i in range(6)], "num": rng.permutation([0, 0, 1, 1, 1, 1])}
    )
    claim = claims.Claim("c", "s", "share", 0.9, 0.5, lambda table: coin.assign(den=1.0))
    blank = measurements.sort(rows("one", "pca", lambda n, u: 1.0))
    assert claims.find(claim, blank).verdict == "can't be told here"


def test_the_interval_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(3, 1, 400)
    rows_ = pd.DataFrame({"signal": "s", "block": np.arange(400).astype(str), "num": values, "den": 1.0})
    value, low, high, blocks = claims.interval(rows_)
    assert (value, blocks) == (pytest.approx(values.mean()), 400)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    low, high = claims.interval(rows_, level=0.68)[1:3]
    assert high - low == pytest.approx(2 * values.std() / 20, rel=0.08)


@pytest.mark.parametrize(
    ("unit", "value", "low", "high", "verdict"),
    [
        ("share", 0.9, 0.85, 0.95, "holds"), ("share", 0.89, 0.8, 0.95, "partly"), ("share", 0.5, 0.4, 0.6, "fails"),
        ("share", 0.7, 0.5, 0.9, "can't be told here"), ("bits", 0.05, 0.02, 0.08, "holds"),
        ("bits", -0.1, -0.15, -0.06, "partly"), ("bits", 0.2, 0.19, 0.3, "fails"),
        ("bits", 0.1, -0.01, 0.2, "can't be told here"),
    ],
)  # fmt: skip
def test_a_verdict_is_untold_where_the_interval_reaches_its_opposite(unit, value, low, high, verdict):
    thresholds = (0.05, 0.2) if unit == "bits" else (0.9, 0.5)
    claim = claims.Claim("c", "s", unit, *thresholds, lambda table: table)
    assert claims._verdict(claim, value, low, high, blocks=5) == verdict
    assert claims._verdict(claim, value, low, high, blocks=4) == "can't be told here"


def test_ledger_has_every_claim_on_every_table(table, tmp_path):
    path = measurements.write(table, tmp_path / "ours.csv")
    html = ledger.ledger(path, path).data
    full = pd.read_csv(io.BytesIO(base64.b64decode(re.search(r"base64,([\w+/=]+)", html).group(1))))
    assert len(full) == len(claims.CLAIMS)
    assert (full["ours, LMI: verdict"] == "can't be told here").all()
    assert full["ours, default: value"].iloc[0] == 1
    link = '<a href="figures/figure_1.html#on-our-own-measurements">holds<small>1.00 (1.00 to 1.00)'
    assert f'<td class="holds" data-table="ours, default">{link}' in html
    assert "not measured" in html


def test_a_verdict_opens_the_signal_and_the_tab_that_it_is_of(table, tmp_path):
    embryo = table.assign(dataset="worm_embryo", signal="time.point", estimator="lmi")
    path = measurements.write(pd.concat([table, embryo, table.assign(estimator="lmi")]), tmp_path / "ours.csv")
    shown = {c.heading: c for c in ledger.columns(path, "published")}
    development = next(c for c in claims.CLAIMS if "developmental" in c.text)
    budget = next(c for c in claims_open.OPEN if c.page == "cells_or_depth")

    def link(claim, heading):
        return re.search(
            r'href="([^"]*)"', ledger._linked(claim, shown[heading], claims.Finding(*[np.nan] * 3, 0, ""))
        )[1]

    lmi = unescape(link(development, "ours, LMI"))
    assert lmi.endswith("&estimator=lmi&signal=worm_embryo%2Ftime.point")
    assert "signal" not in link(claims.CLAIMS[0], "ours, LMI")
    assert [link(budget, heading).partition("#")[2] for heading in shown] == [
        "on-the-published-table", "published-without-the-flagged-rows", *["on-our-own-measurements"] * 2
    ]  # fmt: skip
    headings = re.findall(r'"## (.*?)(?:\\n)?"', (paths.ROOT / "notebooks/cells_or_depth.ipynb").read_text())
    anchors = {re.sub(r"\W+", "-", heading).lower() for heading in headings}
    assert {link(budget, heading).partition("#")[2] for heading in shown} <= anchors


def test_every_verdict_on_geneformer_says_that_it_is_the_small_one(table):
    """On the lines too that go on from the one above ("… at full depth"); no other line says so."""
    column = ledger.Column("ours", table)
    said = {claim for claim in (*claims.CLAIMS, *claims_open.OPEN) if ledger._who(claim, column)}
    of_it = {claim for claim in (*claims.CLAIMS, *claims_open.OPEN) if "geneformer" in str(claim.rows)}
    assert said >= of_it
    assert {claim.text for claim in said - of_it} == {"A larger Geneformer finds more"}
    assert len(of_it) == 10


def of_open(table, text):
    return claims.find(next(c for c in claims_open.OPEN if c.text == text), table)


def test_a_budget_is_known_where_it_is_the_truth_and_missed_where_it_is_not(table):
    def budget(n, u):
        ratio = 0.02 + 4 / u + 1 / n**0.5 + 300 / (n**0.5 * u)
        return 0.5 * np.log2(1 + 1 / ratio)

    more = pd.concat([table, measurements.sort(rows("one", "scvi", budget)).assign(dataset="two")])
    sizes = more[more["dataset"] == "two"]
    both = pd.concat([sizes, sizes.assign(n_cells=10 * sizes["n_cells"].to_numpy() ** 2)])  # six cell numbers
    both["mi_bits"] = budget(both["n_cells"], both["umis_per_cell"])
    assert list(claims_open.budget_fits(both.drop_duplicates(measurements.KEY))["num"]) == [1.0]
    wild = both.assign(mi_bits=1 + np.sin(50 * both["n_cells"].rank() + 9 * both["umis_per_cell"].rank()))
    assert list(claims_open.budget_fits(wild.drop_duplicates(measurements.KEY))["num"]) == [0.0]


def test_what_one_side_loses_when_it_is_thinned_alone(table):
    base = table[(table["model"] == "pca") & (table["n_cells"] == 100)]
    test_full = base.assign(variant="test_full_depth", mi_bits=base["mi_bits"].max() - 0.01)
    train_full = base.assign(variant="train_full_depth")
    together = pd.concat([base, test_full, train_full])
    little = of_open(together, "Training cells may be shallow where test cells are deep")
    assert (little.value, little.blocks, little.verdict) == (pytest.approx(0.01), 3, "can't be told here")
    much = of_open(together, "Test cells may be shallow where training cells are deep")
    shallow = base.sort_values("fraction")["mi_bits"].iloc[:3]
    assert much.value == pytest.approx(base["mi_bits"].max() - shallow.mean())


def test_the_gain_at_fixed_steps_is_set_against_the_gain_with_early_stopping(table):
    base = table[table["model"] == "scvi"]
    half = base.assign(variant="fixed_steps_600", mi_bits=1 + 0.5 * (base["mi_bits"] - 1))
    found = of_open(pd.concat([base, half]), "Cells add most of their gain at a fixed number of steps, too")
    assert (found.value, found.blocks, found.verdict) == (pytest.approx(0.5), 9, "fails")
    assert of_open(base, "Cells add most of their gain at a fixed number of steps, too").blocks == 0


def test_the_widest_is_set_against_the_narrowest(table):
    base = table[(table["model"] == "geneformer") & (table["n_cells"] == 100)].assign(n_parameters=1000)
    wide = base.assign(variant="width_256", n_parameters=9000, mi_bits=base["mi_bits"] + 0.1)
    narrow = base.assign(variant="width_16", n_parameters=100, mi_bits=base["mi_bits"] - 0.1)
    found = of_open(pd.concat([base, wide, narrow]), "A larger Geneformer finds more")
    assert (found.value, found.blocks, found.verdict) == (1, 9, "holds")


@pytest.mark.parametrize(("power", "value"), [(1.5, 1.0), (0.8, 0.0)])
def test_depth_counts_over_cells_where_its_double_is_worth_more_than_twice_the_cells(power, value):
    line = measurements.sort(rows("one", "pca", lambda n, u: 0.1 * np.log2(n) + 0.1 * power * np.log2(u)))
    found = of_open(line, "Depth is worth more than cells: PCA")  # twice the depth is worth 2^power times the cells
    assert found.value == value
    assert found.blocks == 8


def test_verdicts_in_words(table, tmp_path):
    base = table[table["model"] == "scvi"]
    half = base.assign(variant="fixed_steps_600", mi_bits=1 + 0.5 * (base["mi_bits"] - 1))
    path = measurements.write(pd.concat([base, half]), tmp_path / "ours.csv")
    words = page.show(ledger.verdicts, path, "steps", "larger").data
    assert (
        "“Cells add most of their gain at a fixed number of steps, too” fails. Its statistic, scVI&#x27;s gain" in words
    )
    assert "is 0.50 (95 % interval 0.50 to 0.50, one study)." in words
    assert "“A larger Geneformer finds more” was not measured in this table." in words
    assert "Shallow" not in words
