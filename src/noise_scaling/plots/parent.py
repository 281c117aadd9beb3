"""The parent paper's tables against the paper's table and ours, and where the two papers of one group disagree."""

from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import spearmanr

from .. import laws
from ..measurements import protocol_rows
from ..measurements.parent import read_parent
from . import ledger, page, style
from .claims import CLAIMS, FAILS, HOLDS, PARTLY
from .figures import curves, largest, of_signal, signal_panels, usable, without_controls

PARENT, PAPER, OURS = "parent paper", "the paper", "ours"
SHARED = (("pbmc", "protein"), ("larry", "clone"), ("merfish", "space"))
"""Data sets and signals that both papers measured; fine cell types are left out, as their labels differ."""
_NONE = "not determined"
_SETTLED = {"i_max": (laws.CONVERGED, laws.BEYOND), "u_bar": (laws.CONVERGED,)}
"""Statuses of fits that determine a parameter: I_max still has an interval where ū lies beyond the data."""
_NAMES = {
    "geneformer_pretrained": "pretrained Geneformer", "scgpt_pretrained": "pretrained scGPT",
    "ranks_random_projection": "random projection of ranks", "fine-tuned on celltype": "fine-tuned on cell type",
}  # fmt: skip
"""Labels of models in the parent's other tables that are in no registry."""


def fits(measurements: str | Path, reference: str | Path) -> pd.DataFrame:
    """Fit Eq. 1 to every curve at the most cells of three tables; the parent's transformer is not a Geneformer."""
    tables = {PARENT: read_parent(), PAPER: page.measured(reference).table, OURS: page.measured(measurements).table}
    found = pd.concat([_fits(table).assign(table=name) for name, table in tables.items()])
    found.loc[found["table"] == PARENT, "preset"] = "its own"
    kept = ["i_max", "i_max_low", "i_max_high", "u_bar", "u_bar_low", "u_bar_high", "r_squared", "status"]
    return found[["table", "dataset", "signal", "model", "preset", "n_cells", *kept]]


def _fits(table: pd.DataFrame) -> pd.DataFrame:
    return laws.fit_curves(without_controls(largest(usable(table))))


def disagreements(reference: str | Path) -> pd.DataFrame:
    """Compare the two papers by signal and model: bits at the same cells and depth, and Eq. 1 at the most cells.

    The paper's bits, means over its seeds, are interpolated in the logarithms of cells and depth at every point of the
    parent's grid that lies in the paper's. "beyond seeds" is the share of these points at which the papers differ by
    more than twice the standard deviation of the paper's seeds (root mean square over its grid). A parameter agrees if
    both fits determine it (a status of `_SETTLED`, an interval with two ends) and the two intervals overlap.
    """
    tables, rows = [read_parent(), usable(page.measured(reference).table)], []
    fitted = [_fits(table).set_index(["dataset", "signal", "model"]) for table in tables]
    for signal in SHARED:
        for model in style.ordered(without_controls(of_signal(tables[1], signal))["model"]):
            gap, noise = _gaps(*(of_signal(table[table["model"] == model], signal) for table in tables))
            fits = [found.loc[(*signal, model)] for found in fitted]
            rows.append({
                "signal": style.title(*signal), "model": model, "points": len(gap),
                "parent - paper (bits)": gap.mean(), "mean size": np.abs(gap).mean(),
                "beyond seeds": float((np.abs(gap) > 2 * noise).mean()),
            } | _compared(fits, "i_max", "I_max") | _compared(fits, "u_bar", "ū"))  # fmt: skip
    return pd.DataFrame(rows)


