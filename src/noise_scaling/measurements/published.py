"""The published table in our columns, or, where it is not available, its summary in data/published."""

from pathlib import Path

import pandas as pd

from .. import paths
from ..errors import InputError
from .table import BLANK, KEY, OK, sort
from .table_audit import filtered

ALL, KEPT = "all rows", "not flagged"
"""The two versions of the table; all that is made from it is made in both."""
DATASETS = {"PBMC": "pbmc", "larry": "larry", "merfish": "merfish", "shendure": "mouse_embryo"}
"""Data sets of the published table: name in the table -> name on our cards."""
_NAMES = {
    "dataset": DATASETS,
    "signal": {
        "protein_counts": "protein", "celltype.l3": "celltype.l3", "clone": "clone", "ng_idx": "space",
        "author_day": "time",
    },
    "model": {"RandomProjection": "random_projection", "PCA": "pca", "SCVI": "scvi", "Geneformer": "geneformer"},
}  # fmt: skip
_COLUMNS = {
    "dataset": "dataset", "size": "n_cells", "quality": "fraction", "algorithm": "model", "signal": "signal",
    "seed": "seed", "mi_value": "mi_bits", "umis_per_cell": "umis_per_cell_nominal",
}  # fmt: skip
_POINT = ["dataset", "signal", "model", "n_cells", "fraction", "umis_per_cell_nominal"]
_DECIMALS = 5
"""Number of decimals of the table's bits."""


def read_published(path: str | Path) -> pd.DataFrame:
    """Read the published table of 4,844 measurements (g-kl/noise-scaling, collect_mi_results.csv) in our columns.

    Its depth is nominal: the table holds the target, not the depth of the thinned counts, so `umis_per_cell` is the
    target. InputError if the file is another table.
    """
    raw = pd.read_csv(paths.find(path))
    if list(raw.columns) != list(_COLUMNS):
        raise InputError(f"{path} is not the published table: found columns {list(raw.columns)}")
    table = raw.rename(columns=_COLUMNS)
    return as_published(table.assign(**{column: table[column].map(names) for column, names in _NAMES.items()}))


def as_published(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that rows of the published table lack: constants where known, else blanks."""
    constant = {"preset": "published", "estimator": "lmi", "method": "lmi", "status": OK, "version": "published"}
    table = table.assign(umis_per_cell=table["umis_per_cell_nominal"], **constant)
    return sort(table.assign(**{name: blank for name, blank in BLANK.items() if name not in table}))


def shared_splits(rows: pd.DataFrame) -> pd.Series | None:
    """Return the seed of each row if rows with the same seed share a split of the cells; None if that is not known.

    Rows of the published table do not share one: splits, thinning and sampling were drawn without its seeds.
    """
    known = "seed" in rows and not (rows.get("version", pd.Series("")) == "published").any()
    return rows["seed"] if known else None


def at_hand() -> bool:
    """Whether the table is available without a download."""
    from .. import datasets  # imported here: reading a table needs no readers of cells

    return datasets.at_hand(datasets.card("published"))


def read(version: str = ALL) -> pd.DataFrame:
    """Return the rows of one version of the table, ALL or KEPT, or of its summary if the table is not available.

    Rows from the summary have the same bits, and seeds 1 to 3. InputError if neither table nor summary is available.
    """
    from .. import datasets

    if not at_hand():
        return rows_of(statistics("points"), version)
    table = read_published(datasets.fetch("published"))
    return table if version == ALL else filtered(table)


def is_flagged(table: pd.DataFrame) -> pd.Series:
    """Return a mask [rows] of the rows of `read()` that `read(KEPT)` lacks."""
    kept = pd.MultiIndex.from_frame(read(KEPT)[KEY])
    return pd.Series(~pd.MultiIndex.from_frame(table[KEY]).isin(kept), index=table.index)


def statistics(name: str) -> pd.DataFrame:
    """Read a committed table that `plots.summary` made from the published table; data/README.md lists them.

    InputError if the file is missing.
    """
    file = paths.PUBLISHED / f"{name}.csv"
    if not file.exists():
        raise InputError(
            f"neither the published table nor its summary is here (no {file}): run `noise-scaling fetch published`"
        )
    return pd.read_csv(file, float_precision="round_trip", keep_default_na=False, na_values=[""])


def points(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean, lowest and highest bits over seeds, and the number of seeds, by point and in both versions."""
    aggregates = {"mi_bits": "mean", "lowest": "min", "highest": "max", "seeds": "size"}
    named = {name: ("mi_bits", how) for name, how in aggregates.items()}
    versions = {ALL: table, KEPT: filtered(table)}
    return pd.concat({v: t.groupby(_POINT).agg(**named) for v, t in versions.items()}, names=["rows"]).reset_index()


def rows_of(summary: pd.DataFrame, version: str) -> pd.DataFrame:
    """Recover the rows that `points` summarised, with new seed numbers: the mean of three values gives the middle one.

    A row has the same seed in both versions.
    """
    every, kept = (_values(summary[summary["rows"] == v]) for v in (ALL, KEPT))
    every["flagged"] = ~pd.MultiIndex.from_frame(every).isin(pd.MultiIndex.from_frame(kept))
    every = every.sort_values([*_POINT, "flagged", "mi_bits"])
    every["seed"] = every.groupby(_POINT).cumcount() + 1
    return as_published(every[~every["flagged"] | (version == ALL)].drop(columns=["flagged", "again"]))


def _values(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the bits of each seed by point, and in `again` a running number of equal values at a point."""
    middle = 3 * summary["mi_bits"] - summary["lowest"] - summary["highest"]
    parts = [summary["lowest"], summary["highest"][summary["seeds"] > 1], middle[summary["seeds"] > 2]]
    bits = pd.concat(parts).round(_DECIMALS).rename("mi_bits")
    out = summary[_POINT].join(bits).reset_index(drop=True)
    return out.assign(again=out.groupby([*_POINT, "mi_bits"]).cumcount())
