"""Effects of ablations (named changes of our protocol), from rows paired with the rows measured without the change."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from .. import laws
from ..errors import enough
from ..laws.curves import fit_groups
from ..laws.grids import UNIMPROVABLE
from ..measurements import KEY, protocol_rows
from . import page, style
from .figures import largest, of_signal, signal_panels

ABLATIONS = {
    "thin_per_gene": "each gene thinned to a fixed total",
    "genes_full_depth": "genes chosen, and medians taken, at full depth",
    "both_pair_orders": "pairs counted in both orders",
    "both_orders_together": "that, of which: both orders, groups in one fold",
    "pairs_ungrouped": "that, of which: folds that cut groups",
    "epoch_patience": "patience counted in epochs",
    "stop_on_scored": "scored cells choose when to stop",
}
"""Variants that switch on a choice of the published code, each with its label."""

PAIR_ORDERS = ("both_pair_orders", "both_orders_together", "pairs_ungrouped")
"""The published treatment of pairs (both orders, no groups), and each of its two parts alone."""

SOURCES = {
    "vary_split": "split of the cells",
    "vary_thin": "thinning",
    "vary_model": "training (or the random projection's draw)",
    "vary_estimator": "estimator",
}
"""Variants in which one random stream (the label) follows the row's seed while all others use seed 0."""

TRAIN_FULL, TEST_FULL = "train_full_depth", "test_full_depth"
DEPTHS = {
    "": ("train and test thinned", "-"),
    TRAIN_FULL: ("train at full depth, test thinned", "--"),
    TEST_FULL: ("train thinned, test at full depth", ":"),
}
NOMINAL = "nominal depth on the axis"
NO_DEPTHS = "No row with training and test cells thinned apart is in this table."

_PAIR = [name for name in KEY if name != "variant"]
_UNIT = ["dataset", "model", "estimator"]
_CURVE = ["dataset", "signal", "model", "estimator", "n_cells"]


