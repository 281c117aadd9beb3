"""The page *Which law?*: laws of depth on every curve of a table, in tables, figures and a plain verdict."""

from __future__ import annotations

import html
from functools import cache

import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..laws import alternatives, compare, grids
from . import figures, page, style

PAIRED = ("clone", "space")
"""Signals that are themselves an embedding of another cell's counts: noise enters them too."""

_SHOWN = ("noise_law", "stretched", "two_sided", "log_linear")


@cache
def _held(source: str) -> tuple[compare.Curves, pd.DataFrame]:
    """The curves of a table and their comparison: five pieces of the page read it, and it takes seconds."""
    found = compare.curves(grids.grids(figures.usable(page.measured(source).table), least=(compare.LEAST_DEPTHS, 1)))
    return found, compare.compare_laws(found) if len(found.names) else pd.DataFrame()


def scores(source: str) -> HTML:
    """A table of the laws: what each leaves, forgets and foretells, medians over curves."""
    found, table = _held(str(source))
    if table.empty:
        return _too_few()
    short = compare.summary(table).sort_values("left_out")
    shown = pd.DataFrame(
        {
            "law": short["label"],
            "parameters": short["n_parameters"].astype(int),
            "R²": short["r_squared"].map("{:.3f}".format),
            "chi-square by seed noise": short["chi_square"].map("{:.1f}".format),
            "a depth left out, RMS bits": short["left_out"].map("{:.3f}".format),
            "the deepest 40 %, RMS bits": short["ahead"].map("{:.3f}".format),
            "neighbouring residuals, correlation": short["repeat"].map("{:+.2f}".format),
            "least AICc": short["best_aicc"].map("{:.0%}".format),
        }
    )
    title = f"Medians over {len(found.names)} curves of {found.names['grid'].nunique()} grids."
    return page.as_table(shown, download="laws.csv", full=table.drop(columns="grid"), title=title, wrap=True)


def _too_few() -> HTML:
    return HTML(f"<p>No curve here has {compare.LEAST_DEPTHS} depths or more.</p>")


def errors(source: str) -> Image | HTML:
    """The figure of errors on unseen depths: medians and quartiles over curves, one row a law."""
    table = _held(str(source))[1]
    return _too_few() if table.empty else Image(style.as_png(errors_figure(table)), format="png")


