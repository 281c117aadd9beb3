"""Getting a data set's files: the mirror first, then the cache, then https; sha256 checked each time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pooch
import requests

from .. import paths
from ..errors import InputError, choose
from .registry import Card, File, card

CONNECT_SECONDS, READ_SECONDS = 10, 60
"""A machine without network must say so soon; a slow server may pause for a minute between two blocks."""

_BLOCK = 1 << 20


def fetch(name: str, file: str | None = None) -> Path:
    """The path of one file of a registered data set, downloaded if need be.

    Parameters
    ----------
    name
        A registered data set, e.g. "published".
    file
        Which of its files (its name on the card); not needed where there is only one.

    Raises
    ------
    InputError
        If it cannot be had (with URL, size and a command to get it), or its sha256 is not the registered one:
        an altered or truncated download is not kept.
    """
    files = {each.name: each for each in card(name).files}
    if file is None and len(files) != 1:
        raise InputError(f"data set {name!r} has {len(files)} files: name one of {', '.join(files) or 'none'}")
    wanted = files[choose(f"file of {name!r}", file, files)] if file else next(iter(files.values()))
    return fetch_file(wanted)


def fetch_all(of: Card) -> dict[str, Path]:
    """All files of a card, by their name without folder."""
    return {Path(file.name).name: fetch_file(file) for file in of.files}


def fetch_file(file: File) -> Path:
    """One file: from the mirror, from the cache, or downloaded into the cache."""
    for place in (paths.mirror(), paths.cache()):
        if place is not None and (place / file.name).is_file():
            return _checked(place / file.name, file)
    if file.url is None:
        raise InputError(f"{file.name} has no address to download from: {file.how} {_where(file)}".replace("  ", " "))
    return _download(file)


def _checked(path: Path, file: File) -> Path:
    found = sha256(path)
    if file.sha256 is not None and found != file.sha256:
        size = path.stat().st_size
        raise InputError(
            f"{path} is altered or truncated ({size:,} bytes, sha256 {found[:12]}..., registered "
            f"{file.bytes or 0:,} bytes, {file.sha256[:12]}...): delete it and run again"
        )
    return path


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _download(file: File) -> Path:
    """Download by pooch, which writes beside the target, checks, and only then moves it there."""
    target = paths.cache() / file.name
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        known = None if file.sha256 is None else f"sha256:{file.sha256}"
        pooch.get_logger().setLevel("WARNING")
        got = pooch.retrieve(file.url, known, fname=target.name, path=target.parent, downloader=downloader)
    except (requests.RequestException, ValueError, OSError) as error:
        reason = _reason(error)
        raise InputError(
            f"{file.name} ({_size(file)}) could not be downloaded ({reason}): when you are online, run "
            f"`curl -L --create-dirs -o '{target}' '{file.url}'`, or set NOISE_SCALING_MIRROR to a folder that has it"
        ) from error
    return Path(got)


def _reason(error: Exception) -> str:
    """In a few words, what went wrong; requests wraps the same fault in several sentences."""
    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.RequestException):
        return "no connection"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "what came is altered or truncated, and was not kept"


def _size(file: File) -> str:
    return "size unknown" if file.bytes is None else f"{file.bytes / 1e6:.1f} MB"


def _where(file: File) -> str:
    return f"Put it at {paths.cache() / file.name}, or under NOISE_SCALING_MIRROR as {file.name}."
