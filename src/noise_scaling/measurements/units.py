"""Finished units of work on disk: their rows, and the loss curves of their trainings, written atomically."""

import json
from pathlib import Path

import pandas as pd

from ..files import write_atomically
from .table import COLUMNS, OK


def unit_path(folder: str | Path, unit_hash: str) -> Path:
    """Return the path of the file with the rows of one unit of work."""
    return Path(folder) / unit_hash[:2] / f"{unit_hash}.json"


def write_unit(folder: str | Path, unit_hash: str, rows: list[dict]) -> None:
    """Write the rows of one finished unit atomically.

    Parameters
    ----------
    folder
        The folder of units, which is created if needed.
    unit_hash
        `Unit.config_hash`.
    rows
        Dicts with the columns of a measurements table.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    write_atomically(unit_path(folder, unit_hash), json.dumps(rows, indent=0, allow_nan=True))


def read_unit(folder: str | Path, unit_hash: str) -> list[dict] | None:
    """Return the rows of a finished unit, or None if its file is missing or incomplete (truncated by hand, say)."""
    path = unit_path(folder, unit_hash)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return rows if isinstance(rows, list) and all(set(row) == set(COLUMNS) for row in rows) else None


def restore(table: pd.DataFrame, folder: str | Path) -> int:
    """Write a table's measured rows as finished units, so that a sweep can continue elsewhere; return how many are new.

    Rows whose configuration hash differs from the hash that the current code gives them are never looked up.

    Parameters
    ----------
    table
        A measurements table.
    folder
        The folder of units, which is created if needed.
    """
    rows = [row for row in table[table["status"] == OK].to_dict("records") if not read_unit(folder, row["config_hash"])]
    for row in rows:
        write_unit(folder, row["config_hash"], [row])
    return len(rows)


def write_history(folder: str | Path, unit_hash: str, history: dict[str, list[float]]) -> None:
    """Write the loss curves of one training next to its unit.

    Parameters
    ----------
    folder, unit_hash
        As in `write_unit`.
    history
        Values of each curve, by its name.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    curves = {name: [float(value) for value in values] for name, values in history.items()}
    write_atomically(unit_path(folder, unit_hash).with_suffix(".history"), json.dumps(curves, allow_nan=True))


def read_history(folder: str | Path, unit_hash: str) -> dict[str, list[float]]:
    """Return the loss curves kept with a unit; an empty dict if they are missing or truncated."""
    try:
        return json.loads(unit_path(folder, unit_hash).with_suffix(".history").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
