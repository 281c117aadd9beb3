"""One file over https into the cache: one process at a time, resumed where it broke off, taken only when whole."""

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
"""A machine without network must say so soon; a slow server may pause for half a minute between two blocks."""


class Refused(Exception):
    """What the server offers is not the file, or there is no room for it; the message is a clause that says which."""


def download(file: File, target: Path) -> None:
    """Download a file to `target`; another process that downloads it already is waited for.

    What is left of a download that broke off or was killed stays as `.state/NAME.part` if it can be resumed. OSError if
    there is no connection (requests' errors), or the cache cannot be written; Refused if what the server offers, or
    what came, has another size or sha256 than it must, or there is no room; InputError if the disk is full before
    anything came.
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
        if target.is_file():  # it came in the meantime
            return
        _complete(part, file)
        if not take(part, target, file):
            _discard(part)
            known = "" if file.sha256 else f"; delete {state_of(file, '.json')} if the file was replaced at its source"
            raise Refused(f"what came is altered or truncated, and was not kept{known}")
        _discard(part)


def kept_bytes(file: File) -> int:
    """What is here of a file whose download broke off and can be resumed."""
    part = state_of(file, ".part")
    return part.stat().st_size if _resumable(part, file) else 0


def _complete(part: Path, file: File) -> None:
    """Bring `part` to its full length, from where it broke off if the server has the same file and can go on."""
    left, have = _resumable(part, file), kept_bytes(file)
    if have and have == left["bytes"]:  # killed after the last byte
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
        if answer.status_code == requests.codes.ok:  # all of it: the server cannot go on, or has another file by now
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
                _discard(part)  # no room left: what is there only takes more of it
            raise
    if total is not None and (size := part.stat().st_size) != total:
        _discard(part)
        raise Refused(f"{size:,} bytes came of {total:,}, and were not kept")


def _goes_on(answer: requests.Response, have: int, left: dict[str, Any]) -> bool:
    """Whether the answer is the rest of the file that `left` describes."""
    length = _length(answer)
    return (
        answer.status_code == requests.codes.partial
        and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        and (length is None or left["bytes"] in (None, have + length))
        and _mark(answer) in ("", left["mark"])
    )


def _total(file: File, announced: int | None, answer: requests.Response) -> int | None:
    """The bytes that there must be in the end, as far as registry or server say it."""
    if None not in (announced, file.bytes) and announced != file.bytes:
        raise Refused(f"the server has {announced:,} bytes, registered are {file.bytes:,}")
    total = file.bytes if announced is None else announced
    if total is None and file.sha256 is None and answer.headers.get("Transfer-Encoding") != "chunked":
        raise Refused("the server does not say how long it is, so nothing tells whether all of it came")
    return total


def _write(answer: requests.Response, part: Path, have: int, total: int | None) -> None:
    """Write the answer behind the first `have` bytes of `part`, with a progress bar where somebody watches."""
    answer.raw.headers.pop("Content-Encoding", None)  # some servers say it of a .gz: it is kept as it came
    bar = tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, leave=False, disable=None)
    with bar, part.open("ab" if have else "wb") as stream:
        for block in answer.iter_content(BLOCK):
            stream.write(block)
            bar.update(len(block))


def _resumable(part: Path, file: File) -> dict[str, Any]:
    """The url, version and full size of what `part` is the beginning of; empty where nobody could tell a wrong end."""
    left = read_json(_about(part))
    known = left.get("url") == file.url and isinstance(left.get("mark"), str) and "bytes" in left
    return left if part.is_file() and known and (left["mark"] or file.sha256) else {}


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _about(part).unlink(missing_ok=True)


def _about(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _mark(answer: requests.Response) -> str:
    """What tells this version of the file from others: a strong ETag, else the time of its last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _length(answer: requests.Response) -> int | None:
    said = answer.headers.get("Content-Length", "")
    return int(said) if said.isdigit() else None


def megabytes(n_bytes: int) -> str:
    """A size in words: "3.1 MB", "41.0 GB"."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
