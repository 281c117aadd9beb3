"""An audit of the published table: which rows are flagged and why, and notes on the rest, each with its number."""

import pandas as pd

COPY = "a copy: the random projection took one seed whatever its label, and cells do not train it"
LOW_SEED = "PBMC Geneformer, seed 42: far below the other seed in many cells, never above"
PARTIAL_SEED = "PBMC, seed 2303: a part of the grid only, and off from the other seeds"
"""Reasons to flag a row. If two apply, the first is given."""

FAR = 0.5
"""A large difference, in bits: 13 times the standard deviation between seeds at the median point of the table."""


def reasons(table: pd.DataFrame) -> pd.Series:
    """Return the reason why each row of the published table is flagged, "" if it is not; indexed as the table.

    Of several copies, the row with the largest number of cells and the lowest seed is not flagged.
    """
    out = pd.Series("", index=table.index)
    pbmc = table["dataset"] == "pbmc"
    out[pbmc & (table["seed"] == 2303)] = PARTIAL_SEED
    out[pbmc & (table["seed"] == 42) & (table["model"] == "geneformer")] = LOW_SEED
    out[copies(table)] = COPY
    return out


def filtered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the published table without its flagged rows, as the second version of every figure has it."""
    return table[reasons(table) == ""].reset_index(drop=True)


def copies(table: pd.DataFrame) -> pd.Series:
    """Return a mask of the random projection's rows that repeat the bits of another at the same signal and depth."""
    projected = table[table["model"] == "random_projection"].sort_values(["n_cells", "seed"], ascending=[False, True])
    again = projected.duplicated(["dataset", "signal", "fraction", "mi_bits"])
    return again.reindex(table.index, fill_value=False)


def values_per_depth(table: pd.DataFrame) -> pd.Series:
    """Return, by data set, how many distinct values one seed of the random projection has at one depth, at most."""
    rows = table[table["model"] == "random_projection"]
    return rows.groupby(["dataset", "signal", "seed", "fraction"])["mi_bits"].nunique().groupby("dataset").max()


def notes(table: pd.DataFrame, fits: pd.DataFrame, cell_fits: pd.DataFrame) -> pd.DataFrame:
    """Return notes on the published table to read before using it, each with its number.

    Returns
    -------
    One row per note: what was found, its number, and what this book does about it.
    """
    return pd.DataFrame([*_projection_notes(table), *_seed_notes(table), *_fit_notes(table, fits, cell_fits)])


def _note(found: str, number: str, here: str) -> dict[str, str]:
    return {"found": found, "number": number, "here": here}


def _points(table: pd.DataFrame, dataset: str, model: str, signal: str) -> pd.DataFrame:
    """Return the bits at each point of a grid that at least one seed has, one column per seed."""
    rows = table[(table["dataset"] == dataset) & (table["model"] == model) & (table["signal"] == signal)]
    return rows.pivot(index=["fraction", "n_cells"], columns="seed", values="mi_bits")


def _projection_notes(table: pd.DataFrame) -> list[dict[str, str]]:
    fixed = values_per_depth(table).eq(1)
    larry = _points(table, "larry", "random_projection", "clone").nunique(axis=1).eq(1)
    merfish = _points(table, "merfish", "random_projection", "space")
    twins = merfish[1404] == merfish[2303]
    of_all = f"{copies(table).sum()} of {table['model'].eq('random_projection').sum()}"
    found = {
        f"data sets ({', '.join(fixed.index[fixed])}) with one value per depth, whatever the number of cells":
            f"{fixed.sum()} of {len(fixed)}",
        "larry: points of the grid at which all three seeds are identical": f"{larry.sum()} of {len(larry)}",
        "merfish: points at which seeds 1404 and 2303 are identical": f"{twins.sum()} of {len(twins)}",
        "rows that repeat another's bits": of_all,
    }  # fmt: skip
    here = "counted once; its copies are left out of the second version"
    return [
        _note(f"Random projection{', ' if ': ' in what else ': '}{what}", number, here)
        for what, number in found.items()
    ]


def _seed_notes(table: pd.DataFrame) -> list[dict[str, str]]:
    rows = table.loc[table["dataset"] == "pbmc", "seed"].value_counts()
    embryo = table[(table["dataset"] == "mouse_embryo") & (table["model"] == "scvi")]
    found = {}
    for signal, label in (("celltype.l3", "cell type"), ("protein", "proteins")):
        bits = _points(table, "pbmc", "geneformer", signal)
        gap = (bits[42] - bits[2701]).dropna()
        what = f"Geneformer, PBMC {label}: points at which seed 42 is more than {FAR} bits below (above) seed 2701"
        found[what] = f"{(gap < -FAR).sum()} ({(gap > FAR).sum()}) of {len(gap)}"
    found["PBMC: rows of seed 2303, beside seed 2701's"] = f"{rows[2303]} beside {rows[2701]}"
    for model, signal, label in (
        ("pca", "protein", "PCA, PBMC proteins"),
        ("pca", "celltype.l3", "PCA, PBMC cell type"),
        ("scvi", "protein", "scVI, PBMC proteins"),
    ):
        bits = _points(table, "pbmc", model, signal)
        gap = (bits[2303] - bits[2701]).dropna()
        what = f"{label}: seed 2303 less seed 2701 where both are, on average"
        found[what] = f"{gap.mean():+.2f} bits ({len(gap)} points)"
    out = [_note(what, number, "left out of the second version") for what, number in found.items()]
    return [*out, _note("scVI, mouse embryo: seeds", f"{embryo['seed'].nunique()}", "kept; no spread can be given")]


def _fit_notes(table: pd.DataFrame, fits: pd.DataFrame, cell_fits: pd.DataFrame) -> list[dict[str, str]]:
    negative = table[table["mi_bits"] < 0]
    where = ", ".join(sorted(negative["dataset"].unique()))
    beyond, bound = fits["status"] == "beyond the data", cell_fits["status"] == "at bound"
    unsure = (fits["status"] != "converged") & ~beyond
    top = fits.loc[fits["u_bar"].idxmax()]
    deepest = table["umis_per_cell"].max()
    return [
        _note(f"Values below 0 bits, all in {where}", f"{len(negative)} of {len(table):,}",
              "kept; an estimate of nothing scatters around 0 and would be biased if cut there"),
        _note(f"Greatest u_bar of Eq. 1 fitted here, in UMIs per cell, where the deepest counts have {deepest:,.0f}",
              f"{top['u_bar']:.1e} ({top['status']})", "marked; never read as a depth"),
        _note("Curves whose fit of Eq. 1 is not settled (at a bound, not identified, no error bar)",
              f"{unsure.sum()} of {len(fits)}", "marked in the table of fits"),
        _note("Curves whose u_bar lies beyond the deepest counts", f"{beyond.sum()} of {len(fits)}", "marked"),
        _note("Curves whose cell-number law has a parameter at its bound (is not settled in any way)",
              f"{bound.sum()} ({(cell_fits['status'] != 'converged').sum()}) of {len(cell_fits)}",
              "marked; no exponent is read from them"),
    ]  # fmt: skip
