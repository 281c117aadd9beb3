"""Laws of depth that follow from noise: parallel Gaussian channels, noise on one side or both, and discrete labels."""

import numpy as np

from .formulas import Values


def channels_law(
    u: Values, u_bar: Values, i_max: Values, power: Values = 1.0, channels: Values = 1.0, sides: Values = 1.0
) -> np.ndarray:
    """Return the information in bits of D equal Gaussian channels whose noise falls with depth; by default Eq. 1.

    The signal and the embedding share D independent Gaussian directions (parallel channels: Cover & Thomas 2006,
    section 9.4). Counting molecules keeps the share u / (u + K) of a direction's variance, so that its squared
    correlation is (1 - 2^(-2 i_max / D)) (u / (u + K))^sides, where `sides` is 2 if the signal is itself an embedding
    of counts of the same depth. Information is -D/2 log2(1 - squared correlation). With `channels` = `sides` = `power`
    = 1 this is exactly Eq. 1 (Gowri et al., arXiv 2503.02726).

    Parameters
    ----------
    u
        Mean UMIs per cell, > 0.
    u_bar
        Depth in UMIs per cell at which the total signal-to-noise ratio, 2^(2 bits) - 1, is half of its value at
        infinite depth; the definition is the same for all laws of this family.
    i_max
        Information at infinite depth, in bits.
    power
        Exponent of depth: K / u is raised to this power; 1 if every molecule is kept independently.
    channels
        Number of channels D, > 0. A fitted number need not be whole, and below 1 it is no count: it says that
        information rises more slowly with depth than in one channel, as with channels of unequal noise.
    sides
        Number of sides (signal, embedding) that come from counts, 1 or 2.
    """
    channels, floor = np.asarray(channels, float), ratio(i_max, channels)
    with np.errstate(divide="ignore", over="ignore"):
        scale = np.log(u_bar) - log_half(floor, power, channels, sides)
        return parallel(np.log(np.asarray(u, float)), scale, floor, power, channels, sides)


def ratio(bits: Values, channels: Values) -> np.ndarray:
    """Return the noise-to-signal ratio of each of D channels that carry `bits` together: 1 / (2^(2 bits / D) - 1)."""
    return 1 / np.expm1(2 * np.log(2) * np.maximum(bits, 1e-9) / channels)


def parallel(log_u: Values, scale: Values, floor: Values, power: Values, channels: Values, sides: Values) -> np.ndarray:
    """Return `channels_law` from ln K (`scale`) and a channel's noise-to-signal ratio at infinite depth (`floor`)."""
    lost = np.expm1(sides * np.log1p(np.exp(power * (scale - log_u))))
    return 0.5 / np.log(2) * channels * np.log1p(1 / (floor + (1 + floor) * lost))


def log_half(floor: Values, power: Values, channels: Values, sides: Values) -> np.ndarray:
    """Return ln(u_bar / K); at u_bar, the total signal-to-noise ratio is half of that at infinite depth."""
    half = np.log1p(np.expm1(channels * np.log1p(1 / floor)) / 2)  # ln(1 + signal-to-noise / 2)
    grown = np.log1p(1 / np.expm1(half / channels)) - np.log1p(floor)
    return -np.log(np.expm1(grown / sides)) / power


def labels_law(u: Values, scale: Values, i_max: Values) -> np.ndarray:
    """Return the information about discrete labels: i_max (1 - 2^-((u / scale)^0.8935))^1.1064, in bits.

    A label is told from others by a Gaussian margin whose signal-to-noise ratio grows with depth, and the missing
    information falls exponentially. The formula is the approximation by Brannstrom, Rasmussen & Grant 2005,
    doi:10.1109/TIT.2005.853312, of the mutual information of a two-valued input in Gaussian noise, with `i_max`, at
    most the labels' entropy (`compare.Curves.bounded`), in place of 1.

    Parameters
    ----------
    u, scale
        UMIs per cell, > 0, and the depth at which 46 % of `i_max` is reached.
    i_max
        Information at infinite depth, in bits.
    """
    return i_max * (-np.expm1(-np.log(2) * (np.asarray(u, float) / scale) ** 0.8935)) ** 1.1064
