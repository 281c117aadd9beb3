"""The test cells' embedding, and how it is kept so that another estimator needs no training."""

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import write_atomically


class Embedded(NamedTuple):
    """What training left: the test cells' embedding [test cells, dims], and what the row says of it."""

    embedding: np.ndarray
    n_parameters: int
    train_seconds: float


def write(path: Path, found: Embedded) -> None:
    """Keep an embedding as float32 .npy, what its row says beside it. The array comes last: it says all is there."""
    facts = {"n_parameters": found.n_parameters, "train_seconds": found.train_seconds}
    write_atomically(path.with_suffix(".embedding.json"), json.dumps(facts))
    array = io.BytesIO()
    np.save(array, found.embedding)
    write_atomically(path, array.getvalue())


def read(path: Path, n_cells: int) -> Embedded | None:
    """A kept embedding of `n_cells`, or None if it is not there or not whole."""
    try:
        embedding = np.load(path)
        facts = json.loads(path.with_suffix(".embedding.json").read_text(encoding="utf-8"))
        found = Embedded(embedding, facts["n_parameters"], facts["train_seconds"])
    except (OSError, ValueError, EOFError, KeyError):  # ValueError: cut off by hand, or no JSON
        return None
    return found if embedding.ndim == 2 and len(embedding) == n_cells else None
