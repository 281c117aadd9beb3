"""The page *Cells or depth?*: the joint law scored on what it has not seen, its contours, and exchange rates."""

from __future__ import annotations

import html
from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..laws import exchange, holdout
from ..laws.grids import Grid, grids
from ..laws.surface import fit_grid, surface
from ..measurements import published
from . import figures, page, style

_ENOUGH_STARTS = 5
"""Fewer starts of a grid than this are no ground for a median."""
_MARKS = {holdout.CHOSEN: ("o", "#de8f05"), holdout.LAW: ("^", "#0173b2"), "yardstick": ("D", "#949494")}

_NO_GRID = "No model that cells train was measured here at three depths and three numbers of cells."
_NO_START = "No start here has an answer within the measured cells."


@cache
def _grids(source: str) -> tuple[Grid, ...]:
    return tuple(grids(figures.usable(page.measured(source).table)))


@cache
def _scored(source: str) -> pd.DataFrame:
    return holdout.score(_grids(source))


@cache
def _rates(source: str) -> pd.DataFrame:
    rated = [exchange.compare_rates(grid) for grid in _grids(source)]
    return pd.concat(rated, ignore_index=True) if rated else pd.DataFrame()


def _named(key: tuple[str, ...]) -> str:
    return f"{style.title(*key[:2])}, {style.MODELS.get(key[2], key[2])}"


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return table[~holdout.is_candidate(table["forecast"])]


def scores(source: str) -> HTML:
    """A table of forecasts: median over grids of the RMS and of the median absolute error, by what was hidden."""
    table = _plain(_scored(str(source)))
    if table.empty:
        return _too_few()
    middle = table.groupby(["forecast", "design"], sort=False)[["rms", "median"]].median()
    counts = table.groupby("design")["grid"].nunique()
    rows = []
    for forecast in [holdout.LAW, holdout.STRETCHED, holdout.CHOSEN, holdout.SEPARATE, *holdout.YARDSTICKS]:
        row = {"forecast": forecast}
        for design in [d for d in holdout.DESIGNS if d in counts]:
            found = (forecast, design) in middle.index
            pair = middle.loc[(forecast, design)] if found else None
            row[f"{design} ({counts[design]} grids)"] = f"{pair['rms']:.3f} ({pair['median']:.3f})" if found else "–"
        rows.append(row)
    noise = np.nanmedian(
        [np.nanmedian(grid.noise()) for grid in _grids(str(source)) if np.isfinite(grid.noise()).any()]
    )
    title = (
        "RMS error in bits, in brackets the median absolute error; medians over grids. The spread between seeds gives "
        f"the measured means themselves a standard error of {noise:.3f} bits in the median grid."
    )
    return page.as_table(
        pd.DataFrame(rows),
        download="forecasts.csv",
        full=table.assign(grid=table["grid"].map(_named)),
        title=title,
        wrap=True,
    )


def _too_few() -> HTML:
    return HTML("<p>No grid here is large enough to hide a part of it (five depths, five cell numbers).</p>")


def goals(source: str) -> HTML:
    """A table of what the joint law was asked for, and what was found."""
    table = _scored(str(source))
    if table.empty:
        return _too_few()
    return page.as_table(pd.DataFrame(goal_rows(table, _rates(str(source)))), download="goals.csv", wrap=True)


