"""What limits the default on cell-like problems, and whether its bias can be inferred from its growth with n.

Extra information, which no user has, shows how much the default loses in each step: given the axes that the channel
reads, it need not find them among the others; given the numbers that y depends on, it has no function left to learn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from .cells import Channel, Gaussian, Labels, draw, of
from .problems import Pairs

ABOVE = 2.0  # standard errors
POWERS = (0.02, 4.0)
"""Range in which the power of n is searched."""


def told_axes(name: str, n: int, seed: int) -> Pairs:
    """Draw the pairs of a problem, with x reduced to the axes that its channel reads."""
    x, y = draw(name, n, seed)
    return of(name)[0].read(x), y


def told_function(name: str, n: int, seed: int) -> Pairs:
    """Draw the pairs of a problem, with x reduced to the numbers that y depends on."""
    z, y = told_axes(name, n, seed)
    return read(of(name)[1], z), y


def read(channel: Channel, z: np.ndarray) -> np.ndarray:
    """Return what a channel computes from features z [n, 8]: time, log odds, means or log rates [n, numbers]."""
    if isinstance(channel, Labels):
        time = getattr(channel.log_p, "keywords", {}).get("time")
        if time is not None:
            return time(z)[:, None]
        log_p = channel.log_p(z)
        return log_p[:, 1:] - log_p[:, :1]
    return channel.mean(z) if isinstance(channel, Gaussian) else channel.log_rate(z)


TOLD: dict[str, Callable[[str, int, int], Pairs]] = {"told_axes": told_axes, "told_function": told_function}
"""Functions that draw pairs with extra information, by the name of their table."""


def free_power(n: np.ndarray, bits: np.ndarray) -> float:
    """Return I of I_n = I - c / n^a through three points; nan if no power in `POWERS` fits them."""
    n = n.astype(float)
    steps = np.diff(bits)

    def surplus(a: float) -> float:
        return (n[1] ** -a - n[2] ** -a) / (n[0] ** -a - n[1] ** -a) - steps[1] / steps[0]

    if steps[0] == 0 or surplus(POWERS[0]) * surplus(POWERS[1]) > 0:
        return np.nan
    a = brentq(surplus, *POWERS)
    return bits[2] + steps[1] / (n[1] ** -a - n[2] ** -a) * n[2] ** -a


def fixed_power(a: float, n: np.ndarray, bits: np.ndarray) -> float:
    """Return I of I_n = I - c / n^a, fitted by least squares."""
    return float(np.polynomial.polynomial.polyfit(n.astype(float) ** -a, bits, 1)[0])


RULES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "as estimated": lambda n, bits: float(bits[-1]),
    "I - c / n^a": free_power,
    "I - c / n^(1/2)": lambda n, bits: fixed_power(0.5, n, bits),
    "I - c / n": lambda n, bits: fixed_power(1.0, n, bits),
}


def extrapolated(rows: pd.DataFrame, problems: str) -> list[dict[str, object]]:
    """Extrapolate estimates at three numbers of cells by each rule, and compare the results with the truth.

    Parameters
    ----------
    rows
        Estimates with columns problem, seed, cells, bits, stderr and true; each number of cells has its own draws.
    problems
        Name of the set of problems, for the table.
    """
    told = rows[rows.true > 0]
    wide = told.pivot_table(index=["problem", "seed"], columns="cells", values="bits").dropna()
    last = told[told.cells == wide.columns[-1]].set_index(["problem", "seed"]).loc[wide.index]
    n, plain, found = wide.columns.to_numpy(), (wide.iloc[:, -1] - last.true).abs(), []
    for name, rule in RULES.items():
        bits = wide.apply(lambda line, rule=rule: rule(n, line.to_numpy()), axis=1)
        error = bits - last.true
        found.append({
            "problems": problems, "rule": name, "estimates": len(bits), "no fit": int(bits.isna().sum()),
            "median error, of the truth": float((error.abs() / last.true).median()),
            "nearer than as estimated": float((error.abs() < plain)[bits.notna()].mean()),
            "above by 2 se": int((error > ABOVE * last.stderr).sum()),
        })  # fmt: skip
    return found
