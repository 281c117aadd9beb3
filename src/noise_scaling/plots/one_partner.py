"""A test for noise on both sides: pairs of cells with only one partner thinned, against pairs with both thinned."""

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import enough
from ..laws import alternatives, compare, grids
from ..laws.law import fit_many, predict
from ..measurements import protocol_rows
from . import page, style
from .apart import over_data_sets
from .figures import of_signal, signal_panels

WAYS = {"train_full_depth": "both partners thinned", "one_partner_thinned": "one partner thinned"}
"""Variants and their names on the page; both are trained at full depth, so that only their test cells differ."""
_CURVE, _LINES = ["dataset", "signal", "model", "n_cells"], ("-", "--")


@page.of_content
def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Return by curve the exponent of depth with both partners thinned and with one, and the errors of two laws.

    Columns: thinned, dataset, signal, model, n_cells, exponent (of depth, in Eq. 1 in a power of depth), steepest (most
    bits per doubling of depth, by that fit), and median errors of Eq. 1 and noise on both sides on a depth left out.
    """
    parts = {}
    for variant, label in WAYS.items():
        rows = protocol_rows(table, variant=variant).assign(variant="")
        found = compare.curves(grids.grids(rows, least=(compare.LEAST_DEPTHS, 1)))
        if len(found.names):
            parts[label] = _fitted(found)
    none = "No pairs were measured with one partner thinned and with both in this table."
    both = pd.concat(enough(parts, none), names=["thinned"]).reset_index("thinned")
    both = both[both.groupby(_CURVE)["thinned"].transform("nunique") == len(WAYS)]
    return enough(both, none).sort_values([*_CURVE, "thinned"], ignore_index=True)


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
    """Say whether the exponent falls if only one partner is thinned, and whether it falls to 1."""
    found = exponents(table)
    wide = found.pivot(index=_CURVE, columns="thinned", values="exponent")
    whole, one = (wide[label] for label in WAYS.values())
    less = (one < whole).sum()
    (_, low, high), (_, at_low, at_high) = (over_data_sets(values, "dataset") for values in (one - whole, one))
    better = (found["Eq. 1 errs"] < found["noise on both sides errs"]).groupby(found["thinned"]).sum()
    said = " and ".join(f"{better[label]} of {len(wide)} with {label}" for label in WAYS.values())
    falls = "falls" if high < 0 else "is not seen to fall"
    before, inside = whole.between(at_low, at_high).sum(), at_low <= 1 <= at_high
    lands = "Noise on both sides predicts that it falls to 1, which " + (
        "" if inside else "lies outside that interval."
    )
    if inside:
        lands += f"lies inside that interval, and so do {before} of the {len(wide)} exponents of both thinned"
        lands += ": whether it falls as far, these curves cannot tell." if before else ": none."
    return page.paragraph(
        f"Eq. 1 has depth to the power 1. Fitted, that exponent is {whole.mean():.2f} where both partners of a pair "
        f"are thinned (mean of {len(wide)} curves) and {one.mean():.2f} where one is (95 % interval {at_low:.2f} to "
        f"{at_high:.2f}). It {falls} (by {-high:.2f} to {-low:.2f}, and in {less} of {len(wide)} curves). {lands} "
        f"Eq. 1 errs less than the law of noise on both sides on a depth left out in {said}.",
        "finding",
    )


@style.book_style()
def partner_figure(table: pd.DataFrame) -> Figure:
    """Draw bits against the thinned cells' depth, a row per signal; fits: solid for both partners, dashed for one."""
    names, law = exponents(table), alternatives.ALTERNATIVES["stretched"]
    ways = {line: protocol_rows(table, variant=variant) for variant, line in zip(WAYS, _LINES, strict=True)}

    def draw(axes: Axes, signal: tuple[str, str], model: str) -> None:
        style.bits_axes(axes)
        for line, rows in ways.items():
            here = of_signal(rows[rows["model"] == model], signal)
            means = here.groupby("fraction")[["umis_per_cell", "mi_bits"]].mean()
            if means.empty:
                continue
            style.plot(axes, model, means["umis_per_cell"], means["mi_bits"], linestyle="")
            u = np.geomspace(means["umis_per_cell"].min(), means["umis_per_cell"].max(), 80)[None]
            theta = fit_many(law, means[["umis_per_cell"]].to_numpy().T, means[["mi_bits"]].to_numpy().T).theta
            axes.plot(u[0], predict(law, theta, u)[0], color=style.colour(model), linestyle=line)

    figure = signal_panels(names, names["model"], draw, xlabel=f"{style.UMIS} of what was thinned", height=1.6)
    marks = [{"color": "0.3", "linestyle": s, "label": w} for w, s in zip(WAYS.values(), _LINES, strict=True)]
    style.legend(figure, *marks, handlelength=2.6)
    return figure
