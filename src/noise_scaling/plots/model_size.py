"""How Eq. 1's two parameters vary with the size of a model: Geneformer at several widths on the same cells."""

from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import laws
from ..errors import enough
from ..laws.curves import fit_groups, protocol_rows
from . import admitted, claim_terms, claims, page, style
from .figures import usable

MODEL = "geneformer"
"""The model that was measured at several widths."""
_ONE_SIZE = "No model was measured at several sizes in this table."
_LADDER = ["dataset", "signal", "estimator", "n_cells"]
LABELS = {"i_max": "$I_{max}$ (bits)", "u_bar": "$\\bar{u}$ (UMIs per cell)"}
LINES = ("-", "--", ":", "-.")
_COLOURS = (style.colour(MODEL), "#222222", "#d55e00", "#8c6d31")
_ASIDE = 1.1  # factor in parameters by which the bars of each line are shifted from those of the line before


def ladder(table: pd.DataFrame) -> pd.DataFrame:
    """Return the model's rows at every width, the preset's own included, where several have the same cells."""
    rows = protocol_rows(table[table["model"] == MODEL], variant=None)
    rows = rows[(rows["variant"] == "") | rows["variant"].str.fullmatch(r"width_\d+")]
    # keep depths and seeds that every width has: otherwise sizes would be compared on different points
    widths = rows.groupby(_LADDER)["variant"].transform("nunique")
    shared = rows.groupby([*_LADDER, "fraction", "seed"])["variant"].transform("nunique")
    return rows[(widths > 1) & (shared == widths)]


def sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Fit Eq. 1 at each size; columns: the training set, n_parameters, seeds, bits at full depth, fit and status."""
    rows, by = enough(ladder(table), _ONE_SIZE), [*_LADDER, "n_parameters"]
    deepest = rows["fraction"] == rows.groupby(by)["fraction"].transform("max")
    facts = rows.assign(full_depth_bits=rows["mi_bits"].where(deepest)).groupby(by).agg(
        seeds=("seed", "nunique"), full_depth_bits=("full_depth_bits", "mean"), train_seconds=("train_seconds", "mean")
    )  # fmt: skip
    return facts.reset_index().merge(fit_groups(rows, by), on=by)


def widest_told(table: pd.DataFrame) -> HTML:
    """Say for each data set which points the verdict on sizes rests on, and what the sizes find at full depth."""
    rows = protocol_rows(table, controls=True, variant=None)
    counted = ladder(admitted.learnt(admitted.found(admitted.evidence(rows, simulated=True))))
    lines = []
    for (dataset, signal, estimator, n), here in ladder(table).groupby(_LADDER):
        bits = here.pivot_table(index=["fraction", "seed"], columns="n_parameters", values="mi_bits")
        higher, full = bits.iloc[:, -1] > bits.iloc[:, 0], bits.loc[max(bits.index)[0]].mean()
        lines.append(
            f"{style.title(dataset, signal)}, {n:,} cells, {style.estimator(estimator)} estimator: the widest is above "
            f"the narrowest at {higher.sum()} of {page.counted(len(higher), 'point')} of all depths and seeds. At full "
            f"depth the widest finds {full.iloc[-1]:.2f} bits, the narrowest {full.iloc[0]:.2f}, and the most are "
            f"{full.max():.2f}, by that of {style.plain(float(f'{full.idxmax():.2g}'))} parameters."
            + ("" if dataset in set(counted["dataset"]) else " The verdict leaves this out: a control fails there.")
        )
    return page.bullets(enough(lines, _ONE_SIZE))


@style.book_style()
def sizes_figure(table: pd.DataFrame) -> Figure:
    """Draw measured bits, I_max and u_bar against the number of parameters, a line per data set; bars: 95 % intervals.

    A bar that extends beyond the panel ends in an arrow at its edge. Markers are hollow if u_bar lies beyond the
    deepest counts. A fit that did not converge or is not identified is not drawn, but the table has it.
    """
    found = sizes(table)
    figure, panels, limits = parameter_panels(found, 3.2)
    look: dict[str, Any] = {"marker": style.marker(MODEL), "markersize": 5}
    marks = []
    for i, ((dataset, signal, estimator, n), curve) in enumerate(found.groupby(_LADDER, sort=True)):
        look |= {"linestyle": LINES[i % 4], "color": _COLOURS[i % 4]}
        panels[0].plot(curve["n_parameters"], curve["full_depth_bits"], **look)
        beside = curve.assign(n_parameters=curve["n_parameters"] * _ASIDE**i)  # bars of two lines stand side by side
        for axes, (name, ends) in zip(panels[1:], limits.items(), strict=True):
            points(axes, beside[beside["status"] == laws.CONVERGED], "n_parameters", name, look, ends)
            if len(beyond := beside[beside["status"] == laws.BEYOND]):
                points(axes, beyond, "n_parameters", name, look | {"markerfacecolor": "white", "linestyle": ""}, ends)
        marks.append({"label": f"{style.title(dataset, signal)}, {n:,} cells, {style.estimator(estimator)}", **look})
    for axes in panels:
        style.log_axis(axes)
        axes.set_xlabel("parameters")
    panels[0].set_ylim(bottom=0)
    style.legend(figure, *marks, columns=2, handlelength=2.8)
    return figure


def parameter_panels(found: pd.DataFrame, height: float) -> tuple[Figure, np.ndarray, dict[str, tuple[float, float]]]:
    """Return a figure of `height` inches, panels of bits, I_max and u_bar, and limits that show all of the last two."""
    figure, panels = style.new_figure(1, 3, height, sharex=True)
    settled = found[found["status"].isin([laws.CONVERGED, laws.BEYOND])]
    limits = dict.fromkeys(("i_max", "u_bar"), (-np.inf, np.inf))
    if len(settled):
        limits = {"i_max": (0, 1.5 * settled["i_max"].max())}
        limits |= {"u_bar": (settled["u_bar"].min() / 4, settled["u_bar"].max() * 4)}
    style.log_y_axis(panels[0, 2])
    for axes, label in zip(panels[0], ("bits measured at full depth", *LABELS.values()), strict=True):
        axes.set_ylabel(label)
    for axes, ends in zip(panels[0, 1:], limits.values(), strict=True):
        axes.set_ylim(*(end if np.isfinite(end) else None for end in ends))
    return figure, panels[0], limits


def points(
    axes: Axes, curve: pd.DataFrame, along: str, name: str, look: dict[str, Any], limits: tuple[float, float]
) -> None:
    """Draw values with intervals as bars; a bar is cut at the panel's limits, where an arrow marks the cut."""
    x, value, *ends = (curve[column].to_numpy(float) for column in (along, name, f"{name}_low", f"{name}_high"))
    bars = [np.clip(np.where(np.isnan(end), value, end), *limits) for end in ends]
    axes.errorbar(x, value, yerr=np.abs(np.stack(bars) - value), capsize=3, elinewidth=0.9, **look)
    for bar, end, marker in zip(bars, ends, ("v", "^"), strict=True):
        on = bar != np.where(np.isnan(end), value, end)
        arrow = {"color": look["color"], "marker": marker, "linestyle": "", "markersize": 6, "clip_on": False}
        axes.plot(x[on], bar[on], in_layout=False, **arrow)


_NO_VARIATION = "No variation on a model was measured here beside it."


def _beside(rows: pd.DataFrame, model: str, other: str) -> pd.DataFrame:
    """Return terms of the bits of a model less those of another, at the points and seeds that both have."""
    rows = rows[rows["model"].isin([model, other])]
    both = rows.groupby(["dataset", "signal", "n_cells", "fraction", "seed"])["model"].transform("nunique") == 2
    if not both.any():
        return claim_terms.terms([])
    bits = claim_terms.grid(rows[both])[0]
    return claim_terms.differences(bits[model] - bits[other])


def variations(table: pd.DataFrame) -> pd.DataFrame:
    """Return bits of each variation less those of its model: the mean over points and seeds of both, and interval."""
    rows, found = admitted.evidence(usable(table)), []
    for model in style.ordered(rows["model"]):
        kind = style.variation_of(model)
        if len(gap := _beside(rows, model, kind)):
            value, low, high, _ = claims.interval(gap)
            found.append({
                "model": model, "beside": style.label(kind), "signals": gap["signal"].nunique(), "points": len(gap),
                "difference": value, "difference_low": low, "difference_high": high,
                "by signal": page.span(gap.groupby("signal")["num"].mean(), "+.2f"),
            })  # fmt: skip
    return pd.DataFrame(enough(found, _NO_VARIATION))


