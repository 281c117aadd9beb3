"""Laws of information against depth that compete with Eq. 1."""

from dataclasses import replace
from functools import partial

import numpy as np

from .channels import channels_law, labels_law
from .formulas import Values
from .law import CELL_NUMBER_LAW, NOISE_LAW, Law


def logistic(u: Values, half: Values, a: Values, i_max: Values) -> np.ndarray:
    """Return i_max / (1 + (half / u)^a) in bits: a logistic curve in the logarithm of depth; Hill's (1910) with a = 1.

    `i_max` is the bits at infinite depth, half of which is reached at `half` UMIs per cell; `u` and the steepness `a`
    are above 0.
    """
    return i_max / (1 + (half / u) ** a)


def log_linear(u: Values, slope: Values, bits_at_100: Values) -> np.ndarray:
    """Return bits_at_100 + slope ln(u / 100), in bits."""
    return bits_at_100 + slope * np.log(u / 100)


_SATURATING_POWER = replace(
    CELL_NUMBER_LAW, name="saturating_power", label="power law below a ceiling", reach=(1e-4, 1e6), levels=(0.0, 20.0)
)
_WITH_EXPONENT, _WITH_CHANNELS = ("scale", "exponent", "level"), ("scale", "channels", "level")

ALTERNATIVES: dict[str, Law] = {
    law.name: law
    for law in (
        NOISE_LAW,
        Law("stretched", "Eq. 1 in a power of depth", channels_law, ("u_bar", "power", "i_max"), _WITH_EXPONENT),
        Law("channels", "D channels", channels_law, ("u_bar", "channels", "i_max"), _WITH_CHANNELS),
        Law("four_channels", "4 channels", partial(channels_law, channels=4), ("u_bar", "i_max"), ("scale", "level")),
        Law("two_sided", "noise on both sides", partial(channels_law, sides=2), ("u_bar", "i_max"), ("scale", "level")),
        Law("two_sided_channels", "noise on both sides, D channels", partial(channels_law, sides=2),
            ("u_bar", "channels", "i_max"), _WITH_CHANNELS),
        Law("labels", "labels in noise", labels_law, ("scale", "i_max"), ("scale", "level")),
        Law("logistic", "logistic in log depth", logistic, ("half", "a", "i_max"), _WITH_EXPONENT),
        Law("hill", "Hill", partial(logistic, a=1.0), ("half", "i_max"), ("scale", "level")),
        _SATURATING_POWER,
        Law("log_linear", "straight line in log depth", log_linear, ("slope", "bits_at_100"), ("slope", "level"),
            levels=(-1e3, 1e3)),
    )
}  # fmt: skip
"""All laws of depth by name; each has two or three parameters."""
