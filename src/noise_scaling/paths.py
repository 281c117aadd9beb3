"""Every path the project uses, in one place."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from .errors import InputError

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE.parents[1]
"""The checkout. In a wheel there is none, and only the registry that the wheel carries is found."""

_PACKAGED_REGISTRY = _PACKAGE / "registry"
REGISTRY = _PACKAGED_REGISTRY if _PACKAGED_REGISTRY.is_dir() else ROOT / "data"
DATASETS_YML = REGISTRY / "datasets.yml"
DATASETS_SCHEMA = REGISTRY / "datasets.schema.json"
MEASUREMENTS = ROOT / "data" / "measurements"
PUBLISHED = ROOT / "data" / "published"
"""What this project computed from the published table; the table itself is never kept here."""


def cache() -> Path:
    """Where downloads are kept: NOISE_SCALING_CACHE, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "noise-scaling"
    return Path(os.environ.get("NOISE_SCALING_CACHE", default))


def mirror() -> Path | None:
    """The folder that NOISE_SCALING_MIRROR names (same relative names as the registry), or None."""
    named = os.environ.get("NOISE_SCALING_MIRROR")
    return Path(named) if named else None


def find(path: str | Path) -> Path:
    """An existing file given relative to the working folder, or else to the checkout (notebooks run anywhere)."""
    for candidate in (Path(path).expanduser(), ROOT / path):
        if candidate.exists():
            return candidate
    raise InputError(f"no file {str(path)!r} here or in {ROOT}: check the path, or give it in full")


def give_numba_a_cache() -> None:
    """Name a temporary folder for compiled code where neither package nor home can be written (containers).

    numba refuses to compile there. It reads the variable when it is imported, and so do child processes.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if os.environ.get("NUMBA_CACHE_DIR") or _writable(_PACKAGE / "__pycache__") or _writable(home / "numba"):
        return
    folder = Path(tempfile.gettempdir()) / f"noise-scaling-numba-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():  # code of someone else's is not to be run
        folder = Path(tempfile.mkdtemp(prefix="noise-scaling-numba-"))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def _writable(folder: Path) -> bool:
    """Whether a file can be written there, as numba tries it: permissions say too little of read-only mounts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
