"""Figure and tables of `check`: each estimate beside those it is compared with, and its growth with cells."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import write_atomically
from ..measure import check_pairs as pairs
from ..measure.check import Report
from ..measure.check_rules import FAILED, OK, TIE, mean
from . import page, style
from .calibration import in_words

LOOKS = {OK: ("#0173b2", "o", "passes"), TIE: ("#de8f05", "s", "within its error"), FAILED: ("#d55e00", "X", "fails")}
"""Colour, marker and label of each status."""

_ROWS = {
    pairs.KNOWN: "known_signal", pairs.ALL: "split_halves", pairs.NOISE_X: "noise_on_embedding",
    pairs.NOISE_Y: "noise_on_signal", pairs.PROJECTED: "random_projection", pairs.LEADING: "fewer_components",
    pairs.SHUFFLED: "shuffled",
}  # fmt: skip
"""The check whose status colours the estimates of each setting."""


@style.book_style()
def check_figure(report: Report) -> Figure:
    """Plot a report under its verdict. Left: bits of every setting; right: bits of all cells, halves and quarters."""
    figure, panels = style.new_figure(1, 2, 4.4, width_ratios=(1.35, 1))
    left, right = panels[0]
    _settings(left, report)
    table = report.estimates[report.estimates["setting"].isin([pairs.ALL, pairs.PARTS])]
    means = table.groupby(["setting", "level"])[["n", "bits"]].mean()
    right.plot(means["n"], means["bits"], markersize=6, **_look(report["growth"].status))
    right.plot(table["n"], table["bits"], ".", color="0.5", zorder=0)
    right.set(xlabel="pairs of cells", ylabel=style.BITS, xlim=(0, None))
    right.set_ylim(min(0, table["bits"].min()), 1.1 * max(table["bits"].max(), 0.1))
    figure.suptitle(textwrap.fill(report.verdict, 115), fontsize=9.5, x=0.01, ha="left")
    left.set_title("\n".join(report[name].text for name in ("repeated_cells", "leak")), loc="left", fontsize=8.5)
    marks = [_look(status) | {"linestyle": "", "label": text} for status, (_, _, text) in LOOKS.items()]
    style.legend(figure, *marks, loc="outside lower center")
    return figure


def _look(status: str) -> dict[str, Any]:
    return dict(zip(("color", "marker"), LOOKS[status], strict=False))


def _settings(axes: Axes, report: Report) -> None:
    statuses, labels = {check.name: check.status for check in report.checks}, list[str]()
    table = report.estimates.copy()
    table["setting"] = pd.Categorical(table["setting"], _ROWS, ordered=True)
    for (setting, level), rows in table.groupby(["setting", "level"], observed=True):
        bits, stderr = mean(rows)
        axes.errorbar(bits, len(labels), xerr=stderr, markersize=6, **_look(statuses[_ROWS[setting]]))
        if rows["true"].notna().all():
            axes.plot(rows["true"].mean(), len(labels), "|", color="black", markersize=14)
        several = table[table["setting"] == setting]["level"].nunique() > 1
        labels.append(f"{setting} ({level:g})" if several else setting)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    for x in (0, report.bits):
        axes.axvline(x, color="0.75", linewidth=0.8, zorder=0)
    axes.set(xlabel=style.BITS)


def provenance(report: Report, file: str, *, notebook: str) -> HTML:
    """Provenance line under the figure: notebook, number and file of the pairs, estimator, version."""
    return page.line(notebook, f"{report.n:,} pairs of {file} by {style.estimator(report.method)}")


def checks_table(report: Report) -> HTML:
    """Table of every check, to read and to download."""
    columns = ["name", "status", "text", "value", "limit", "stderr"]
    table = pd.DataFrame([{name: getattr(check, name) for name in columns} for check in report.checks])
    return page.as_table(table.rename(columns={"name": "check", "text": "found"}), "checks.csv")


def verdicts_table(source: str | Path) -> HTML:
    """Sentence and table on how often verdicts are right for pairs of known information, from the benchmark's JSON."""
    rows = pd.DataFrame(page.numbers(source)["verdicts"])
    once, again = rows[rows["seed"] == 0], rows[rows["seed"] > 0].groupby("case")["answer"]
    draws = " and ".join(f"{(part == 'yes').sum()} of {len(part)} draws of {in_words(name)}" for name, part in again)
    trusted = (once["bits"] / once["true"])[once["answer"] == "yes"].dropna()
    title = (
        f"Right in {once['right'].sum()} of {len(once)} cases; trusted are {draws}. Estimates of known information "
        f"that were trusted are {page.span(trusted, '.0%')} of it, {trusted.median():.0%} in the median."
    )
    shown = once[["case", "true", "bits", "answer", "failed", "right"]].replace({"right": {True: "yes", False: "no"}})
    shown = shown.assign(case=shown["case"].map(in_words))
    return page.as_table(shown, "verdicts.csv", full=rows, title=title)


def write(report: Report, folder: str | Path) -> None:
    """Write check.png, check.json and estimates.csv into a folder, replacing those of an earlier check."""
    folder = Path(folder).expanduser()
    write_atomically(folder / "check.png", style.as_png(check_figure(report)))
    write_atomically(folder / "check.json", json.dumps(report.as_dict(), indent=1) + "\n")
    write_atomically(folder / "estimates.csv", report.estimates.to_csv(index=False, lineterminator="\n"))
