"""The measurements table: its columns, and how it is sorted, written, read, filtered and gathered."""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from .. import __version__
from ..errors import InputError
from ..files import write_atomically
from ..paths import find
from .csv_files import read_csv

KEY = [
    "dataset", "signal", "model", "preset", "n_cells", "fraction", "fraction_train", "seed", "estimator", "variant",
]  # fmt: skip
"""Columns that identify a measurement: two rows with the same key are the same measurement."""

COLUMNS: dict[str, type] = {
    "dataset": str, "signal": str, "model": str, "preset": str, "n_cells": int, "fraction": float,
    "fraction_train": float, "seed": int, "estimator": str, "variant": str, "method": str, "umis_per_cell": float,
    "umis_per_cell_train": float, "umis_per_cell_nominal": float, "mi_bits": float, "mi_stderr": float, "n_test": int,
    "dims": int, "n_parameters": int, "train_seconds": float, "mi_seconds": float, "device": str, "status": str,
    "error": str, "config_hash": str, "data_sha256": str, "version": str,
}  # fmt: skip
"""Every column with its type; book/data_dictionary.md says what each holds."""
BLANK: dict[str, object] = {name: {str: "", int: 0, float: math.nan}[kind] for name, kind in COLUMNS.items()}
"""A row with the blank value of every column."""

MAY_BE_MISSING = [
    name for name, kind in COLUMNS.items() if kind is float and name not in ("fraction", "fraction_train")
]  # a failed unit has no bits; the published table has no seconds
TIMES = ["train_seconds", "mi_seconds"]
"""Measured times: the only columns that differ between two runs of one seed."""

_ADDED = {"variant": "", "method": "", "fraction_train": math.nan}
"""Columns that older tables do not have, with the value to assume for them."""

OK, ERROR = "ok", "error"
KNOWN = "known_2_bits"
"""The positive control's name in the column `model`: pairs drawn to share 2 bits replace the slice's pairs."""
SHUFFLED = "shuffled"
"""The negative control's name in the column `model`: PCA's embedding with the signal of other cells, 0 bits."""
CONTROLS = (SHUFFLED, KNOWN)
"""The controls. No law is fitted to them, because they do not depend on depth or cells."""


