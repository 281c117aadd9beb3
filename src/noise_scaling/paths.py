"""Every path the project uses, in one place."""

import contextlib
import os
import tempfile
from pathlib import Path

from .errors import InputError

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE.parents[1]
"""The checkout. An installed wheel has none; there, only the registry packaged in the wheel is found."""

_PACKAGED_REGISTRY = _PACKAGE / "registry"
REGISTRY = _PACKAGED_REGISTRY if _PACKAGED_REGISTRY.is_dir() else ROOT / "data"
DATASETS_YML = REGISTRY / "datasets.yml"
DATASETS_SCHEMA = REGISTRY / "datasets.schema.json"
PRICES_YML = REGISTRY / "prices.yml"
PRICES_SCHEMA = REGISTRY / "prices.schema.json"
MEASUREMENTS = ROOT / "data" / "measurements"
FACTORIAL = ROOT / "data" / "factorial" / "measurements.csv"
"""Training and test cells thinned separately; apart from MEASUREMENTS, which has other depths, seeds, test cells."""
CELLS = ROOT / "data" / "cells"
"""For each data set, what its page shows of the cells (`plots.cells`)."""
PUBLISHED = ROOT / "data" / "published"
"""What this project computed from the published table; the table itself is never kept here."""
CLONE = "clone its repository and run the command there"
"""Remedy in error messages for users who have only a wheel."""


def cache() -> Path:
    """Return the folder for downloads: NOISE_SCALING_CACHE, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "noise-scaling"
    return Path(os.environ.get("NOISE_SCALING_CACHE", default))


def mirror() -> Path | None:
    """Return the folder that NOISE_SCALING_MIRROR names (same relative names as the registry), or None."""
    named = os.environ.get("NOISE_SCALING_MIRROR")
    return Path(named) if named else None


def has_checkout() -> bool:
    """Whether the package lies in its checkout, beside data, notebooks and workflow; a wheel does not."""
    return (ROOT / "workflow").is_dir() and (ROOT / "data").is_dir()


def find(path: str | Path) -> Path:
    """Find an existing file or folder relative to the working folder, else to the checkout (notebooks run anywhere).

    InputError if neither place has it, or `path` is empty.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path).strip():
        raise InputError(f"a file or folder must be named: found {path!r}")
    for candidate in (Path(path).expanduser(), ROOT / path):
        if candidate.exists():
            return candidate
    if has_checkout():
        raise InputError(f"no file {str(path)!r} here or in {ROOT}: check the path, or give it in full")
    if Path(path).is_relative_to(ROOT) or Path(path).parts[:1] in (("data",), ("workflow",), ("notebooks",)):
        raise InputError(f"{Path(path).name!r} lies in the project's checkout and this installation has none: {CLONE}")
    raise InputError(f"no file {str(path)!r} here: check the path, or give it in full")


def give_numba_a_cache() -> None:
    """Set NUMBA_CACHE_DIR to a temporary folder if neither package nor home can be written (containers).

    Otherwise numba refuses to compile. It reads the variable when it is imported, also in child processes.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.environ.get("NUMBA_CACHE_DIR") or _writable(_PACKAGE / "__pycache__"):
        return
    if not home.startswith("~") and _writable(Path(home) / "numba"):  # "~" is left if the user is unknown
        return
    folder = Path(tempfile.gettempdir()) / f"noise-scaling-numba-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():  # never run another user's code
        folder = Path(tempfile.mkdtemp(prefix="noise-scaling-numba-"))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def _writable(folder: Path) -> bool:
    """Whether a file can be written in a folder, by trying as numba does: permissions do not show read-only mounts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
