"""How reads become molecules: a library's saturation curve, and whether a table counts all molecules or a panel's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize

from .. import datasets, paths
from ..errors import InputError
from ..measurements import csv_files
from .prices import Values, positive


@dataclass(frozen=True)
class Library:
    """How usable reads of a cell become UMIs of its whole library: each read shows one of `molecules` at random.

    Lander and Waterman 1988: r reads of M molecules show M (1 - exp(-r / M)) different ones. If some molecules were
    copied more than others, by a gamma distribution of shape k, they show M (1 - (1 + r / (k M))^-k). M is infinite if
    every read is a new molecule; k is infinite if all were copied alike.
    """

    molecules: float
    shape: float = np.inf

    def umis(self, reads: Values) -> np.ndarray:
        """Return mean UMIs per cell of the library from usable reads per cell."""
        if np.isinf(self.molecules):
            return np.asarray(reads, float)
        x = np.asarray(reads) / self.molecules
        unseen = -x if np.isinf(self.shape) else -self.shape * np.log1p(x / self.shape)
        return -self.molecules * np.expm1(unseen)

    def reads(self, umis: Values) -> np.ndarray:
        """Return usable reads per cell that give these UMIs per cell; infinite if the library holds fewer."""
        if np.isinf(self.molecules):
            return np.asarray(umis, float)
        with np.errstate(divide="ignore"):
            x = -np.log1p(-np.minimum(np.asarray(umis) / self.molecules, 1.0))
        return self.molecules * (x if np.isinf(self.shape) else self.shape * np.expm1(x / self.shape))

    def saturation(self, reads: Values) -> np.ndarray:
        """Return sequencing saturation as 10x Genomics defines it: 1 - unique reads / usable reads."""
        return 1 - self.umis(reads) / reads


def library(saturation: float, *, reads: float | None = None, umis: float | None = None) -> Library:
    """Return the library that has this saturation at one depth.

    Saturation S at r reads of M molecules is S = 1 - (1 - exp(-x)) / x with x = r / M (Lander and Waterman 1988),
    solved for x by bracketing; r (1 - S) UMIs are seen there.

    Parameters
    ----------
    saturation
        A share in [0, 1).
    reads, umis
        Usable reads per cell, or UMIs per cell of the library, at which it was seen. Give one of them.

    Raises
    ------
    InputError
        If the saturation is not in [0, 1), or not exactly one depth is given.
    """
    if not 0 <= saturation < 1:
        raise InputError(f"saturation is a share from 0 to below 1: found {saturation:g}; give 0.6 for 60 %")
    if (reads is None) == (umis is None):
        raise InputError("saturation belongs to a depth: give either the reads or the UMIs per cell where it was seen")
    if umis is not None:
        reads = positive("UMIs per cell", umis) / (1 - saturation)
    reads = positive("reads per cell", reads or 0.0)
    if saturation < 1e-9:
        return Library(np.inf)
    # S <= x / 2 gives the lower end, (1 - exp(-x)) / x < 1 / x the upper one
    ends = (2 * saturation, 1 / (1 - saturation))
    x = optimize.brentq(lambda x: 1 + np.expm1(-x) / x - saturation, *ends, xtol=1e-14, rtol=1e-14)
    return Library(reads / x)


def fitted_library(path: str | Path, mapped: float) -> Library:
    """Fit a library to the saturation curve in a table of Cell Ranger's form, by least squares over its depths.

    One depth gives the number of molecules; three or more also give how unequally they were copied.

    Parameters
    ----------
    path
        A CSV with "Mean Reads per Cell" and "Sequencing Saturation" (a share, or a percentage with its sign), such as
        metrics_summary.csv.
    mapped
        Share of the table's reads that are usable.

    Raises
    ------
    InputError
        If a column is missing or holds other values.
    """
    file = paths.find(path)
    table = csv_files.read_csv(file).rename(columns=lambda name: str(name).strip().lower().replace("_", " "))
    columns = []
    for name in ("reads per cell", "saturation"):
        here = [column for column in table if column.endswith(name)]
        if not here:
            raise InputError(f"{file.name} has no column that ends in {name!r}: found {', '.join(table)}; name it so")
        text = table[here[0]].astype(str).str.replace(",", "").str.strip()
        values = pd.to_numeric(text.str.rstrip("%"), errors="coerce")
        columns.append((values / np.where(text.str.endswith("%"), 100, 1)).to_numpy(float))
    reads, seen = columns[0] * mapped, columns[1]
    if not len(reads) or not ((reads > 0) & (seen > 0) & (seen < 1)).all():
        wanted = "reads above 0 and saturations above 0 and below 1 (or 100 %)"
        raise InputError(f"{file.name} must hold {wanted}, and holds other values: correct those lines")
    start = np.log(np.median([library(s, reads=r).molecules for r, s in zip(reads, seen, strict=True)]))
    first = [start, 1.0] if len(np.unique(reads)) >= 3 else [start]
    fit = optimize.least_squares(lambda x: Library(*np.exp(x)).saturation(reads) - seen, first, bounds=(-5, 40))
    return Library(*np.exp(fit.x))


def imaged(dataset: str | None) -> bool:
    """Return whether the data set has a card that says it was imaged: its price is not one of reads."""
    return dataset in datasets.names() and datasets.card(dataset).imaging


def refuse_imaging(dataset: str | None) -> None:
    """Raise InputError if the data set was imaged."""
    if dataset is not None and imaged(dataset):
        raise InputError(
            f"{dataset} is imaging data ({datasets.card(dataset).technology}): it has fields of view and rounds, no "
            "reads, and there is no cost model for them here; choose a data set that was sequenced, or plan from your "
            "own pilot"
        )


def panel(dataset: str | None, library_umis: float | None, deepest: float) -> tuple[float, list[str]]:
    """Return the UMIs of the whole library per UMI that a table counts, and a sentence if that ratio is assumed.

    Parameters
    ----------
    dataset
        Name of the data set; without a card, the ratio is not known.
    library_umis
        UMIs per cell of the whole library at the table's deepest measurement, in place of the card's.
    deepest
        UMIs per cell that the table counts at its deepest measurement.

    Raises
    ------
    InputError
        If the library would hold fewer UMIs than the table counts.
    """
    if library_umis is not None:
        factor = positive("--library-umis", library_umis) / deepest
        if factor < 0.99:
            raise InputError(
                f"a library of {library_umis:,.0f} UMIs per cell cannot have {deepest:,.0f} counted of it: give those "
                "of the whole library at the deepest measurement"
            )
        return max(factor, 1.0), []
    card = datasets.card(dataset) if dataset in datasets.names() else None
    if card and card.library_umis is not None:
        return card.library_umis / card.median_umis, []
    return 1.0, [
        f"The library's UMIs are not known of {dataset or 'this pilot'}: the measured panel of genes is taken for the "
        "whole library, and too few reads are planned if it is not; --library-umis says it."
    ]