def goal_rows(table: pd.DataFrame, rates: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of `goals` from `holdout.score` and exchange rates: the law alone, and the law with what it is given."""
    rows = []
    for design in (holdout.DEPTHS, holdout.CELLS):
        row = {"goal": f"{design} hidden in turn: median error at most 0.07 bits"}
        for forecast in (holdout.LAW, holdout.CHOSEN):
            here = table[(table["design"] == design) & (table["forecast"] == forecast)]
            value = here["rms"].median()
            row[forecast] = f"{value:.3f} RMS: {'met' if value <= 0.07 else 'not met'}" if len(here) else "–"
        rows.append(row)
    for design, over in ((holdout.MOST_CELLS, holdout.CARRY), (holdout.DEEPEST, holdout.LINE)):
        row = {"goal": f"{design} hidden: ahead of {over} on 4 of 5 grids"}
        for forecast in (holdout.LAW, holdout.CHOSEN):
            won, of = holdout.wins(table, design, forecast, over)
            row[forecast] = f"{won} of {of}: {'met' if won >= 0.8 * of else 'not met'}" if of else "–"
        rows.append(row)
    row = {"goal": "exchange rates within a factor 2 of the grid's own at 70 % of starts"}
    for forecast, column in ((holdout.LAW, "law"), (holdout.CHOSEN, "surface")):
        share = exchange.agree(rates[column], rates["free"]).mean() if len(rates) else np.nan
        row[forecast] = f"{share:.0%} of {len(rates)}: {'met' if share >= 0.7 else 'not met'}" if len(rates) else "–"
    return [*rows, row]


def forecasts(source: str) -> Image | HTML:
    """The figure of errors by grid and by what was hidden."""
    table = _plain(_scored(str(source)))
    return _too_few() if table.empty else Image(style.as_png(forecasts_figure(table)), format="png")


def forecasts_figure(table: pd.DataFrame) -> Figure:
    """RMS errors of the law, the law with residuals and the yardstick to beat; one row a grid, one panel a design."""
    keys = sorted(table["grid"].unique(), key=lambda k: (k[2], k[:2]), reverse=True)
    designs = [d for d in holdout.DESIGNS if d in set(table["design"])]
    with style.book_style():
        figure, panels = style.new_figure(1, len(designs), 1.3 + 0.27 * len(keys), sharey=True)
        for axes, design in zip(panels[0], designs, strict=True):
            yardstick = holdout.MIXED_WITH[design] or holdout.LOW_RANK
            for name, (marker, colour) in reversed(_MARKS.items()):
                forecast = yardstick if name == "yardstick" else name
                here = table[(table["design"] == design) & (table["forecast"] == forecast)].set_index("grid")["rms"]
                axes.plot(here.reindex(keys), range(len(keys)), marker=marker, color=colour, linestyle="", alpha=0.9)
            axes.set_title(f"{design}\n(yardstick: {yardstick})", loc="left", fontsize=8.5)
            style.error_axis(axes)
            axes.set_xlabel("RMS error (bits)")
            axes.grid(axis="y", color="0.92", linewidth=0.6)
        panels[0, 0].set_yticks(range(len(keys)), [_named(k) for k in keys], fontsize=7.5)
        handles = [
            Line2D([], [], marker=m, color=c, linestyle="", label=name if name != "yardstick" else "the yardstick")
            for name, (m, c) in _MARKS.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def contours(source: str) -> Image | HTML:
    """The figure of equal information over cells and depth, one panel a grid."""
    found = _grids(str(source))
    return Image(style.as_png(contours_figure(found)), format="png") if found else HTML(f"<p>{_NO_GRID}</p>")


def contours_figure(found: tuple[Grid, ...]) -> Figure:
    """Lines of equal information by the noise budget (solid) and with residuals (dotted); dots were measured."""
    models = style.ordered({grid.model for grid in found})
    signals = list(dict.fromkeys(grid.key[:2] for grid in found))
    where = {(grid.key[:2], grid.model): grid for grid in found}
    with style.book_style():
        figure, panels = style.new_figure(len(signals), len(models), 0.9 + 2.0 * len(signals))
        for row, signal in zip(panels, signals, strict=True):
            for axes, model in zip(row, models, strict=True):
                grid = where.get((signal, model))
                if grid is None:
                    axes.set_axis_off()
                    continue
                _contour_panel(axes, grid)
            row[0].set_ylabel(f"{style.title(*signal)}\n{style.UMIS}")
        for axes, model in zip(panels[0], models, strict=True):
            axes.set_title(style.MODELS.get(model, model), loc="left")
        for axes in panels[-1]:
            axes.set_xlabel(style.CELLS)
        notes = [
            Line2D([], [], color="black", label="noise budget, bits"),
            Line2D([], [], color="#de8f05", linestyle=":", label="with residuals"),
            Line2D([], [], color="0.6", marker=".", linestyle="", label="measured"),
        ]
        figure.legend(handles=notes, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _contour_panel(axes: Axes, grid: Grid) -> None:
    fine_n, fine_u = (np.geomspace(x[0], x[-1], 60) for x in (grid.n, grid.u))
    law = fit_grid(grid).predict(*np.meshgrid(fine_n, fine_u))
    top = np.nanmax(grid.bits)
    step = 0.5 if top > 2 else 0.25 if top > 1 else 0.1
    levels = [x for x in np.arange(step, 6, step) if law.min() < x < law.max()]
    lines = axes.contour(fine_n, fine_u, law, levels=levels, colors="black", linewidths=0.9)
    axes.clabel(lines, fontsize=7, fmt=lambda bits: f"{bits:g}")
    axes.contour(grid.n, grid.u, surface(grid), levels=levels, colors="#de8f05", linewidths=0.9, linestyles=":")
    cells, depths = (x[grid.measured] for x in grid.mesh)
    axes.plot(cells, depths, linestyle="", marker=".", color="0.6", markersize=1.8)
    style.log_axis(axes, every=2 if grid.n[-1] / grid.n[0] > 1e4 else 1)
    style.log_y_axis(axes)


def verdict(source: str) -> HTML:
    """What a step in depth is worth in cells, model by model, in sentences with their numbers."""
    lines = verdict_lines(_grids(str(source)), _rates(str(source))) or [_NO_GRID]
    return HTML(f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>")


def verdict_lines(found: tuple[Grid, ...], table: pd.DataFrame) -> list[str]:
    """The sentences of `verdict`, from grids and their exchange rates as read off them."""
    lines = []
    for model in style.ordered({grid.model for grid in found}):
        keys = [grid.key for grid in found if grid.model == model]
        here = [table[table["grid"] == key] for key in keys] if len(table) else []
        doubled = [(t["free"] ** (np.log(2) / np.log(t["deeper"]))).median() for t in here if len(t) >= _ENOUGH_STARTS]
        line = f"{style.MODELS.get(model, model)}: "
        if doubled:
            ends = f"{_factor(min(doubled))} to {_factor(max(doubled))}" if len(doubled) > 1 else _factor(doubled[0])
            line += f"where cells make up for depth ({len(doubled)} of {len(keys)} grids), "
            line += f"twice the depth is worth {ends} the cells"
        if len(doubled) < len(keys):
            line += "; " if doubled else ""
            line += (
                f"in {len(keys) - len(doubled)} of {len(keys)} grids fewer than {_ENOUGH_STARTS} starts have a "
                "measured number of cells that does what one step in depth does"
            )
        lines.append(line + ".")
    return lines


def rates(source: str) -> HTML:
    """A table of exchange rates by grid: what one step in depth is worth in cells, read off the grid and by the law."""
    table = _rates(str(source))
    if table.empty:
        return HTML(f"<p>{_NO_START}</p>")
    rows = [rate_row(key, here) for key, here in table.groupby("grid", sort=False)]
    silent = sum(grid.key not in set(table["grid"]) for grid in _grids(str(source)))
    title = (
        "Factor in cells that twice the depth is worth, median over starts; in brackets medians of the ends of 95 % "
        f"intervals. {silent} grids have no start from which measured cells make up for one step in depth."
    )
    full = table.assign(grid=table["grid"].map(_named))
    return page.as_table(pd.DataFrame(rows), download="exchange_rates.csv", full=full, title=title, wrap=True)


def rate_row(key: tuple[str, ...], here: pd.DataFrame) -> dict[str, object]:
    """One grid's row of `rates`; steps in depth differ from 2, so that rates are brought to a doubling first."""
    power = np.log(2) / np.log(here["deeper"])
    two = {c: (here[c] ** power).median() for c in here.columns[5:]}

    def told(name: str) -> str:
        return f"{_factor(two[name])} ({_factor(two[f'{name}_low'])} to {_factor(two[f'{name}_high'])})"

    return {
        "grid": _named(key),
        "starts": len(here),
        "read off the grid": _factor(two["free"]),
        "noise budget": told("law"),
        "with residuals": told("surface"),
        "noise budget within 2 x": f"{exchange.agree(here['law'], here['free']).mean():.0%}",
        "with residuals within 2 x": f"{exchange.agree(here['surface'], here['free']).mean():.0%}",
    }


def _factor(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "no number" if np.isinf(value) else f"{value:,.1f} x" if value < 100 else f"{value:,.0f} x"


def rates_figure_of(table: pd.DataFrame) -> Figure:
    """Exchange rates by law and by surface against those read off the grid, with the band of a factor 2."""
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 4.0, sharex=True, sharey=True)
        top = min(float(np.nanmax(table["free"])) * 3, 1e4)
        span = np.array([1.0, top])
        for axes, column, label in ((panels[0, 0], "law", "noise budget"), (panels[0, 1], "surface", "with residuals")):
            axes.fill_between(span, span / 2, span * 2, color="0.9", linewidth=0)
            axes.plot(span, span, color="black", linewidth=1)
            for model in style.ordered(set(table["model"])):
                here = table[table["model"] == model]
                value = here[column].replace(np.inf, top).clip(upper=top)
                axes.plot(
                    here["free"], value, linestyle="", color=style.COLOURS[model], marker=style.MARKERS[model],
                    markersize=3, alpha=0.6,
                )  # fmt: skip
            share = exchange.agree(table[column], table["free"]).mean()
            axes.set_title(f"{label}: {share:.0%} of {len(table)} within 2 x", loc="left")
            style.log_axis(axes)
            style.log_y_axis(axes)
            axes.set_ylim(0.5, top * 1.3)
            axes.set_xlabel("factor in cells, read off the grid")
        panels[0, 0].set_ylabel("factor in cells, by the law")
        style.legend_below(figure, style.ordered(set(table["model"])))
    return figure


def rates_figure(source: str) -> Image | HTML:
    """The figure of exchange rates against those read off the grid."""
    table = _rates(str(source))
    return HTML(f"<p>{_NO_START}</p>") if table.empty else Image(style.as_png(rates_figure_of(table)), format="png")


def between_seeds(source: str) -> HTML:
    """How far exchange rates of one seed agree with those read off another seed's grid, in a sentence."""
    opened = page.measured(source)
    shares, count = _committed_shares(source) if opened.summary else seed_shares(figures.usable(opened.table))
    if not count:
        return HTML("<p>No grid here was measured whole with two seeds.</p>")
    line = (
        f"Of {count:,} starts, the rate read off one seed's grid is within a factor {exchange.FACTOR:g} of the rate "
        f"read off another seed's in {shares['grid']:.0%}; the noise budget fitted to the one seed foretells the "
        f"other's rate in {shares['law']:.0%}, with residuals in {shares['surface']:.0%}. "
    )
    if shares["grid"] < 0.7:
        line += "A rate read off one seed is itself no surer than that: 70 % is more than one seed's rates can test."
    return HTML(f"<p>{html.escape(line)}</p>")


def _committed_shares(source: str) -> tuple[dict[str, float], int]:
    """`seed_shares` as committed: a summary does not tell which seed a value is of."""
    found = published.statistics("seed_shares").set_index("rows").loc[page.VERSIONS[source]]
    return found.drop("starts").to_dict(), int(found["starts"])


def seed_shares(table: pd.DataFrame) -> tuple[dict[str, float], int]:
    """Shares of starts at which rates from one seed agree with another seed's, by how they were had; and the count."""
    by_key: dict[tuple[str, ...], list[Grid]] = {}
    for _, rows in table.groupby("seed"):
        for grid in grids(rows):
            if grid.measured.all():
                by_key.setdefault(grid.key, []).append(grid)
    found: dict[str, list[np.ndarray]] = {}
    for seeds in by_key.values():
        for one, other in permutations(seeds, 2):
            if one.bits.shape != other.bits.shape:
                continue
            compared = exchange.across_seeds(one, other)
            for name in ("grid", "law", "surface"):
                found.setdefault(name, []).append(exchange.agree(compared[name], compared["free"]))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {n: float(v.mean()) for n, v in joined.items() if len(v)}, len(next(iter(joined.values()), ()))
