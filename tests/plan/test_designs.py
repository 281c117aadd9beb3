"""Designs against brute force and calculus: whole invoices, never outside what was measured."""

import numpy as np
import pytest

from noise_scaling import laws
from noise_scaling.errors import InputError
from noise_scaling.plan import designs, library, prices, questions

# v0, v1, v2, v3, s: a law with room for both cells and depth
LAW = {"v0": 0.01, "v1": 6.0, "v2": 2.0, "v3": 60.0, "s": 0.5}
N, U = (x.ravel() for x in np.meshgrid([100.0, 300, 1000, 3000, 30_000], [10.0, 30, 100, 300, 1000]))
MEASURED = designs.Range((100, 30_000), (10, 1000))
CARDS = prices.read_prices()


def law(name="scvi", **change):
    noise = np.random.default_rng(0).normal(0, 0.01, len(N))
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, **LAW | change) + noise).bootstrap(100)
    return designs.Law(name, fit, MEASURED)


@pytest.fixture(scope="module")
def scvi():
    return law()


def linear(per_cell=0.5, per_million=100.0, saturation=0.0):
    cards = prices.linear(per_cell, per_million)
    kits, flows = cards.named(None, None)
    return designs.Shop(kits, flows, {kits[0].name: library.library(saturation, umis=1000)})


def whole(kits=None, flows=None, *, factor=2.0, **more):
    kits, flows = CARDS.named(kits, flows)
    return designs.Shop(kits, flows, {kit.name: library.library(0.5, umis=2000) for kit in kits}, factor, **more)


def test_the_best_design_is_the_one_by_calculus(scvi):
    # every read new: along the budget N (c + p u) = B the optimum has the least noise-to-signal ratio
    found = designs.find(scvi, linear(), MEASURED, "best", budget=1000)
    p = scvi.fit.parameters

    def nsr(n):
        u = (1000 / n - 0.5) / 1e-4
        return p["v0"] + p["v1"] / u + p["v2"] * n ** -p["s"] + p["v3"] * n ** -p["s"] / u

    scan = np.geomspace(1000 / 0.6, 1999, 200_001)  # 0.6 a cell: 1,000 UMIs
    assert found.n_cells == pytest.approx(scan[np.argmin(nsr(scan))], rel=2e-3)
    assert found.bits == pytest.approx(0.5 * np.log2(1 + 1 / nsr(found.n_cells)), abs=1e-9)
    assert found.cost == pytest.approx(1000)
    assert found.reads_per_cell == pytest.approx(found.umis_per_cell)


def brute(law, shop, n, reads):
    """Every (cells, reads, kit, flow cell) of a dense grid by the definition of each: bits and cost."""
    n, reads = (x.ravel() for x in np.meshgrid(n, reads))
    for kit in shop.kits:
        for flow in shop.flows:
            lanes = np.ceil(n / (kit.cells * (1 - kit.multiplets * kit.cells)) - 1e-9)
            rate = kit.multiplets / lanes
            m = (1 - np.sqrt(1 - 4 * rate * n)) / (2 * rate)
            bought = (n + kit.multiplet_reads * (m - n)) * np.maximum(reads, kit.least_reads)
            units = bought / flow.reads
            cost = np.ceil(lanes / kit.libraries - 1e-9) * kit.price + lanes * kit.per_library
            cost = cost + flow.price * (np.ceil(units - 1e-9) if flow.whole else units)
            source = shop.libraries[kit.name]
            u = np.asarray(source.umis(reads * kit.mapped)) / shop.factor
            good = u <= law.measured.u[1] * (1 + 1e-9)
            yield law.fit.predict(n[good], u[good]), cost[good]


