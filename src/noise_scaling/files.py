"""Files that appear whole: a reader, or whoever goes on after a killed run, sees the old content or the new."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A place for a draft, a file or a folder, that becomes `path` at the end; nothing is left of it if anything fails.

    Folders above are made. A link stays a link: what it points to is replaced.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        draft = Path(folder) / target.name
        yield draft
        os.replace(draft, target)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file at once. What is no file, such as /dev/stdout or a pipe, is written to and not replaced.

    InputError if the file cannot be written: the disk is full, or a folder is in the way. The old file stays.
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
