"""What limits the default on problems that look like cells, and whether its bias can be told from its growth with n.

Told more than a user can know, the default shows which step loses what: given the axes that the channel reads it need
not find them among the others; given what y depends on, there is no function left to learn.
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
"""Between these the power of n is looked for."""


def told_axes(name: str, n: int, seed: int) -> Pairs:
    """The pairs of a problem, of x no more than the axes that its channel reads."""
    x, y = draw(name, n, seed)
    return of(name)[0].read(x), y


def told_function(name: str, n: int, seed: int) -> Pairs:
    """The pairs of a problem, of x no more than the numbers that y depends on."""
    z, y = told_axes(name, n, seed)
    return read(of(name)[1], z), y


def read(channel: Channel, z: np.ndarray) -> np.ndarray:
    """What a channel makes of the features z [n, 8]: time, log odds, means or log rates [n, numbers]."""
    if isinstance(channel, Labels):
        time = getattr(channel.log_p, "keywords", {}).get("time")
        if time is not None:
            return time(z)[:, None]
        log_p = channel.log_p(z)
        return log_p[:, 1:] - log_p[:, :1]
    return channel.mean(z) if isinstance(channel, Gaussian) else channel.log_rate(z)


TOLD: dict[str, Callable[[str, int, int], Pairs]] = {"told_axes": told_axes, "told_function": told_function}
"""By the name of its table."""


def free_power(n: np.ndarray, bits: np.ndarray) -> float:
    """I of I_n = I - c / n^a through three points; nan where no power in `POWERS` goes through them."""
    n = n.astype(float)
    steps = np.diff(bits)

    def surplus(a: float) -> float:
        return (n[1] ** -a - n[2] ** -a) / (n[0] ** -a - n[1] ** -a) - steps[1] / steps[0]

    if steps[0] == 0 or surplus(POWERS[0]) * surplus(POWERS[1]) > 0:
        return np.nan
    a = brentq(surplus, *POWERS)
    return bits[2] + steps[1] / (n[1] ** -a - n[2] ** -a) * n[2] ** -a


def fixed_power(a: float, n: np.ndarray, bits: np.ndarray) -> float:
    """I of I_n = I - c / n^a by least squares."""
    return float(np.polynomial.polynomial.polyfit(n.astype(float) ** -a, bits, 1)[0])


RULES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "as estimated": lambda n, bits: float(bits[-1]),
    "I - c / n^a": free_power,
    "I - c / n^(1/2)": lambda n, bits: fixed_power(0.5, n, bits),
    "I - c / n": lambda n, bits: fixed_power(1.0, n, bits),
}


def extrapolated(rows: pd.DataFrame, problems: str) -> list[dict[str, object]]:
    """What each rule makes of the estimates at three numbers of cells, beside the truth.

    Parameters
    ----------
    rows
        Estimates with columns problem, seed, cells, bits, stderr and true; draws at each number of cells are others.
    problems
        Where they are from.
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