@pytest.mark.parametrize("flows", [None, ["novaseq_6000_s4"], ["nextseq_high"]])
@pytest.mark.parametrize("kits", [None, ["parse_wt_mega"], ["10x_3p_hashed_lane"]])
def test_whole_invoices_are_best_by_brute_force(kits, flows, scvi):
    shop = whole(kits, flows)
    deepest = float(shop.reads(shop.kits[0], 1000.0))
    every = [
        np.concatenate(parts)
        for parts in zip(*brute(scvi, shop, np.arange(100, 30_001, 100), np.geomspace(200, deepest, 200)), strict=True)
    ]
    bits, cost = every
    for budget in (9000, 22_000, 60_000):
        found = designs.find(scvi, shop, MEASURED, "best", budget=budget)
        if found is None:
            assert not (cost <= budget).any()
            continue
        assert found.cost <= budget * (1 + 1e-9)
        assert found.inside
        assert found.bits == pytest.approx(bits[cost <= budget].max(), abs=0.003)
    least = designs.find(scvi, shop, MEASURED, "best", bits=2.0)
    assert least.bits >= 2 - 1e-6
    assert least.cost == pytest.approx(cost[bits >= 2].min(), rel=0.02)
    assert least.cost <= cost[bits >= 2].min() * 1.002


def test_linear_prices_promise_what_kits_do_not_keep(scvi):
    # the same design, at a lane's and a flow cell's price for what it uses of them, costs less than its invoice
    shop = whole(["10x_3p_kit"], ["novaseq_6000_s4"])
    found = designs.find(scvi, shop, MEASURED, "best", budget=22_000)
    used = found.libraries / 6 * 5600 + found.n_cells * found.reads_per_cell * 14_032 / 4.1e9
    assert found.cost > 1.2 * used


@pytest.mark.parametrize("seed", range(40))
def test_the_best_is_always_inside_and_affordable(seed, scvi):
    rng = np.random.default_rng(seed)
    kit, flow = rng.choice(list(CARDS.preparations)), rng.choice(list(CARDS.sequencing))
    shop = whole([kit], [flow], factor=10 ** rng.uniform(-0.2, 1), donors=int(rng.integers(1, 4)))
    budget = 10 ** rng.uniform(2, 7)
    found = designs.find(scvi, shop, MEASURED, "best", budget=budget)
    if found:
        assert found.inside
        assert found.cost <= budget * (1 + 1e-9)
        assert all(np.isfinite(v) for v in vars(found).values() if isinstance(v, float))
        assert found.bits_low <= found.bits <= found.bits_high
        least = CARDS.preparations[kit].least_reads
        assert found.reads_paid_per_cell >= max(found.reads_per_cell, least) * (1 - 1e-8)
    else:
        with pytest.raises(InputError, match=r"no design|no kit"):
            questions.for_budget([scvi], shop, budget)


def test_the_vendors_minimum_is_paid(scvi):
    shop = whole(["10x_3p_lane"], ["shared_reads"])
    found = designs.find(scvi, shop, MEASURED, "best", budget=3000)
    assert found.reads_paid_per_cell == pytest.approx(20_000)
    assert found.reads_per_cell == pytest.approx(float(shop.reads(shop.kits[0], 1000)))  # 5,000: half saturated


def test_the_answer_for_a_budget(scvi):
    other = law("pca", v0=0.0105)
    shop = whole(["10x_3p_lane"], ["novaseq_x_25b_lane"])
    made = questions.for_budget([other, scvi], shop, 7000)
    best, roles = made.designs[0], {d.role: d for d in made.designs[1:]}
    assert (best.role, best.model) == ("best", "scvi")
    assert made.ties == ["pca"]  # their promises err by more than they differ
    assert roles["runner-up"].n_cells <= best.n_cells / 2 or roles["runner-up"].n_cells >= 2 * best.n_cells
    assert roles["cheapest tie"].cost < best.cost
    assert roles["cheapest tie"].bits == pytest.approx(best.bits - designs.PROMISE_ERROR, abs=0.2)
    assert "extrapolation" not in roles
    assert 0 <= made.ahead <= 1


