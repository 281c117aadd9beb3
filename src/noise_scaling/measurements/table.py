"""The measurements table: columns, rows on disk, reading, gathering, and the published table in the same form."""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..paths import find
from .csv_files import read_csv

KEY = ["dataset", "signal", "model", "preset", "n_cells", "fraction", "seed", "estimator", "variant"]
"""What names a measurement: two rows with one key are one measurement."""

COLUMNS: dict[str, type] = {
    "dataset": str, "signal": str, "model": str, "preset": str, "n_cells": int, "fraction": float, "seed": int,
    "estimator": str, "variant": str, "method": str, "umis_per_cell": float, "umis_per_cell_train": float,
    "umis_per_cell_nominal": float, "mi_bits": float, "mi_stderr": float, "n_test": int, "dims": int,
    "n_parameters": int, "train_seconds": float, "mi_seconds": float, "device": str, "status": str, "error": str,
    "config_hash": str, "data_sha256": str, "version": str,
}  # fmt: skip
"""Every column with its type; book/data_dictionary.md says what each holds."""

MAY_BE_MISSING = [
    name for name, kind in COLUMNS.items() if kind is float and name != "fraction"
]  # a failed unit has no bits; the published table has no seconds
TIMES = ["train_seconds", "mi_seconds"]
"""Clock readings: the only columns that two runs of one seed do not share."""

_ADDED = {"variant": "", "method": ""}
"""Columns that tables written before them do not have, with what they stand for there."""

OK, ERROR = "ok", "error"
KNOWN = "known_2_bits"
"""The positive control's name in the column `model`: pairs drawn to share 2 bits in place of the slice's own."""
SHUFFLED = "shuffled"
"""The negative control's name in the column `model`: PCA's embedding beside the signal of other cells, 0 bits."""
CONTROLS = (SHUFFLED, KNOWN)
"""No law is fitted to them: they do not depend on depth or cells."""

_PUBLISHED_DATASETS = {"PBMC": "pbmc", "larry": "larry", "merfish": "merfish", "shendure": "mouse_embryo"}
_PUBLISHED_SIGNALS = {
    "protein_counts": "protein",
    "celltype.l3": "celltype.l3",
    "clone": "clone",
    "ng_idx": "space",
    "author_day": "time",
}
_PUBLISHED_MODELS = {
    "RandomProjection": "random_projection",
    "PCA": "pca",
    "SCVI": "scvi",
    "Geneformer": "geneformer",
}
_PUBLISHED_COLUMNS = ["dataset", "size", "quality", "algorithm", "signal", "seed", "mi_value", "umis_per_cell"]


def sort(rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Rows as a table with exactly COLUMNS, typed, sorted by KEY; InputError for a wrong column, type or double key."""
    table = pd.DataFrame(list(rows) if not isinstance(rows, pd.DataFrame) else rows)
    table = _typed(table if len(table.columns) else pd.DataFrame(columns=list(COLUMNS)))
    twice = table.duplicated(KEY, keep=False)
    if twice.any():
        first = table.loc[twice, KEY].iloc[0].to_dict()
        raise InputError(f"{int(twice.sum())} rows share a key, the first of them {first}: keep one row of each")
    return table.sort_values(KEY, kind="stable", ignore_index=True)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    table = table[[name for name in table if not str(name).startswith("Unnamed: ")]]  # an index that was written too
    missing, unknown = [c for c in COLUMNS if c not in {*table, *_ADDED}], [c for c in table if c not in COLUMNS]
    if missing or unknown:
        raise InputError(_not_ours(table, missing, unknown))
    table = table.assign(**{name: value for name, value in _ADDED.items() if name not in table})
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
    """What keeps these columns from being a measurements table, in a sentence."""
    if len(missing) > len(COLUMNS) / 2:
        return f"not a measurements table: its columns are {list(table)[:8]}; book/data_dictionary.md lists ours"
    about = f"missing columns {missing}, unknown columns {unknown}; book/data_dictionary.md lists the columns"
    here = _version("noise-scaling")
    written = here if "version" not in table or table.empty else table["version"].iloc[0]
    if written == here:
        return f"not a measurements table: {about}"
    return f"not a measurements table of this version, {here}, but of {written}: {about}; measure again"


def write(table: pd.DataFrame | Iterable[dict], path: str | Path) -> Path:
    """Write a sorted, schema-checked CSV in one step: a reader sees the old file or the new one, never half."""
    write_atomically(path, sort(table).to_csv(index=False, lineterminator="\n"))
    return Path(path)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write to a temporary file beside `path` and rename it; InputError, and nothing left behind, if that fails.

    A link stays one. What is no file, such as /dev/stdout or a pipe, is written to: a rename would take its place.
    """
    path, temporary = Path(path), None
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
            return
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror}; free the disk or choose another folder") from None


