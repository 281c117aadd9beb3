"""Download a file over https into the cache: by one process at a time, resumed if interrupted, kept only when whole."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock, Timeout
from tqdm import tqdm

from ..files import write_atomically
from .checksums import BLOCK, read_json, state_of, take
from .registry import File

CONNECT_SECONDS, READ_SECONDS = 5, 30
"""Timeouts: a missing network must be noticed soon; a slow server may pause for half a minute between two blocks."""


class Refused(Exception):
    """The server offers another file, or there is no disk space for it; the message is a clause with the reason."""


def download(file: File, target: Path) -> None:
    """Download a file to `target`, or wait for another process that is already downloading it.

    An interrupted download is kept as `.state/NAME.part` if it can be resumed. OSError if there is no connection
    (requests' errors), or the cache cannot be written; Refused if the offered or the received data do not have the
    expected size or sha256, or there is no disk space; InputError if the disk is full before any data came.
    """
    part = state_of(file, ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state_of(file, ".lock"))
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        tqdm.write(f"waiting for another process that downloads {file.name}", file=sys.stderr)
        held = lock.acquire()
    with held:
        if target.is_file():  # another process completed it in the meantime
            return
        _complete(part, file)
        if not take(part, target, file):
            _discard(part)
            known = "" if file.sha256 else f"; delete {state_of(file, '.json')} if the file was replaced at its source"
            raise Refused(f"what came is altered or truncated, and was not kept{known}")
        _discard(part)


def kept_bytes(file: File) -> int:
    """Return the bytes on disk of an interrupted download that can be resumed; else 0."""
    part = state_of(file, ".part")
    return part.stat().st_size if _resumable(part, file) else 0


def _complete(part: Path, file: File) -> None:
    """Download the rest of `part` if the server has the same file and can resume it, else the whole file."""
    left, have = _resumable(part, file), kept_bytes(file)
    if have and have == left["bytes"]:  # the process was killed after the last byte
        return
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges are then those of the file itself
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": left["mark"]} if left["mark"] else {})
    assert file.url is not None
    with requests.get(file.url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as answer:
        if have and answer.status_code != requests.codes.ok and not _goes_on(answer, have, left):
            _discard(part)
            return _complete(part, file)
        if answer.status_code not in (requests.codes.ok, requests.codes.partial):
            raise requests.HTTPError(response=answer)
        if answer.status_code == requests.codes.ok:  # the whole file: the server cannot resume, or the file has changed
            have = 0
            _discard(part)
        length = _length(answer)
        total = _total(file, None if length is None else have + length, answer)
        room = shutil.disk_usage(part.parent).free
        if total is not None and total - have > room:
            raise Refused(f"the disk has {megabytes(room)} left: NOISE_SCALING_CACHE may name a folder with more")
        mark = left["mark"] if have else _mark(answer)
        write_atomically(_about(part), json.dumps({"url": file.url, "mark": mark, "bytes": total}) + "\n")
        try:
            _write(answer, part, have, total)
        except OSError as error:
            if not isinstance(error, requests.RequestException) or not kept_bytes(file):
                _discard(part)  # disk full: the partial file only takes up space
            raise
    if total is not None and (size := part.stat().st_size) != total:
        _discard(part)
        raise Refused(f"{size:,} bytes came of {total:,}, and were not kept")


def _goes_on(answer: requests.Response, have: int, left: dict[str, Any]) -> bool:
    """Whether the response is the rest of the file that `left` describes."""
    length = _length(answer)
    return (
        answer.status_code == requests.codes.partial
        and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        and (length is None or left["bytes"] in (None, have + length))
        and _mark(answer) in ("", left["mark"])
    )


def _total(file: File, announced: int | None, answer: requests.Response) -> int | None:
    """Return the full size of the file in bytes, as far as the registry or the server gives it."""
    if None not in (announced, file.bytes) and announced != file.bytes:
        raise Refused(f"the server has {announced:,} bytes, registered are {file.bytes:,}")
    total = file.bytes if announced is None else announced
    if total is None and file.sha256 is None and answer.headers.get("Transfer-Encoding") != "chunked":
        raise Refused("the server does not say how long it is, so nothing tells whether all of it came")
    return total


def _write(answer: requests.Response, part: Path, have: int, total: int | None) -> None:
    """Write the response after the first `have` bytes of `part`, with a progress bar on a terminal."""
    answer.raw.headers.pop("Content-Encoding", None)  # some servers set it for a .gz, which is to be kept as sent
    bar = tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, leave=False, disable=None)
    with bar, part.open("ab" if have else "wb") as stream:
        for block in answer.iter_content(BLOCK):
            stream.write(block)
            bar.update(len(block))


def _resumable(part: Path, file: File) -> dict[str, Any]:
    """Return url, version and full size of the file that `part` begins; empty if a wrong rest could not be detected."""
    left = read_json(_about(part))
    known = left.get("url") == file.url and isinstance(left.get("mark"), str) and "bytes" in left
    return left if part.is_file() and known and (left["mark"] or file.sha256) else {}


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _about(part).unlink(missing_ok=True)


def _about(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _mark(answer: requests.Response) -> str:
    """Return what identifies this version of the file: a strong ETag, else the time of its last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _length(answer: requests.Response) -> int | None:
    said = answer.headers.get("Content-Length", "")
    return int(said) if said.isdigit() else None


def megabytes(n_bytes: int) -> str:
    """Format a size as text: "3.1 MB", "41.0 GB"."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
