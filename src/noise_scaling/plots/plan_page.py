"""The planner as an interactive page: laws with their bootstrap draws for every data set, evaluated in the browser."""

import argparse
import html
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from ..errors import enough
from ..laws import noise_budget
from ..measurements import of_one_run, protocol_rows
from ..plan import backtest, command, evidence, options, prices
from ..plan import donors as beside_cells
from ..plan.designs import PROMISE_ERROR
from ..plan.library import imaged, panel
from . import interactive, page, style
from .curve_zoo import RAMP
from .figures import of_signal, usable

_PARAMETERS = ("v0", "v1", "v2", "v3", "s", "a")
OPENING = "mouse_embryo"
"""The data set that the page shows first, if a table has it."""
_DRAW_DIGITS = 8  # 6 would move an interval's end by up to 7e-6 bits; all 17 would double the page's size


@page.told
def planner(measurements: str | Path, reference: str | Path) -> HTML:
    """Return the interactive planner with the laws of a table and a reference (the published one in two versions)."""
    none = "No model here was measured at three depths and three numbers of cells: nothing to plan from."
    groups = enough(planner_groups(measurements, reference), none)
    opening = next((group for group in groups if group["dataset"] == OPENING), groups[0])
    data = {"groups": groups, "ramp": RAMP, "opening": opening["name"]}
    data |= {"prices": asdict(prices.read_prices()), "words": prices.WORDS}
    saturation = f"{100 * options.ASSUMED_SATURATION:g}"
    return interactive.frame("planner", data, *_fallback(opening), "planning.js", "plan.js", saturation=saturation)


def planner_groups(measurements: str | Path, reference: str | Path) -> list[dict[str, Any]]:
    """Return laws by data set, signal, estimator and source; imaging data are left out, as they have no prices here."""
    tables = page.versions(measurements, "ours") | page.versions(reference)
    return [group for name, table in tables.items() for group in _groups(of_one_run(protocol_rows(table)), name)]


def _groups(table: pd.DataFrame, source: str) -> list[dict[str, Any]]:
    out = []
    for signal in style.signals(table):
        if imaged(signal[0]):
            continue
        for estimator, rows in of_signal(table, signal).groupby("estimator"):
            if models := _models(rows):
                deepest = max(model["u"][1] for model in models)
                factor, unknown = panel(signal[0], None, deepest)
                out.append({
                    "name": f"{style.title(*signal)} ({source}, {style.estimator(estimator)})", "dataset": signal[0],
                    "deepest": deepest, "factor": factor, "known": not unknown, "models": models,
                })  # fmt: skip
    return out


