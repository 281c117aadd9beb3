"""How the estimator alone changes u_bar and I_max, and the published parameters corrected for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import laws
from ..errors import enough
from ..measurements import published
from . import page, style
from .calibration import look
from .style import LINES

PUBLISHED_CELLS, DIMS = 5000, 16
"""The number of test cells in LMI's runs that is nearest to the paper's, and the paper's number of dimensions."""
_COLOURS = {1: "#0173b2", 4: "#de8f05", 16: "#029e73"}


def read(source: str | Path) -> pd.DataFrame:
    """Read the map: one row per method, test cells, latents, dims and true I_max (benchmarks/estimator_map.py)."""
    return pd.DataFrame(page.numbers(source)["map"])


def found(source: str | Path) -> pd.DataFrame:
    """The whole map as the page shows it, with u_bar divided by the true one."""
    return read(source).drop(columns="share_at_deepest").rename(columns={"u_bar": "u_bar / true"})


@page.told
def corrected_table(source: str | Path) -> HTML:
    """Show `corrected` with a summary, to read and to download; a sentence in its place if LMI was not run."""
    led = corrected(source)
    ends = {name: led[[f"{name} corrected, from", f"{name} corrected, to"]] for name in ("i_max", "u_bar")}
    ratios = {name: both.div(led[name], axis=0).stack() for name, both in ends.items()}
    inside = int(led["i_max corrected, from"].notna().sum())
    title = (
        f"The published parameters, led back by what LMI makes of known curves at {PUBLISHED_CELLS:,} test cells and "
        f"{DIMS} dimensions. Of {page.counted(len(led), 'curve')} at their most cells {inside} lie within what LMI "
        f"finds there, for one number of latents at least: I_max is {_times(ratios['i_max'])} the published one and ū "
        f"{_times(ratios['u_bar'])}. In the other {len(led) - inside} LMI finds more than it does of the most bits of "
        "the known curves: the map does not reach so far, and nothing is led back. “From” and “to” are the ends over "
        "the numbers of latents; the fits' own errors come on top. What remains uncertain: how many latents a signal "
        "has, and how far its embedding is from an exact one."
    )
    return page.as_table(led, "corrected.csv", title=title)


@style.book_style()
def map_figure(source: str | Path) -> Figure:
    """Plot I_max found, and u_bar found over the true one, by test cells; a column per true I_max; 16 dimensions."""
    table = read(source).query("dims == @DIMS")
    most = sorted(table["true_i_max"].unique())
    titles = [f"true $I_{{max}}$ {bits:g} bits" for bits in most]
    labels: dict[str, Any] = {"titles": titles, "xlabel": "test cells", "name": "map"}
    figure, panels = style.new_figure(2, len(most), 4.8, sharex=True, sharey="row", **labels)
    for column, bits in zip(panels.T, most, strict=True):
        for axes, truth in zip(column, (bits, 1), strict=True):
            axes.axhline(truth, color="0.6", linewidth=0.8)
        for (method, latents), line in table[table["true_i_max"] == bits].groupby(["method", "latents"]):
            settled = line[line["status"].isin([laws.CONVERGED, laws.BEYOND])]
            how = {"color": _COLOURS.get(latents, "0.3"), "linestyle": LINES.get(method, ":")}
            for axes, name in zip(column, ("i_max", "u_bar"), strict=True):
                axes.plot(settled["cells"], settled[name], marker=look(method)[2], **how)
        style.cells_axis(column[1], sorted(table["cells"].unique()))
        style.log_y_axis(column[1])
    panels[0, 0].set_ylabel("$I_{max}$ found (bits)")
    panels[0, 0].set_ylim(bottom=0)
    panels[1, 0].set_ylabel("$\\bar{u}$ found over the true")
    marks = [{"color": c, "label": page.counted(n, "latent")} for n, c in _COLOURS.items()]
    for label, _, marker, line in ((*look(m), line) for m, line in LINES.items() if m in set(table["method"])):
        marks.append({"color": "0.3", "linestyle": line, "marker": marker, "label": label})
    style.legend(figure, *marks)
    return figure


def corrected(source: str | Path) -> pd.DataFrame:
    """The published parameters at the most cells, and what they would be if LMI had found all the information.

    The correction is interpolated linearly in I_max between the known curves that LMI measured at PUBLISHED_CELLS test
    cells and 16 dimensions, and not extrapolated above them. A signal's number of latents is unknown: "from" and "to"
    are the ends over the map's numbers of latents that reach so far, without the paper's own error; NaN if none does.

    Columns: dataset, signal, model, i_max, u_bar, and both corrected, from and to.
    """
    lines = read(source).query("method == 'lmi' and cells == @PUBLISHED_CELLS and dims == @DIMS")
    enough(lines, "LMI has not been run on exact curves yet: benchmarks/estimator_map.py does it.")
    curve, fits = ["dataset", "signal", "model"], published.statistics("fits")
    fits = fits[fits["rows"] == published.ALL]
    fits = fits[fits["n_cells"] == fits.groupby(curve)["n_cells"].transform("max")]
    fits = fits[fits["status"] == laws.CONVERGED]
    rows = []
    for fit in fits.to_dict("records"):
        i_max, u_bar = zip(*(_led_back(fit, line) for _, line in lines.groupby("latents")), strict=True)
        rows.append({name: fit[name] for name in curve})
        for name, ways in (("i_max", i_max), ("u_bar", u_bar)):
            ends = {f"{name} corrected, from": np.fmin.reduce(ways), f"{name} corrected, to": np.fmax.reduce(ways)}
            rows[-1] |= {name: fit[name]} | ends
    return pd.DataFrame(rows)


def _led_back(fit: dict[str, Any], line: pd.DataFrame) -> tuple[float, float]:
    """True I_max and u_bar of a measured fit for `line`'s number of latents; NaN above the largest I_max in `line`."""
    line = line[line["status"] == laws.CONVERGED].sort_values("i_max")
    if line.empty or fit["i_max"] > line["i_max"].max():
        return np.nan, np.nan
    share = np.interp(fit["i_max"], line["i_max"], line["i_max"] / line["true_i_max"])
    moved = np.exp(np.interp(fit["i_max"], line["i_max"], np.log(line["u_bar"])))
    return fit["i_max"] / share, fit["u_bar"] / moved


def sentences(source: str | Path) -> HTML:
    """Sentences on how the estimators change the parameters, at the fewest and most test cells."""
    table, lines = read(source).query("dims == @DIMS"), []
    for method, here in table.groupby("method"):
        for cells in sorted({here["cells"].min(), here["cells"].max()}):
            part = here[here["cells"] == cells]
            lines.append(
                f"With {cells:,} test cells the estimator {look(method)[0]} finds an I_max of "
                f"{_times(part['i_max'] / part['true_i_max'])} the true one and a ū of "
                f"{_times(part.loc[part['status'] == laws.CONVERGED, 'u_bar'])} the true one, over "
                f"{page.counted(part['latents'].nunique(), 'number')} of latents."
            )
    exact = table.drop_duplicates(["latents", "true_i_max"])
    lines.append(
        "Fitted to the exact curves, Eq. 1 itself gives an I_max of "
        f"{_times(exact['exact_i_max'] / exact['true_i_max'])} and a ū of {_times(exact['exact_u_bar'])} the true one: "
        "only what goes beyond this is the estimator's error."
    )
    return page.bullets(lines, "finding")


def _times(ratio: pd.Series) -> str:
    return f"{ratio.min():.2f} to {ratio.max():.2f} times" if len(ratio) else "(no fit converged)"