@style.book_style()
def variations_figure(table: pd.DataFrame) -> Figure:
    """Draw bits of each variation less those of its model by signal: the mean of the points, and a bar of their span.

    Rows are signals, and a panel is a model; the points are those of `variations`, which are means over seeds.
    """
    rows = admitted.evidence(usable(table))
    gaps = {model: _beside(rows, model, style.variation_of(model)) for model in style.ordered(rows["model"])}
    gaps = {model: gap for model, gap in gaps.items() if len(gap)}
    kinds = style.ordered([style.variation_of(model) for model in enough(gaps, _NO_VARIATION)])
    told = set().union(*(gap["signal"] for gap in gaps.values()))
    signals = {f"{dataset}, {signal}": style.title(dataset, signal) for dataset, signal in style.signals(rows)}
    at = {name: y for y, name in enumerate(name for name in signals if name in told)}
    figure, panels = style.new_figure(1, len(kinds), 1.2 + 0.36 * len(at), sharey=True)
    for axes, kind in zip(panels[0], kinds, strict=True):
        axes.axvline(0, color="0.75", linewidth=0.8, zorder=0)
        axes.set_xlabel(f"information beyond that of {style.label(kind)} (bits)")
        beside = [model for model in gaps if style.variation_of(model) == kind]
        for aside, model in zip(np.linspace(-0.4, 0.4, len(beside) + 2)[1:-1], beside, strict=True):
            by = gaps[model].groupby("signal")["num"].agg(["min", "mean", "max"])
            y = [at[name] + aside for name in by.index]
            axes.hlines(y, by["min"], by["max"], color=style.colour(model), alpha=0.5)
            style.plot(axes, model, by["mean"], y, linestyle="")
    axes.set(yticks=list(at.values()), yticklabels=[signals[name] for name in at], ylim=(len(at) - 0.5, -0.5))
    style.model_legend(figure, pd.Series(list(gaps)))
    return figure


def variations_told(table: pd.DataFrame) -> HTML:
    """Finding: whether scVI's bits need its likelihood or its nonlinear decoder, from its variations, or a sentence.

    A linear decoder is set beside the nonlinear one of the same likelihood, so that one thing differs. A difference
    whose 95 % interval holds 0 is a tie.
    """
    from ..models import MODELS  # imported late because they load torch
    from ..models.scvi import SCVI

    rows = admitted.evidence(usable(table))
    of_scvi = {name: kind for name, kind in MODELS.items() if issubclass(kind, SCVI)}
    kin = {model: of_scvi[model] for model in style.ordered(rows["model"]) if model in of_scvi}
    nonlinear = {kind.likelihood: model for model, kind in kin.items() if not kind.linear}
    said, needed, seeds = [], [], set()
    for model, kind in kin.items():
        other = nonlinear.get(kind.likelihood, "") if kind.linear else style.variation_of(model)
        if not len(gap := _beside(rows, model, other)):
            continue
        value, low, high = (round(bits, 3) for bits in claims.interval(gap)[:3])  # as printed: +0.000 is a tie
        seeds |= set(rows.loc[rows["model"] == model, "seed"]) & set(rows.loc[rows["model"] == other, "seed"])
        verb = "is tied with" if low <= 0 <= high else "finds more than" if value > 0 else "finds less than"
        said.append(
            f"{style.label(model)} {verb} {style.label(other)}, {page.interval(value, low, high, '+.3f')} bits at "
            f"{page.counted(len(gap), 'point')} of {page.counted(gap['signal'].nunique(), 'signal')}"
        )
        if high < 0:
            replaced = f"its likelihood beside that of {style.label(model)}"
            needed.append("the nonlinear decoder" if kind.linear else replaced)
    answer = " and ".join(needed) if needed else "nothing here"
    return page.paragraph(
        f"Is it depth, likelihood or nonlinearity? In {page.counted(len(seeds), 'seed')}: "
        f"{'; '.join(enough(said, _NO_VARIATION))} (95 % intervals; one that holds 0 is a tie). What costs bits when "
        f"it is replaced: {answer}. A linear decoder has no hidden layer, so depth and nonlinearity are not told "
        "apart; the encoder was the same in all.", "finding",
    )  # fmt: skip