def errors_figure(table: pd.DataFrame) -> Figure:
    """From `compare_laws`: errors on a depth left out and on the deepest, median and quartiles, the laws in rows."""
    order = table.groupby("law")["left_out"].median().sort_values(ascending=False).index
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 3.6, sharey=True)
        for axes, column, label in (
            (panels[0, 0], "left_out", "error on a depth left out (bits)"),
            (panels[0, 1], "ahead", "error on the deepest 40 % (bits)"),
        ):
            _quartiles(axes, table, order, column)
            style.error_axis(axes)
            axes.set_xlabel(label)
        labels = table.drop_duplicates("law").set_index("law")["label"]
        panels[0, 0].set_yticks(range(len(order)), [labels[law] for law in order])
        handles = [
            Line2D([], [], color="black", marker="o", label="2 parameters"),
            Line2D([], [], color="black", marker="s", markerfacecolor="white", label="3 parameters"),
            Line2D([], [], color="0.6", linewidth=3, label="middle half of the curves"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _quartiles(axes: Axes, table: pd.DataFrame, order: pd.Index, column: str) -> None:
    for row, law in enumerate(order):
        here = table[table["law"] == law]
        low, middle, high = here[column].quantile([0.25, 0.5, 0.75])
        three = here["n_parameters"].iloc[0] == 3
        axes.plot([low, high], [row, row], color="0.6", linewidth=3, solid_capstyle="round")
        axes.plot(
            middle, row, color="black", marker="s" if three else "o", markerfacecolor="white" if three else "black"
        )
    axes.axvline(table.loc[table["law"] == "noise_law", column].median(), color="0.75", linewidth=0.8, zorder=0)


def residuals(source: str) -> Image | HTML:
    """The figure of what four laws leave along depth: medians and quartiles over curves."""
    found, table = _held(str(source))
    return _too_few() if table.empty else Image(style.as_png(residuals_figure(found)), format="png")


def residuals_figure(found: compare.Curves) -> Figure:
    """Residuals of four laws against depth over the curve's deepest, medians and quartiles in eighths of the points."""
    with style.book_style():
        figure, panels = style.new_figure(1, len(_SHOWN), 2.9, sharey=True, sharex=True)
        relative = found.u / np.nanmax(found.u, axis=1, keepdims=True)
        for axes, name in zip(panels[0], _SHOWN, strict=True):
            law = alternatives.ALTERNATIVES[name]
            left = compare.residuals(found, law)
            _binned(axes, relative[np.isfinite(left)], left[np.isfinite(left)])
            axes.set_title(law.label, loc="left")
            style.log_axis(axes)
        panels[0, 0].set_ylabel("measured less fitted (bits)")
        figure.supxlabel("UMIs per cell over the deepest", fontsize=9.5)
    return figure


def _binned(axes: Axes, x: np.ndarray, left: np.ndarray, bins: int = 8) -> None:
    edges = np.unique(np.quantile(np.log(x), np.linspace(0, 1, bins + 1)))
    bin_of = np.clip(np.searchsorted(edges, np.log(x), side="right") - 1, 0, len(edges) - 2)
    rows = [(np.median(x[bin_of == b]), *np.quantile(left[bin_of == b], [0.25, 0.5, 0.75])) for b in np.unique(bin_of)]
    at, low, middle, high = np.array(rows).T
    axes.fill_between(at, low, high, color="#0173b2", alpha=0.25, linewidth=0)
    axes.plot(at, middle, color="#0173b2", marker="o")
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)


def sides(source: str) -> HTML:
    """A table of Eq. 1 against the law with noise on both sides, where the signal is an embedding itself."""
    _, table = _held(str(source))
    paired = (
        table[table["signal"].isin(PAIRED) & table["law"].isin(["noise_law", "two_sided"])] if len(table) else table
    )
    if paired.empty:
        return HTML("<p>No signal here is an embedding of another cell with enough depths.</p>")
    wide = paired.groupby(["dataset", "signal", "model", "law"])[["left_out", "ahead"]].median().unstack("law")
    rows = pd.DataFrame({"signal": [style.title(d, s) for d, s, _ in wide.index]})
    rows["model"] = [style.MODELS.get(m, m) for _, _, m in wide.index]
    for column, words in (("left_out", "a depth left out"), ("ahead", "the deepest 40 %")):
        for law, name in (("noise_law", "Eq. 1"), ("two_sided", "both sides")):
            rows[f"{words}, {name}"] = wide[column, law].map("{:.3f}".format).to_numpy()
    return page.as_table(rows, download="two_sided.csv", title="Median RMS error in bits over cell numbers.", wrap=True)


def verdict(source: str) -> HTML:
    """What the comparison says, in sentences with its numbers."""
    table = _held(str(source))[1]
    if table.empty:
        return _too_few()
    items = "".join(f"<li>{html.escape(line)}</li>" for line in verdict_lines(table))
    return HTML(f"<ul>{items}</ul>")


def verdict_lines(table: pd.DataFrame) -> list[str]:
    """The sentences of `verdict`, from `compare_laws`."""
    short = compare.summary(table).set_index("law")
    eq1, lines = short.loc["noise_law"], []
    two, three = (short[short["n_parameters"] == k] for k in (2, 3))
    lines.append(
        f"A depth left out: of the laws of two parameters {_best(two, 'left_out')}; Eq. 1 {eq1['left_out']:.3f} bits. "
        f"Of three parameters {_best(three, 'left_out')}."
    )
    lines += [_told_apart(table, short, other, "left_out") for other in (three["left_out"].idxmin(), "log_linear")]
    lines.append(
        f"The deepest 40 %, foretold from the rest: {_best(short, 'ahead')}; Eq. 1 {eq1['ahead']:.3f} bits, "
        f"a straight line in log depth {short.loc['log_linear', 'ahead']:.3f}."
    )
    lines.append(_told_apart(table, short, "log_linear", "ahead"))
    lines.append(
        f"What Eq. 1 leaves is {'more than' if eq1['chi_square'] > 1.5 else 'about'} seed noise: reduced chi-square "
        f"{eq1['chi_square']:.1f} in the median curve, and neighbouring residuals correlate by {eq1['repeat']:+.2f}; "
        f"with a free power of depth {short.loc['stretched', 'chi_square']:.1f} and "
        f"{short.loc['stretched', 'repeat']:+.2f}."
    )
    return lines


def _best(short: pd.DataFrame, column: str) -> str:
    best = short.loc[short[column].idxmin()]
    return f"the least error is {best[column]:.3f} bits ({best['label']})"


def _told_apart(table: pd.DataFrame, short: pd.DataFrame, other: str, column: str) -> str:
    middle, low, high = compare.gap(table, "noise_law", other, column)
    told = "Eq. 1 is behind" if low > 0 else "Eq. 1 is ahead" if high < 0 else "not told apart"
    what = "left-out depth" if column == "left_out" else "deepest 40 %"
    return (
        f"Eq. 1 against {short.loc[other, 'label']}, {what}: error {middle:+.3f} bits in the median curve "
        f"(95 % interval {low:+.3f} to {high:+.3f}, whole grids resampled): {told}."
    )