def sort(rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Return rows as a table with exactly the columns of COLUMNS, typed and sorted by KEY.

    Parameters
    ----------
    rows
        A table, or one dict per row.

    Raises
    ------
    InputError
        If a column is missing, unknown or of another type, or two rows share a key.
    """
    table = pd.DataFrame(list(rows) if not isinstance(rows, pd.DataFrame) else rows)
    table = _typed(table if len(table.columns) else pd.DataFrame(columns=list(COLUMNS)))
    twice = table.duplicated(KEY, keep=False)
    if twice.any():
        first = table.loc[twice, KEY].iloc[0].to_dict()
        raise InputError(f"{int(twice.sum())} rows share a key, the first of them {first}: keep one row of each")
    return table.sort_values(KEY, kind="stable", ignore_index=True)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    table = table[[name for name in table if not str(name).startswith("Unnamed: ")]]  # an index written as a column
    missing, unknown = [c for c in COLUMNS if c not in {*table, *_ADDED}], [c for c in table if c not in COLUMNS]
    if missing or unknown:
        raise InputError(_not_ours(table, missing, unknown))
    table = table.assign(**{name: value for name, value in _ADDED.items() if name not in table})
    table = table.assign(fraction_train=thinned_of_training(table))
    out = {}
    for name, kind in COLUMNS.items():
        column = table[name].fillna("") if kind is str else table[name]
        try:
            out[name] = column.astype(kind)
            if kind is int and (out[name] != column.astype(float)).any():
                raise ValueError(f"found {column[out[name] != column.astype(float)].iloc[0]!r}")
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"column {name!r} of the measurements table must hold {kind.__name__}: {error}") from None
    typed = pd.DataFrame(out)
    holes = [c for c in COLUMNS if c not in MAY_BE_MISSING and COLUMNS[c] is not str and typed[c].isna().any()]
    if holes:
        raise InputError(f"columns {holes} of the measurements table have empty cells: every row needs them")
    return typed


def _not_ours(table: pd.DataFrame, missing: list[str], unknown: list[str]) -> str:
    """Say in one sentence why these columns are not a measurements table."""
    if len(missing) > len(COLUMNS) / 2:
        return f"not a measurements table: its columns are {list(table)[:8]}; book/data_dictionary.md lists ours"
    about = f"missing columns {missing}, unknown columns {unknown}; book/data_dictionary.md lists the columns"
    written = __version__ if "version" not in table or table.empty else table["version"].iloc[0]
    if written == __version__:
        return f"not a measurements table: {about}"
    return f"not a measurements table of this version, {__version__}, but of {written}: {about}; measure again"


def write(table: pd.DataFrame | Iterable[dict], path: str | Path) -> Path:
    """Write a table atomically as a sorted CSV; return its path. InputError as `sort` and `files.write_atomically`."""
    write_atomically(path, sort(table).to_csv(index=False, lineterminator="\n"))
    return Path(path)


def check_replaceable(path: str | Path, hashes: Iterable[str] | None = None) -> None:
    """Raise InputError if writing a table to `path` would destroy other results.

    An empty file or failed rows may be replaced; rows of other data or settings, or a file of another kind, may not.

    Parameters
    ----------
    path
        Where a table is to be written.
    hashes
        Configuration hashes of the rows to write; without them any table may be replaced.

    Raises
    ------
    InputError
        If the file holds other rows, or is not a table.
    """
    file = Path(path)
    if not file.exists() or file.stat().st_size == 0:
        return
    remedy = "name another --output (output in a notebook), or move that file away"
    try:
        there = read(file.absolute())
    except InputError as error:
        raise InputError(f"{path} is there already and is no table to be replaced ({error}): {remedy}") from None
    lost = there[(there["status"] == OK) & ~there["config_hash"].isin(set(hashes or ()))]
    if hashes is not None and len(lost):
        row = lost.iloc[0]
        raise InputError(
            f"{path} holds {len(lost)} rows that this run does not measure, the first of {row['dataset']}, "
            f"{row['signal']}, {row['model']} at {row['n_cells']} cells: {remedy}"
        )


def read(path: str | Path) -> pd.DataFrame:
    """Read a measurements CSV, or all of a folder, as a typed, sorted table.

    Parameters
    ----------
    path
        Relative to the working folder or to the checkout. CSVs written by spreadsheets can be read (`csv_files`).

    Raises
    ------
    InputError
        If the file is missing or not a measurements table, or a measured row holds impossible values.
    """
    file = find(path)
    if file.is_dir():
        if not (tables := sorted(file.glob("*.csv"))):
            raise InputError(f"the folder {file} holds no measurements CSV: check the path, or measure first")
        return gather(tables)
    table = read_csv(file, text=_TEXT, blank=MAY_BE_MISSING)
    if (table.iloc[:, 0].astype(str) == table.columns[0]).any():
        raise InputError(f"{file} holds its header twice: join tables with `noise-scaling gather`")
    try:
        table = sort(table)
        _check_values(table)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return table


_TEXT = [name for name, kind in COLUMNS.items() if kind is str]


def _check_values(table: pd.DataFrame) -> None:
    """Raise InputError for an unknown status, and for measured rows with impossible values."""
    if strange := set(table["status"]) - {OK, ERROR}:
        raise InputError(f"status must be {OK} or {ERROR}: found {min(strange)!r}")
    measured = table[(table["status"] == OK) & (table["model"] != KNOWN)]  # KNOWN uses no molecules
    for name, low in {"n_cells": 0, "fraction": 0, "umis_per_cell": 0, "mi_bits": -math.inf}.items():
        wrong = measured[~measured[name].between(low, math.inf, inclusive="neither")]
        if len(wrong):
            raise InputError(
                f"{len(wrong)} measured rows have no possible {name}, the first of {wrong['model'].iloc[0]} at "
                f"{wrong['n_cells'].iloc[0]} cells: found {wrong[name].iloc[0]:g}"
            )


def gather(paths: Iterable[str | Path], *, first_wins: bool = False, rows: int | None = None) -> pd.DataFrame:
    """Join measurement CSVs; identical rows count once, and a measured row replaces a failed row with the same key.

    Rows that differ only in measured times are identical: the times of the first file are kept.

    Parameters
    ----------
    paths
        Files or folders.
    first_wins
        Keep the first file's row even if others differ: for tables of two machines, whose bits agree up to rounding.
    rows
        Expected number of rows.

    Raises
    ------
    InputError
        If two rows with one key differ (the message names both files), the number of rows is not `rows`, or, without
        `first_wins`, rows of one data set and signal were measured on different cells.
    """
    tables = [read(path).assign(_file=str(path)) for path in paths]
    if not tables:
        raise InputError("no measurement files to gather: run `noise-scaling measure` first")
    together = pd.concat(tables, ignore_index=True).sort_values("status", key=lambda s: s == ERROR, kind="stable")
    together = together[~((together["status"] == ERROR) & together.duplicated(KEY))]  # a measured row wins
    together = together.drop_duplicates(KEY if first_wins else [c for c in COLUMNS if c not in TIMES])
    clash = together[together.duplicated(KEY, keep=False)].sort_values(KEY)
    if len(clash):
        one, other = clash.iloc[0], clash.iloc[1]
        raise InputError(
            f"two rows for {one[KEY].to_dict()} differ: {one['mi_bits']:g} bits in {one['_file']} and "
            f"{other['mi_bits']:g} bits in {other['_file']}: remove the file that is out of date"
        )
    if not first_wins:
        _check_cells(together[together["data_sha256"] != ""])
    if rows is not None and len(together) != rows:
        raise InputError(
            f"{len(together)} rows in {len(tables)} files where {rows} were asked for (--rows): measure what is "
            "missing, or delete the files that are cut off or out of date, and gather again"
        )
    return sort(together.drop(columns="_file"))


def _check_cells(table: pd.DataFrame) -> None:
    """Raise InputError if rows of one data set and signal are of different contents."""
    contents = table.drop_duplicates(["dataset", "signal", "data_sha256"])
    twice = contents[contents.duplicated(["dataset", "signal"], keep=False)].sort_values(["dataset", "signal"])
    if len(twice):
        one, other = twice.iloc[0], twice.iloc[1]
        raise InputError(
            f"rows of {one['dataset']!r} ({one['signal']}) in {one['_file']} and {other['_file']} are of different "
            "cells or counts: measure again what is of the file as it was, or give each file a name of its own"
        )


def protocol_rows(
    table: pd.DataFrame, *columns: str, controls: bool = False, variant: str | None = "", apart: bool = False
) -> pd.DataFrame:
    """Return the rows measured by the protocol itself; without `controls`, only those that a law can describe.

    Parameters
    ----------
    table
        A measurements table. Without the columns `variant` or `status`, all of its rows count as protocol rows.
    columns
        Columns that must have a value, besides the bits.
    controls
        Whether to keep the rows of the controls.
    variant
        Name of a variant to return instead of the protocol; None returns all of them.
    apart
        Whether to keep rows whose training cells were thinned differently from their test cells.
    """
    here = table[["mi_bits", *columns]].notna().all(axis=1)
    if not controls:
        here &= ~table["model"].isin(CONTROLS)
    for column, value in (("variant", variant), ("status", OK)):
        if column in table and value is not None:
            here &= table[column] == value
    if not apart and "fraction" in table:
        here &= thinned_of_training(table) == table["fraction"]
    return table[here]


def thinned_of_training(table: pd.DataFrame) -> pd.Series:
    """Return the column `fraction_train`, filled from `fraction` where it is blank or missing."""
    if "fraction_train" not in table or "fraction" not in table:
        return table.get("fraction_train", table.get("fraction", pd.Series(math.nan, table.index)))
    given = pd.to_numeric(table["fraction_train"], errors="coerce")
    return given.where(given > 0, table["fraction"])


def of_one_run(table: pd.DataFrame) -> pd.DataFrame:
    """Drop depths and cell numbers with fewer seeds than most of their data set: these rows come from another run.

    `make book` measures two data sets with few seeds, at its own depths; in a table with more seeds those rows would
    distort curves and intervals. The rule is this project's own. The published table's seeds do not identify a run, so
    all of its rows are kept.

    Parameters
    ----------
    table
        A measurements table, of the protocol's rows.
    """
    by = ["dataset", "signal", "preset", "estimator"]
    for axis in ("fraction", "n_cells"):
        if table.empty:
            break
        seeds = table.groupby([*by, axis])["seed"].nunique()
        most = seeds.groupby(level=by).transform(lambda count: count.mode().min())
        kept = pd.MultiIndex.from_frame(table[[*by, axis]]).isin(seeds[seeds >= most].index)
        table = table[kept | (table["version"] == "published")]
    return table