def _models(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the laws that could be fitted to the rows of one data set, signal and estimator."""
    looks = interactive.kinds(zip(rows["model"], rows["preset"], strict=True))
    found, _ = evidence.fits(rows)
    out: list[dict[str, Any]] = []
    for key in [key for key in looks if key in found]:
        law = found[key]
        fit = law.fit
        out.append(looks[key] | {
            "said": law.model, "parameters": [fit.parameters[p] for p in _PARAMETERS],
            "draws": [[interactive.digits(v, _DRAW_DIGITS) for v in draw] for draw in np.asarray(fit.draws).tolist()],
            "n": list(law.measured.n), "u": list(law.measured.u), "scatter": law.scatter,
            "status": fit.status, "note": fit.note, "most": float(fit.data.bits.max()) if fit.data else None,
        })  # fmt: skip
    return out


@style.book_style()
def _fallback(group: dict[str, Any]) -> tuple[Figure, str]:
    """Return the figure shown without scripts, lines of equal information of the first law, and its alt text."""
    model = group["models"][0]
    n, u = (np.geomspace(low, high, 60) for low, high in (model["n"], model["u"]))
    bits = noise_budget(n[None, :], u[:, None], *model["parameters"])
    title = f"{group['name']}: {model['label']}"
    figure, axes = style.one_panel(3.6, title, xlabel=style.CELLS, ylabel=style.UMIS)
    axes.clabel(axes.contour(n, u, bits, levels=8, cmap="viridis"), fmt="%g bits")
    style.log_axis(axes)
    axes.set_yscale("log")
    said = f"from {bits.min():.2f} bits at the fewest and shallowest to {bits.max():.2f} at the most and deepest"
    return figure, f"{title}: lines of equal information over training cells and UMIs per cell, {said}."


def asked(line: str) -> HTML:
    """Return the command `noise-scaling plan` with these options, and its output."""
    parser = argparse.ArgumentParser()
    options.add_options(parser)
    text = html.escape(f"$ noise-scaling plan {line}\n\n{command.answer(parser.parse_args(shlex.split(line)))}")
    return HTML(f'<pre class="asked">{text}</pre>')


def donors(source: str | Path) -> HTML:
    """Return bits that training cells of more donors add at the same number of cells, in a sentence and a table."""
    found = beside_cells.donors(page.measured(source).table)
    if found.empty:
        return page.paragraph("What donors add is in no row of this table.")
    added = [page.interval(row.added_bits, row.low, row.high, "+.2f") for row in found.itertuples()]
    shown = found[["dataset", "model", "n_cells", "donors", "seeds"]].assign(**{"bits added (95 %)": added})
    told = found[(found["low"] > 0) | (found["high"] < 0)]
    sentence = (
        f"In {len(told)} of {len(found)} comparisons with one donor the interval over seeds leaves out zero; the "
        f"change is {page.span(found['added_bits'], '+.2f')} bits."
    )
    return page.as_table(shown, "donors.csv", full=found, title=sentence)


@page.told
def finding(measurements: str | Path, reference: str | Path) -> HTML:
    """Say what plans lose against the best measured design, and whether that is less than the simplest rule loses."""
    lost, rule, told = [], [], []
    for name, source in (("published", reference), ("ours", measurements)):
        score = enough(_choices(usable(page.measured(source).table)), NO_CHOICE).loc["all"]
        lost.append(f"{score['regret_law']:.2f} ({name})")
        rule.append(f"{score['regret_deepest']:.2f}")
        low, high = score["over_deepest_low"], score["over_deepest_high"]
        told.append("less than" if low > 0 else "more than" if high < 0 else "within errors as much as")
    verdict = told[0] if told[0] == told[1] else f"{told[0]} (published) and {told[1]} (ours)"
    return page.paragraph(
        f"On grids that were measured whole, a design that the law chooses from a cheap pilot has {' and '.join(lost)} "
        f"bits less than the best of its price. It loses {verdict} the rule to read as deep as the data go, which "
        f"loses {' and '.join(rule)}.", "finding",
    )  # fmt: skip


@page.of_content
def _choices(table: pd.DataFrame) -> pd.DataFrame:
    rows = backtest.choices(table)
    return backtest.summary(rows) if len(rows) else rows


NO_CHOICE = "No grid of this table is large enough to hold a pilot and something dearer to choose from."


def plan_regret(source: str | Path) -> HTML:
    """Say how well plans from a pilot choose expensive designs, and how often intervals hold a left-out seed's bits."""
    sentences, parts = list[str](), []
    for name, table in page.versions(source, "our own grids").items():
        if len(score := _choices(table := usable(table))):
            sentences += filter(None, [_score_sentence(name, score.loc["all"]), _held_sentence(table)])
            parts.append(_score_rows(name, score))
    enough(parts, NO_CHOICE)
    return page.as_table(pd.concat(parts), f"plan_regret_{page.short(source)}.csv", title=sentences)


def _score_sentence(name: str, score: pd.Series) -> str:
    lost = [f"{score[f'regret_{rule}']:.3f}" for rule in backtest.RULES]
    return (
        f"{name[0].upper()}{name[1:]}: in {score['choices']:.0f} choices on {score['grids']:.0f} grids the law loses "
        f"{lost[0]} bits on average, the deepest design {lost[1]}, the one with most cells {lost[2]}. "
        f"{_verdict(score, 'deepest', 'the deepest design')} "
        f"{_verdict(score, 'most_cells', 'the one with most cells')} The promise is off by {score['off_mean']:+.2f} "
        f"bits on average, {score['off_rms']:.2f} in the root mean square (the planner takes "
        f"{PROMISE_ERROR:g}), and its 95 % interval holds in {score['held']:.0%} of the choices."
    )


def _held_sentence(table: pd.DataFrame) -> str:
    """Say how often intervals within the measured range hold the bits of a seed that was left out of its grid."""
    held = backtest.left_out_seeds(table)
    if held.empty:
        return ""
    return (
        f"Within what was measured, 95 % intervals hold {held['held'].mean():.0%} of what the last seed of "
        f"{held['grid'].nunique()} grids gave, a law fitted to the others; {held['without_split'].mean():.0%} without "
        "the variance of a split of the cells."
    )


def _verdict(score: pd.Series, rule: str, said: str) -> str:
    """Say how many bits the law gains over a rule, and whether their interval tells the two apart."""
    gain, low, high = (score[f"over_{rule}{end}"] for end in ("", "_low", "_high"))
    word = "so it is better" if low > 0 else "so it is worse" if high < 0 else "which does not tell the two apart"
    return f"Over {said} the law gains {gain:+z.3f} bits (95 % interval {low:+z.3f} to {high:+z.3f}), {word}."


def _score_rows(name: str, score: pd.DataFrame) -> pd.DataFrame:
    shown = {
        "choices": ("choices", "{:.0f}"), "lost by the law": ("regret_law", "{:.3f}"),
        "by the deepest": ("regret_deepest", "{:.3f}"), "by most cells": ("regret_most_cells", "{:.2f}"),
        "promise off by": ("off_mean", "{:+.2f}"), "root mean square": ("off_rms", "{:.2f}"),
        "interval holds": ("held", "{:.0%}"),
    }  # fmt: skip
    labels = [price if price == "all" else f"{price:g}" for price in score.index]
    values = {title: score[column].map(form.format).tolist() for title, (column, form) in shown.items()}
    return pd.DataFrame({"rows": name, "price of a cell": labels} | values)