def paired(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Pair each measured row of `variant` with the protocol's row: columns bits, base, effect = bits - base."""
    base = protocol_rows(table, controls=True)[[*_PAIR, "mi_bits", "umis_per_cell"]]
    other = protocol_rows(table, controls=True, variant=variant)[[*_PAIR, "mi_bits", "umis_per_cell"]]
    both = other.merge(base, on=_PAIR, suffixes=("", "_base"))
    both = both.rename(columns={"mi_bits": "bits", "mi_bits_base": "base"})
    return both.assign(effect=both["bits"] - both["base"])


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Effect of each ablation by data set, model and estimator: on bits (all depths and cells), u_bar and I_max.

    The last rows replace the measured depth by the nominal one, which changes the fitted law but not the bits. `stderr`
    is the standard error over the means of the seeds (NaN with one seed); `low_depth` is the mean effect in the
    shallowest third. u_bar and I_max are fits of Eq. 1 at the largest cell number, with and without the ablation, each
    with a 95 % interval; NaN where a curve has too few depths or its fit found no minimum between its bounds.
    """
    pairs = ((label, paired(table, variant)) for variant, label in ABLATIONS.items())
    found = [row for label, both in pairs for row in _effect_rows(label, both)]
    enough(found, "No row with a published choice switched on is in this table.")
    return pd.DataFrame([*found, *_effect_rows(NOMINAL, nominal_depth(table))])


def effects_table(table: pd.DataFrame) -> HTML:
    """Show `effects` without the nominal depth's rows (0 bits) and some columns; the download holds all of them."""
    found = effects(table)
    left = found["ablation"] == NOMINAL
    said = f"In the download alone: {page.counted(int(left.sum()), 'row')} of the {NOMINAL}, 0 bits by construction."
    said_once = ["estimator"] if found["estimator"].nunique() == 1 else []  # the download's name says which
    shown = found[~left].drop(columns=["pairs", *said_once])
    return page.as_table(shown, "effects.csv", full=found, title=said if left.any() else "")


def pair_orders(table: pd.DataFrame) -> HTML:
    """Sentence on the bits added by counting pairs in both orders, and by its two parts alone (means over curves)."""
    found = effects(table).pivot(index=_UNIT, columns="ablation", values="effect")
    both = found.reindex(columns=[ABLATIONS[name] for name in PAIR_ORDERS]).dropna()
    enough(both, "No pairs were counted in both orders, and in each of its two parts, in this table.")
    mean, more = both.mean().tolist(), (both.iloc[:, 0] > both.iloc[:, 1:].sum(axis=1)).sum()
    return page.paragraph(
        f"Both choices together add {mean[0]:.2f} bits in the mean of {len(both)} curves; "
        f"both orders alone {mean[1]:.2f}, folds that cut groups alone {mean[2]:.2f}. In {more} of {len(both)} the two "
        "together add more than their sum: a pair whose mirror image was in training is known before it is scored."
    )


def nominal_depth(table: pd.DataFrame) -> pd.DataFrame:
    """Pair the nominal with the measured depth, in the form of `paired`: default estimator and trained models only."""
    rows = protocol_rows(table)
    rows = rows[~rows["model"].isin(UNIMPROVABLE) & (rows["estimator"] == "default")]
    nominal = {"umis_per_cell_base": rows["umis_per_cell"], "umis_per_cell": rows["umis_per_cell_nominal"]}
    return rows.assign(bits=rows["mi_bits"], base=rows["mi_bits"], **nominal)


def _effect_rows(label: str, both: pd.DataFrame) -> Iterable[dict[str, object]]:
    """One row of `effects` for each data set, model and estimator of paired rows."""
    for key, here in both.groupby(_UNIT, sort=True):
        effect = here["bits"] - here["base"]
        by_seed = effect.groupby(here["seed"]).mean()  # all pairs of a seed share its split of the cells
        low = here["fraction"] <= here["fraction"].quantile(1 / 3)
        yield {
            "ablation": label, **dict(zip(_UNIT, key, strict=True)), "pairs": len(here), "seeds": len(by_seed),
            "effect": effect.mean(), "stderr": by_seed.sem(), "low_depth": effect[low].mean(), **_parameters(here),
        }  # fmt: skip


def _parameters(rows: pd.DataFrame) -> dict[str, float]:
    """u_bar and I_max with intervals at the largest cell number of paired rows, without and with the ablation."""
    here = rows[rows["n_cells"] == rows["n_cells"].max()]
    out: dict[str, float] = {}
    for suffix, depth, bits in (("without", "umis_per_cell_base", "base"), ("with", "umis_per_cell", "bits")):
        fit = laws.fit_noise_law(here[depth], here[bits]) if here[depth].round(3).nunique() >= 4 else None
        settled = fit is not None and fit.status in (laws.CONVERGED, laws.BEYOND)
        for name in ("u_bar", "i_max"):
            found = (getattr(fit, name), *getattr(fit, f"{name}_interval")) if settled else (np.nan,) * 3
            out |= {f"{name}_{suffix}{end}": value for end, value in zip(("", "_low", "_high"), found, strict=True)}
    return out


def noise_by_source(table: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation in bits when only one random stream is redrawn, pooled over depths and cell numbers."""
    rows = pd.concat([protocol_rows(table, controls=True, variant=v).assign(source=SOURCES[v]) for v in SOURCES])
    bits = rows.groupby(["source", *_UNIT, "n_cells", "fraction"], sort=False)["mi_bits"]
    points = bits.agg(["var", "count"]).dropna()
    points = points.assign(degrees_of_freedom=points["count"] - 1, squares=points["var"] * (points["count"] - 1))
    sums = points.groupby(["source", *_UNIT])[["degrees_of_freedom", "squares"]].sum()
    sums = enough(sums[sums["degrees_of_freedom"] > 0], "No repeats by source are in this table.")
    sums = sums.reindex(SOURCES.values(), level="source").reset_index()
    freedom, squares = sums["degrees_of_freedom"], sums.pop("squares")
    low, high = (np.sqrt(squares / stats.chi2.ppf(p, freedom)) for p in (0.975, 0.025))
    sums.insert(4, "sd", np.sqrt(squares / freedom))
    return sums.assign(sd_low=low, sd_high=high)


def separate_depths(table: pd.DataFrame) -> pd.DataFrame:
    """Mean bits over seeds by data set, model, cell number and depth, with one column per way of thinning.

    `u` is the depth of the thinned side: of the training cells where the test cells keep all their molecules. Only the
    largest cell number of each data set is used, and only seeds measured in every way of thinning of their curve.
    """
    ways = pd.concat([protocol_rows(table, controls=True, variant=variant) for variant in DEPTHS])
    having = ways.loc[ways["variant"] == TRAIN_FULL, _CURVE].drop_duplicates()
    ways = ways.merge(enough(having, NO_DEPTHS), on=_CURVE)
    here, of_seed = (ways.groupby(by)["variant"].transform("nunique") for by in (_CURVE, [*_CURVE, "seed"]))
    ways = ways[of_seed == here]
    enough(ways, "No seed has training and test cells thinned together and apart in this table.")
    bits = ways.pivot_table(index=[*_CURVE, "fraction"], columns="variant", values="mi_bits")
    depth = ways[ways["variant"] == ""].groupby([*_CURVE, "fraction"])["umis_per_cell"].mean()
    return largest(bits.assign(u=depth).dropna(subset=["u"]).reset_index())


@style.book_style()
def separate_depths_figure(table: pd.DataFrame) -> Figure:
    """Plot bits against depth with training and test cells thinned together or one side alone; one panel per curve."""
    bits = separate_depths(table[table["estimator"] == "default"])

    def draw(axes: Axes, signal: tuple[str, str], model: str) -> None:
        style.bits_axes(axes)
        here = of_signal(bits[bits["model"] == model], signal)
        for variant, (_, line) in DEPTHS.items():
            if variant in here:
                style.plot(axes, model, here["u"], here[variant], linestyle=line)

    figure = signal_panels(bits, bits["model"], draw, xlabel=f"{style.UMIS} of what was thinned", height=1.9)
    marks = [{"color": "0.25", "linestyle": line, "label": label} for label, line in DEPTHS.values()]
    style.legend(figure, *marks, handlelength=2.6)
    return figure


def depth_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Eq. 1 for each way of thinning, at the largest number of cells: parameters, intervals and status."""
    bits = separate_depths(table).rename(columns={"u": "umis_per_cell"} | {v: name for v, (name, _) in DEPTHS.items()})
    ways = [name for name, _ in DEPTHS.values() if name in bits]
    curves = bits.melt([*_CURVE, "umis_per_cell"], ways, "thinned", "mi_bits").dropna()
    lowest = curves.sort_values("umis_per_cell").groupby([*_CURVE, "thinned"])["mi_bits"].first()
    fits = fit_groups(curves, [*_CURVE, "thinned"])
    return fits.merge(lowest.rename("bits_at_lowest_depth").reset_index())


def fixed_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Pair the rows of each fixed number of optimiser steps (column `steps`) with the rows of early stopping."""
    variants = sorted(v for v in table["variant"].unique() if v.startswith("fixed_steps_"))
    pairs = [paired(table, v).assign(steps=int(v.removeprefix("fixed_steps_"))) for v in variants]
    return pd.concat(pairs) if pairs else pd.DataFrame()


def steps_effects(table: pd.DataFrame) -> pd.DataFrame:
    """Bits at a fixed number of optimiser steps, with early stopping, and the difference, over seeds with both."""
    pairs = enough(fixed_steps(table), "No row with a fixed number of steps is in this table.")
    return pairs.groupby([*_UNIT, "steps", "n_cells", "fraction"]).agg(
        early_stopping=("base", "mean"), fixed_steps=("bits", "mean"), difference=("effect", "mean"),
        sd_over_seeds=("effect", "std"), seeds=("effect", "count"),
    ).reset_index()  # fmt: skip
