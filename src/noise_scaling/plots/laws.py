"""The page *Which law?*: laws of depth compared on every curve of a table, in tables, figures and a verdict."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import datasets
from ..errors import enough
from ..laws import alternatives, compare, grids
from ..laws.law import CHANNELS_WITHIN, fit_many, predict
from . import admitted, page, style
from .figures import of_signal, usable

KINDS = {"vector": "measured values", "pair": "another cell's counts", "label": "labels"}
"""Kinds of signals, as data set cards name them, in words."""
BY_NOISE = ("noise_law", "stretched", "channels", "two_sided", "two_sided_channels", "labels")
"""Laws that follow from noise, and Eq. 1 in a power of depth, which does not but may replace them all."""

_SHOWN = ("noise_law", "stretched", "channels", "log_linear")


@page.of_content
def _curves(table: pd.DataFrame) -> compare.Curves:
    found = compare.curves(grids.grids(admitted.evidence(usable(table)), least=(compare.LEAST_DEPTHS, 1)))
    enough(found.names, f"No curve here has {compare.LEAST_DEPTHS} depths or more.")
    return found


@page.of_content
def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Return `compare.compare_laws` of a table's curves."""
    return compare.compare_laws(_curves(table))


def scores(table: pd.DataFrame) -> HTML:
    """Return a table of the laws: quality of fit and errors on depths not fitted, medians over curves."""
    full, names = compared(table), _curves(table).names
    short = compare.summary(full).sort_values("left_out")
    columns = {
        "law": ("label", "{}"), "parameters": ("n_parameters", "{:.0f}"), "R²": ("r_squared", "{:.3f}"),
        "chi-square by seed noise": ("chi_square", "{:.1f}"), "a depth left out, RMS bits": ("left_out", "{:.3f}"),
        "a depth left out, median bits": ("left_out_median", "{:.3f}"),
        "the deepest 40 %, RMS bits": ("ahead", "{:.3f}"),
        "neighbouring residuals, correlation": ("repeat", "{:+.2f}"), "least AICc": ("best_aicc", "{:.0%}"),
    }  # fmt: skip
    shown = pd.DataFrame({title: short[name].map(form.format) for title, (name, form) in columns.items()})
    title = f"Medians over {len(names)} curves of {names['grid'].nunique()} grids."
    return page.as_table(shown, "laws.csv", full=full.drop(columns="grid"), title=title)


@style.book_style()
def errors_figure(table: pd.DataFrame) -> Figure:
    """Draw errors on a depth left out and on the deepest depths: a row per law, median and quartiles over curves."""
    found = compared(table)
    order = found.groupby("law")["left_out"].median().sort_values(ascending=False).index
    figure, panels = style.new_figure(1, 2, 4.6, sharey=True)
    for axes, (column, where) in zip(panels[0], _UNSEEN.items(), strict=True):
        for row, law in enumerate(order):
            here = found[found["law"] == law]
            low, middle, high = here[column].quantile([0.25, 0.5, 0.75])
            axes.plot([low, high], [row, row], color="0.6", linewidth=3, solid_capstyle="round")
            axes.plot(middle, row, **_MARKS[here["n_parameters"].iloc[0]])
        axes.axvline(found.loc[found["law"] == "noise_law", column].median(), color="0.75", linewidth=0.8, zorder=0)
        style.log_axis(axes, at=(1, 2, 5))
        axes.set_xlabel(f"error on {where} (bits)")
    labels = found.drop_duplicates("law").set_index("law")["label"]
    panels[0, 0].set_yticks(range(len(order)), [labels[law] for law in order])
    marks = [look | {"label": f"{n} parameters"} for n, look in _MARKS.items()]
    style.legend(figure, *marks, {"color": "0.6", "linewidth": 3, "label": "middle half of the curves"})
    return figure


_UNSEEN = {"left_out": "a depth left out", "ahead": "the deepest 40 %"}
"""Columns of errors at depths that a law was not fitted to, in words."""
_MARKS: dict[int, dict[str, Any]] = {
    2: {"color": "black", "marker": "o"},
    3: {"color": "black", "marker": "s", "markerfacecolor": "white"},
}
"""Markers of laws, by their number of parameters."""


@style.book_style()
def residuals_figure(table: pd.DataFrame) -> Figure:
    """Draw residuals of four laws against depth over the curve's deepest: median and quartiles by eighths of points."""
    binned = _residuals(table)
    figure, panels = style.new_figure(1, len(binned), 2.9, titles=list(binned), sharey=True, sharex=True)
    for axes, points in zip(panels[0], binned.values(), strict=True):
        at, (low, middle, high) = points["x"].median(), (points["left"].quantile(q) for q in (0.25, 0.5, 0.75))
        axes.fill_between(at, low, high, color="#0173b2", alpha=0.25, linewidth=0)
        axes.plot(at, middle, color="#0173b2", marker="o")
        axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        style.log_axis(axes)
    panels[0, 0].set_ylabel("measured less fitted (bits)")
    figure.supxlabel("UMIs per cell over the deepest", fontsize=9.5)
    return figure


