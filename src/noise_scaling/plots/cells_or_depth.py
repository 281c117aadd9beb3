"""The page *Cells or depth?*: the joint law scored on held-out parts of grids, its contours, and exchange rates."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import laws
from ..errors import enough
from ..laws import exchange, holdout
from ..laws.curves import fits_of
from ..laws.grids import Grid, grids
from ..laws.surface import fit_grid, surface
from ..measurements import published
from . import admitted, page, style
from .figures import cell_rows, rows_of, usable

_MARKS: dict[str, dict[str, Any]] = {
    holdout.CHOSEN: {"marker": "o", "color": "#de8f05", "linestyle": ""},
    holdout.LAW: {"marker": "^", "color": "#0173b2", "linestyle": ""},
    "the yardstick": {"marker": "D", "color": "#949494", "linestyle": ""},
}
_LABEL = np.array([0.1, 0.06])  # half the width and height of a contour's label, as shares of its panel
_RATES = {"law": "noise budget", "surface": "with residuals"}
"""Columns and labels of the exchange rates that are computed, besides the rate read off the grid."""


@page.of_content
def measured_grids(table: pd.DataFrame) -> tuple[Grid, ...]:
    """Grids of the table's models that learn from cells."""
    found = tuple(grids(admitted.evidence(usable(table))))
    return enough(found, "No model that cells train was measured here at three depths and three numbers of cells.")


@page.of_content
def scored(table: pd.DataFrame) -> pd.DataFrame:
    """`holdout.score` of a table's grids."""
    found = holdout.score(grids(admitted.evidence(usable(table))))
    return enough(found, "No grid here is large enough to hide a part of it (five depths, five cell numbers).")


@page.of_content
def rated(table: pd.DataFrame) -> pd.DataFrame:
    """Exchange rates of a table's grids; empty if no starting point has an answer within the measured cell numbers."""
    return pd.concat([exchange.compare_rates(grid) for grid in measured_grids(table)], ignore_index=True)


def _named(key: tuple[str, ...]) -> str:
    return f"{style.title(*key[:2])}, {style.label(key[2])}"


def forecasts(table: pd.DataFrame) -> pd.DataFrame:
    """`scored` without the candidates from which the chosen forecast was selected."""
    return scored(table)[~holdout.is_candidate(scored(table)["forecast"])]


def scores(table: pd.DataFrame) -> HTML:
    """Table of forecasts: median and quartiles over grids of the RMS error, by the part of the grid that was hidden."""
    full = forecasts(table)
    cells = full.groupby(["forecast", "design"])["rms"].quantile([0.25, 0.5, 0.75]).unstack()
    text = cells.apply(lambda q: page.interval(q[0.5], q[0.25], q[0.75], ".3f"), axis=1).unstack("design")
    counts = full.groupby("design")["grid"].nunique()
    names = {design: f"{design} ({counts[design]} grids)" for design in holdout.DESIGNS if design in counts}
    order = [holdout.LAW, holdout.STRETCHED, holdout.CHOSEN, holdout.SEPARATE, *holdout.YARDSTICKS]
    shown = text.reindex(index=order, columns=list(names)).rename(columns=names).rename_axis(columns=None)
    noise = [np.nanmedian(x) for x in (grid.noise() for grid in measured_grids(table)) if np.isfinite(x).any()]
    title = "RMS error in bits, medians over grids, in brackets their quartiles" + (
        f". The spread between seeds gives the measured means themselves a standard error of {np.median(noise):.3f} "
        "bits in the median grid." if noise else "; of one seed each."
    )  # fmt: skip
    named = full.assign(grid=full["grid"].map(_named))
    return page.as_table(shown.reset_index(), "forecasts.csv", full=named, title=title)


def goals(table: pd.DataFrame) -> HTML:
    """Table of the goals for the joint law, the results, and whether they meet the goals."""
    return page.as_table(pd.DataFrame(goal_rows(scored(table), rated(table))), "goals.csv")


