"""How much does the estimator change u_bar and I_max? Exactly known curves, estimated by the default and by LMI.

    python benchmarks/estimator_map.py            # run the missing estimates; continues a stopped run
    python benchmarks/estimator_map.py --anew     # recompute all
    python benchmarks/estimator_map.py --gather

State and signal are the simulator's (`datasets.simulate`): 1, 4 or 16 latents that share 2 or 4 bits with y. The
embedding is exact: the posterior mean of each latent given counts of that depth, S z + sqrt(S (1 - S)) noise. It is
rotated at random, alone or padded with unrelated dimensions to 16, as in the models. The truth is the law of D channels
(`laws.channels_law`), Eq. 1 with one latent. Rows, one an estimate: benchmarks/results/estimator_map/METHOD.csv.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from common import RESULTS, machine, report, table
from information.estimators import estimators
from information.problems import Pairs
from information.run import read, run
from scipy.stats import ortho_group

from noise_scaling import laws
from noise_scaling.datasets.simulator import draw_cells
from noise_scaling.laws.channels import log_half, ratio
from noise_scaling.seeds import generator

LATENTS, BITS, DIMS = (1, 4, 16), (2, 4), 16
DEPTHS = np.geomspace(0.01, 10, 8).round(4)
"""Depths, in units of the true u_bar."""
MOST = 30_000
PLAN = {"default": ((200, 1000, 5000, MOST), 2), "lmi": ((200, 1000, 5000, MOST), 1)}
"""By method: test cells, and seeds. LMI takes half a minute at 5,000; at MOST it runs only on DIMS dimensions."""


def problems() -> dict[str, tuple[int, int, int, float]]:
    """Return by name: latents, bits, dimensions of the embedding, and depth in units of the true u_bar."""
    kinds = [(d, b, dims) for d, b in product(LATENTS, BITS) for dims in sorted({d, DIMS})]
    return {f"latents{d}_bits{b}_dims{k}_depth{u:g}": (d, b, k, float(u)) for (d, b, k), u in product(kinds, DEPTHS)}


def draw(name: str, n: int, seed: int) -> Pairs:
    """Draw the embedding and the signal of `n` cells."""
    latents, bits, dims, depth = problems()[name]
    z, y, _ = draw_cells("vector", n, latents, bits, 0, seed)
    rng = generator(seed, "estimator_map", name)
    half = np.exp(log_half(ratio(bits, latents), 1.0, latents, 1.0))  # u_bar over the depth where S = 1/2
    kept = depth * half / (1 + depth * half)
    x = kept * z + np.sqrt(kept * (1 - kept)) * rng.standard_normal(z.shape)
    x = np.concatenate([x, np.sqrt(kept) * rng.standard_normal((n, dims - latents))], axis=1)
    turn = ortho_group.rvs(dims, random_state=rng) if dims > 1 else np.eye(1)
    return x @ turn, y


def gather(folder: Path) -> pd.DataFrame:
    """Return all rows, with the true bits and the parameters that the problems' names stand for."""
    rows = pd.concat([read(path) for path in sorted(folder.glob("*.csv"))], ignore_index=True)
    facts = pd.DataFrame([problems()[name] for name in rows["problem"]], columns=["latents", "i_max", "dims", "depth"])
    true = laws.channels_law(facts["depth"], 1.0, facts["i_max"], channels=facts["latents"])
    return rows.join(facts).assign(true=true)


def mapped(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Fit Eq. 1 to the estimates and to the exact curve; one line per method, test cells, latents, dims and bits.

    u_bar is in units of the true u_bar; `low` and `high` are the ends of 95 % intervals averaged over laws.
    """
    out = []
    for key, here in rows.dropna(subset="bits").groupby(["method", "cells", "latents", "dims", "i_max"]):
        if here["depth"].nunique() < len(DEPTHS):
            continue
        exact = laws.fit_noise_law(DEPTHS, laws.channels_law(DEPTHS, 1.0, key[4], channels=key[2]))
        fit = laws.fit_noise_law(here["depth"], here["bits"], seeds=here["seed"])
        line = dict(zip(("method", "cells", "latents", "dims", "true_i_max"), key, strict=True))
        line |= {"exact_u_bar": exact.u_bar, "exact_i_max": exact.i_max, "status": fit.status}
        line |= {"share_at_deepest": (here["bits"] / here["true"])[here["depth"] == DEPTHS[-1]].mean()}
        for name in ("u_bar", "i_max"):
            low, high = (float(end) if np.isfinite(end) else None for end in getattr(fit, f"{name}_interval"))
            line |= {name: getattr(fit, name), f"{name}_low": low, f"{name}_high": high}
        out.append({name: value.item() if hasattr(value, "item") else value for name, value in line.items()})
    return out


def write(results: Path) -> None:
    """Write estimator_map.md and estimator_map.json from the rows."""
    rows = gather(results / "estimator_map")
    lines = mapped(rows)
    header = ["estimator", "test cells", "latents", "dims", "true I_max", "I_max", "u_bar / true",
              "exact curve's I_max", "exact curve's u_bar / true"]  # fmt: skip
    body = [
        [m["method"], f"{m['cells']:,}", m["latents"], m["dims"], m["true_i_max"], f"{m['i_max']:.2f}",
         f"{m['u_bar']:.2f}", f"{m['exact_i_max']:.2f}", f"{m['exact_u_bar']:.2f}"]
        for m in lines
    ]  # fmt: skip
    about = __doc__.split("\n\n")[2].split(" Rows, one")[0]
    parts = [about, f"{len(rows):,} estimates. Eq. 1 fitted to them, and to the exact curves.", table(header, body)]
    where = machine("torch", "scikit-learn")
    report(results, "estimator_map", "True and measured parameters", where, parts, {"map": lines})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="forget the rows that are there")
    parser.add_argument("--gather", action="store_true", help="run nothing, gather the rows that are there")
    parser.add_argument("--quick", action="store_true", help="one curve at 200 cells: to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    options = parser.parse_args()
    for method, (cells, seeds) in PLAN.items():
        path, names = options.results / "estimator_map" / f"{method}.csv", list(problems())
        if options.anew:
            path.unlink(missing_ok=True)
        if options.quick:
            names, cells, seeds = names[: len(DEPTHS)], (200,), 1
        if options.gather or (options.quick and method == "lmi"):
            continue
        for n in cells:
            some = [name for name in names if (method, n) != ("lmi", MOST) or problems()[name][2] == DIMS]
            run(path, method, estimators()[method], some, (n,), range(seeds), draw)
    write(options.results)


if __name__ == "__main__":
    main()
