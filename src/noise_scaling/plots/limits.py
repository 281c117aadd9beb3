"""Sentences with computed numbers on limits: what Eq. 1 misses, what estimators hide, how far tables reach."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import laws
from ..errors import TooLittle, enough
from ..laws import compare
from ..laws.grids import UNIMPROVABLE
from ..measurements import KNOWN
from . import claim_terms, datasets, findings, page, style
from . import laws as law_pages
from .figures import of_signal

_OVER = 0.05  # excess over the known bits, in bits, that the error of a control's mean does not explain


@page.told
def where_it_fails(measurements: str | Path, reference: str | Path) -> HTML:
    """Say which curves at the largest number of cells Eq. 1 explains worst, on both tables."""
    lines = []
    for name, source in (("the published table", reference), ("our own measurements", measurements)):
        table = page.measured(source).table
        found = claim_terms.rising_fits(findings.real(table))
        failed = found[found["r_squared"] < claim_terms.FITS_WELL].sort_values("r_squared")
        with style.presets(table):
            worst = [
                f"{style.label(r.model)} on {style.title(r.dataset, r.signal)} (R² {r.r_squared:.2f}, residuals of "
                f"{r.residual_sd:.2f} bits)" for r in failed.head(3).itertuples()
            ]  # fmt: skip
        lines.append(
            f"Of the curves of {name} that rise, at the largest number of cells, Eq. 1 explains less than 90 % of the "
            f"variance in {len(failed)} of {len(found)}{', worst in ' + '; '.join(worst) if worst else ''}."
        )
    return page.bullets(lines)


def other_laws(measurements: str | Path, reference: str | Path) -> HTML:
    """Say by table whether another law predicts left-out depths better than Eq. 1, by signal and over all curves."""
    lines, least = _by_table(_ahead_of_eq1, measurements, reference)
    if least and max(least) <= 0.5:
        lines.append("By this test Eq. 1 is a good summary in two parameters, and not the law that foretells best.")
    return page.bullets(lines, "finding")


def straight_line(measurements: str | Path, reference: str | Path) -> HTML:
    """Say by table whether Eq. 1 predicts depths that were not fitted better than a straight line in log depth does."""
    lines, better = _by_table(_against_the_line, measurements, reference)
    if better and not any(better):
        lines.append(
            "So the collapse holds within the depths that were fitted. To deeper counts than those it was not shown to "
            "foretell more than a straight line does."
        )
    return page.bullets(lines, "finding")


def _by_table(say: Callable[[pd.DataFrame], tuple[str, float]], *sources: str | Path) -> tuple[list[str], list[float]]:
    """Return sentences and numbers of `say` on the published table, then on ours; `sources` has ours first."""
    lines, numbers = [], []
    for name, source in zip(("The published table", "Our own measurements"), reversed(sources), strict=True):
        try:
            said, number = say(page.measured(source).table)
            numbers.append(number)
        except TooLittle as error:
            said = str(error)
        lines.append(f"{name}: {said}")
    return lines, numbers


def _against_the_line(table: pd.DataFrame) -> tuple[str, float]:
    compared = law_pages.compared(table)
    said = " ".join(law_pages.told_apart(compared, "log_linear", column) for column in ("left_out", "ahead"))
    return said, float(compare.gap(compared, laws.NOISE_LAW.name, "log_linear", "ahead")[2] < 0)


def _ahead_of_eq1(table: pd.DataFrame) -> tuple[str, float]:
    by_signal, compared = law_pages.by_kind(table), law_pages.compared(table)
    ahead = (by_signal["least"] == "Eq. 1").sum()
    best = compare.summary(compared).set_index("law")["left_out"].idxmin()
    said = "among the laws of noise and a power of depth, Eq. 1 errs least on a depth left out"
    other = "" if best == laws.NOISE_LAW.name else f" {law_pages.told_apart(compared, best, 'left_out')}"
    return f"{said} for {ahead} of {page.counted(len(by_signal), 'signal')}.{other}", ahead / len(by_signal)


@page.told
def last_gain(source: str | Path) -> HTML:
    """Say what scVI and Geneformer gain over the last factor of about ten in cells on the largest training set."""
    table = findings.real(page.measured(source).table)
    dataset, signal, most = table.loc[table["n_cells"].idxmax(), ["dataset", "signal", "n_cells"]]
    here = of_signal(table, (dataset, signal))
    sizes = np.sort(here["n_cells"].unique())
    start = sizes[np.abs(np.log(10 * sizes / most)).argmin()]
    if start == most:
        raise TooLittle("The largest training set here was measured at one number of cells.")
    found = []
    for model in ("scvi", "geneformer"):
        both = here[(here["model"] == model) & here["n_cells"].isin([start, most])]
        bits = both.pivot_table(index="fraction", columns="n_cells", values="mi_bits").dropna()
        if bits.shape[1] == 2 and len(bits):
            seeds = both.groupby(["n_cells", "fraction"])["seed"].nunique().min()
            low, middle, high = (bits[most] - bits[start]).quantile([0, 0.5, 1])
            found.append(
                f"{style.label(model)} {middle:+z.2f} bits ({low:+z.2f} to {high:+z.2f} over "
                f"{page.counted(len(bits), 'depth')}, {page.counted(seeds, 'seed')})"
            )
    enough(found, "The largest training set here was measured with neither scVI nor Geneformer at two sizes.")
    return page.paragraph(
        f"From {start:,} to {most:,} cells of {style.title(dataset, signal)}, the most that were measured, models gain "
        f"in the median depth: {'; '.join(found)}."
    )


@page.told
def simulated_truth(measurements: str | Path) -> HTML:
    """Compare measured bits and Eq. 1 with the known truth of the simulated set, at its shallowest counts."""
    table = page.measured(measurements).table
    gaps = datasets.truth_gaps(table, "simulated")
    shallow = gaps[gaps[style.UMIS] == gaps[style.UMIS].min()]
    rows = shallow.loc[~shallow["model"].isin(UNIMPROVABLE), ["model", "measured", "Eq. 1"]].to_numpy()
    with style.presets(table):
        models = "; ".join(f"{style.label(m)} {bits:.2f} measured, {law:.2f} by Eq. 1" for m, bits, law in rows)
    return page.paragraph(
        f"On the simulated set the truth is known, and Eq. 1 is not its law. At {shallow[style.UMIS].iloc[0]:.0f} UMIs "
        f"a cell the counts hold {shallow['truth'].iloc[0]:.2f} bits: {models}. Over all depths and models Eq. 1 lies "
        f"up to {gaps['measured - Eq. 1'].abs().max():.2f} bits from what is measured."
    )


def what_the_estimator_finds(measurements: str | Path) -> HTML:
    """Say how many of 2 known bits beside real embeddings each estimator finds, by data set."""
    table, lines = page.measured(measurements).table, []
    for estimator in sorted(set(table.loc[table["model"] == KNOWN, "estimator"])):
        found = findings.known_bits(table, estimator)
        each = ", ".join(f"{bits:.2f} ({name})" for name, bits in found.items())
        over = " What finds more than is there is no lower bound." if found.max() > findings.KNOWN_BITS + _OVER else ""
        who = f"{findings.KNOWN_BITS:g} known bits the estimator {style.estimator(estimator)}"
        lines.append(f"Of {who} finds, at full depth: {each}.{over}")
    return page.bullets(lines)


@page.told
def sizes(measurements: str | Path, reference: str | Path) -> HTML:
    """Say how large both tables' measurements are: data sets, training cells and depths."""
    lines = []
    for name, source in (("The published table", reference), ("Ours", measurements)):
        rows = findings.real(page.measured(source).table)
        cells = f"up to {rows['n_cells'].max():,} training cells, {page.span(rows['umis_per_cell'])} UMIs a cell"
        lines.append(f"{name}: {rows['dataset'].nunique()} data sets of real cells, {cells}.")
    return page.bullets(lines)
