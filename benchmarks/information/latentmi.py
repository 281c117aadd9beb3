"""latentmi 0.1.3, the published implementation of latent mutual information, as an estimator of the suite."""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from functools import lru_cache
from pathlib import Path

import numpy as np
from common import PEERS

from .run import Found

HOME = PEERS.with_name("latentmi")
FILES = Path(__file__).resolve().parents[1] / "peers"


@lru_cache
def python() -> str:
    """Python of latentmi's own environment, made on first use. Raises RuntimeError if it cannot be."""
    found = HOME / "bin" / "python"
    if found.exists():
        return str(found)
    venv.create(HOME, with_pip=True)
    install = [found, "-m", "pip", "install", "--quiet", "-r", FILES / "latentmi.txt"]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    if done.returncode:
        found.unlink()
        raise RuntimeError(f"no environment for latentmi: {done.stderr.strip().splitlines()[-1:]}")
    return str(found)


def estimate(x: np.ndarray, y: np.ndarray, seed: int, *, epochs: int | None = None) -> Found:
    """Its estimate on one thread, and how many epochs ran; seconds by its own clock, without starting Python."""
    if y.ndim == 1:
        y = np.eye(int(y.max()) + 1)[y]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npz"
        np.savez(path, x=x, y=y)
        limit = [] if epochs is None else [str(epochs)]
        command = [python(), FILES / "latentmi_estimate.py", path, str(seed), *limit]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return Found(found["bits"], found["stderr"], False, f"{found['epochs']} epochs", found["seconds"])
