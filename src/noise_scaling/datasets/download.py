"""Get a data set's files: from the mirror, else the cache, else https; the sha256 is checked once for each version."""

import contextlib
import posixpath
from collections.abc import Iterable
from pathlib import Path

import requests

from .. import paths
from ..errors import InputError, choose
from . import checksums, transfer
from .registry import Card, File, card


def fetch(name: str, file: str | None = None) -> Path:
    """Return the path of one file of a registered data set; download the file if needed.

    Parameters
    ----------
    name
        A registered data set, e.g. "published".
    file
        Name of the file on the card; not needed if the data set has only one.

    Raises
    ------
    InputError
        If the file cannot be obtained (the message has URL, size and a command to get it), or its sha256 is not the
        registered one, or not that of the first download. An altered or truncated download is not kept.
    """
    files = {each.name: each for each in card(name).files}
    if file is None and len(files) != 1:
        raise InputError(f"data set {name!r} has {len(files)} files: name one of {', '.join(files) or 'none'}")
    wanted = files[choose(f"file of {name!r}", file, files)] if file else next(iter(files.values()))
    return fetch_file(wanted)


def fetch_all(of: Card) -> dict[str, Path]:
    """Return all files of a card by path from the card's folder ("matrix.mtx.gz"); errors as for `fetch_file`."""
    return {posixpath.relpath(file.name, of.name): fetch_file(file) for file in of.files}


def fetch_file(file: File) -> Path:
    """Return the path of one file: in the mirror, in the cache, or downloaded into the cache.

    InputError if the file has no address, cannot be downloaded, or its sha256 is not the registered one or, if none is
    registered, not the one of its first use.
    """
    if (found := _found(file)) is not None:
        return checksums.check(found, file)
    if file.url is None:
        where = f"Put it at {paths.cache() / file.name}, or under NOISE_SCALING_MIRROR as {file.name}."
        raise InputError(f"{file.name} has no address to download from: {file.how} {where}".replace("  ", " "))
    return _download(file)


def at_hand(of: Card) -> bool:
    """Whether all files of a card are available without a download and pass the sha256 check."""
    if len(here(of)) < len(of.files):
        return False
    with contextlib.suppress(InputError):  # altered or truncated
        fetch_all(of)
        return True
    return False


def here(of: Card) -> list[Path]:
    """Return the files of a card that are available without a download."""
    return [path for file in of.files if (path := _found(file))]


def provide(names: Iterable[str]) -> str:
    """Try once to make all files of some data sets available; return a summary of one line.

    Downloads stop at the first sign that there is no network. An altered file is refused, and the summary says so.
    """
    files = [file for name in names for file in card(name).files]
    absent = [file for file in files if _found(file) is None]
    came, refused, offline = [], [], False
    for file in files:
        if offline and file in absent:
            continue
        try:
            fetch_file(file)
            came.append(file)
        except InputError as error:
            cause = error.__cause__
            if isinstance(cause, (requests.ConnectionError, requests.Timeout)):
                offline = True
            else:
                refused.append(f"{file.name}: {_reason(cause)}" if cause else str(error))
    if len(came) == len(files) and not absent:
        return f"all {len(files)} files at hand"
    new = [file for file in came if file in absent]
    said = [f"downloaded {_files(new)}, {sum(file.bytes or 0 for file in new) / 1e6:.1f} MB"] if new else []
    said += [f"no network for {_files([file for file in absent if file not in came])}"] if offline else []
    said += refused
    return "; ".join(said) + (": the pages use what is committed" if len(came) < len(files) else "")


def _files(files: list[File]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _found(file: File) -> Path | None:
    places = (place / file.name for place in (paths.mirror(), paths.cache()) if place is not None)
    return next((path for path in places if path.is_file()), None)


def _download(file: File) -> Path:
    target = paths.cache() / file.name
    try:
        transfer.download(file, target)
    except (OSError, transfer.Refused) as error:  # requests' errors are OSErrors
        reason, kept = _reason(error), transfer.kept_bytes(file)
        reason += f"; {transfer.megabytes(kept)} are kept, and the same command goes on from there" if kept else ""
        size = "size unknown" if file.bytes is None else transfer.megabytes(file.bytes)
        raise InputError(
            f"{file.name} ({size}) could not be downloaded ({reason}): when you are online, run "
            f"`curl -L --create-dirs -o '{target}' '{file.url}'`, or set NOISE_SCALING_MIRROR to a folder that has it"
        ) from error
    return checksums.check(target, file)


def _reason(error: BaseException) -> str:
    """Describe an error in a few words, because requests wraps the same fault in several sentences."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.RequestException):
        return "no connection"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}, NOISE_SCALING_CACHE may name a folder that can be written"
    return str(error)
