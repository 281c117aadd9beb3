"""Training depth, test depth and cell number varied separately: costs of reading a cell and of learning from cells."""

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from ..errors import enough
from ..laws import apart
from ..laws.apart import HALVED
from ..measurements import protocol_rows
from ..measurements.parent import read_parent
from . import page, style
from .figures import largest, signal_panels

_NAMES = ["dataset", "signal", "model"]


@page.of_content
def _fitted(table: pd.DataFrame) -> tuple[pd.DataFrame, list[apart.ApartFit]]:
    """Comparison of the forms of the law, and the fits of the chosen form."""
    found = list(apart.factorials(table))
    enough(found, "No model of this table was measured at 3 depths of training cells and 3 of test cells.")
    compared = apart.compare(found)
    return compared, [apart.fit(one, apart.FORMS[apart.chosen(compared)]) for one in found]


def forms(table: pd.DataFrame) -> pd.DataFrame:
    """Compare the laws by their errors at held-out points (`laws.apart.compare`)."""
    compared, _ = _fitted(table)
    return compared.drop(columns="form").rename(columns={"error": "error where hidden (bits)"})


def losses(table: pd.DataFrame) -> pd.DataFrame:
    """Measured bits lost at the shallowest depth and the most cells if new cells, training cells or both are thinned.

    Columns: dataset, signal, model, umis_per_cell (the shallowest depth of the new cells), all_deep (bits), new_cells,
    training_cells, both (bits lost relative to all_deep).
    """
    rows = []
    for fit in _fitted(table)[1]:
        n, w, u = fit.data.at
        at = ((w.max(), u.max()), (w.max(), u.min()), (w.min(), u.max()), (w.min(), u.min()))
        corners = [fit.data.means[0][(n == n.max()) & (w == learnt) & (u == read)] for learnt, read in at]
        if all(len(one) == 1 for one in corners):
            best, *lost = (float(one[0]) for one in corners)
            rows.append((*fit.data.key[:3], u.min(), best, *(best - bits for bits in lost)))
    columns = [*_NAMES, "umis_per_cell", "all_deep", "new_cells", "training_cells", "both"]
    return pd.DataFrame(enough(rows, "No model of this table was measured at the corners of depths."), columns=columns)


def halved(table: pd.DataFrame) -> pd.DataFrame:
    """Fit of the chosen law to each model: reading depth, learning depth and the cost of halving each axis.

    Halving starts from the middle depth of the new cells and of the training cells, and from the most training cells.
    Columns besides the names: reading_depth, learning_depth (UMIs per cell) and the bits lost by halving each of AXES,
    with 95 % intervals; the measured losses (`laws.apart.per_halving`) with the suffix "_measured"; and residual_sd.
    """
    rows = []
    for fit in _fitted(table)[1]:
        at = np.array([fit.data.at[0].max(), *fit.data.middle[1:]])[:, None]
        depths = {name: np.log(getattr(fit, name)) for name in ("reading_depth", "learning_depth")}
        ends: dict[str, Any] = {name: np.exp(apart.jackknife(values)) for name, values in depths.items()}
        ends |= {axis: apart.jackknife(fit.lost(axis, at)[:, 0]) for axis in HALVED}
        row: dict[str, object] = dict(zip(_NAMES, fit.data.key, strict=False))
        for name, three in ends.items():
            row |= {name + end: float(value) for end, value in zip(("", "_low", "_high"), three, strict=True)}
        row |= {f"{axis}_measured": value for axis, value in apart.per_halving(fit.data).items()}
        rows.append(row | {"residual_sd": fit.residual_sd})
    return pd.DataFrame(rows)


def halved_table(table: pd.DataFrame) -> HTML:
    """Show `halved` with readable column names, without columns that are empty for this law or for a single seed."""
    ends = {"": "", "_low": "_low", "_high": "_high", "_measured": ", as measured"}
    names = {f"{a}{e}": f"bits lost, {text} halved{w}" for a, text in HALVED.items() for e, w in ends.items()}
    full, seeds = halved(table), _seeds(table)
    title = "One seed: no interval." if seeds == "1 seed" else f"95 % intervals over {seeds} (jackknife)."
    title += " One seed gives none." if seeds.startswith("1 to") else ""
    return page.as_table(full.rename(columns=names).dropna(axis=1, how="all"), "halved.csv", full=full, title=title)


