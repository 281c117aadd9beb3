"""Measurement-noise scaling laws for single-cell representation models.

The one way through the package:
datasets -> splits -> counts -> models -> signals -> information -> measurements -> laws -> plots.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

__version__ = "0.1.0"


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, found by making one, as numba does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _give_numba_a_folder() -> None:
    """A temporary one where neither the package nor the home can be written, as in a container: numba stops there."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # "~" stays where nobody knows the user
    if "NUMBA_CACHE_DIR" in os.environ or _can_write(Path(__file__).parent / "__pycache__"):
        return
    if home.startswith("~") or not _can_write(Path(home)):
        folder = os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="noise-scaling-numba-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


_give_numba_a_folder()
