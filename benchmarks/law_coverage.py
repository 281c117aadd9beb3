"""How often intervals of I_max and u_bar contain the truth, for curves that follow Eq. 1 and curves that do not.

Each law gives curves of 8 to 10 depths, of one and of three seeds. Every seed (its split and training) shifts I_max by
0.05 bits and u_bar by 10 % (standard deviations, about those between the seeds of the committed measurements), and
every point has noise of 0.04 bits. "simulator" is the exact curve of `simulate`, four latents, 3 bits.
"""

from __future__ import annotations

import common
import numpy as np
from scipy.optimize import brentq

from noise_scaling import datasets, laws
from noise_scaling.laws.averaged import Curve, intervals

LAWS = {
    "Eq. 1": {}, "power of depth 0.85": {"power": 0.85}, "power of depth 1.2": {"power": 1.2},
    "power of depth 1.5": {"power": 1.5}, "4 channels": {"channels": 4}, "noise on both sides": {"sides": 2},
}  # fmt: skip
SEED_BITS, SEED_DEPTH, NOISE = 0.05, 0.10, 0.04
CURVES = 200


def by_law(rng: np.random.Generator, seeds: int, **law: float) -> tuple[Curve, tuple[float, float]]:
    """Simulate a curve; return it, its u_bar (from a twentieth of the largest depth to the largest) and its I_max."""
    u = np.geomspace(10, rng.choice([300, 1000, 5000]), rng.integers(8, 11))
    u_bar, i_max = u[-1] * 10 ** rng.uniform(-1.3, 0), rng.uniform(1, 3.5)
    moved = zip(u_bar * np.exp(rng.normal(0, SEED_DEPTH, seeds)), i_max + rng.normal(0, SEED_BITS, seeds), strict=True)
    bits = np.array([laws.channels_law(u, *one, **law) for one in moved])
    return Curve(u, bits + rng.normal(0, NOISE, bits.shape)), (u_bar, i_max)


def by_simulator(rng: np.random.Generator, seeds: int, exact, u_bar: float) -> tuple[Curve, tuple[float, float]]:
    u = np.geomspace(10, 20_000, rng.integers(8, 11))
    bits = exact(u) + rng.normal(0, SEED_BITS, (seeds, 1)) + rng.normal(0, NOISE, (seeds, len(u)))
    return Curve(u, bits), (u_bar, 3.0)


def score(draw, count: int, seeds: int, rng: np.random.Generator, **law) -> dict[str, float]:
    """Return the share of truths inside intervals averaged over laws and inside Eq. 1's own, and the median widths."""
    curves, truth = zip(*(draw(rng, seeds, **law) for _ in range(count)), strict=True)
    averaged = intervals(curves)
    fits = [
        laws.fit_noise_law(np.tile(c.u, seeds), c.bits.ravel(), seeds=np.repeat(range(seeds), len(c.u))) for c in curves
    ]
    out = {"R2": float(np.median([fit.r_squared for fit in fits]))}
    for name, true in zip(("u_bar", "i_max"), np.array(truth).T, strict=True):
        own = np.array([fit.interval(name) for fit in fits])
        for label, (low, high) in (("averaged", averaged[name].T), ("if Eq. 1 holds", own.T)):
            out[f"{name} {label}"] = float(((low < true) & (true < high)).mean())
            width = np.log(high / low) if name == "u_bar" else high - low
            out[f"{name} {label}, width"] = float(np.nanmedian(width))
    return out


def main() -> None:
    options = common.arguments(__doc__)
    count = 20 if options.quick else CURVES
    data = datasets.simulate(n_cells=300, n_genes=1000, bits=3.0, mean_umis=20_000, seed=1)
    depths = np.geomspace(1, 1e6, 200)
    bits = datasets.true_information(data, depths)
    exact = lambda u: np.interp(np.log(u), np.log(depths), bits)  # noqa: E731
    u_bar = brentq(lambda u: 2 * np.expm1(2 * np.log(2) * exact(u)) - np.expm1(2 * np.log(2) * 3.0), 10, 1e6)
    numbers, rows = {}, []
    for seeds in (3, 1):
        rng = np.random.default_rng(0)
        for name, law in LAWS.items():
            numbers[f"{name}, {seeds}"] = score(by_law, count, seeds, rng, **law)
        numbers[f"simulator, {seeds}"] = score(by_simulator, count, seeds, rng, exact=exact, u_bar=u_bar)
    for name, found in numbers.items():
        law, seeds = name.rsplit(", ", 1)
        shares = [f"{found[f'{p} {a}']:.0%}" for p in ("i_max", "u_bar") for a in ("averaged", "if Eq. 1 holds")]
        widths = [f"{found['i_max averaged, width']:.2f}", f"{np.exp(found['u_bar averaged, width']):.1f} x"]
        rows.append([law, seeds, f"{found['R2']:.3f}", *shares, *widths])
    header = ["truth", "seeds", "R2 of Eq. 1", "I_max, averaged", "I_max, if Eq. 1 holds", "u_bar, averaged",
              "u_bar, if Eq. 1 holds", "width of I_max, bits", "of u_bar, factor"]  # fmt: skip
    about = f"Of 95 % intervals, {count} curves each, the share that holds the truth; medians of R2 and of widths."
    common.report(options.results, "law_coverage", "Coverage of I_max and u_bar", common.machine("scipy"),
                  [about, __doc__.split("\n\n", 1)[1].strip(), common.table(header, rows)], numbers)  # fmt: skip


if __name__ == "__main__":
    main()
