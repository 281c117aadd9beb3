"""The laws of the paper, each defined once, and the possible statuses of a fit.

Bits are base 2; `u` is the mean number of UMIs per cell; `n` is the number of training cells. Sources: Gowri et al.,
Measurement noise scaling laws for cellular representation learning (arXiv 2503.02726), and Sadalski et al., Scaling up
measurement noise scaling laws.
"""

import numpy as np

Values = np.ndarray | float

STATUSES = ("converged", "beyond the data", "at bound", "no error bar", "not identified", "failed")
CONVERGED, BEYOND, AT_BOUND, NO_ERROR_BAR, NOT_IDENTIFIED, FAILED = STATUSES


def noise_law(u: Values, u_bar: Values, i_max: Values) -> np.ndarray:
    """Information against depth: i_max - 1/2 log2((1 + u / u_bar) / (u / u_bar + 2^(-2 i_max))), Eq. 1 of both papers.

    Parameters
    ----------
    u
        Mean UMIs per cell, any shape, >= 0.
    u_bar
        Depth in UMIs per cell at which the signal-to-noise ratio is half of that at infinite depth.
    i_max
        Information at infinite depth, in bits.

    Returns
    -------
    Bits, in the shape of `u`: 0 at u = 0, `i_max` as u grows.
    """
    ratio = np.asarray(u, float) / u_bar
    return i_max - 0.5 * np.log2((1 + ratio) / (ratio + 2.0 ** (-2 * i_max)))


def noise_law_asymptote(u: Values, u_bar: Values, i_max: Values) -> np.ndarray:
    """Eq. 1 where u / u_bar >> 2^(-2 i_max): i_max - 1/2 log2(1 + u_bar / u).

    Parameters
    ----------
    u, u_bar, i_max
        As in `noise_law`, with u > 0. The result has the shape of `u`.
    """
    return i_max - 0.5 * np.log2(1 + u_bar / np.asarray(u, float))


def collapse_z(u: Values, u_bar: Values, i_max: Values) -> np.ndarray:
    """Return the abscissa on which all curves of Eq. 1 coincide: z = (u / u_bar + A) / (1 - A), A = 2^(-2 i_max).

    Parameters
    ----------
    u, u_bar, i_max
        As in `noise_law`. The result has no unit, and the shape of `u`.
    """
    a = 2.0 ** (-2 * i_max)
    return (np.asarray(u, float) / u_bar + a) / (1 - a)


def collapse(z: Values) -> np.ndarray:
    """Return the missing information i_max - I in bits, which Eq. 1 makes a function of z alone: 1/2 log2(1 + 1/z).

    Parameters
    ----------
    z
        As from `collapse_z`, > 0. The result has its shape.
    """
    return 0.5 * np.log2(1 + 1 / np.asarray(z, float))


def cell_number_law(n: Values, n_sat: Values, s: Values, i_inf: Values) -> np.ndarray:
    """Information against the number of training cells: i_inf - (n / n_sat)^(-s) (Sadalski et al.).

    Parameters
    ----------
    n
        Training cells, any shape, > 0.
    n_sat
        Number of cells at which one bit is missing.
    s
        Exponent, > 0.
    i_inf
        Information in the limit of infinitely many cells, in bits.
    """
    return i_inf - (np.asarray(n, float) / n_sat) ** (-s)


def noise_budget(
    n: Values, u: Values, v0: Values, v1: Values, v2: Values, v3: Values, s: Values, a: Values = 1.0,
    channels: Values = 1.0,
) -> np.ndarray:  # fmt: skip
    """Return information against training cells and depth together: noise variances add up, signal variance is 1.

    This law, of a Gaussian channel (Cover & Thomas 2006, section 9.1), is introduced in this book.

    Noise-to-signal = v0 + v1 u^-a + v2 n^-s + v3 n^-s u^-a; bits = 1/2 log2(1 + 1 / noise-to-signal). With a = 1 it is
    Eq. 1 in `u` at every `n`, because Eq. 1 says that noise-to-signal is affine in 1/u.

    Parameters
    ----------
    n, u
        Training cells, and mean UMIs per cell, > 0, of shapes that broadcast.
    v0
        Noise that neither cells nor depth remove; the ceiling is 1/2 log2(1 + 1/v0).
    v1, v2, v3
        Noise that depth removes (v1), that cells remove (v2), and that either removes (v3), >= 0.
    s, a
        Exponents of cells and of depth.
    channels
        Number of equal channels whose bits are summed.
    """
    few, shallow = np.exp(-s * np.log(n)), np.exp(-a * np.log(u))
    return channels * 0.5 / np.log(2) * np.log1p(1 / (v0 + v1 * shallow + v2 * few + v3 * few * shallow))
