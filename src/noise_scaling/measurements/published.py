"""The published table, or the summary that stands for it, and the audit of it: rows to leave out."""

from __future__ import annotations

import pandas as pd

from .. import datasets, measurements, paths
from ..errors import InputError
from .table import KEY

ALL, KEPT = "all rows", "not flagged"
"""The two versions of everything that is made from the table."""
_POINT = ["dataset", "signal", "model", "n_cells", "fraction", "umis_per_cell_nominal"]
_DECIMALS = 5
"""Of the table's bits."""

COPY = "a copy: the random projection took one seed whatever its label, and cells do not train it"
LOW_SEED = "PBMC Geneformer, seed 42: far below the other seed in many cells, never above"
PARTIAL_SEED = "PBMC, seed 2303: a part of the grid only, and off from the other seeds"
REASONS = (COPY, LOW_SEED, PARTIAL_SEED)
"""Why a row is flagged. Where two apply, the first."""

FAR = 0.5
"""Bits; 13 times the standard deviation between seeds at the median point of the table."""


def reasons(table: pd.DataFrame) -> pd.Series:
    """For each row of the published table why it is flagged, "" where it is not; indexed as the table.

    Of copies, the one at the largest number of cells and the lowest seed is kept.
    """
    out = pd.Series("", index=table.index)
    pbmc = table["dataset"] == "pbmc"
    out[pbmc & (table["seed"] == 2303)] = PARTIAL_SEED
    out[pbmc & (table["seed"] == 42) & (table["model"] == "geneformer")] = LOW_SEED
    out[copies(table)] = COPY
    return out


def flagged(table: pd.DataFrame) -> pd.Series:
    """Rows of the published table to leave out of a second version of every figure, as a mask."""
    return reasons(table) != ""


def filtered(table: pd.DataFrame) -> pd.DataFrame:
    """The published table without its flagged rows."""
    return table[~flagged(table)].reset_index(drop=True)


def at_hand() -> bool:
    """Whether the table can be had without a download."""
    return datasets.at_hand(datasets.card("published"))


def read(version: str = ALL) -> pd.DataFrame:
    """The table's rows; where it is not at hand, rows of the same bits in which seeds are 1 to 3, from the summary."""
    if not at_hand():
        return rows_of(statistics("points"), version)
    table = measurements.read_published(datasets.fetch("published"))
    return table if version == ALL else filtered(table)


def is_flagged(table: pd.DataFrame) -> pd.Series:
    """Rows of `read()` that `read(KEPT)` lacks, as a mask."""
    kept = pd.MultiIndex.from_frame(read(KEPT)[KEY])
    return pd.Series(~pd.MultiIndex.from_frame(table[KEY]).isin(kept), index=table.index)


def statistics(name: str) -> pd.DataFrame:
    """One of the committed tables that `plots.summary` made of the published table; data/README.md lists them."""
    file = paths.PUBLISHED / f"{name}.csv"
    if not file.exists():
        raise InputError(
            f"neither the published table nor its summary is here (no {file}): run `noise-scaling fetch published`"
        )
    return pd.read_csv(file, float_precision="round_trip", keep_default_na=False, na_values=[""])