def check_replaceable(path: str | Path, hashes: Iterable[str] | None = None) -> None:
    """Raise an InputError if writing rows of these configuration hashes to `path` would lose what is there.

    An empty file and failed rows are no loss; rows of other data or settings are, and so is a file of another kind.
    Without hashes any table may be replaced.
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
    """A measurements CSV, or all of a folder, as a typed, sorted table; InputError if it is not one."""
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
    """Raise an InputError for a state that there is not, and for measured rows with values that cannot be."""
    if strange := set(table["status"]) - {OK, ERROR}:
        raise InputError(f"status must be {OK} or {ERROR}: found {min(strange)!r}")
    measured = table[(table["status"] == OK) & (table["model"] != KNOWN)]  # which takes no molecules
    for name, low in {"n_cells": 0, "fraction": 0, "umis_per_cell": 0, "mi_bits": -math.inf}.items():
        wrong = measured[~measured[name].between(low, math.inf, inclusive="neither")]
        if len(wrong):
            raise InputError(
                f"{len(wrong)} measured rows have no possible {name}, the first of {wrong['model'].iloc[0]} at "
                f"{wrong['n_cells'].iloc[0]} cells: found {wrong[name].iloc[0]:g}"
            )


def read_published(path: str | Path) -> pd.DataFrame:
    """The published table of 4,844 measurements (g-kl/noise-scaling, collect_mi_results.csv) in our columns.

    Depth there is nominal: the table holds the target, not what the thinned counts gave, so `umis_per_cell` is that.
    """
    raw = pd.read_csv(find(path))
    if list(raw.columns) != _PUBLISHED_COLUMNS:
        raise InputError(f"{path} is not the published table: found columns {list(raw.columns)}")
    table = pd.DataFrame(
        {
            "dataset": raw["dataset"].map(_PUBLISHED_DATASETS),
            "signal": raw["signal"].map(_PUBLISHED_SIGNALS),
            "model": raw["algorithm"].map(_PUBLISHED_MODELS),
            "n_cells": raw["size"],
            "fraction": raw["quality"],
            "seed": raw["seed"],
            "umis_per_cell_nominal": raw["umis_per_cell"],
            "mi_bits": raw["mi_value"],
        }
    )
    return as_published(table)


def as_published(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the published table with all of our columns: what is the same in each, and blanks."""
    constant = {"preset": "published", "estimator": "lmi", "method": "lmi", "status": OK, "version": "published"}
    table = table.assign(umis_per_cell=table["umis_per_cell_nominal"], **constant)
    for name, kind in COLUMNS.items():
        if name not in table:
            table[name] = {str: "", int: 0, float: math.nan}[kind]
    return sort(table)


def unit_path(folder: str | Path, unit_hash: str) -> Path:
    """Where the rows of one unit of work lie."""
    return Path(folder) / unit_hash[:2] / f"{unit_hash}.json"


def write_unit(folder: str | Path, unit_hash: str, rows: list[dict]) -> None:
    """Keep the rows of one finished unit, whole or not at all."""
    write_atomically(unit_path(folder, unit_hash), json.dumps(rows, indent=0, allow_nan=True))


