"""The sha256 of data files: computed once, cached by path, size and time; later files must match the first."""

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import paths
from ..errors import InputError
from ..files import write_atomically
from .registry import File

BLOCK = 1 << 20
LONG_BYTES = 1_000_000_000
"""Hashing a larger file takes seconds, and shows a progress bar on a terminal."""


def check(path: Path, file: File) -> Path:
    """Return `path` if it has the registered sha256; without one, a file of the cache must have that of its first use.

    The file is read only if it is new, or its path, size, time or inode differ from the record in the cache folder. If
    that record cannot be written, the file is read each time. A mirror's file without a registered sha256 is accepted
    as it is, because the owner of the mirror may replace it. InputError if the sha256 is another one, or the file
    cannot be read.
    """
    if file.sha256 is None and path != paths.cache() / file.name:
        return path
    kept, wanted = record(file), expected(file)
    try:
        stamp = _stamp(path)
        if kept == stamp | {"sha256": wanted}:
            return path
        found = sha256(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give yourself leave, or delete it") from error
    if wanted is None or found == wanted:
        _keep(file, stamp, found)
        return path
    now = f"{stamp['bytes']:,} bytes, sha256 {found[:12]}..."
    if file.sha256 is None:
        raise InputError(
            f"{path} is not the file that was first used as {file.name} ({now}, then {kept['bytes']:,} bytes, "
            f"{wanted[:12]}...): delete it and run again, or delete {state_of(file, '.json')} to take the new one"
        )
    raise InputError(
        f"{path} is altered or truncated ({now}, registered {file.bytes or 0:,} bytes, {wanted[:12]}...): "
        "delete it and run again"
    )


def take(part: Path, target: Path, file: File) -> bool:
    """Move a complete download to `target` if its sha256 is the expected one; return whether it was."""
    found = sha256(part)
    if found != (expected(file) or found):
        return False
    part.replace(target)
    _keep(file, _stamp(target), found)
    return True


def expected(file: File) -> str | None:
    """Return the registered sha256, else the sha256 of the file at its first use, else None."""
    return file.sha256 or record(file).get("sha256")


def sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    digest, size = hashlib.sha256(), path.stat().st_size
    hide = None if size > LONG_BYTES else True  # None: hidden unless stderr is a terminal
    bar = tqdm(desc=f"checking {path.name}", total=size, unit="B", unit_scale=True, leave=False, disable=hide)
    with bar, path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def state_of(file: File, ending: str) -> Path:
    """Return the path of a state file for `file`: in a hidden folder next to the file's place in the cache."""
    place = paths.cache() / file.name
    return place.parent / ".state" / (place.name + ending)


def record(file: File) -> dict[str, Any]:
    """Return the record of when the file was last read; empty if there is none or it is corrupt."""
    kept = read_json(state_of(file, ".json"))
    valid = isinstance(kept.get("bytes"), int) and re.fullmatch("[0-9a-f]{64}", str(kept.get("sha256")))
    return kept if valid else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is none, or it is corrupt."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(path: Path) -> dict[str, Any]:
    about = path.stat()
    return {
        "path": str(path.resolve()), "bytes": about.st_size, "mtime_ns": about.st_mtime_ns, "inode": about.st_ino
    }  # fmt: skip


def _keep(file: File, stamp: dict[str, Any], found: str) -> None:
    with contextlib.suppress(InputError):  # the cache cannot be written: the file is read again next time
        write_atomically(state_of(file, ".json"), json.dumps(stamp | {"sha256": found}) + "\n")