def _residuals(table: pd.DataFrame) -> dict[str, Any]:
    """Return by label of a law its residuals at depths over the curve's deepest, grouped in eighths of the points."""
    found, out = _curves(table), {}
    relative = found.u / np.nanmax(found.u, axis=1, keepdims=True)
    for law in (alternatives.ALTERNATIVES[name] for name in _SHOWN):
        left = compare.residuals(found, law)
        out[law.label] = _binned(relative[np.isfinite(left)], left[np.isfinite(left)])
    return out


def _binned(x: np.ndarray, left: np.ndarray) -> Any:
    edges = np.unique(np.quantile(np.log(x), np.linspace(0, 1, 9)))
    return pd.DataFrame({"x": x, "left": left}).groupby(np.digitize(np.log(x), edges[1:-1]))


def residuals_sentence(table: pd.DataFrame) -> HTML:
    """Say for each law how far the medians in the figure of residuals lie from zero."""
    ends = {label: points["left"].median() for label, points in _residuals(table).items()}
    said = "; ".join(f"{_quoted(label)} {middle.min():+z.3f} to {middle.max():+z.3f}" for label, middle in ends.items())
    return page.paragraph(f"Measured less fitted, medians of eighths of the depths run, in bits: {said}.", "finding")


def kind(dataset: str, signal: str) -> str:
    """Return a signal's kind from its data set's card; of a signal not on the card, the card's only kind, else ""."""
    signals = datasets.card(dataset).signals if dataset in datasets.names() else {}
    kinds = {about["kind"] for name, about in signals.items() if name == signal or signal not in signals}
    return kinds.pop() if len(kinds) == 1 else ""


