"""Getting a data set's files: the mirror first, then the cache, then https; sha256 checked each time."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import requests
from tqdm import tqdm

from .. import paths
from ..errors import InputError, choose
from .registry import Card, File, card

CONNECT_SECONDS, READ_SECONDS = 5, 30
"""A machine without network must say so soon; a slow server may pause for half a minute between two blocks."""

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
    """All files of a card, by their name without folder; errors as for `fetch_file`."""
    return {Path(file.name).name: fetch_file(file) for file in of.files}


def fetch_file(file: File) -> Path:
    """One file: from the mirror, from the cache, or downloaded into the cache.

    Raises
    ------
    InputError
        If it has no address, cannot be downloaded, or its sha256 is not the registered one.
    """
    if (found := _found(file)) is not None:
        return _checked(found, file)
    if file.url is None:
        raise InputError(f"{file.name} has no address to download from: {file.how} {_where(file)}".replace("  ", " "))
    return _download(file)


def at_hand(of: Card) -> bool:
    """Whether all files of a card can be had without a download, and are what is registered."""
    if len(here(of)) < len(of.files):
        return False
    with contextlib.suppress(InputError):  # altered or truncated
        fetch_all(of)
        return True
    return False


def here(of: Card) -> list[Path]:
    """Those files of a card that can be had without a download."""
    return [path for file in of.files if (path := _found(file))]


def provide(names: Iterable[str]) -> str:
    """Try once to have all files of some data sets here; one line of what came of it.

    It stops trying at the first sign that there is no network. An altered file is refused, and the line says so.
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
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(file: File) -> Path:
    """Download by pooch: into a file beside the target, which takes its place only when its sha256 is right."""
    target = paths.cache() / file.name
    known = None if file.sha256 is None else f"sha256:{file.sha256}"
    with warnings.catch_warnings():  # in a notebook pooch has tqdm ask for widgets, which nobody needs here
        warnings.simplefilter("ignore")
        import pooch
    pooch.get_logger().setLevel("WARNING")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(file.url, known, fname=target.name, path=target.parent, downloader=_resume(target))
    except (ValueError, OSError) as error:  # ValueError: wrong sha256. requests' errors are OSErrors.
        with contextlib.suppress(OSError):
            target.parent.rmdir()  # only if nothing is in it
        raise InputError(
            f"{file.name} ({_size(file)}) could not be downloaded ({_reason(error)}): when you are online, run "
            f"`curl -L --create-dirs -o '{target}' '{file.url}'`, or set NOISE_SCALING_MIRROR to a folder that has it"
        ) from error
    return target


def _resume(target: Path) -> Callable[[str, str, object], None]:
    """A downloader for pooch that goes on where a broken connection left off, in `<target>.part`."""
    part = target.with_name(target.name + ".part")

    def download(url: str, output_file: str, _: object) -> None:
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as answer:
            if have and answer.status_code != requests.codes.partial:
                part.unlink()  # the server cannot go on, or has another file by now
                return download(url, output_file, _)
            answer.raise_for_status()
            try:
                _write(answer, part, have)
            except OSError as error:
                if not isinstance(error, requests.RequestException):
                    part.unlink(missing_ok=True)  # no room left: what is there only takes more of it
                raise
        part.replace(output_file)

    return download


def _write(answer: requests.Response, part: Path, have: int) -> None:
    """Append the answer to `part`, with a progress bar where somebody watches."""
    left = answer.headers.get("Content-Length")
    bar = tqdm(
        desc=part.stem, total=have + int(left) if left else None, initial=have, unit="B", unit_scale=True, leave=False,
        disable=None,
    )  # fmt: skip
    with bar, part.open("ab") as stream:
        for block in answer.iter_content(_BLOCK):
            stream.write(block)
            bar.update(len(block))


def _reason(error: BaseException) -> str:
    """In a few words, what went wrong; requests wraps the same fault in several sentences."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.RequestException):
        return "no connection"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}, NOISE_SCALING_CACHE may name a folder that can be written"
    return "what came is altered or truncated, and was not kept"


def _size(file: File) -> str:
    return "size unknown" if file.bytes is None else f"{file.bytes / 1e6:.1f} MB"


def _where(file: File) -> str:
    return f"Put it at {paths.cache() / file.name}, or under NOISE_SCALING_MIRROR as {file.name}."