def read_unit(folder: str | Path, unit_hash: str) -> list[dict] | None:
    """The rows of a finished unit, or None if it is not there or is not whole (cut off by hand, say)."""
    path = unit_path(folder, unit_hash)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return rows if isinstance(rows, list) and all(set(row) == set(COLUMNS) for row in rows) else None


def restore(table: pd.DataFrame, folder: str | Path) -> int:
    """Keep the measured rows of a table as finished units, and say how many were not there yet.

    So a sweep goes on from its committed table, on another machine too. Rows whose configuration hash is no longer
    what the code would give them are never looked up.
    """
    rows = [row for row in table[table["status"] == OK].to_dict("records") if not read_unit(folder, row["config_hash"])]
    for row in rows:
        write_unit(folder, row["config_hash"], [row])
    return len(rows)


def write_history(folder: str | Path, unit_hash: str, history: dict[str, list[float]]) -> None:
    """Keep the loss curves of one training beside its unit."""
    curves = {name: [float(value) for value in values] for name, values in history.items()}
    write_atomically(unit_path(folder, unit_hash).with_suffix(".history"), json.dumps(curves, allow_nan=True))


def read_history(folder: str | Path, unit_hash: str) -> dict[str, list[float]]:
    """The loss curves kept with a unit; none where there are none, or they were cut off."""
    try:
        return json.loads(unit_path(folder, unit_hash).with_suffix(".history").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}


def gather(paths: Iterable[str | Path], *, first_wins: bool = False, rows: int | None = None) -> pd.DataFrame:
    """Join measurement CSVs: the same row twice counts once; two different rows with one key are an error naming both.

    Clock readings do not make rows differ: the first file's are kept. With `first_wins` the first file's row is kept
    whatever differs: for tables of two machines, whose bits agree but for rounding. Another number of rows than `rows`
    is an error.
    """
    tables = [read(path).assign(_file=str(path)) for path in paths]
    if not tables:
        raise InputError("no measurement files to gather: run `noise-scaling measure` first")
    together = pd.concat(tables, ignore_index=True).sort_values("status", key=lambda s: s == ERROR, kind="stable")
    together = together[~((together["status"] == ERROR) & together.duplicated(KEY))]  # it went well another time
    together = together.drop_duplicates(KEY if first_wins else [c for c in COLUMNS if c not in TIMES])
    clash = together[together.duplicated(KEY, keep=False)].sort_values(KEY)
    if len(clash):
        one, other = clash.iloc[0], clash.iloc[1]
        raise InputError(
            f"two rows for {one[KEY].to_dict()} differ: {one['mi_bits']:g} bits in {one['_file']} and "
            f"{other['mi_bits']:g} bits in {other['_file']}: remove the file that is out of date"
        )
    if rows is not None and len(together) != rows:
        raise InputError(
            f"{len(together)} rows in {len(tables)} files where {rows} were asked for (--rows): measure what is "
            "missing, or delete the files that are cut off or out of date, and gather again"
        )
    return sort(together.drop(columns="_file"))


_REPORTED = ("noise-scaling", "numpy", "scipy", "scikit-learn", "torch", "scvi-tools", "scanpy", "anndata", "numba")


def provenance(table: pd.DataFrame, command: str) -> dict[str, object]:
    """Where a table came from: command, rows, data and their sha256, devices, machine type and package versions."""
    data = table[table["data_sha256"] != ""].groupby("dataset")["data_sha256"].unique()
    return {
        "command": command,
        "rows": len(table),
        "failed_rows": int((table["status"] == ERROR).sum()),
        "data_sha256": {name: sorted(values) for name, values in data.items()},
        "devices": sorted(table["device"].unique()),
        "train_seconds": round(float(table["train_seconds"].sum()), 1),
        "mi_seconds": round(float(table["mi_seconds"].sum()), 1),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "processor": processor(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _REPORTED},
    }


def processor() -> str:
    """The processor's name and its widest vector instructions: sums differ in their last digits between those."""
    import torch  # here: reading a table should not take its seconds

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"


def _version(package: str) -> str:
    """Version of an installed package; a machine that only trains need not have all."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
