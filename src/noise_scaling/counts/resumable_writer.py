"""Files that grow chunk by chunk, can be gone on with after any stop, and become the target only when whole."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

from ..errors import InputError

_JOURNAL = "journal.json"
_SECONDS = 2.0  # between entries in the journal: each waits for the disk, and a kill loses no more than this


class Spool:
    """Flat binary files in TARGET.partial, and a journal of how many cells and bytes of them are whole.

    Whatever a stopped run wrote after its last entry in the journal is cut off when the next one opens the spool.
    """

    def __init__(self, target: Path, settings: dict):
        self.target, self.settings = target, settings
        self.folder = partial_of(target)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / "lock", "w")  # noqa: SIM115 - held as long as the spool
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise InputError(f"another run is writing {target}: wait for it, or name another target") from None
        if target.exists():
            self._lock.close()
            raise InputError(f"{target} was finished by another run just now: run again to check it")
        journal = read_json(self.folder / _JOURNAL)
        if journal.get("settings", settings) != settings:
            self._lock.close()
            raise InputError(
                f"{self.folder} is left of a run with other settings or another source: "
                "run that one again to finish it, or remove the folder"
            )
        self.cells: int = journal.get("cells", 0)
        self.sizes: dict[str, int] = journal.get("bytes", {})
        self._files: dict = {}
        self._noted = time.monotonic()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if error is not None and self.cells and not full:
            self._note()  # what is whole stays, also after Ctrl-C
        for file in self._files.values():
            file.close()
        if error is not None and not self.cells:
            shutil.rmtree(self.folder)  # nothing to go on with
        self._lock.close()
        if full:
            raise InputError(f"no space left to write {self.target}: free some and run again, it will go on") from error

    def append(self, cells: int, **arrays: np.ndarray) -> None:
        """Add the arrays of one more chunk, after which `cells` cells are in."""
        for name, array in arrays.items():
            self._file(name).write(np.ascontiguousarray(array))
        self.cells, self.sizes = cells, {name: file.tell() for name, file in self._files.items()}
        if time.monotonic() - self._noted > _SECONDS:
            self._note()

    def _note(self) -> None:
        """Enter in the journal what is whole, once it is on disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        write_json(self.folder / _JOURNAL, {"cells": self.cells, "bytes": self.sizes, "settings": self.settings})
        self._noted = time.monotonic()

    def _file(self, name: str):
        if name not in self._files:
            path = self.folder / f"{name}.bin"
            path.touch()
            self._files[name] = open(path, "r+b")  # noqa: SIM115 - closed on exit
            self._files[name].truncate(self.sizes.get(name, 0))
            self._files[name].seek(0, os.SEEK_END)
        return self._files[name]

    def read(self, name: str, dtype: np.dtype, start: int, stop: int) -> np.ndarray:
        """Items start..stop of one of the files."""
        self._files[name].flush() if name in self._files else None
        size = np.dtype(dtype).itemsize
        return np.fromfile(self.folder / f"{name}.bin", dtype, stop - start, offset=start * size)

    def finish(self, whole: Path) -> Path:
        """Make `whole`, the spool's folder or something in it, the target, and drop the rest."""
        self._note()
        os.replace(whole, self.target)
        if whole == self.folder:
            for name in (_JOURNAL, "lock"):
                (self.target / name).unlink()
        else:
            shutil.rmtree(self.folder)
        return self.target


def partial_of(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def write_json(path: Path, content: dict) -> None:
    """Replace the file at once: a reader sees the old content or the new."""
    draft = path.with_name(path.name + ".draft")
    with open(draft, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
