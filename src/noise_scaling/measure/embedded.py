"""Embeddings of the test cells, kept on disk so that another estimator needs no training."""

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import write_atomically


class Embedded(NamedTuple):
    """Result of a training: the test cells' embedding [test cells, dims], and the training's columns of the row."""

    embedding: np.ndarray
    n_parameters: int
    train_seconds: float


def write(path: Path, found: Embedded) -> None:
    """Write an embedding as float32 .npy, and its facts as .json first: if the array exists, both are complete."""
    facts = {"n_parameters": found.n_parameters, "train_seconds": found.train_seconds}
    write_atomically(path.with_suffix(".embedding.json"), json.dumps(facts))
    array = io.BytesIO()
    np.save(array, found.embedding)
    write_atomically(path, array.getvalue())


def read(path: Path, n_cells: int) -> Embedded | None:
    """Read a kept embedding of `n_cells`; None if it is missing or incomplete."""
    try:
        embedding = np.load(path)
        facts = json.loads(path.with_suffix(".embedding.json").read_text(encoding="utf-8"))
        found = Embedded(embedding, facts["n_parameters"], facts["train_seconds"])
    except (OSError, ValueError, EOFError, KeyError):  # ValueError: a truncated file, or invalid JSON
        return None
    return found if embedding.ndim == 2 and len(embedding) == n_cells else None
