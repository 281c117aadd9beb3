"""The measurements table: its columns, rows on disk, reading and gathering; the published table in the same form."""

from .table import (
    COLUMNS,
    CONTROLS,
    ERROR,
    KEY,
    KNOWN,
    MAY_BE_MISSING,
    OK,
    SHUFFLED,
    TIMES,
    as_published,
    check_replaceable,
    gather,
    processor,
    provenance,
    read,
    read_history,
    read_published,
    read_unit,
    restore,
    sort,
    unit_path,
    write,
    write_atomically,
    write_history,
    write_unit,
)  # fmt: skip

__all__ = [
    "COLUMNS", "CONTROLS", "ERROR", "KEY", "KNOWN", "MAY_BE_MISSING", "OK", "SHUFFLED", "TIMES", "as_published",
    "check_replaceable", "gather", "processor", "provenance", "read", "read_history", "read_published",
    "read_unit", "restore", "sort", "unit_path", "write", "write_atomically", "write_history", "write_unit",
]  # fmt: skip
