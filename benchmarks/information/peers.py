"""Published estimators of the suite: latentmi and bmi in separate environments, CCA with KSG in this process."""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from common import PEERS

from noise_scaling.information import ksg

from .run import Found

FILES = Path(__file__).resolve().parents[1] / "peers"
NEURAL = ("mine", "smile", "nwj", "infonce_bmi")
CANONICAL = 4
"""Number of canonical pairs that CCA + KSG keeps: the true number of latents, which it is given."""


@lru_cache
def python(name: str) -> str:
    """Return Python of build/NAME, created on first use from peers/NAME.txt. Raises RuntimeError if that fails."""
    home = PEERS.with_name(name)
    found = home / "bin" / "python"
    if found.exists():
        return str(found)
    venv.create(home, with_pip=True)
    install = [found, "-m", "pip", "install", "--quiet", "-r", FILES / f"{name}.txt"]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    if done.returncode:
        found.unlink()
        raise RuntimeError(f"no environment for {name}: {done.stderr.strip().splitlines()[-1:]}")
    return str(found)


def _ask(name: str, x: np.ndarray, y: np.ndarray, *arguments: object) -> dict:
    """Run peers/NAME_estimate.py on these pairs and return its result; labels become one-hot vectors."""
    if y.ndim == 1:
        y = np.eye(int(y.max()) + 1)[y]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npz"
        np.savez(path, x=x, y=y)
        (answer,) = ask(name, *arguments, path)
    return answer


def ask(name: str, *arguments: object) -> Iterator[dict]:
    """Run peers/NAME_estimate.py; yield each line of JSON once printed. Raises RuntimeError if it fails."""
    command = [python(name), FILES / f"{name}_estimate.py", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as complaints:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process:
            yield from map(json.loads, process.stdout)
        if process.returncode:
            complaints.seek(0)
            raise RuntimeError(f"{name}: {complaints.read().strip().splitlines()[-1:]}")


def latentmi(x: np.ndarray, y: np.ndarray, seed: int, *, epochs: int | None = None) -> Found:
    """Estimate by latentmi 0.1.3 as published, on one thread; seconds by its own clock, without starting Python."""
    found = _ask("latentmi", x, y, seed, epochs or 0)
    return Found(found["bits"], found["stderr"], False, f"{found['epochs']} epochs", found["seconds"])


def neural(x: np.ndarray, y: np.ndarray, seed: int, *, method: str) -> Found:
    """Estimate by MINE, SMILE, NWJ or InfoNCE in bmi's trainer with bmi's settings, on one thread."""
    found = _ask("bmi", x, y, method, seed, 0)
    return Found(found["bits"], note=found["note"], seconds=found["seconds"])


def cca_ksg(x: np.ndarray, y: np.ndarray, seed: int) -> Found:
    """Estimate by KSG on the first four canonical pairs: CCA is fitted on one half of the pairs, KSG on the other."""
    if y.ndim == 1:
        y = np.eye(int(y.max()) + 1)[y]
    half = np.random.default_rng(seed).permutation(len(x)) < len(x) // 2
    (x, white_x), (y, white_y) = (_whiten(side, half) for side in (x, y))
    u, _, vt = np.linalg.svd((x[half] @ white_x).T @ (y[half] @ white_y))
    found = ksg((x @ white_x @ u[:, :CANONICAL])[~half], (y @ white_y @ vt.T[:, :CANONICAL])[~half])
    return Found(found.bits, found.stderr)


def _whiten(side: np.ndarray, fit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `side` minus the mean of the `fit` cells, and the matrix that whitens them (ridge: 1e-3 of the mean)."""
    side = side - side[fit].mean(0)
    values, axes = np.linalg.eigh(np.cov(side[fit].T))
    return side, axes / np.sqrt(np.maximum(values, 0) + 1e-3 * values.mean()) @ axes.T
