"""Files that grow chunk by chunk, can be gone on with after any stop, and become the target only when whole."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError
from ..files import replacing

_JOURNAL = "journal.json"
_SECONDS = 2.0  # between entries in the journal: each waits for the disk, and a kill loses no more than this


class ResumableWriter:
    """Flat binary files in TARGET.partial, and a journal of how many cells and bytes of them are whole.

    Whatever a stopped run wrote after its last entry in the journal is cut off when the next one opens the folder.

    Raises
    ------
    InputError
        If another run is at it or has finished it, if what is left is of other settings, or if no space is left.
    """

    def __init__(self, target: Path, settings: dict) -> None:
        self.target, self.settings, self.folder = target, settings, partial_of(target)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / "lock", "w")  # noqa: SIM115 - held as long as the writer
        if problem := self._problem():
            self._lock.close()
            raise InputError(problem)
        journal = read_json(self.folder / _JOURNAL)
        self.cells: int = journal.get("cells", 0)
        self.sizes: dict[str, int] = journal.get("bytes", {})
        self._files: dict[str, BinaryIO] = {}
        self._noted = time.monotonic()

    def _problem(self) -> str:
        """Why this run may not write, as a sentence."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"another run is writing {self.target}: wait for it, or name another target"
        if self.target.exists():
            return f"{self.target} was finished by another run just now: run again to check it"
        if read_json(self.folder / _JOURNAL).get("settings", self.settings) != self.settings:
            return (
                f"{self.folder} is left of a run with other settings or another source: "
                "run that one again to finish it, or remove the folder"
            )
        return ""

    def __enter__(self) -> ResumableWriter:
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
            self._file(name).write(np.ascontiguousarray(array).data)
        self.cells, self.sizes = cells, {name: file.tell() for name, file in self._files.items()}
        if time.monotonic() - self._noted > _SECONDS:
            self._note()

    def _note(self) -> None:
        """Enter in the journal what is whole, once it is on disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        with replacing(self.folder / _JOURNAL) as draft:
            draft.write_text(json.dumps({"cells": self.cells, "bytes": self.sizes, "settings": self.settings}))
        self._noted = time.monotonic()

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            file = self._files[name] = open(self.folder / f"{name}.bin", "ab")  # noqa: SIM115 - closed on exit
            file.truncate(self.sizes.get(name, 0))
            file.seek(0, os.SEEK_END)
        return self._files[name]

    def read(self, name: str, dtype: DTypeLike, start: int, stop: int) -> np.ndarray:
        """Items start..stop of one of the files."""
        if name in self._files:
            self._files[name].flush()
        offset = start * np.dtype(dtype).itemsize
        return np.fromfile(self.folder / f"{name}.bin", dtype, stop - start, offset=offset)

    def finish(self, whole: Path) -> Path:
        """Make `whole`, the writer's folder or something in it, the target, and drop the rest."""
        self._note()
        os.replace(whole, self.target)
        if whole == self.folder:
            for name in (_JOURNAL, "lock"):
                (self.target / name).unlink()
        else:
            shutil.rmtree(self.folder)
        return self.target


def partial_of(target: Path) -> Path:
    """The folder in which `target` grows."""
    return target.with_name(target.name + ".partial")


def read_json(path: Path) -> dict:
    """What a JSON file holds; empty if there is none."""
    return json.loads(path.read_text()) if path.exists() else {}