def goal_rows(table: pd.DataFrame, rates: pd.DataFrame) -> list[dict[str, str]]:
    """Rows of `goals` from `holdout.score` and exchange rates, for the law alone and for the law with residuals."""
    by, rows = table.groupby(["design", "forecast"])["rms"].median(), []
    for design in (holdout.DEPTHS, holdout.CELLS):
        row = {"goal": f"{design} hidden in turn: median error at most 0.07 bits"}
        for forecast in _ASKED:
            value = by.get((design, forecast), np.nan)
            row[forecast] = _judged(f"{value:.3f} RMS", value <= 0.07) if (design, forecast) in by.index else "–"
        rows.append(row)
    for design, over in ((holdout.MOST_CELLS, holdout.CARRY), (holdout.DEEPEST, holdout.LINE)):
        row = {"goal": f"{design} hidden: ahead of {over} on 4 of 5 grids"}
        for forecast in _ASKED:
            won, of = holdout.wins(table, design, forecast, over)
            row[forecast] = _judged(f"{won} of {of}", won >= 0.8 * of) if of else "–"
        rows.append(row)
    row = {"goal": "exchange rates within a factor 2 of the grid's own at 70 % of starts"}
    for forecast, column in _ASKED.items():
        share = exchange.agree(rates[column], rates["free"]).mean() if len(rates) else np.nan
        row[forecast] = _judged(f"{share:.0%} of {len(rates)}", share >= 0.7) if len(rates) else "–"
    return [*rows, row]


_ASKED = dict(zip((holdout.LAW, holdout.CHOSEN), _RATES, strict=True))
"""Forecasts that the goals apply to, with the columns of their exchange rates."""


def _judged(found: str, met: bool) -> str:
    return f"{found}: {'met' if met else 'not met'}"


@style.book_style()
def forecasts_figure(table: pd.DataFrame) -> Figure:
    """Plot RMS errors of the law, law with residuals and yardstick: one row per grid, one panel per design."""
    found = forecasts(table)
    keys = sorted(found["grid"].unique(), key=lambda key: (key[2], key[:2]), reverse=True)
    designs = [d for d in holdout.DESIGNS if d in set(found["design"])]
    figure, panels = style.new_figure(1, len(designs), 1.3 + 0.27 * len(keys), xlabel="RMS error (bits)", sharey=True)
    for axes, design in zip(panels[0], designs, strict=True):
        yardstick = holdout.MIXED_WITH[design] or holdout.LOW_RANK
        for name, look in reversed(_MARKS.items()):
            forecast = name if name in (holdout.CHOSEN, holdout.LAW) else yardstick
            here = found[(found["design"] == design) & (found["forecast"] == forecast)].set_index("grid")["rms"]
            axes.plot(here.reindex(keys), range(len(keys)), alpha=0.9, **look)
        axes.set_title(f"{design}\n(yardstick: {yardstick})", loc="left", fontsize=8.5)
        style.log_axis(axes, at=(1, 2, 5))
        axes.grid(axis="y", color="0.92", linewidth=0.6)
    panels[0, 0].set_yticks(range(len(keys)), [_named(key) for key in keys], fontsize=7.5)
    style.legend(figure, *({"label": name, **look} for name, look in _MARKS.items()))
    return figure


def growth(table: pd.DataFrame) -> HTML:
    """Finding: the fits of Eq. 2 to the curves that `figures.cell_fits_figure` shows."""
    fits = fits_of(cell_rows(table), ["dataset", "signal", "model"], law=laws.CELL_NUMBER_LAW).values()
    told = [fit.s for fit in fits if isinstance(fit, laws.LawFit) and fit.status == laws.CONVERGED]
    middle = " and ".join(f"{end:.2f}" for end in np.quantile(told, (0.25, 0.75))) if told else ""
    exponents = f"; half of their exponents s lie between {middle}" if len(told) > 1 else ""
    return page.paragraph(
        f"The data determine all three parameters of Eq. 2 in {len(told)} of {page.counted(len(fits), 'curve')}"
        f"{exponents}.", "finding",
    )  # fmt: skip


