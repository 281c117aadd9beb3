"""The scaling zoo: every measured curve of information against depth with its fit, for the interactive page."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from .. import laws
from ..errors import InputError
from ..laws.curves import LawFit, fits_of, row
from ..measurements import CONTROLS, of_one_run, protocol_rows, published
from . import admitted, interactive, page, style
from .figures import curves, largest, of_signal, usable

OURS, PUBLISHED = "measured by this project", "published"
Fit = LawFit | InputError | None
_CURVE = ["dataset", "signal", "estimator", "model", "preset", "n_cells"]
# viridis without its lightest fifth, which is too faint on white
RAMP = [to_hex(colour) for colour in matplotlib.colormaps["viridis"](np.linspace(0, 0.8, 10))]


def zoo(measurements: str | Path, reference: str | Path) -> HTML:
    """Build the interactive page of all curves of a measurements table and of a reference table."""
    fallback = _fallback(page.measured(measurements).table)
    return interactive.frame("zoo", zoo_data(measurements, reference), *fallback, "zoo.js")


def zoo_data(measurements: str | Path, reference: str | Path) -> dict[str, object]:
    """Data that the page embeds: curves, titles and styles."""
    found: list[dict[str, Any]] = []
    looks: dict[str, dict[str, str]] = {}
    for source, name in ((measurements, OURS), (reference, "")):
        opened = page.measured(source)
        name = PUBLISHED if str(source) == page.PUBLISHED else name or opened.name
        here, kinds = _curves(of_one_run(protocol_rows(opened.table, controls=True)), name)
        found += here
        looks |= kinds
    titles = {f"{c['dataset']}/{c['signal']}": style.title(c["dataset"], c["signal"]) for c in found}
    estimators = {c["estimator"]: style.estimator(c["estimator"]) for c in found}
    shared = {"estimators": estimators, "kinds": looks, "ramp": RAMP, "controls": list(CONTROLS)}
    return {"curves": found, "titles": titles} | shared


def _curves(table: pd.DataFrame, source: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, str]]]:
    """Every curve of a table with its fit, and the style of every model in the table."""
    looks = interactive.kinds(zip(table["model"], table["preset"], strict=True))
    table = table.assign(flagged=published.is_flagged(table) if source == PUBLISHED else False)
    real = set(admitted.evidence(table)["dataset"])
    rank = {signal: (signal[0] not in real, i) for i, signal in enumerate(style.signals(table))}
    order = {key: i for i, key in enumerate(looks)}
    found = []
    known = table[~table["model"].isin(CONTROLS)]
    fits, kept = fits_of(known, _CURVE), fits_of(known[~known["flagged"]], _CURVE)
    for key, rows in table.groupby(_CURVE, sort=False):
        dataset, signal, estimator, model, preset, n = key
        head = dict(zip(_CURVE, (*key[:-1], int(n)), strict=True))
        head |= {"source": source, "kind": f"{source}/{looks[model, preset]['name']}"}
        place = rank[dataset, signal], estimator, order[model, preset], n
        found.append((place, head | _points(rows) | _fits(rows, fits.get(key), kept.get(key))))
    kinds = {f"{source}/{look['name']}": look for look in looks.values()}
    return [curve for _, curve in sorted(found, key=lambda pair: pair[0])], kinds


def _points(rows: pd.DataFrame) -> dict[str, list[Any]]:
    rows = rows.sort_values(["fraction", "seed"])
    columns = {"u": "umis_per_cell", "bits": "mi_bits", "stderr": "mi_stderr", "fraction": "fraction"}
    out = {name: [interactive.digits(v) for v in rows[column]] for name, column in columns.items()}
    if rows["mi_stderr"].isna().all():
        del out["stderr"]
    return out | {"seed": rows["seed"].tolist(), "flagged": np.flatnonzero(rows["flagged"]).tolist()}


def _fits(rows: pd.DataFrame, fit: Fit, kept: Fit) -> dict[str, dict[str, Any]]:
    """The fit of all rows and, where some are flagged, the fit without them."""
    n_kept = int((~rows["flagged"]).sum())
    return {"fit": _fit(fit, len(rows))} | ({"kept_fit": _fit(kept, n_kept)} if n_kept < len(rows) else {})


def _fit(fit: Fit, n_points: int) -> dict[str, Any]:
    """A fit of Eq. 1 for the page; controls and fits that failed have no parameters, only `status` and `note`."""
    if fit is None:
        note = "a control: it follows no law" if n_points else "every row is flagged"
        return {"n_points": n_points, "status": "no fit", "note": note}
    found = {k: interactive.digits(v) if isinstance(v, float) else v for k, v in row(fit).items()}
    if isinstance(fit, InputError) or fit.status == laws.FAILED:
        return {"n_points": n_points, "status": found["status"], "note": found["note"]}
    covariance = fit.covariance if fit.status != laws.AT_BOUND else None  # at a bound it is not the data's
    return found | {"covariance": None if covariance is None else np.vectorize(interactive.digits)(covariance).tolist()}


@style.book_style()
def _fallback(table: pd.DataFrame) -> tuple[Figure, str]:
    """Figure and alt text for a page without scripts: the first signal's curves at the largest number of cells."""
    table = largest(usable(table))
    signal = style.signals(table)[0]
    here, title = of_signal(table, signal), style.title(*signal)
    figure, axes = style.one_panel(3.6, title, xlabel=style.UMIS, ylabel=style.BITS)
    curves(axes, here, "umis_per_cell")
    style.model_legend(figure, here["model"])
    best = here.loc[here["mi_bits"].idxmax()]
    most = f"{style.label(best['model'])} finds most, {best['mi_bits']:.2f} bits at {best['umis_per_cell']:,.0f} UMIs"
    return figure, f"{title}: information in bits against UMIs per cell, one line for each model; {most}."
