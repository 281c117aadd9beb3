"""What a careful reader finds in the published table: rows to doubt, each with its reason, and the numbers behind."""

from __future__ import annotations

import pandas as pd

COPY = "a copy: the random projection took one seed whatever its label, and cells do not train it"
LOW_SEED = "PBMC Geneformer, seed 42: far below the other seed in many cells, never above"
PARTIAL_SEED = "PBMC, seed 2303: a part of the grid only, and off from the other seeds"
REASONS = (COPY, LOW_SEED, PARTIAL_SEED)
"""Why a row is doubted. Where two apply, the first."""

FAR = 0.5
"""Bits. Ten times the standard deviation between seeds in the median cell of the table."""


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
    rows = [*_projection_notes(table), *_seed_notes(table), *_fit_notes(table, fits, cell_fits)]
    return pd.DataFrame(rows, columns=["found", "number", "here"])


def _projection_notes(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    values = projection_values(table)
    fixed = values.groupby("dataset")["values_per_depth"].max()
    larry = table[(table["dataset"] == "larry") & (table["model"] == "random_projection")]
    same = larry.groupby(["fraction", "n_cells"])["mi_bits"].nunique().eq(1).sum()
    merfish = table[(table["dataset"] == "merfish") & (table["model"] == "random_projection")]
    pairs = merfish.pivot(index=["fraction", "n_cells"], columns="seed", values="mi_bits")
    twins = int((pairs[1404] == pairs[2303]).sum())
    dropped = "counted once: its copies are left out of the second versions"
    return [
        ("Random projections: one value at a depth, whatever the number of cells, in data sets",
         f"{int((fixed == 1).sum())} of {len(fixed)}", dropped),
        ("LARRY: cells in which all three seeds of the random projection are identical", f"{same} of {larry.groupby(['fraction', 'n_cells']).ngroups}", dropped),
        ("MERFISH: cells in which seeds 1404 and 2303 of the random projection are identical",
         f"{twins} of {len(pairs)}", dropped),
        ("Rows of the random projection that copy another row", f"{int(copies(table).sum())} of "
         f"{int((table['model'] == 'random_projection').sum())}", dropped),
    ]  # fmt: skip


def _seed_notes(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    out = []
    for signal, words in (("celltype.l3", "cell type"), ("protein", "proteins")):
        gap = _between_seeds(table, "geneformer", signal, 42, 2701)
        out.append((
            f"PBMC Geneformer, {words}: cells in which seed 42 lies more than {FAR} bits below (above) seed 2701",
            f"{int((gap < -FAR).sum())} ({int((gap > FAR).sum())}) of {len(gap)}", "left out of the second versions",
        ))  # fmt: skip
    partial = table[(table["dataset"] == "pbmc") & (table["seed"] == 2303)]
    whole = table[(table["dataset"] == "pbmc") & (table["seed"] == 2701)]
    out.append(("PBMC: rows of seed 2303, against those of seed 2701", f"{len(partial)} against {len(whole)}",
                "left out of the second versions"))  # fmt: skip
    for model, signal, words in (("pca", "protein", "PCA, proteins"), ("pca", "celltype.l3", "PCA, cell type"),
                                 ("scvi", "protein", "scVI, proteins")):  # fmt: skip
        gap = _between_seeds(table, model, signal, 2303, 2701)
        out.append((f"PBMC {words}: seed 2303 less seed 2701, mean over the cells they share",
                    f"{gap.mean():+.2f} bits, {len(gap)} cells", "left out of the second versions"))  # fmt: skip
    embryo = table[(table["dataset"] == "mouse_embryo") & (table["model"] == "scvi")]
    out.append(("Mouse embryo, scVI: seeds", f"{embryo['seed'].nunique()}", "kept: no spread can be given"))
    return out


def _fit_notes(table: pd.DataFrame, fits: pd.DataFrame, cell_fits: pd.DataFrame) -> list[tuple[str, str, str]]:
    negative = table[table["mi_bits"] < 0]
    named = ", ".join(f"{n} {m}" for m, n in negative["model"].value_counts().items())
    unsure = fits[fits["status"] != "converged"]
    top = fits.loc[fits["u_bar"].idxmax()]
    return [
        (f"Values below 0 (all of {', '.join(sorted(negative['dataset'].unique()))}: {named})", f"{len(negative)}",
         "kept: an estimate of nothing scatters around 0, cut off it would be biased"),
        ("Greatest u_bar of Eq. 1 fitted to any curve, UMIs per cell (deepest count: "
         f"{table['umis_per_cell'].max():,.0f})", f"{top['u_bar']:.1e}, {top['status']}", "marked, never read as a depth"),
        ("Curves whose u_bar or I_max the data do not settle", f"{len(unsure)} of {len(fits)}", "marked in the table of fits"),
        ("Fits of the cell-number law with a parameter at its bound",
         f"{int((cell_fits['status'] == 'at bound').sum())} of {len(cell_fits)}", "marked; no exponent is read from them"),
    ]  # fmt: skip