def points(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, lowest and highest bits over seeds, and their number, at each point and in both versions."""
    aggregates = {"mi_bits": "mean", "lowest": "min", "highest": "max", "seeds": "size"}
    named = {name: ("mi_bits", how) for name, how in aggregates.items()}
    versions = {ALL: table, KEPT: filtered(table)}
    return pd.concat({v: t.groupby(_POINT).agg(**named) for v, t in versions.items()}, names=["rows"]).reset_index()


def rows_of(summary: pd.DataFrame, version: str) -> pd.DataFrame:
    """Rows that `points` was made of, but for the names of seeds: the lowest, highest and mean of three give the third.

    A row has the same seed in both versions.
    """
    every, kept = (_values(summary[summary["rows"] == v]) for v in (ALL, KEPT))
    every["flagged"] = ~pd.MultiIndex.from_frame(every).isin(pd.MultiIndex.from_frame(kept))
    every = every.sort_values([*_POINT, "flagged", "mi_bits"])
    every["seed"] = every.groupby(_POINT).cumcount() + 1
    return measurements.as_published(every[~every["flagged"] | (version == ALL)].drop(columns=["flagged", "again"]))


def _values(summary: pd.DataFrame) -> pd.DataFrame:
    """The bits of each seed by point, and the how many-th of its value at the point each is."""
    middle = 3 * summary["mi_bits"] - summary["lowest"] - summary["highest"]
    parts = [summary["lowest"], summary["highest"][summary["seeds"] > 1], middle[summary["seeds"] > 2]]
    bits = pd.concat(parts).round(_DECIMALS).rename("mi_bits")
    out = summary[_POINT].join(bits).reset_index(drop=True)
    return out.assign(again=out.groupby([*_POINT, "mi_bits"]).cumcount())


def copies(table: pd.DataFrame) -> pd.Series:
    """Rows of the random projection with the very bits of another one at the same signal and depth, as a mask."""
    projected = table[table["model"] == "random_projection"].sort_values(["n_cells", "seed"], ascending=[False, True])
    again = projected.duplicated(["dataset", "signal", "fraction", "mi_bits"])
    return again.reindex(table.index, fill_value=False)


def _between_seeds(table: pd.DataFrame, model: str, signal: str, seed: int, other: int) -> pd.Series:
    """Bits of one seed less another's in every cell that has both, PBMC."""
    rows = table[(table["dataset"] == "pbmc") & (table["model"] == model) & (table["signal"] == signal)]
    cells = rows.pivot(index=["fraction", "n_cells"], columns="seed", values="mi_bits")
    return (cells[seed] - cells[other]).dropna()


def projection_values(table: pd.DataFrame) -> pd.DataFrame:
    """By data set, signal and seed of the random projection: rows, and distinct values at one depth at most."""
    rows = table[table["model"] == "random_projection"]
    values = rows.groupby(["dataset", "signal", "seed", "fraction"])["mi_bits"].nunique()
    out = values.groupby(["dataset", "signal", "seed"]).max().rename("values_per_depth").to_frame()
    out.insert(0, "rows", rows.groupby(["dataset", "signal", "seed"]).size())
    return out.reset_index()


def notes(table: pd.DataFrame, fits: pd.DataFrame, cell_fits: pd.DataFrame) -> pd.DataFrame:
    """The notes of the audit of the published table, each with its number.

    Parameters
    ----------
    table
        The published table, all rows.
    fits, cell_fits
        `laws.fit_curves` of it, of Eq. 1 and of the cell-number law.

    Returns
    -------
    One row a note: what was found, its number, and what this book does about it.
    """
    return pd.DataFrame([*_projection_notes(table), *_seed_notes(table), *_fit_notes(table, fits, cell_fits)])


def _note(found: str, number: str, here: str) -> dict[str, str]:
    return {"found": found, "number": number, "here": here}


def _projection_notes(table: pd.DataFrame) -> list[dict[str, str]]:
    projected = table[table["model"] == "random_projection"]
    fixed = projection_values(table).groupby("dataset")["values_per_depth"].max().eq(1)
    larry = projected[projected["dataset"] == "larry"].groupby(["fraction", "n_cells"])["mi_bits"].nunique().eq(1)
    merfish = projected[projected["dataset"] == "merfish"].pivot(
        index=["fraction", "n_cells"], columns="seed", values="mi_bits"
    )
    twins = merfish[1404] == merfish[2303]
    dropped = "counted once; its copies are left out of the second version"
    return [
        _note(f"Random projection: data sets ({', '.join(fixed.index[fixed])}) with one value per depth, whatever "
              "the number of cells", f"{fixed.sum()} of {len(fixed)}", dropped),
        _note("Random projection, LARRY: points of the grid at which all three seeds are identical",
              f"{larry.sum()} of {len(larry)}", dropped),
        _note("Random projection, MERFISH: points at which seeds 1404 and 2303 are identical",
              f"{twins.sum()} of {len(twins)}", dropped),
        _note("Random projection: rows that repeat another's bits", f"{copies(table).sum()} of {len(projected)}",
              dropped),
    ]  # fmt: skip


def _seed_notes(table: pd.DataFrame) -> list[dict[str, str]]:
    pbmc = table[table["dataset"] == "pbmc"]
    rows = pbmc["seed"].value_counts()
    embryo = table[(table["dataset"] == "mouse_embryo") & (table["model"] == "scvi")]
    left_out = "left out of the second version"
    out = []
    for signal, words in (("celltype.l3", "cell type"), ("protein", "proteins")):
        gap = _between_seeds(table, "geneformer", signal, 42, 2701)
        found = f"Geneformer, PBMC {words}: points at which seed 42 is more than {FAR} bits below (above) seed 2701"
        out.append(_note(found, f"{(gap < -FAR).sum()} ({(gap > FAR).sum()}) of {len(gap)}", left_out))
    out.append(_note("PBMC: rows of seed 2303, beside seed 2701's", f"{rows[2303]} beside {rows[2701]}", left_out))
    for model, signal, words in (
        ("pca", "protein", "PCA, PBMC proteins"),
        ("pca", "celltype.l3", "PCA, PBMC cell type"),
        ("scvi", "protein", "scVI, PBMC proteins"),
    ):
        gap = _between_seeds(table, model, signal, 2303, 2701)
        out.append(_note(f"{words}: seed 2303 less seed 2701 where both are, on average",
                         f"{gap.mean():+.2f} bits ({len(gap)} points)", left_out))  # fmt: skip
    return [*out, _note("scVI, mouse embryo: seeds", f"{embryo['seed'].nunique()}", "kept; no spread can be given")]


def _fit_notes(table: pd.DataFrame, fits: pd.DataFrame, cell_fits: pd.DataFrame) -> list[dict[str, str]]:
    negative = table[table["mi_bits"] < 0]
    where = ", ".join(sorted(negative["dataset"].unique()))
    unsure, bound = fits["status"] != "converged", cell_fits["status"] == "at bound"
    top = fits.loc[fits["u_bar"].idxmax()]
    deepest = table["umis_per_cell"].max()
    return [
        _note(f"Values below 0 bits, all in {where}", f"{len(negative)} of {len(table):,}",
              "kept; an estimate of nothing scatters around 0 and would be biased if cut there"),
        _note(f"Greatest u_bar of Eq. 1 fitted here, in UMIs per cell, where the deepest counts have {deepest:,.0f}",
              f"{top['u_bar']:.1e} ({top['status']})", "marked; never read as a depth"),
        _note("Curves whose fit of Eq. 1 is not settled (at a bound, not identified, no error bar)",
              f"{unsure.sum()} of {len(fits)}", "marked in the table of fits"),
        _note("Curves whose cell-number law has a parameter at its bound (is not settled in any way)",
              f"{bound.sum()} ({(cell_fits['status'] != 'converged').sum()}) of {len(cell_fits)}",
              "marked; no exponent is read from them"),
    ]  # fmt: skip
