"""Time fits of the laws: many curves at once against lmfit one by one, intervals averaged over laws, and bootstraps."""

from __future__ import annotations

import common
import lmfit
import numpy as np

from noise_scaling import laws
from noise_scaling.laws.averaged import Curve, intervals

N_CURVES, N_DEPTHS, SEEDS = 200, 10, 3
U = np.tile(np.geomspace(10, 5000, N_DEPTHS), SEEDS)
GRID_N = np.geomspace(100, 1e5, 10)


def curves(count: int, *, seed: int = 0) -> np.ndarray:
    """Simulate curves of Eq. 1 [curves, points], like the published: u_bar 30-3,000, I_max 0.5-4, noise 0.05 bits."""
    rng = np.random.default_rng(seed)
    u_bar, i_max = 10 ** rng.uniform(1.5, 3.5, (count, 1)), rng.uniform(0.5, 4, (count, 1))
    return laws.noise_law(U, u_bar, i_max) + rng.normal(0, 0.05, (count, len(U)))


def budget_grid(*, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, u = (x.ravel() for x in np.meshgrid(GRID_N, U[:N_DEPTHS]))
    noise = np.random.default_rng(seed).normal(0, 0.05, n.size)
    return n, u, laws.noise_budget(n, u, 0.03, 20.0, 1.5, 900.0, 0.5) + noise


def by_lmfit(bits: np.ndarray) -> np.ndarray:
    """Fit one curve after another by lmfit.Model from one start; return u_bar and i_max, [curves, 2]."""
    model = lmfit.Model(laws.noise_law)
    out = []
    for row in bits:
        parameters = model.make_params(
            u_bar={"value": 300.0, "min": 1e-3, "max": 1e9}, i_max={"value": float(row.max()), "min": 0.0, "max": 20.0}
        )
        best = model.fit(row, parameters, u=U).best_values
        out.append((best["u_bar"], best["i_max"]))
    return np.array(out)


def batched(bits: np.ndarray) -> np.ndarray:
    theta = laws.fit_many(laws.NOISE_LAW, U, bits).theta
    return np.stack([np.exp(theta[:, 0]), theta[:, 1]], axis=1)


def main() -> None:
    options = common.arguments(__doc__)
    where = common.machine("scipy", "lmfit")
    count, draws = (20, 50) if options.quick else (N_CURVES, 1000)
    bits, grid = curves(count), budget_grid()
    fit = laws.fit_noise_budget(*grid)
    averaged = [Curve(U[:N_DEPTHS], row.reshape(SEEDS, -1)) for row in bits]
    runs = {
        "batched, 5 starts each": lambda: batched(bits),
        "fit_noise_law, one by one": lambda: [laws.fit_noise_law(U, row) for row in bits],
        "lmfit.Model, 1 start": lambda: by_lmfit(bits),
    }
    seconds = common.interleave(runs, 1 if options.quick else 3, common.both_clocks)
    boots = common.interleave(
        {
            f"intervals of {count} curves averaged over laws": lambda: intervals(averaged),
            f"{draws:,} bootstraps of one 10 x 10 grid, noise budget": lambda: fit.bootstrap(draws),
        },
        1,
        common.both_clocks,
    )
    gaps = np.abs(batched(bits) / by_lmfit(bits) - 1)
    _report(options, where, count, seconds, boots, gaps)


def _report(options, where: dict, count: int, seconds: dict, boots: dict, gaps: np.ndarray) -> None:
    ours = seconds["batched, 5 starts each"]
    rows = [[name, wall, cpu, f"{cpu / ours[1]:.1f} x"] for name, (wall, cpu) in seconds.items()]
    settled = {"u_bar": gaps[:, 0], "I_max": gaps[:, 1]}
    agreement = ", ".join(f"{k} {np.max(v):.1e} at most, {np.median(v):.1e} in the median" for k, v in settled.items())
    parts = [
        f"{count} curves of Eq. 1 with {N_DEPTHS} depths and {SEEDS} seeds, one thread; medians.",
        common.table(["", "seconds", "processor seconds", "to ours"], rows),
        f"Parameters of the batched fits and of lmfit.Model differ relatively by: {agreement}.",
        "Intervals averaged over laws, and residuals resampled by depth and refitted from the fit, one thread:",
        common.table(["", "seconds", "processor seconds"], [[n, *t] for n, t in boots.items()]),
    ]
    numbers = {"fits": seconds, "bootstraps": boots, "largest_gap": {k: float(np.max(v)) for k, v in settled.items()}}
    common.report(options.results, "fits", "Fits of the laws", where, parts, numbers)


if __name__ == "__main__":
    main()
