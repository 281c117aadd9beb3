"""Is it noise on both sides? Pairs of cells of which one partner alone is thinned, beside pairs thinned as a whole."""

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from ..errors import TooLittle
from ..laws import alternatives, compare, grids
from ..laws.law import fit_many, predict
from ..measurements import protocol_rows
from . import page, style

WAYS = {"train_full_depth": "both partners thinned", "one_partner_thinned": "one partner thinned"}
"""By variant; both are trained at full depth, so that nothing but the cells that are read differs."""
_CURVE = ["dataset", "signal", "model", "n_cells"]


@page.of_content
def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """The exponent of depth with both partners thinned and with one, by curve, and which law errs less.

    Columns: thinned, dataset, signal, model, n_cells, exponent (of depth, in Eq. 1 in a power of it), steepest (bits
    of a doubling of depth, of that fit), and the median error on a depth left out of Eq. 1 and of noise on both sides.
    """
    parts = []
    for variant, words in WAYS.items():
        rows = protocol_rows(table, variant=variant).assign(variant="")
        found = compare.curves(grids.grids(rows, least=(compare.LEAST_DEPTHS, 1)))
        if len(found.names):
            parts.append(_fitted(found).assign(thinned=words))
    both = pd.concat(parts) if parts else pd.DataFrame(columns=[*_CURVE, "thinned"])
    both = both[both.groupby(_CURVE)["thinned"].transform("nunique") == len(WAYS)]
    if both.empty:
        raise TooLittle("No pairs were measured with one partner thinned and with both in this table.")
    return both.sort_values([*_CURVE, "thinned"], ignore_index=True)[["thinned", *_CURVE, *_NUMBERS]]


_NUMBERS = ["exponent", "steepest", "Eq. 1 errs", "noise on both sides errs"]


def _fitted(found: compare.Curves) -> pd.DataFrame:
    law = alternatives.ALTERNATIVES["stretched"]
    theta = fit_many(law, found.u, found.bits).theta
    fine = np.geomspace(np.nanmin(found.u, axis=1), np.nanmax(found.u, axis=1), 100, axis=1)
    rise = predict(law, theta, 2 * fine) - predict(law, theta, fine)
    numbers = {"exponent": law.natural(theta)["power"], "steepest": rise.max(axis=1)}
    for name, label in (("noise_law", "Eq. 1 errs"), ("two_sided", "noise on both sides errs")):
        one = alternatives.ALTERNATIVES[name]
        away = compare.left_out(found, one, fit_many(one, found.u, found.bits).theta)
        numbers[label] = np.nanmedian(np.abs(away), axis=1)
    return found.names[_CURVE].astype({"n_cells": int}).assign(**numbers)


def sentence(table: pd.DataFrame) -> HTML:
    """Whether the exponent falls where one partner alone is thinned, and to 1."""
    found = exponents(table)
    wide = found.pivot(index=_CURVE, columns="thinned", values="exponent")
    whole, one = (wide[words] for words in WAYS.values())
    less = (one < whole).sum()
    low, high = _interval(one - whole)
    at_low, at_high = _interval(one)
    better = (found["Eq. 1 errs"] < found["noise on both sides errs"]).groupby(found["thinned"]).sum()
    said = " and ".join(f"{better[words]} of {len(wide)} with {words}" for words in WAYS.values())
    falls = "falls" if high < 0 else "is not seen to fall"
    lands = "to a value that includes 1, as" if at_low <= 1 <= at_high else "but not to 1, which"
    return page.paragraph(
        f"Eq. 1 has depth to the power 1. Fitted, that exponent is {whole.mean():.2f} where both partners of a pair "
        f"are thinned (mean of {len(wide)} curves) and {one.mean():.2f} where one is (95 % interval {at_low:.2f} to "
        f"{at_high:.2f}). It {falls} (by {-high:.2f} to {-low:.2f}, and in {less} of {len(wide)} curves) {lands} noise "
        f"on both sides predicts. Eq. 1 errs less than the law of noise on both sides on a depth left out in {said}.",
        "finding",
    )


def _interval(values: pd.Series) -> tuple[float, float]:
    """95 % of a mean by Student's t over data sets."""
    each = values.groupby("dataset").mean()
    half = each.sem() * stats.t.ppf(0.975, max(len(each) - 1, 1))
    return each.mean() - half, each.mean() + half


@style.book_style()
def partner_figure(table: pd.DataFrame) -> Figure:
    """Bits against the depth of what was thinned, a row a signal: solid both partners, dashed one; lines Eq. 1's."""
    names = exponents(table)
    law = alternatives.ALTERNATIVES["stretched"]
    ways = {variant: protocol_rows(table, variant=variant) for variant in WAYS}

    def draw(axes: Axes, signal: tuple[str, str], model: str) -> None:
        style.bits_axes(axes)
        for rows, line in zip(ways.values(), ("-", "--"), strict=True):
            here = rows[(rows["dataset"] == signal[0]) & (rows["signal"] == signal[1]) & (rows["model"] == model)]
            means = here.groupby("fraction")[["umis_per_cell", "mi_bits"]].mean()
            if means.empty:
                continue
            style.plot(axes, model, means["umis_per_cell"], means["mi_bits"], linestyle="")
            u = np.geomspace(means["umis_per_cell"].min(), means["umis_per_cell"].max(), 80)[None]
            theta = fit_many(law, means[["umis_per_cell"]].to_numpy().T, means[["mi_bits"]].to_numpy().T).theta
            axes.plot(u[0], predict(law, theta, u)[0], color=style.colour(model), linestyle=line)

    rows = {signal: f"{style.title(*signal)}\n{style.BITS}" for signal in style.signals(names)}
    models = style.ordered(names["model"])
    figure = style.model_panels(
        rows, models, draw, xlabel=f"{style.UMIS} of what was thinned", height=1.6, sharey="row", sharex="row"
    )
    marks = [{"color": "0.3", "linestyle": s, "label": w} for w, s in zip(WAYS.values(), ("-", "--"), strict=True)]
    style.legend(figure, *marks, handlelength=2.6)
    return figure