def _gaps(here: pd.DataFrame, there: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Return the first table's bits less the second's, at the first's points, and the second's spread over seeds."""
    bits = there.pivot_table(index="n_cells", columns="fraction", values="mi_bits")
    at = np.log(bits.index.to_numpy()), np.log(there.groupby("fraction")["umis_per_cell"].mean().to_numpy())
    surface = RegularGridInterpolator(at, bits.to_numpy(), bounds_error=False)
    points = protocol_rows(here)
    gap = points["mi_bits"].to_numpy() - surface(np.log(points[["n_cells", "umis_per_cell"]].to_numpy(float)))
    variance = there.groupby(["n_cells", "fraction"])["mi_bits"].var()
    return gap[np.isfinite(gap)], float(np.sqrt(variance.mean()))


def _compared(fits: list[pd.Series], name: str, shown: str) -> dict[str, object]:
    """Return a parameter of two fits, NaN where a fit does not determine it, and whether the intervals overlap."""
    lows, highs = ([fit[f"{name}_{end}"] for fit in fits] for end in ("low", "high"))
    finite = np.isfinite(np.array([lows, highs], float)).all(axis=0)
    known = [fit["status"] in _SETTLED[name] and told for fit, told in zip(fits, finite, strict=True)]
    values = [fit[name] if told else np.nan for fit, told in zip(fits, known, strict=True)]
    said = ("yes" if max(lows) <= min(highs) else "no") if all(known) else _NONE
    return {f"{shown}, parent": values[0], f"{shown}, paper": values[1], f"{shown} agrees": said}


def disagreements_table(reference: str | Path) -> HTML:
    """Return `disagreements` as a table to read, depths without decimals, and to download."""
    forms = dict.fromkeys(("ū, parent", "ū, paper"), "{:,.0f}")
    return page.as_table(disagreements(reference), "two_papers.csv", forms=forms)


def sentences(reference: str | Path) -> HTML:
    """Summarise `disagreements`, and rank the models of both papers in a sentence for each signal."""
    found = disagreements(reference)
    learnt = found[found["model"] != "random_projection"]
    share = np.average(learnt["beyond seeds"], weights=learnt["points"])
    gaps = found.groupby("model", sort=False)["parent - paper (bits)"].mean()
    lines = [
        f"Of {learnt['points'].sum():,} points of trained models that lie in both grids, {share:.0%} differ by more "
        "than twice the spread of the paper's seeds.",
        f"Bits of the parent paper less those of the paper, in the mean: "
        f"{', '.join(f'{style.label(m)} {v:+.2f}' for m, v in gaps.items())}.",
    ]
    for name, text in (("I_max", "capacity"), ("ū", "depth scale")):
        said = found[f"{name} agrees"]
        told = f"{(said == 'yes').sum()} of the {(said != _NONE).sum()} curves on which both papers determine it"
        lines.append(f"The {text} {name} agrees in {told}.")
    tables = {PARENT: usable(read_parent()), PAPER: usable(page.measured(reference).table)}
    for signal in SHARED:
        orders = []
        for name, table in tables.items():
            here = without_controls(of_signal(largest(table), signal))
            bits = here[here["fraction"] == here["fraction"].max()].groupby("model")["mi_bits"].mean()
            each = (f"{style.label(m)} {v:.2f}" for m, v in bits.sort_values(ascending=False).items())
            orders.append(f"{name} {', '.join(each)}")
        lines.append(f"{style.title(*signal)}, most cells and full depth: {'; '.join(orders)}.")
    return page.bullets(lines, "finding")


@page.told
def against(reference: str | Path) -> HTML:
    """Say which claims hold, at least partly, on the paper's table and fail on the parent's."""
    theirs, parents = (ledger.Column("", t).findings for t in (page.measured(reference).table, read_parent()))
    found = [
        f"“{ledger.full_text(claim)}” ({claim.statistic}: {theirs[claim].value:z.2f} on the paper's table and "
        f"{parents[claim].value:z.2f} on the parent's)"
        for claim in CLAIMS
        if parents[claim].verdict == FAILS and theirs[claim].verdict in (HOLDS, PARTLY)
    ]
    what = f"on the parent paper's table {page.counted(len(found), 'claim')}" if found else "no claim"
    return page.paragraph(
        f"Of the claims that hold, or hold partly, on the paper's table, {what} fail{'s' * (len(found) < 2)}"
        f"{': ' + '; '.join(found) if found else ' on the parent paper’s'}."
    )


def claims(measurements: str | Path, reference: str | Path) -> HTML:
    """Return the ledger of the paper's claims on the parent's table, the paper's rows of the same data, and ours."""
    paper, ours = page.measured(reference).table, page.measured(measurements).table
    same = paper[paper["dataset"].isin([dataset for dataset, _ in SHARED])]
    columns = [
        ledger.Column(PARENT, read_parent()), ledger.Column("the paper, same data sets", same),
        ledger.Column("ours, default", ours[ours["estimator"] == "default"]),
    ]  # fmt: skip
    return ledger.of_columns(columns, download="parent_claims.csv")


@style.book_style()
def curves_figure(reference: str | Path) -> Figure:
    """Draw bits against depth at the largest number of cells in both papers, a row for each signal, with Eq. 1."""
    tables = {PARENT: usable(read_parent()), PAPER: usable(page.measured(reference).table)}
    models = without_controls(tables[PAPER])["model"]
    looks = {PARENT: {"marker": "o", "linestyle": "-"}, PAPER: {"marker": "x", "linestyle": "--"}}

    def draw(axes: Axes, signal: tuple[str, str], model: str) -> None:
        for name, table in tables.items():
            here = largest(of_signal(table[table["model"] == model], signal))
            u, bits = (here[column].to_numpy() for column in ("umis_per_cell", "mi_bits"))
            style.plot(axes, model, u, bits, **looks[name] | {"linestyle": ""})
            at, line = np.geomspace(u.min(), u.max(), 100), looks[name]["linestyle"]
            axes.plot(at, laws.fit_noise_law(u, bits).predict(at), color=style.colour(model), linestyle=line)
        style.bits_axes(axes)
        style.log_axis(axes, every=2)

    rows = pd.DataFrame(SHARED, columns=["dataset", "signal"])
    figure = signal_panels(rows, models, draw, height=1.75, sharex=True, name="curves")
    style.legend(figure, *({"color": "0.3", "label": name} | look for name, look in looks.items()))
    return figure


@style.book_style()
def tables_figure() -> Figure:
    """Draw the parent's other comparisons: estimators, depth changed at inference, fine-tuning, ranks and counts."""
    compared, tuned, ranks = (read_parent(name) for name in ("estimators", "finetuning", "ranks"))
    compared, ranked = compared[compared["signal"] == "protein"], {"model": ranks["encoding"] + "s"}
    drawn = {
        "estimators, of scVI": compared.assign(model=compared["estimator"]),
        "thinned when embedded only": read_parent("inference"),
        "a pretrained Geneformer": tuned.assign(model="fine-tuned on " + tuned["signal"]),
        "random projection, 16 dimensions": ranks.assign(fraction=ranks["umis_per_cell"], **ranked),
    }
    figure, panels = style.new_figure(2, 2, 7.0, titles=drawn, name="tables")
    for axes, table in zip(panels.flat, drawn.values(), strict=True):
        curves(axes, table, "umis_per_cell")
        axes.set(xlabel=style.UMIS, ylabel=style.BITS)
        looks = [(m, style.colour(m), style.marker(m)) for m in style.ordered(table["model"])]
        marks = [Line2D([], [], color=c, marker=k, label=_NAMES.get(m, style.label(m))) for m, c, k in looks]
        axes.legend(handles=marks, frameon=False, fontsize=8.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def tables_sentences() -> HTML:
    """Summarise each of the parent's other tables in a sentence with its numbers."""
    by = read_parent("estimators").pivot_table(index=["signal", "fraction"], columns="estimator", values="mi_bits")
    above = (by["LMI"] > by[["InfoNCE", "MINE"]].max(axis=1)).sum()
    full = ", ".join(f"{name} {bits:.2f}" for name, bits in by.xs(1.0, level="fraction").mean().items())
    ranks = read_parent("ranks").pivot(index="umis_per_cell", columns="encoding", values="mi_bits").sort_index()
    lost = ranks["count"] - ranks["rank"]
    embedded = read_parent("inference").set_index(["model", "fraction"])["mi_bits"]
    tuned = read_parent("finetuning").query("fraction == 1").set_index("signal")["mi_bits"]
    gain = ", ".join(f"{v:.2f} bits ({name})" for name, v in (tuned - embedded["geneformer_pretrained", 1.0]).items())
    here = largest(read_parent().query("dataset == 'pbmc' and signal == 'protein' and model == 'geneformer'"))
    least, most = (float(f(here["fraction"])) for f in (min, max))
    trained = here.set_index("fraction")["mi_bits"]
    sizes, probe = read_parent("transformers"), read_parent("linear_probe")
    ranked = ((sizes, "validation_loss"), (probe, "accuracy"))
    by_loss, by_accuracy = (spearmanr(table[name], table["mi_bits"]).statistic for table, name in ranked)
    return page.bullets([
        f"Estimators on the same embeddings: LMI gives the most bits at {above} of {len(by)} points; means at full "
        f"depth are {full}.",
        f"Their transformer gives {embedded['geneformer', least]:.2f} bits where only the embedded cells are thinned, "
        f"to {least:g}, and {trained[least]:.2f} where its training cells are thinned too; at full depth "
        f"{embedded['geneformer', most]:.2f} and {trained[most]:.2f}.",
        f"Fine-tuning a pretrained Geneformer adds {gain} at full depth.",
        f"Ranks lose {lost.iloc[-1]:.2f} of {ranks['count'].iloc[-1]:.2f} bits at {ranks.index[-1]:,.0f} UMIs per cell "
        f"and {lost.iloc[0]:.2f} at {ranks.index[0]:,.0f}; they hold more at {(lost < 0).sum()} of {len(lost)} depths.",
        f"Bits of two layers of {len(sizes) // 2} transformers run from {sizes['mi_bits'].min():.2f} to "
        f"{sizes['mi_bits'].max():.2f}, with a rank correlation of {by_loss:.2f} with the validation loss.",
        f"Over {len(probe)} epochs of one training, bits and a linear probe's accuracy have a rank correlation of "
        f"{by_accuracy:.2f}.",
    ], "finding")  # fmt: skip
