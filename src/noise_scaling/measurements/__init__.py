"""The measurements table, its units on disk, and the published table in the same form."""

from .provenance import processor, provenance
from .published import read_published
from .table import (
    BLANK,
    COLUMNS,
    CONTROLS,
    ERROR,
    KEY,
    KNOWN,
    MAY_BE_MISSING,
    OK,
    SHUFFLED,
    TIMES,
    check_replaceable,
    gather,
    of_one_run,
    protocol_rows,
    read,
    sort,
    write,
)
from .units import read_history, read_unit, restore, unit_path, write_history, write_unit

__all__ = [
    "BLANK", "COLUMNS", "CONTROLS", "ERROR", "KEY", "KNOWN", "MAY_BE_MISSING", "OK", "SHUFFLED", "TIMES",
    "check_replaceable", "gather", "of_one_run", "processor", "protocol_rows", "provenance", "read", "read_history",
    "read_published", "read_unit", "restore", "sort", "unit_path", "write", "write_history", "write_unit",
]  # fmt: skip