@style.book_style()
def contours_figure(table: pd.DataFrame) -> Figure:
    """Plot lines of equal information by the noise budget (solid) and with residuals (dotted); dots: measured."""
    found = {(grid.key[:2], grid.model): grid for grid in measured_grids(table)}

    def draw(axes: Axes, signal: tuple[str, ...], model: str) -> None:
        if (signal, model) in found:
            _contour_panel(axes, found[signal, model])
        else:
            axes.set_axis_off()
            style.not_measured(axes)

    drawn = pd.MultiIndex.from_frame(table[["dataset", "signal"]]).isin([signal for signal, _ in found])
    shown, others = rows_of(usable(table[drawn]))
    rows = {signal: f"{style.title(*signal)}\n{style.UMIS}" for signal in shown}
    models = style.ordered([model for _, model in found])
    figure = style.model_panels(rows, models, draw, xlabel=style.CELLS, height=2.0)
    law, residuals = {"color": "black", "label": "noise budget, bits"}, {"color": "#de8f05", "linestyle": ":"}
    measured = {"color": "0.6", "marker": ".", "linestyle": "", "label": "measured"}
    style.legend(figure, law, residuals | {"label": "with residuals"}, measured, *others)
    return figure


def _contour_panel(axes: Axes, grid: Grid) -> None:
    fine_n, fine_u = (np.geomspace(x[0], x[-1], 60) for x in (grid.n, grid.u))
    law = fit_grid(grid).predict(*np.meshgrid(fine_n, fine_u))
    top = np.nanmax(grid.bits)
    step = 0.5 if top > 2 else 0.25 if top > 1 else 0.2 if top > 0.6 else 0.1
    levels = [x for x in np.arange(step, 6, step) if law.min() < x < law.max()]
    style.log_axis(axes, every=2 if grid.n[-1] / grid.n[0] > 1e4 else 1)
    style.log_y_axis(axes)
    axes.plot(*(x[grid.measured] for x in grid.mesh), linestyle="", marker=".", color="0.6", markersize=1.8)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
    look: dict[str, Any] = {"ha": "center", "va": "center", "bbox": white}
    if not levels:
        axes.text(0.5, 0.5, "no contour in range", fontsize=8, color="0.4", transform=axes.transAxes, **look)
        return
    axes.contour(grid.n, grid.u, surface(grid), levels=levels, colors="#de8f05", linewidths=0.9, linestyles=":")
    lines = axes.contour(fine_n, fine_u, law, levels=levels, colors="black", linewidths=0.9)
    for level, line in zip(levels, lines.get_paths(), strict=True):
        vertices = np.asarray(line.vertices)
        place = axes.transAxes.inverted().transform(axes.transData.transform(vertices))
        margin = (np.minimum(place, 1 - place) / _LABEL).min(axis=1)
        if margin.max() >= 1:  # otherwise the label would cross the panel's edge
            x, y = vertices[margin.argmax()]
            axes.text(x, y, f"{level:g}", fontsize=7, **look)


@page.of_content
def started(table: pd.DataFrame) -> pd.DataFrame:
    """`exchange.starts` of a table's grids, including starting points whose rate is only a lower bound."""
    found = pd.concat([exchange.starts(grid) for grid in measured_grids(table)], ignore_index=True)
    return enough(found, "No grid here has two depths that were measured at all of its cell numbers.")


LISTED = 6
"""Largest number of signals listed in a sentence; for more it refers to the table."""


def verdict(table: pd.DataFrame) -> HTML:
    """Sentences on what twice the depth is worth in cells, one per model."""
    return page.bullets(verdict_lines(started(table)), "finding")