def _seeds(table: pd.DataFrame) -> str:
    """Number of seeds per data set in words: '1 seed', or '1 to 2 seeds'."""
    counts = table.groupby("dataset")["seed"].nunique()
    several = page.counted(counts.max(), "seed")
    return several if counts.min() == counts.max() else f"{counts.min()} to {several}"


def over_data_sets(values: pd.Series, dataset: pd.Series | str) -> tuple[float, float, float]:
    """Mean of the data sets' mean values, and its 95 % interval by Student's t (NaN ends for a single data set)."""
    each = values.groupby(dataset).mean()
    half = each.sem() * stats.t.ppf(0.975, max(len(each) - 1, 1))
    return each.mean(), each.mean() - half, each.mean() + half


def _told(values: pd.Series, dataset: pd.Series) -> str:
    mean, low, high = over_data_sets(values, dataset)
    return page.interval(mean, low, high) if np.isfinite(low) else f"{mean:.2f}"


def lead(table: pd.DataFrame) -> HTML:
    """Finding: the cost of halving each axis, and how often shallow new cells cost more than shallow training cells."""
    corner, cost = losses(table), halved(table)
    more = (corner["new_cells"] > corner["training_cells"]).sum()
    return page.paragraph(
        f"Shallow new cells cost more than shallow training cells in {more} of {page.counted(len(corner), 'curve')}. "
        f"From the middle of what was measured, {_costs(cost)}.", "finding",
    )  # fmt: skip


def answer(table: pd.DataFrame) -> HTML:
    """Computed sentences on what a lab that trains on an atlas and measures new cells should buy."""
    corner, cost, law = losses(table), halved(table), _fitted(table)[0].set_index("form")
    told = {name: _told(corner[name], corner["dataset"]) for name in ("new_cells", "training_cells", "both")}
    more = (corner["new_cells"] > corner["training_cells"]).sum()
    best = law.loc[apart.chosen(law.reset_index())]
    counted = f"{page.counted(len(cost), 'curve')} of {page.counted(cost['dataset'].nunique(), 'data set')}"
    intervals = "means over data sets" + (" with 95 % intervals" if cost["dataset"].nunique() > 1 else "")
    return page.bullets([
        f"A lab that trains on an atlas and measures new cells loses most by halving the {_order(cost)}. What each of "
        "them would cost in money is not in this.",
        f"By the law that errs least where it did not look (“{best['law']}”: {best['error']:.2f} bits; "
        f"{cost['residual_sd'].min():.2f} to {cost['residual_sd'].max():.2f} where it did, by curve), from the middle "
        f"of the measured depths and the most cells, {_costs(cost)} ({counted}, "
        f"{_seeds(table)}; {intervals}).",
        f"As measured, without a law, between neighbouring levels at the most cells: {_costs(cost, '_measured')}.",
        f"As measured on the most cells, where {corner['all_deep'].mean():.2f} bits are found at full depth: if the "
        f"new cells alone have {corner['umis_per_cell'].median():.0f} UMIs each (the median), {told['new_cells']} bits "
        f"are lost; if the training cells alone do, {told['training_cells']}; if both do, {told['both']}. Shallow new "
        f"cells cost more than shallow training cells in {more} of {page.counted(len(corner), 'curve')}.",
    ], "finding")  # fmt: skip


def _costs(cost: pd.DataFrame, end: str = "") -> str:
    """Cost of halving each axis, in words."""
    each = {label: _told(cost[axis + end], cost["dataset"]) for axis, label in HALVED.items()}
    return ", ".join(f"halving the {label} costs {told} bits" for label, told in each.items())


def _order(cost: pd.DataFrame) -> str:
    """What to buy, in words, largest loss first; neighbours whose difference may be 0 are marked as such."""
    labels = dict(HALVED)
    if np.allclose(cost["u_train"], cost["n"]):  # a law of their product cannot rank the two
        labels = {"u_test": HALVED["u_test"], "n": "molecules trained on, in cells or in depth alike"}
    axes = sorted(labels, key=lambda axis: -over_data_sets(cost[axis], cost["dataset"])[0])
    told = labels[axes[0]]
    for before, after in pairwise(axes):
        _, low, _ = over_data_sets(cost[before] - cost[after], cost["dataset"])
        told += f", then the {labels[after]}{'' if low > 0 else ' (not told apart from the one before)'}"
    return told


