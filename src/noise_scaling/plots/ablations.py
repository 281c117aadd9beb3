"""What a departure from our protocol does to the numbers: paired with the rows measured without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from .. import laws
from ..measurements import KEY, OK
from . import page, style

DEVIATIONS = {
    "thin_per_gene": "each gene thinned to a fixed total",
    "genes_full_depth": "genes chosen, and medians taken, at full depth",
    "both_pair_orders": "pairs counted in both orders",
    "epoch_patience": "patience counted in epochs",
    "stop_on_scored": "scored cells choose when to stop",
}
"""The published choices that can be switched on, in words."""

SOURCES = {
    "vary_split": "split of the cells",
    "vary_thin": "thinning",
    "vary_model": "training (or the random projection's draw)",
    "vary_estimator": "estimator",
}
"""Which one of the random streams follows the row's seed; the others are those of seed 0."""

TRAIN_FULL, TEST_FULL = "train_full_depth", "test_full_depth"
_PAIR = [name for name in KEY if name != "variant"]
_CURVE = ["dataset", "signal", "model", "estimator", "n_cells"]


def paired(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Each measured row of `variant` beside the row without it: columns bits, base, effect = bits - base."""
    table = table[(table["status"] == OK) & table["mi_bits"].notna()]
    other = table[table["variant"] == variant]
    base = table.loc[table["variant"] == "", [*_PAIR, "mi_bits", "umis_per_cell", "umis_per_cell_nominal"]]
    both = other[[*_PAIR, "mi_bits", "umis_per_cell"]].merge(base, on=_PAIR, suffixes=("", "_base"))
    both = both.rename(columns={"mi_bits": "bits", "mi_bits_base": "base"})
    return both.assign(effect=both["bits"] - both["base"])


def effects(table: pd.DataFrame, variants: dict[str, str] = DEVIATIONS) -> pd.DataFrame:
    """The effect of each variant by data set, model and estimator: bits (all depths and cells), u_bar and I_max.

    `stderr` is that of the mean over depths, cells and seeds; `low_depth` is the mean in the shallowest third.
    u_bar and I_max are those of Eq. 1 at the largest cell number, with the variant and without; blank where a curve
    has too few depths or its fit did not converge.
    """
    found = []
    for variant, words in variants.items():
        rows = paired(table, variant)
        for key, here in rows.groupby(["dataset", "model", "estimator"], sort=True):
            low = here["fraction"] <= here["fraction"].quantile(1 / 3)
            found.append(
                {"deviation": words, **dict(zip(("dataset", "model", "estimator"), key, strict=True))}
                | {"pairs": len(here), "effect": here["effect"].mean(), "stderr": here["effect"].sem()}
                | {"low_depth": here.loc[low, "effect"].mean()}
                | _parameters(here)
            )
    return pd.DataFrame(found)


NOMINAL = "nominal depth on the axis"


def nominal_depth(table: pd.DataFrame) -> pd.DataFrame:
    """What the nominal depth in place of the measured one does: rows as of `effects`; the bits stay, the law moves."""
    rows = table[(table["status"] == OK) & (table["variant"] == "") & table["mi_bits"].notna()]
    rows = rows[rows["model"].isin(["pca", "scvi", "geneformer"]) & (rows["estimator"] == "default")]
    rows = rows.assign(bits=rows["mi_bits"], base=rows["mi_bits"])
    found = []
    for key, here in rows.groupby(["dataset", "model", "estimator"], sort=True):
        depths = here.assign(umis_per_cell_base=here["umis_per_cell"], umis_per_cell=here["umis_per_cell_nominal"])
        found.append(
            {"deviation": NOMINAL, **dict(zip(("dataset", "model", "estimator"), key, strict=True))}
            | {"pairs": len(here), "effect": 0.0, "stderr": 0.0, "low_depth": 0.0}
            | _parameters(depths)
        )
    return pd.DataFrame(found)


def _parameters(rows: pd.DataFrame) -> dict[str, float]:
    """u_bar and I_max of the paired rows at their largest cell number, without and with the variant."""
    here = rows[rows["n_cells"] == rows["n_cells"].max()]
    out = {}
    for suffix, depth, bits in (("without", "umis_per_cell_base", "base"), ("with", "umis_per_cell", "bits")):
        fit = fit_or_none(here[depth], here[bits])
        out |= {f"u_bar_{suffix}": np.nan if fit is None else fit.u_bar}
        out |= {f"i_max_{suffix}": np.nan if fit is None else fit.i_max}
    return out


def fit_or_none(u: pd.Series, bits: pd.Series) -> laws.LawFit | None:
    """Eq. 1 through these points, or None where there are under 4 depths or the fit did not converge."""
    if u.round(3).nunique() < 4:
        return None
    fit = laws.fit_noise_law(u, bits)
    return fit if fit.status == laws.CONVERGED else None


def noise_by_source(table: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation in bits when one random stream alone is drawn anew, by data set, model and estimator.

    Pooled over depths and cell numbers; the interval is that of a pooled variance (chi-squared).
    """
    table = table[(table["status"] == OK) & table["mi_bits"].notna()]
    found = []
    for variant, words in SOURCES.items():
        here = table[table["variant"] == variant]
        for key, rows in here.groupby(["dataset", "model", "estimator"], sort=True):
            variances = rows.groupby(["n_cells", "fraction"])["mi_bits"].agg(["var", "count"]).dropna()
            freedom = int((variances["count"] - 1).sum())
            if freedom < 1:
                continue
            squares = float((variances["var"] * (variances["count"] - 1)).sum())
            found.append(
                {"source": words, **dict(zip(("dataset", "model", "estimator"), key, strict=True))}
                | {"sd": np.sqrt(squares / freedom), "degrees_of_freedom": freedom}
                | {"sd_low": np.sqrt(squares / stats.chi2.ppf(0.975, freedom))}
                | {"sd_high": np.sqrt(squares / stats.chi2.ppf(0.025, freedom))}
            )
    return pd.DataFrame(found)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    if "model" in table:
        table = table.assign(model=table["model"].map(lambda m: style.MODELS.get(m, m)))
    bits = [c for c in table if c in ("effect", "stderr", "low_depth", "sd", "sd_low", "sd_high") or "i_max" in c]
    return table.round({c: 3 for c in bits} | {c: 0 for c in table if "u_bar" in c})


def effects_table(source: str | Path) -> HTML:
    """`effects` of the published choices to read and to download; one sentence where nothing was measured."""
    rows = page.measured(source).table
    table = effects(rows)
    if len(table):
        table = pd.concat([table, nominal_depth(rows)], ignore_index=True)
    return _shown(table, "deviations.csv", "No row with a published choice switched on is in this table.")


def noise_table(source: str | Path) -> HTML:
    """`noise_by_source` to read and to download; one sentence where nothing was measured."""
    return _shown(
        noise_by_source(page.measured(source).table), "noise_by_source.csv", "No repeats by source are in this table."
    )


def _shown(table: pd.DataFrame, name: str, nothing: str) -> HTML:
    return page.as_table(_rounded(table), download=name, full=table) if len(table) else HTML(f"<p>{nothing}</p>")


DEPTHS = {
    "": ("train and test thinned", "-"),
    TRAIN_FULL: ("train at full depth, test thinned", "--"),
    TEST_FULL: ("train thinned, test at full depth", ":"),
}


def separate_depths(table: pd.DataFrame) -> pd.DataFrame:
    """Mean bits over seeds by data set, model, cells and depth of what was thinned, one column a way of thinning.

    `u` is the depth of the thinned side: of the training cells where the test cells keep all their molecules.
    """
    table = table[(table["status"] == OK) & table["variant"].isin(list(DEPTHS))]
    having = table.loc[table["variant"] == TRAIN_FULL, _CURVE].drop_duplicates()
    table = table.merge(having, on=_CURVE)
    bits = table.pivot_table(index=[*_CURVE, "fraction"], columns="variant", values="mi_bits")
    depth = table[table["variant"] == ""].groupby([*_CURVE, "fraction"])["umis_per_cell"].mean()
    return bits.assign(u=depth).dropna(subset=["u"]).reset_index() if len(bits) else pd.DataFrame()


def separate_depths_figure(table: pd.DataFrame, estimator: str = "default") -> Figure:
    """Bits against depth with training and test cells thinned together or one side alone; one panel a curve."""
    table = table[table["estimator"] == estimator]
    bits = separate_depths(table)
    if not len(bits):
        return _nothing("no separate depths in this table")
    bits = bits[bits["n_cells"] == bits.groupby("dataset")["n_cells"].transform("max")]
    sets, models = list(dict.fromkeys(bits["dataset"])), style.ordered(set(bits["model"]))
    with style.book_style():
        figure, panels = style.new_figure(len(sets), len(models), 0.9 + 1.9 * len(sets), sharey="row", sharex="row")
        for row, name in zip(panels, sets, strict=True):
            for axes, model in zip(row, models, strict=True):
                _depth_panel(axes, bits[(bits["dataset"] == name) & (bits["model"] == model)], model)
            signal = bits.loc[bits["dataset"] == name, "signal"].iloc[0]
            row[0].set_ylabel(f"{style.title(name, signal)}\n{style.BITS}")
        for axes, model in zip(panels[0], models, strict=True):
            axes.set_title(style.MODELS.get(model, model), loc="left")
        for axes in panels[-1]:
            axes.set_xlabel(f"{style.UMIS} of what was thinned")
        handles = [Line2D([], [], color="0.25", linestyle=line, label=words) for words, line in DEPTHS.values()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, handlelength=2.6)
    return figure


def _depth_panel(axes: Axes, bits: pd.DataFrame, model: str) -> None:
    style.log_axis(axes)
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    for variant, (_, line) in DEPTHS.items():
        if variant in bits:
            axes.plot(bits["u"], bits[variant], color=style.COLOURS[model], linestyle=line, marker=style.MARKERS[model])


def _nothing(words: str) -> Figure:
    figure, panels = style.new_figure(1, 1, 1.2)
    panels[0, 0].axis("off")
    panels[0, 0].text(0.5, 0.5, words, ha="center", va="center", color="0.35")
    return figure


def separate_depths_image(source: str | Path) -> Image:
    """The figure of separate depths, drawn from a measurements table."""
    return Image(style.as_png(separate_depths_figure(page.measured(source).table)), format="png")


def depth_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Eq. 1 for each way of thinning, at the largest number of cells: parameters, intervals and status."""
    bits = separate_depths(table)
    if not len(bits):
        return bits
    bits = bits[bits["n_cells"] == bits.groupby("dataset")["n_cells"].transform("max")]
    found = []
    for key, curve in bits.groupby(_CURVE, sort=True):
        for variant, (words, _) in DEPTHS.items():
            points = curve.dropna(subset=[variant]) if variant in curve else curve[:0]
            if len(points) >= 4:
                fit = laws.fit_noise_law(points["u"], points[variant])
                head = dict(zip(_CURVE, key, strict=True)) | {"thinned": words}
                found.append(head | fit.row() | {"bits_at_lowest_depth": points.sort_values("u")[variant].iloc[0]})
    return pd.DataFrame(found)


def depths_table(source: str | Path) -> HTML:
    """`depth_fits` to read and to download."""
    table = depth_fits(page.measured(source).table)
    columns = ["dataset", "model", "estimator", "n_cells", "thinned", "bits_at_lowest_depth", "u_bar", "i_max"]
    nothing = "No row with training and test cells thinned apart is in this table."
    if not len(table):
        return HTML(f"<p>{nothing}</p>")
    short = _rounded(table[[*columns, "r_squared", "status"]]).round({"bits_at_lowest_depth": 2, "r_squared": 3})
    return page.as_table(short, download="separate_depths.csv", full=table)


def steps_effects(table: pd.DataFrame) -> pd.DataFrame:
    """Bits with the number of optimiser steps held fixed beside early stopping, by data set, model and cells."""
    fixed = sorted(v for v in table["variant"].unique() if v.startswith("fixed_steps_"))
    found = [
        rows.assign(steps=int(variant.removeprefix("fixed_steps_")))
        for variant in fixed
        if len(rows := paired(table, variant))
    ]
    if not found:
        return pd.DataFrame()
    by = ["dataset", "model", "estimator", "steps", "n_cells", "fraction"]
    out = pd.concat(found).groupby(by)[["base", "bits", "effect"]].agg(["mean", "std", "count"])
    flat = pd.DataFrame({"early_stopping": out["base", "mean"], "fixed_steps": out["bits", "mean"]})
    return flat.assign(
        effect=out["effect", "mean"], sd=out["effect", "std"], seeds=out["effect", "count"]
    ).reset_index()


def steps_table(source: str | Path) -> HTML:
    """`steps_effects` to read and to download."""
    table = steps_effects(page.measured(source).table)
    if len(table):
        table = table.round({"early_stopping": 3, "fixed_steps": 3, "effect": 3, "sd": 3, "fraction": 4})
    return _shown(table, "fixed_steps.csv", "No row with a fixed number of steps is in this table.")
