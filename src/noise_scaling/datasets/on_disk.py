"""Data sets too large for memory: one pass over the files collects all that a data set needs, and is cached."""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import paths
from ..counts.count_store import FileStore
from ..errors import InputError
from ..files import replacing, stamps
from ..signals import Signal
from .dataset import CountsHash, Dataset, content_sha256
from .registry import Card

_VERSION = 2  # of the contents of a survey


class Survey(NamedTuple):
    """Results of a pass over all cells: molecules of each, int64 [cells], the largest count, `CountsHash`, notes."""

    umis: np.ndarray
    largest: int
    sha256: str
    notes: tuple[str, ...]


def survey(store: FileStore, how: str, notes: Callable[[], list[str]] = list) -> Survey:
    """Go through all cells once, or return the cached results of an earlier pass over the same files.

    `how` names how `store` converts the files' values (layer, rounding, genes); `notes` is called after the pass.
    """
    entry = _entry(store, how)
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(entry) as found:
        notes_then = tuple(json.loads(str(found["notes"])))
        return Survey(found["umis"], int(found["largest"]), str(found["sha256"]), notes_then)
    umis, largest, counted = np.zeros(store.shape[0], np.int64), 0, CountsHash()
    for cells, chunk in store.watched(f"reading {store.paths[0].name}", store.blocks()):
        umis[cells] = np.asarray(chunk.sum(1, dtype=np.int64)).ravel()
        largest = max(largest, int(chunk.data.max(initial=0)))
        counted.add(chunk)
    made = Survey(umis, largest, counted.hexdigest(), tuple(notes()))
    with contextlib.suppress(OSError), replacing(entry) as draft, draft.open("wb") as file:  # not cached if unwritable
        np.savez(file, umis=umis, largest=largest, sha256=made.sha256, notes=json.dumps(made.notes))
    return made


def assemble_on_disk(
    card: Card,
    store: FileStore,
    found: Survey,
    cell_ids: np.ndarray,
    gene_ids: np.ndarray,
    signal: Signal,
    *,
    stream: str | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Like `dataset.assemble`, for counts that stay in their files: from all cells of `store` and their `survey`."""
    kept = found.umis > 0
    if not kept.all():
        store, cell_ids, signal = store.take(kept), cell_ids[kept], signal.of(kept)
    genes, times = np.unique(gene_ids, return_counts=True)
    if (times > 1).any():
        raise InputError(f"{card.name} has two genes named {genes[times > 1][0]!r}: give each gene a name of its own")
    sha256 = content_sha256(found.sha256, cell_ids, gene_ids, signal)
    facts = cell_ids, gene_ids, found.umis[kept], found.largest
    return Dataset(card.name, store, *facts, signal, card, *sha256, stream or card.name, notes)


def _entry(store: FileStore, how: str) -> Path:
    """Return the path of the cache entry of these files, whose names, sizes and times of change identify it."""
    digest = hashlib.blake2b(f"{_VERSION} {store.where} {how} {store.shape}".encode(), digest_size=16)
    for path in store.paths:
        for name, size, time in stamps(path):
            digest.update(f"{name} {size} {time}\n".encode())
    return paths.cache() / "surveys" / f"{digest.hexdigest()}.npz"
