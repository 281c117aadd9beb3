"""The authors' later tables: sizes of Geneformer, a fine-tuned pretrained model, a hyper-parameter search.

The tables have no licence and are not kept here; fits of Eq. 1 to their curves are (`data/published/follow_up.csv`).
"""

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from scipy import stats

from .. import datasets, laws
from ..laws.curves import fit_groups
from ..measurements import published
from . import page, style
from .model_size import LABELS

SIZES, PRETRAINED, TRIALS = "sizes of Geneformer", "pretrained, fine-tuned", "hyper-parameters"
_FILES = {
    SIZES: ("geneformer_model_size_sweep", "trainable_params_M", "mi_protein_counts"),
    PRETRAINED: ("state_se100m_finetuned_pbmc", "size", "mi"),
    TRIALS: ("state_hyperparameter_sweep", "trial_id", "mi"),
}
"""By table: its file, the column that names a curve, and the column of bits. All tables are of PBMC proteins."""
_CURVES = {SIZES: "{:.1f} M parameters", PRETRAINED: "{:,.0f} training cells", TRIALS: "trial {:.0f}"}


def _points() -> pd.DataFrame:
    """Return the published table's means over seeds for the same cells and signal, PBMC proteins."""
    points = published.statistics("points")
    return points[(points["dataset"] == "pbmc") & (points["signal"] == "protein") & (points["rows"] == published.ALL)]


def fits() -> pd.DataFrame:
    """Fit Eq. 1 to each curve of the tables, whose files are downloaded if needed.

    Columns: table, curve (millions of parameters, training cells or trial number), learning_rate (of trials),
    deepest_bits, and the columns of a fit.
    """
    points, parts, by = _points(), [], ["table", "curve"]
    depth = points.groupby(points["fraction"].round(6))["umis_per_cell_nominal"].first()
    for name, (file, curve, bits) in _FILES.items():
        raw = pd.read_csv(datasets.fetch("published_follow_up", f"published/{file}.csv")).dropna(subset=bits)
        numbers = {"curve": raw[curve], "mi_bits": raw[bits], "learning_rate": raw.get("max_lr", np.nan)}
        table = raw.assign(table=name, umis_per_cell=raw["quality"].round(6).map(depth), **numbers)
        table = table.sort_values([*by, "umis_per_cell"])
        facts = table.groupby(by).agg(learning_rate=("learning_rate", "first"), deepest_bits=("mi_bits", "last"))
        parts.append(facts.reset_index().merge(fit_groups(table, by)))
    return pd.concat(parts, ignore_index=True)


def _of(table: str) -> pd.DataFrame:
    found = published.statistics("follow_up")
    return found[found["table"] == table].reset_index(drop=True)


def sizes_sentence() -> HTML:
    """Say how Eq. 1's parameters and full-depth bits vary with the size of Geneformer in the authors' sweep."""
    found = _of(SIZES)
    fits = [found.iloc[i] for i in (found["i_max"].idxmax(), 0, -1)]
    best, first, last = (page.interval(*fit[["i_max", "i_max_low", "i_max_high"]]) for fit in fits)
    above = (found["deepest_bits"] > found["i_max"]).sum()
    rank = stats.spearmanr(found["curve"], found["u_bar"]).statistic
    return page.paragraph(
        f"Of {len(found)} sizes of Geneformer the one of {fits[0]['curve']:.1f} M parameters has the highest I_max, "
        f"{best} bits; the smallest, of {fits[1]['curve']:.1f} M, has {first}, the largest, of "
        f"{fits[2]['curve']:.0f} M, {last}. ū runs from {page.span(found['u_bar'])} UMIs per cell, with a rank "
        f"correlation of {rank:.2f} with size. At full depth the sizes find, from the smallest to the largest, "
        f"{', '.join(f'{bits:.2f}' for bits in found['deepest_bits'])} bits: in {above} of {len(found)} more than the "
        "I_max of the fit, which passes below its last points.",
        "finding",
    )


def lead() -> HTML:
    """Say as a finding whether larger Geneformers of the authors find more bits, measured at full depth."""
    found = _of(SIZES)
    best, last = found.loc[found["deepest_bits"].idxmax()], found.iloc[-1]
    return page.paragraph(
        f"Larger is not better by itself: of {len(found)} sizes of the authors' Geneformer, "
        f"{found['curve'].iloc[0]:.1f} to {last['curve']:.0f} M parameters, that of {best['curve']:.1f} M finds the "
        f"most bits at full depth, {best['deepest_bits']:.2f}, and the largest {last['deepest_bits']:.2f}.", "finding",
    )  # fmt: skip