def verdict_lines(table: pd.DataFrame) -> list[str]:
    """Sentences of `verdict` from `exchange.starts`: medians over all starts, intervals by resampling whole grids."""
    lines = []
    for model in style.ordered(table["model"]):
        here = table[table["model"] == model]
        medians = [f"{style.title(*k[:2])} {median_told(one, 'u', '')}" for k, one in here.groupby("grid", sort=False)]
        each = f"By signal: {'; '.join(medians)}." if len(medians) <= LISTED else "The table has each signal."
        lines.append(
            f"{style.label(model)}: twice the depth brings as many bits as {median_told(here, 'grid', '')} times the "
            f"cells, in the median of {page.counted(len(here), 'starting point')}. From {(~here['known']).sum()} of "
            f"them even the most cells measured bring fewer, so that their number is a lower bound. {each}"
        )
    return lines


@page.told
def lead(measurements: str | Path, reference: str | Path) -> HTML:
    """Sentence on what twice the depth is worth in cells to scVI, in the reference table and in ours."""
    said, share = [], []
    for name, source in (("published", reference), ("ours", measurements)):
        every = started(page.measured(source).table)
        here = enough(every[every["model"] == "scvi"], "scVI was not measured on a grid of cells and depths here.")
        said.append(f"{median_told(here, 'grid', '')} times the cells ({name})")
        share.append(f"{(~here['known']).mean():.0%}")
    return page.paragraph(
        f"Twice the depth, of the cells it reads as of those it learns from, brings scVI as many bits as "
        f"{' and '.join(said)}, in the median starting point; from {' and '.join(share)} of them no number of cells "
        "that was measured brings as many.", "finding",
    )  # fmt: skip


def median_told(here: pd.DataFrame, by: str, unit: str = " x") -> str:
    """Median rate of starts with its interval, or a lower bound, as text; `by` names the groups resampled together."""
    groups = pd.factorize(here[by])[0]
    value, low, high = exchange.median_rate(here["rate"].to_numpy(), here["known"].to_numpy(), groups)
    if np.isinf(value):
        return f"more than {factor(here['rate'].median(), unit)}"
    ends = f"over {factor(low, unit)}" if np.isinf(high) else f"{factor(low, unit)} to {factor(high, unit)}"
    return f"{factor(value, unit)} ({ends})"


def rates(table: pd.DataFrame) -> HTML:
    """Table by grid of what twice the depth is worth in cells, for all starts and for the starts with an answer."""
    every, told = started(table), rated(table)
    groups = every.groupby("grid", sort=False)
    rows = [rate_row(key, here, told[told["grid"] == key] if len(told) else told) for key, here in groups]
    title = (
        "Factor in cells that twice the depth is worth, median over starts. All starts: the product-limit median, with "
        "a 95 % interval by resampling depths; where no measured number of cells is enough, the most cells are a lower "
        "bound. Then the starts that have an answer within the measured cells, which are those where cells do most; of "
        "the noise budget, medians of the ends of 95 % intervals in brackets."
    )
    named = every.assign(grid=every["grid"].map(_named))
    return page.as_table(pd.DataFrame(rows), "exchange_rates.csv", full=named, title=title)


def rate_row(key: tuple[str, ...], every: pd.DataFrame, told: pd.DataFrame) -> dict[str, object]:
    """One grid's row of `rates`; rates are first converted to a doubling of depth, since grid steps are not 2."""
    row: dict[str, object] = {
        "grid": _named(key), "starts": len(every), "without an answer": (~every["known"]).sum(),
        "all starts": median_told(every, "u"),
        "starts with an answer": factor(every["rate"][every["known"]].median()),
    }  # fmt: skip
    if told.empty:
        return row
    power = np.log(2) / np.log(told["deeper"])
    two = {c: (told[c] ** power).dropna().median() for c in told.columns[5:]}
    for name, label in _RATES.items():
        ends = f" ({factor(two['law_low'])} to {factor(two['law_high'])})" if name == "law" else ""
        row[label] = factor(two[name]) + ends
        row[f"{label} within 2 x"] = f"{exchange.agree(told[name], told['free']).mean():.0%}"
    return row


