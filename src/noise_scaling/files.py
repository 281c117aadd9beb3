"""Atomic writing of files: a reader, or a run that follows a killed one, sees the old content or the new."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path for a draft, a file or a folder, which is moved to `path` at the end, or removed if anything fails.

    Parent folders are created. If `path` is a link, the link is kept and its target is replaced.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        draft = Path(folder) / target.name
        yield draft
        os.replace(draft, target)


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size in bytes and time of change (ns) of a file, or of all files below a folder."""
    parts = sorted(path.rglob("*")) if path.is_dir() else [path]
    facts = [(str(part.resolve()), part.stat()) for part in parts if part.is_file()]
    return [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file atomically. A device or a pipe, such as /dev/stdout, is written to directly and not replaced.

    InputError if the file cannot be written: the disk is full, or `path` is a folder. An old file is kept.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
            return
        with replacing(path) as draft:
            draft.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; free the disk or choose another folder") from None
