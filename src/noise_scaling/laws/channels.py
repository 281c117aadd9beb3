"""Laws of depth that come from noise: Gaussian channels in parallel, noise on one side or both, and labels."""

import numpy as np

from .formulas import Values


def channels_law(
    u: Values, u_bar: Values, i_max: Values, power: Values = 1.0, channels: Values = 1.0, sides: Values = 1.0
) -> np.ndarray:
    """Information through D equal Gaussian channels whose noise falls with depth, in bits; Eq. 1 as it stands.

    The signal and the embedding share D independent Gaussian directions (parallel channels: Cover & Thomas 2006,
    section 9.4). Counting molecules keeps the share u / (u + K) of a direction's variance, so that its squared
    correlation is (1 - 2^(-2 i_max / D)) (u / (u + K))^sides, where `sides` is 2 for a signal that is itself an
    embedding of counts as deep, and information is -D/2 log2(1 - squared correlation). `channels` = `sides` = `power` =
    1 is Eq. 1 (Gowri et al., arXiv 2503.02726) exactly.

    Parameters
    ----------
    u
        Mean UMIs per cell, > 0.
    u_bar
        Depth at which the signal-to-noise of the whole, 2^(2 bits) - 1, is half of what it is at infinite depth, in
        UMIs per cell: for every member the same definition.
    i_max
        Information at infinite depth, in bits.
    power
        Exponent of depth: K / u is to this power; 1 where every molecule is kept independently.
    channels
        Their number D, > 0. A fitted one need not be whole, and below 1 counts nothing: it says that information rises
        slower with depth than one channel lets it, as where channels are of unequal noise.
    sides
        How many of the two sides are counted.
    """
    channels, floor = np.asarray(channels, float), ratio(i_max, channels)
    with np.errstate(divide="ignore", over="ignore"):
        scale = np.log(u_bar) - log_half(floor, power, channels, sides)
        return parallel(np.log(np.asarray(u, float)), scale, floor, power, channels, sides)


def ratio(bits: Values, channels: Values) -> np.ndarray:
    """Noise-to-signal of each of D channels that carry so many bits together: 1 / (2^(2 bits / D) - 1)."""
    return 1 / np.expm1(2 * np.log(2) * np.maximum(bits, 1e-9) / channels)


def parallel(log_u: Values, scale: Values, floor: Values, power: Values, channels: Values, sides: Values) -> np.ndarray:
    """`channels_law` by ln K (`scale`) and the noise-to-signal of a channel at infinite depth (`floor`)."""
    lost = np.expm1(sides * np.log1p(np.exp(power * (scale - log_u))))
    return 0.5 / np.log(2) * channels * np.log1p(1 / (floor + (1 + floor) * lost))


def log_half(floor: Values, power: Values, channels: Values, sides: Values) -> np.ndarray:
    """ln(u_bar / K): where the signal-to-noise of all channels together is half of that at infinite depth."""
    half = np.log1p(np.expm1(channels * np.log1p(1 / floor)) / 2)  # ln(1 + signal-to-noise / 2)
    grown = np.log1p(1 / np.expm1(half / channels)) - np.log1p(floor)
    return -np.log(np.expm1(grown / sides)) / power


def labels_law(u: Values, scale: Values, i_max: Values) -> np.ndarray:
    """Information about discrete labels: i_max (1 - 2^-((u / scale)^0.8935))^1.1064, in bits.

    A label is told from others by a Gaussian margin whose signal-to-noise grows with depth, and what is missing falls
    exponentially: the mutual information of a two-valued input in Gaussian noise by the approximation of Brannstrom,
    Rasmussen & Grant 2005, doi:10.1109/TIT.2005.853312, with `i_max`, at most the labels' entropy
    (`compare.Curves.bounded`), in place of 1.

    Parameters
    ----------
    u, scale
        UMIs per cell, > 0, and the depth at which 46 % of `i_max` is reached.
    i_max
        Information at infinite depth, in bits.
    """
    return i_max * (-np.expm1(-np.log(2) * (np.asarray(u, float) / scale) ** 0.8935)) ** 1.1064