def pretrained_sentence() -> HTML:
    """Say what cells add to a fine-tuned pretrained model, compared with models trained on these cells alone."""
    found, points = _of(PRETRAINED), _points()
    cells, bits = found["curve"], found["deepest_bits"]
    line = stats.linregress(np.log10(cells), bits)
    half = stats.t.ppf(0.975, len(found) - 2) * line.stderr
    deep = points[points["fraction"] == 1].sort_values("n_cells").groupby("model")["mi_bits"].agg(["first", "last"])
    others = ", ".join(f"{style.label(row.Index)} {row.first:.2f} to {row.last:.2f}" for row in deep.itertuples())
    return page.paragraph(
        f"The pretrained model finds {bits.iloc[0]:.2f} bits at full depth where it is fine-tuned on "
        f"{cells.iloc[0]:,.0f} cells and {bits.iloc[-1]:.2f} on {cells.iloc[-1]:,.0f}: "
        f"{page.interval(line.slope, line.slope - half, line.slope + half, '+.3f')} for ten times the cells. Models "
        f"trained on these cells alone, over the same range: {others}. Its ū is within the depths of the data in "
        f"{(found['status'] == laws.CONVERGED).sum()} of {len(found)} curves: at full depth more molecules still help."
    )


def trials_sentence() -> HTML:
    """Summarise the hyper-parameter search: bits by learning rate, and the fits of the best trials."""
    found = _of(TRIALS)
    bits, rates = found["deepest_bits"], found.groupby("learning_rate")["deepest_bits"]
    told = ", ".join(f"of {rate:g} {here.min():.2f} to {here.max():.2f}" for rate, here in rates)
    share = (rates.max() - rates.min()).mean() / (bits.max() - bits.min())
    good = found[bits > 0.8 * bits.max()]
    return page.paragraph(
        f"Over {len(found)} trials the bits at full depth run from {page.span(bits, '.2f')}; at a learning rate {told}"
        f". Trials of one rate differ by {share:.0%} of that range in the mean. The {len(good)} within 20 % of the best"
        f" have I_max of {page.span(good['i_max'], '.2f')} bits and ū of {page.span(good['u_bar'])} UMIs per cell."
    )


def table() -> HTML:
    """Return a table of every fit, each curve named by the quantity that its source table varies."""
    full = published.statistics("follow_up")
    curves = [_CURVES[name].format(curve) for name, curve in zip(full["table"], full["curve"], strict=True)]
    shown = page.brief(full.assign(curve=curves).drop(columns="learning_rate"))
    return page.as_table(shown, "follow_up.csv", full=full)


@style.book_style()
def sizes_figure() -> Figure:
    """Draw I_max and u_bar against Geneformer's size, and full-depth bits against the cells of fine-tuning."""
    figure, panels = style.new_figure(1, 3, 2.8, titles=(SIZES, SIZES, PRETRAINED))
    found, look = _of(SIZES), {"color": style.colour("geneformer"), "marker": "s"}
    found = found[found["status"] == laws.CONVERGED]
    for axes, (name, label) in zip(panels[0], LABELS.items(), strict=False):
        ends = found[[f"{name}_low", f"{name}_high"]].to_numpy().T
        spread = np.abs(np.nan_to_num(ends, posinf=1e9) - found[name].to_numpy())
        axes.errorbar(found["curve"], found[name], yerr=spread, capsize=2, **look)
        axes.set(xlabel="M parameters", ylabel=label)
    panels[0, 0].set_ylim(0, 1.5 * found["i_max"].max())
    style.log_y_axis(panels[0, 1])
    panels[0, 1].set_ylim(found["u_bar"].min() / 4, found["u_bar"].max() * 4)
    tuned = _of(PRETRAINED)
    panels[0, 2].plot(tuned["curve"], tuned["deepest_bits"], **look)
    panels[0, 2].set(xlabel="training cells", ylabel="bits at full depth", ylim=(0, 1.5 * tuned["deepest_bits"].max()))
    for axes, every in zip(panels[0], (1, 1, 2), strict=True):
        style.log_axis(axes, every=every)
    return figure
