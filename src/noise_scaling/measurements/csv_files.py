"""Reader of CSV files as spreadsheets write them: with semicolons, decimal commas or blank rows."""

import io
import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from ..errors import InputError

_COMMA, _POINT = (re.compile(rf"[-+]?\d*(?:{mark}\d+)+(?:[eE][-+]?\d+)?") for mark in (",", r"\."))
"""Numbers with a decimal comma; numbers with a decimal point, or with points between thousands."""


def read_csv(file: Path, *, text: Collection[str] = (), blank: Collection[str] = ()) -> pd.DataFrame:
    """Read a CSV in UTF-8 with commas, semicolons or tabs between columns.

    Blank rows are left out. Columns named in `text` are read as text, and an empty cell of a column in `blank` is NaN.
    InputError if the file is not a CSV, cannot be read, is cut off, or writes numbers in two ways: next to 0,5 a 1.000
    may be one or a thousand.
    """
    try:
        lines = file.read_bytes().decode("utf-8-sig")
        if lines and not lines.endswith(("\n", "\r")):
            raise InputError(f"{file} is cut off: its last line has no end: make it again, or end it with a new line")
        separator = max(",;\t", key=lines.split("\n", 1)[0].count)
        lines = re.sub(rf"(?m)^[ {separator}]*{separator}[ {separator}]*(?=\r?$)", "", lines)
        decimal = "." if separator == "," else _decimal(file, lines, separator)
        # pandas' own float parser is sometimes off by one in the last digit: a table must read as it was written
        return pd.read_csv(
            io.StringIO(lines), sep=separator, decimal=decimal, keep_default_na=False, low_memory=False,
            na_values={name: [""] for name in blank}, dtype=dict.fromkeys(text, str), float_precision="round_trip",
        )  # fmt: skip
    except UnicodeDecodeError:
        raise InputError(f"{file} cannot be read as CSV: it is no UTF-8 text: save it as CSV in UTF-8") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{file} cannot be read as CSV: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): check its permissions") from None


def _decimal(file: Path, lines: str, separator: str) -> str:
    """Return the decimal mark of a file whose columns are not separated by commas."""
    cells = [cell.strip().strip('"') for cell in re.split(rf"[{separator}\r\n]", lines)]
    comma, point = (next(filter(kind.fullmatch, cells), None) for kind in (_COMMA, _POINT))
    if comma and point:
        raise InputError(
            f"{file} holds numbers with commas and with points, such as {comma} and {point}: save it with one decimal "
            "mark and nothing between thousands"
        )
    return "," if comma else "."