def factor(value: float, unit: str = " x") -> str:
    """Format a factor in cells: "2.1 x"."""
    if np.isnan(value):
        return "–"
    return "no number" if np.isinf(value) else f"{value:,.{0 if value >= 100 else 1}f}{unit}"


@style.book_style()
def rates_figure(table: pd.DataFrame) -> Figure:
    """Plot exchange rates by law and by surface against those read off the grid, with a band of a factor 2."""
    found = enough(rated(table), "No start here has an answer within the measured cells.")
    shares = {label: exchange.agree(found[column], found["free"]).mean() for column, label in _RATES.items()}
    told = f"% of {len(found)} within a factor of {exchange.FACTOR:g}"
    figure, panels = style.new_figure(
        1, 2, 4.0, titles=[f"{label}: {100 * share:.0f} {told}" for label, share in shares.items()],
        xlabel="factor in cells, read off the grid", ylabel="factor in cells, by the law", sharex=True, sharey=True,
    )  # fmt: skip
    top = min(float(np.nanmax(found["free"])) * 3, 1e4)
    span = np.array([1.0, top])
    for axes, column in zip(panels[0], _RATES, strict=True):
        axes.fill_between(span, span / exchange.FACTOR, span * exchange.FACTOR, color="0.9", linewidth=0)
        axes.plot(span, span, color="black", linewidth=1)
        for model in style.ordered(found["model"]):
            here = found[found["model"] == model]
            value = here[column].replace(np.inf, top).clip(upper=top)
            style.plot(axes, model, here["free"], value, linestyle="", markersize=3, alpha=0.6)
        style.log_axis(axes)
        style.log_y_axis(axes)
        axes.set_ylim(0.5, top * 1.3)
    style.model_legend(figure, found["model"])
    return figure


def between_seeds(source: str | Path) -> HTML:
    """Sentence on how often exchange rates of two seeds agree; for a summary the committed shares are used."""
    opened = page.measured(source)
    if opened.summary:
        shares = published.statistics("seed_shares").set_index("rows").loc[page.VERSIONS[str(source)]]
    else:
        shares = seed_shares(usable(opened.table)).iloc[0]
    if not shares["starts"]:
        return page.paragraph("No grid here was measured whole with two seeds.")
    line = (
        f"Of {shares['starts']:,.0f} starts, the rate read off one seed's grid is within a factor "
        f"{exchange.FACTOR:g} of the rate read off another seed's in {shares['grid']:.0%}; the noise budget fitted to "
        f"the one seed foretells the other's rate in {shares['law']:.0%}, with residuals in {shares['surface']:.0%}. "
    )
    if shares["grid"] < 0.7:
        line += "A rate read off one seed is itself no surer than that: 70 % is more than one seed's rates can test."
    return page.paragraph(line, "finding")


def seed_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Share of starts where one seed's rates agree with another seed's, by method; and their number `starts`: a row."""
    by_key: dict[tuple[str, ...], list[Grid]] = {}
    for grid in (grid for _, rows in table.groupby("seed") for grid in grids(rows) if grid.measured.all()):
        by_key.setdefault(grid.key, []).append(grid)
    pairs = (pair for seeds in by_key.values() for pair in permutations(seeds, 2))
    parts = [exchange.across_seeds(*pair) for pair in pairs if pair[0].bits.shape == pair[1].bits.shape]
    rates = pd.concat(map(pd.DataFrame, parts)) if parts else pd.DataFrame()
    agree = {name: exchange.agree(rates[name], rates["free"]).mean() for name in ("grid", *_RATES) if len(rates)}
    return pd.DataFrame([agree | {"starts": len(rates)}])