def by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Return by kind of signal and signal the median error, in bits, of each law of BY_NOISE on a depth left out.

    Errors are medians over curves of the median over depths. `power` and `D` are the fitted exponent and number of
    channels; D is fitted within CHANNELS_WITHIN, and infinite if half of the curves or more are at the upper bound.
    """
    found, names = compared(table), _curves(table).names
    fitted = names.assign(**{law: _fitted(table, law, parameter) for law, parameter in _PARAMETERS.items()})
    rows = []
    for signal in names[["dataset", "signal"]].drop_duplicates().itertuples(index=False, name=None):
        here, own = of_signal(found[found["law"].isin(BY_NOISE)], signal), of_signal(fitted, signal)
        errors = here.groupby("label", sort=False)["left_out_median"].median()
        rows.append({
            "kind": kind(*signal), "signal": style.title(*signal), "curves": len(own), **errors,
            "least": errors.idxmin(), "power": own["stretched"].median(), "D": own["channels"].median(),
            "D, both sides": own["two_sided_channels"].median(),
        })  # fmt: skip
    out = pd.DataFrame(rows)
    out = out[out["kind"].isin(KINDS)].sort_values("kind", key=lambda k: k.map(list(KINDS).index), kind="stable")
    return enough(out, "No signal here is of a known kind with enough depths.").assign(kind=out["kind"].map(KINDS))


_PARAMETERS = {"stretched": "power", "channels": "channels", "two_sided_channels": "channels"}


def _fitted(table: pd.DataFrame, name: str, parameter: str) -> np.ndarray:
    law, found = alternatives.ALTERNATIVES[name], _curves(table)
    values = law.natural(fit_many(law, found.u, found.bits).theta)[parameter]
    at_bound = (parameter == "channels") & np.isclose(values, CHANNELS_WITHIN[1])
    return np.where(at_bound, np.inf, values)


def kinds_table(table: pd.DataFrame) -> HTML:
    """Return `by_kind` as a table, with its headings explained and values at a bound in words."""
    full = by_kind(table)
    numbers = {name: full[name].map(_channels) for name in ("D", "D, both sides")}
    title = (
        "Error on a depth left out in bits, a column for each law that noise gives and for Eq. 1 in a power of depth, "
        "which no noise gives; medians over curves. least: the law that errs least; power: the fitted exponent of “Eq. "
        "1 in a power of depth”; D: the fitted number of channels with noise on one side, or on both sides, held from "
        f"{CHANNELS_WITHIN[0]:g} to {CHANNELS_WITHIN[1]:g} (at bound: half of the curves or more end there)."
    )
    return page.as_table(full.assign(**numbers), "by_kind.csv", full=full, title=title)


def _channels(value: float) -> str:
    return "at bound" if np.isinf(value) or np.isclose(value, CHANNELS_WITHIN[0]) else f"{value:.2f}"


@cache
def exact() -> pd.DataFrame:
    """Return each law's largest error in bits on the simulator's exact curves (10 depths, 10 to 20,000), by kind."""
    u, missed = np.geomspace(10, 20_000, 10), dict[str, dict[str, float]]()
    for name, label in KINDS.items():
        data = datasets.simulate(300, 1000, bits=3.0 - (name == "label"), mean_umis=20_000, signal=name, seed=1)
        bits = np.asarray(datasets.true_information(data, u))
        for law in alternatives.ALTERNATIVES.values():
            off = predict(law, fit_many(law, u[None], bits[None]).theta, u) - bits
            missed.setdefault(label, {})[law.label] = np.abs(off).max()
    out = pd.DataFrame(missed).rename_axis("law")
    return out.loc[out.min(axis=1).sort_values().index].reset_index()


def exact_table() -> HTML:
    """Return `exact` as a table to read and to download."""
    title = "What a law misses at most of the simulator's exact curve, in bits, fitted to all ten depths."
    return page.as_table(exact(), "exact_curves.csv", title=title)


def verdict(table: pd.DataFrame) -> HTML:
    """Return the verdict of the comparison in sentences with computed numbers."""
    return page.bullets([*verdict_lines(compared(table)), *kind_lines(by_kind(table))], "finding")


def kind_lines(table: pd.DataFrame) -> list[str]:
    """Say from `by_kind` which law errs least, a sentence for each kind of signal."""
    lines, labels = [], [alternatives.ALTERNATIVES[law].label for law in BY_NOISE]
    for label, here in table.groupby("kind", sort=False):
        errors, signals = here[labels].median(), page.counted(len(here), "signal")
        least = here["least"].value_counts().items()
        by_signal = ", ".join(f"{_quoted(label)} for {page.counted(n, 'signal')}" for label, n in least)
        median, each = ("", "") if len(here) == 1 else (" in the median", f" By signal it is {by_signal}.")
        eq1 = "" if errors.idxmin() == "Eq. 1" else f"; Eq. 1 errs by {errors['Eq. 1']:.3f} bits"
        lines.append(
            f"Where signals are {label} ({signals}), among the laws of noise and a power of depth "
            f"{_quoted(errors.idxmin())} errs least on a depth left out, by {errors.min():.3f} bits{median}{eq1}.{each}"
        )
    return lines


def verdict_lines(table: pd.DataFrame) -> list[str]:
    """The sentences of `verdict`, from `compare_laws`."""
    short = compare.summary(table).set_index("law")
    eq1, free, line = short.loc["noise_law"], short.loc["stretched"], short.loc["log_linear"]
    two, three = (short[short["n_parameters"] == k] for k in (2, 3))
    beyond = "farther than" if eq1["chi_square"] > 1.5 else "about as far as"
    return [
        f"A depth is left out of the fit and foretold: of the laws with two parameters {_best(two, 'left_out')}, of "
        f"those with three {_best(three, 'left_out')} (medians over curves). Eq. 1, which has two, errs by "
        f"{eq1['left_out']:.3f} bits.",
        told_apart(table, str(three["left_out"].idxmin()), "left_out"),
        told_apart(table, "log_linear", "left_out"),
        f"The deepest 40 % of a curve are foretold from the rest: of all laws {_best(short, 'ahead')}. Eq. 1 errs by "
        f"{eq1['ahead']:.3f} bits, a straight line in log depth by {line['ahead']:.3f}.",
        told_apart(table, "log_linear", "ahead"),
        f"Points lie {beyond} seeds alone would scatter them about Eq. 1: its reduced chi-square is "
        f"{eq1['chi_square']:.1f} in the median curve, where the noise of seeds alone gives 1, and neighbouring "
        f"residuals correlate by {eq1['repeat']:+.2f}. With a free power of depth these are {free['chi_square']:.1f} "
        f"and {free['repeat']:+.2f}.",
    ]


def _best(short: pd.DataFrame, column: str) -> str:
    best = short.loc[short[column].idxmin()]
    return f"{_quoted(best['label'])} errs least, by {best[column]:.3f} bits"


def _quoted(label: str) -> str:
    """Quote a law's name for a sentence, as names consist of several words and some contain commas."""
    return label if label == "Eq. 1" else f"“{label}”"


def told_apart(table: pd.DataFrame, other: str, column: str) -> str:
    """Say whether Eq. 1 or another law of `compare_laws` predicts better; `column` is as in `compare.gap`."""
    middle, low, high = compare.gap(table, "noise_law", other, column)
    name = _quoted(alternatives.ALTERNATIVES[other].label)
    told = f"{name} foretells better" if low > 0 else "Eq. 1 foretells better" if high < 0 else "they tie"
    return (
        f"Eq. 1 beside {name}, on {_UNSEEN[column]}: {told}. The error of Eq. 1 less that of the other is "
        f"{middle:+.3f} bits in the median curve (95 % interval {low:+.3f} to {high:+.3f}, from whole grids drawn "
        "anew)."
    )