def test_an_extrapolation_is_labelled_and_wide():
    steep = law(v0=1e-5, v1=30.0, v2=30.0)
    made = questions.for_budget([steep], linear(0.01, 1.0), 1e6)
    beyond = made.designs[-1]
    assert (beyond.role, beyond.inside) == ("extrapolation", False)
    assert beyond.bits > made.designs[0].bits + designs.PROMISE_ERROR
    assert beyond.bits_high - beyond.bits_low > 2 * 1.95 * designs.PROMISE_ERROR
    assert made.designs[0].inside


def test_intervals_hold_a_new_split():
    """Grids of known truth: a seed moves its whole grid, as a choice of cells does; the third seed is foretold."""
    rng, inside, curve = np.random.default_rng(3), [], []
    truth = laws.noise_budget(N, U, **LAW)
    for _ in range(40):
        seeds = truth + rng.normal(0, designs.SPLIT_SD, (3, 1)) + rng.normal(0, 0.03, (3, len(N)))
        fit = laws.fit_noise_budget(N, U, seeds[:2].mean(axis=0)).bootstrap(60)
        found = designs.Law("scvi", fit, MEASURED, seeds=2)
        for i in range(0, len(N), 6):
            low, high = found.interval(N[i], U[i])
            inside.append(low <= seeds[2, i] <= high)
            low, high = fit.interval(N[i], U[i], measured=True)
            curve.append(low <= seeds[2, i] <= high)
    assert 0.9 < np.mean(inside) < 0.99
    assert np.mean(curve) < 0.8


def test_the_cheapest_for_a_share(scvi):
    shop = whole()
    made = questions.for_bits([scvi, law("pca", v0=0.2)], shop, share=0.9)
    assert made.target == pytest.approx(0.9 * scvi.reach())
    assert made.designs[0].bits >= made.target - 1e-6
    assert "pca: no design" in made.warnings[0]
    with pytest.raises(InputError, match="the most is"):
        questions.for_bits([scvi], shop, bits=5.0)
    with pytest.raises(InputError, match=r"0\.9 for 90 %"):
        questions.for_bits([scvi], shop, share=90)


def test_reads_on_top_pay_for_reads_alone(scvi):
    shop = whole(["10x_3p_lane"], ["shared_reads"], have=1000.0)
    there = designs.Law("scvi", scvi.fit, designs.Range((2000, 2000), MEASURED.u))
    made = questions.for_budget([there], shop, 10.0)
    now = next(d for d in made.designs if d.role == "as it is")
    assert (now.reads_per_cell, now.cost) == (1000, 0)
    best = made.designs[0]
    assert best.n_cells == 2000
    assert best.bits > now.bits
    kit = shop.kits[0]
    assert best.cost == pytest.approx((best.reads_paid_per_cell - 1000) * 2000 * float(kit.per_cell(2000)) * 3e-6)


def test_two_designs_compared(scvi):
    made = questions.compared([scvi], whole(), ["20,000:5000", "500:20000"])
    first, second = made.designs
    assert (first.n_cells, second.n_cells) == (20_000, 500)
    assert made.ties == []
    assert made.ahead == 1
    assert questions.compared([scvi], whole(), ["2000:1000", "2100:1000"]).ties == ["design 2000:1000"]
    for pair, word in (
        (["2:3:4", "5:6"], "CELLS:READS_PER_CELL"),
        (["-5:3", "5:6"], "above 0"),
        (["1e9:9", "9:9"], "neither"),
    ):
        with pytest.raises(InputError, match=word):
            questions.compared([scvi], whole(), pair)


def test_donors_have_a_library_each(scvi):
    shop = whole(["10x_3p_lane"], ["shared_reads"], donors=4)
    found = designs.find(scvi, shop, MEASURED, "best", budget=7000)
    assert found.libraries == 4
    assert found.cost >= 6000


def test_a_type_is_found_as_often_as_promised():
    from scipy.stats import binom

    found = designs.find(law(), linear(), MEASURED, "best", budget=1000)
    assert binom.sf(9, found.n_cells, found.rarest_type) == pytest.approx(0.95)
