"""What a careful reader finds in the published table: rows to doubt, each with its reason, and the numbers behind."""

from __future__ import annotations

import pandas as pd

COPY = "a copy: the random projection took one seed whatever its label, and cells do not train it"
LOW_SEED = "PBMC Geneformer, seed 42: far below the other seed in many cells, never above"
PARTIAL_SEED = "PBMC, seed 2303: a part of the grid only, and off from the other seeds"
REASONS = (COPY, LOW_SEED, PARTIAL_SEED)
"""Why a row is doubted. Where two apply, the first."""

FAR = 0.5
"""Bits; 13 times the standard deviation between seeds at the median point of the table."""


def reasons(table: pd.DataFrame) -> pd.Series:
    """For each row of the published table why it is to be doubted, "" where it is not; indexed as the table.

    Of copies, the one at the largest number of cells and the lowest seed is kept.
    """
    out = pd.Series("", index=table.index)
    pbmc = table["dataset"] == "pbmc"
    out[pbmc & (table["seed"] == 2303)] = PARTIAL_SEED
    out[pbmc & (table["seed"] == 42) & (table["model"] == "geneformer")] = LOW_SEED
    out[copies(table)] = COPY
    return out


def doubtful(table: pd.DataFrame) -> pd.Series:
    """Rows of the published table to leave out of a second version of every figure, as a mask."""
    return reasons(table) != ""


def sound(table: pd.DataFrame) -> pd.DataFrame:
    """The published table without its doubtful rows."""
    return table[~doubtful(table)].reset_index(drop=True)


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
    """The careful reader's notes on the published table, each with its number.

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