@style.book_style()
def factorial_figure(table: pd.DataFrame) -> Figure:
    """Plot bits against test depth, one line per training depth; markers are measurements, lines are fits."""
    fits = {(fit.data.key[:2], fit.data.key[2]): fit for fit in _fitted(table)[1]}
    colours = ["#fca50a", "#e55c30", "#bc3754", "#932667", "#57106e", "#160b39"]  # inferno, dark where deep

    def draw(axes: Axes, signal: tuple[str, str], model: str) -> None:
        style.bits_axes(axes)
        if (fit := fits.get((signal, model))) is None:
            return
        n, w, u = fit.data.at
        for depth, place in zip(np.unique(w), np.linspace(0, 5, len(np.unique(w))), strict=True):
            here = (n == n.max()) & (w == depth)
            line = np.geomspace(u.min(), u.max(), 60)
            look = {"color": colours[round(place)]}
            axes.plot(u[here], fit.data.means[0][here], linestyle="", marker="o", markersize=3.2, **look)
            axes.plot(line, fit.predict(np.array([np.full(60, n.max()), np.full(60, depth), line]))[0], **look)

    names = pd.DataFrame([(*signal, model) for signal, model in fits], columns=_NAMES)
    made = signal_panels(names, names["model"], draw, xlabel=f"{style.UMIS} of the test cells", height=1.55)
    places = np.linspace(5, 0, max(len(np.unique(fit.data.at[1])) for fit in fits.values()))
    told = [
        "trained on all molecules",
        *(f"{nth} most" for nth in ("2nd", "3rd", "4th", "5th")[: len(places) - 2]),
        "fewest",
    ]
    marks = ({"color": colours[round(place)], "marker": "o", "label": t} for place, t in zip(places, told, strict=True))
    style.legend(made, *marks)
    return made


@cache
def parent_depths() -> pd.DataFrame:
    """The parent paper's bits with only the embedded cells thinned, and with the training cells thinned alike.

    Columns: model, umis_per_cell, embedded_thinned, all_thinned (bits); the depths of the two tables agree within
    0.3 %. All rows are of the paper's blood cells and proteins, at its most training cells.
    """
    alike = largest(protocol_rows(read_parent()).query("dataset == 'pbmc' and signal == 'protein'"))
    tables = {"embedded_thinned": read_parent("inference"), "all_thinned": alike}
    columns = ["model", "umis_per_cell"]
    parts = [t[[*columns, "mi_bits"]].rename(columns={"mi_bits": name}) for name, t in tables.items()]
    one, other = (part.assign(log_u=np.log(part["umis_per_cell"])).sort_values("log_u") for part in parts)
    other = other.drop(columns="umis_per_cell")
    both = pd.merge_asof(one, other, on="log_u", by="model", direction="nearest", tolerance=0.01)
    return both.drop(columns="log_u").dropna(subset="all_thinned").sort_values(columns, ignore_index=True)


def parent_sentence() -> HTML:
    """Sentence on what thinning the embedded cells alone costs the parent paper's transformer, against thinning all."""
    every = parent_depths().assign(gap=lambda table: table["embedded_thinned"] - table["all_thinned"])
    offsets = every.groupby("model")["gap"].last()  # at full depth, where nothing is thinned
    here, offset = every.query("model == 'geneformer'"), offsets["geneformer"]
    new, both = (here[name].iloc[-1] - here[name].iloc[0] for name in ("embedded_thinned", "all_thinned"))
    gaps, depths = here["gap"].iloc[:-1], here["umis_per_cell"]
    told = "is more than" if gaps.min() > offset else "is not told apart from"
    others = ", ".join(f"{style.label(model)} {gap:+.2f}" for model, gap in offsets.drop("geneformer").items())
    return page.paragraph(
        f"The parent paper's transformer, trained on its most cells, loses {new:.2f} bits from {depths.iloc[-1]:,.0f} "
        f"to {depths.iloc[0]:.0f} UMIs a cell where the embedded cells alone are thinned, and {both:.2f} where its "
        "training cells are too. Where both curves are thinned the "
        f"first lies {gaps.min():+.2f} to {gaps.max():+.2f} bits above the second, {gaps.mean():+.2f} in the mean of "
        f"depths; at full depth, where nothing is thinned in either table, they differ by {offset:+.2f} ({others}). "
        f"What training on deep cells is worth {told} this offset of the two tables."
    )
