"""From a file of any number of cells to thinned counts or tokens on disk, chunk by chunk.

A run writes into TARGET.partial, with a journal of what is whole, and goes on from there if it was stopped; TARGET
appears at once, when everything is in it. Chunks depend on the source alone, so a resumed run gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise, zip_longest
from pathlib import Path

import h5py
import numpy as np
import zarr
from anndata.io import read_elem, sparse_dataset, write_elem
from scipy import sparse
from tqdm import tqdm

from ..errors import InputError
from .resumable_writer import Spool, partial_of, read_json, write_json
from .thinning import name_keys, refuse_repeats, thin_keyed, threshold, validate_counts
from .tokens import MedianSketch, check_medians, rank_tokens, token_dtype

_CHUNK = 1 << 22  # counts read at a time, 32 MB: anndata takes 2.6 ms a slice, whatever its size
_NAMES = 1 << 16  # cell names read at a time
_KEPT = ("obs", "var", "obsm", "varm", "uns")  # layers, raw, obsp and varp may hold what the full depth gave
_NOTE = "thinning"  # entry of uns that says how a store was thinned


def thin_store(
    source: str | Path,
    target: str | Path,
    fraction: float,
    *,
    seed: int,
    layer: str | None = None,
    progress: bool = True,
) -> Path:
    """Thin the counts of a store into a store of the same kind, as `counts.thin` does given cell and gene names.

    Parameters
    ----------
    source, target
        Both .h5ad or both .zarr. The target gets the source's obs, var, obsm, varm, uns, and the thinned counts as X.
    fraction, seed
        See `counts.thin`.
    layer
        Where the counts are, if not in X.
    progress
        Show a bar.

    Returns
    -------
    `target`, at once if it is already there with these settings.

    Raises
    ------
    InputError
        If the source cannot be read, is itself thinned or holds no counts; if another run writes the target; if the
        target, or what a stopped run left of it, came from other settings.
    """
    source, target = Path(source), Path(target)
    if target.suffix != source.suffix:
        raise InputError(f"target {target} is not a {source.suffix} store as the source is: name it so")
    limit = threshold(fraction)
    with _cells_of(source, layer, seed) as cells:
        settings = {"fraction": float(fraction), **cells.settings}
        if target.exists():
            return _same_or_refuse(target, _thinning_of(target), settings)
        with Spool(target, settings) as spool:
            for stop, chunk in cells.follow(spool, limit, progress):
                genes, lengths = (a.astype(np.int32, copy=False) for a in (chunk.indices, np.diff(chunk.indptr)))
                spool.append(stop, data=chunk.data, genes=genes, lengths=lengths)
            whole = spool.folder / f"whole{target.suffix}"
            _assemble(cells, spool, whole, settings)
            return spool.finish(whole)


def token_store(
    source: str | Path,
    target: str | Path,
    gene_medians: np.ndarray,
    *,
    fraction: float = 1.0,
    seed: int = 0,
    max_length: int = 512,
    layer: str | None = None,
    progress: bool = True,
) -> Path:
    """Thin the counts of a store and rank them into tokens, in a folder for `open_tokens`.

    The folder holds ids.bin (uint16 or uint32, as `tokens.rank_tokens` gives), offsets.bin (int64 [cells + 1]) and
    tokens.json. Parameters, resuming and errors as for `thin_store`; medians as for `tokens.rank_tokens`.
    """
    target, limit = Path(target), threshold(fraction)
    with _cells_of(Path(source), layer, seed) as cells:
        medians = check_medians(gene_medians, cells.shape[1])
        digest = hashlib.blake2b(medians.tobytes(), digest_size=16).hexdigest()
        settings = {"fraction": float(fraction), "max_length": max_length, "medians": digest, **cells.settings}
        if target.exists():
            return _same_or_refuse(target, read_json(target / "tokens.json").get("settings"), settings)
        with Spool(target, settings) as spool:
            for stop, chunk in cells.follow(spool, limit, progress):
                ids, offsets = rank_tokens(chunk, medians, max_length=max_length)
                offsets += spool.sizes.get("ids", 0) // ids.itemsize
                spool.append(stop, ids=ids, offsets=offsets if spool.cells == 0 else offsets[1:])
            facts = {"dtype": token_dtype(cells.shape[1]).__name__, "cells": cells.shape[0], "genes": cells.shape[1]}
            write_json(spool.folder / "tokens.json", {**facts, "settings": settings})
            return spool.finish(spool.folder)


def open_tokens(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The ids and offsets of a token store, memory-mapped, read-only: as `tokens.rank_tokens` returns them."""
    folder = Path(folder)
    facts = read_json(folder / "tokens.json")
    if not facts:
        raise InputError(f"no token store at {folder}: write it first, with stores.token_store")
    return _flat(folder / "ids.bin", facts["dtype"]), _flat(folder / "offsets.bin", np.int64)


def store_medians(
    source: str | Path,
    *,
    cells: np.ndarray | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    layer: str | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Gene medians [genes] of a store's cells, thinned, in one pass; each within 0.2 % (see `tokens.MedianSketch`).

    `cells` is a mask [cells] of those to count, the training cells; None counts all.
    """
    limit = threshold(fraction)
    with _cells_of(Path(source), layer, seed) as store:
        chosen = np.ones(store.shape[0], bool) if cells is None else np.asarray(cells)
        if chosen.dtype != bool or chosen.shape != (store.shape[0],):
            raise InputError(
                f"cells is {chosen.dtype} {chosen.shape} for a store of {store.shape[0]} cells: give a mask of them all"
            )
        sketch, start = MedianSketch(store.shape[1]), 0
        for stop, chunk in store.follow(None, limit, progress):
            mine = chosen[start:stop]
            if mine.any():
                sketch.add(chunk if mine.all() else chunk[mine])
            start = stop
    return sketch.medians()


def _flat(path: Path, dtype: str | type) -> np.ndarray:
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)


@contextmanager
def _cells_of(path: Path, layer: str | None, seed: int) -> Iterator[_Cells]:
    root = _open(path)
    try:
        yield _Cells(root, path, f"layers/{layer}" if layer else "X", seed)
    finally:
        if isinstance(root, h5py.File):
            root.close()


def _open(path: Path) -> h5py.File | zarr.Group:
    if not path.exists():
        raise InputError(f"no store at {path}: check the path")
    try:
        if path.suffix == ".h5ad":
            return h5py.File(path, "r")
        if path.suffix == ".zarr":
            return zarr.open_group(path, mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): it may be cut short; fetch or write it again") from None
    raise InputError(f"{path} is neither .h5ad nor .zarr: convert it with anndata")


class _Cells:
    """The counts of an open store, read by anndata in chunks of whole cells."""

    def __init__(self, root: h5py.File | zarr.Group, path: Path, where: str, seed: int):
        self.root, self.path, self.where = root, path, where
        group = root.get(where)
        kind = "missing" if group is None else group.attrs.get("encoding-type", "unknown")
        if kind != "csr_matrix":
            raise InputError(f"{where} of {path} is {kind}, not csr_matrix: store the counts by cell, as CSR")
        if _NOTE in root.get("uns", {}):
            raise InputError(f"{path} is itself thinned (uns/{_NOTE}): thin the store that it came from")
        self.counts = sparse_dataset(group)
        self.shape = self.counts.shape
        if min(self.shape) == 0:
            raise InputError(f"{where} of {path} is empty, shape {self.shape}: give at least one cell and one gene")
        self.indptr = np.asarray(read_elem(group["indptr"]))
        self.cell_keys, self.gene_keys = self._keys("obs", "cell", seed), self._keys("var", "gene", seed)
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.indptr, self.cell_keys, self.gene_keys):
            digest.update(np.ascontiguousarray(array).view(np.uint8))
        written = path.stat().st_mtime_ns
        self.settings = {"seed": int(seed), "counts": where, "source": digest.hexdigest(), "written": written}

    def _keys(self, frame: str, axis: str, seed: int) -> np.ndarray:
        """As `name_keys` of all names, but with few names in memory at a time."""
        names = self.root[frame][self.root[frame].attrs["_index"]]
        names = names.asstr() if isinstance(names, h5py.Dataset) and names.dtype.kind == "O" else names
        n = self.shape[axis == "gene"]
        if names.shape != (n,):
            raise InputError(f"{self.path} has {names.shape} {axis} names for {n} {axis}s: write it again")
        keys = np.empty(n, np.uint64)
        for start in range(0, n, _NAMES):
            chunk = np.asarray(names[start : start + _NAMES])
            keys[start : start + _NAMES] = name_keys(chunk, chunk.size, seed=seed, axis=axis)
        refuse_repeats(keys, axis, lambda i: names[i])
        return keys

    def chunks(self) -> Iterator[tuple[int, int]]:
        marks = np.searchsorted(self.indptr, np.arange(0, self.indptr[-1], _CHUNK))
        return pairwise(np.unique(np.r_[0, marks, self.shape[0]]).tolist())

    def follow(self, spool: Spool | None, limit: int, progress: bool) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Each chunk of cells that the spool does not hold yet, thinned, with the number of cells up to its end."""
        done = spool.cells if spool else 0
        todo = [chunk for chunk in self.chunks() if chunk[1] > done]
        with (
            tqdm(total=self.shape[0], initial=done, unit=" cells", desc=self.path.name, disable=not progress) as bar,
            ThreadPoolExecutor(1) as reader,  # reads a chunk while the one before is thinned and ranked
        ):
            ahead = deque([reader.submit(self._read, *todo[0])] if todo else [])
            for (start, stop), coming in zip_longest(todo, todo[1:]):
                chunk = ahead.popleft().result()
                if coming:
                    ahead.append(reader.submit(self._read, *coming))
                yield stop, self._thin(chunk, start, stop, limit)
                bar.update(stop - start)

    def _read(self, start: int, stop: int) -> sparse.csr_matrix:
        return validate_counts(self.counts[start:stop], name=f"{self.where} of {self.path}")

    def _thin(self, chunk: sparse.csr_matrix, start: int, stop: int, limit: int) -> sparse.csr_matrix:
        if limit == threshold(1):
            if not chunk.data.all():
                chunk.eliminate_zeros()
            return chunk
        keys = self.cell_keys[start:stop], self.gene_keys
        return thin_keyed(chunk, np.array([limit], np.uint64), *keys, reuse=True)[0]


def _same_or_refuse(target: Path, found: dict | None, settings: dict) -> Path:
    if found != settings:
        raise InputError(
            f"{target} is there already, from other settings or another source: remove it, or name another"
        )
    shutil.rmtree(partial_of(target), ignore_errors=True)  # left where a run was stopped in its last act
    return target


def _thinning_of(target: Path) -> dict | None:
    root = _open(target)
    try:
        note = root.get(f"uns/{_NOTE}")
        return None if note is None else json.loads(read_elem(note))
    finally:
        if isinstance(root, h5py.File):
            root.close()


def _assemble(cells: _Cells, spool: Spool, whole: Path, settings: dict) -> None:
    """Write the store from the spool, from its beginning: this takes seconds where the thinning takes minutes."""
    if cells.path.suffix == ".h5ad":
        layout = {"indptr_dtype": np.int64, "chunks": (1 << 16,)}
        root = h5py.File(whole, "w")
    else:
        layout = {"indptr_dtype": np.int64, "chunks": (1 << 20,), "shards": None}
        root = zarr.open_group(whole, mode="w", zarr_format=cells.root.metadata.zarr_format)
    try:
        root.attrs.update(dict(cells.root.attrs))
        for name in _KEPT:
            if name in cells.root:
                _copy(cells, name, root, whole)
        if "uns" not in root:
            write_elem(root, "uns", {})
        write_elem(root, f"uns/{_NOTE}", json.dumps(settings))
        lengths = spool.read("lengths", np.int32, 0, cells.shape[0])
        indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        for start, stop in cells.chunks():
            bounds = indptr[start : stop + 1]
            data = spool.read("data", cells.counts.dtype, bounds[0], bounds[-1])
            genes = spool.read("genes", np.int32, bounds[0], bounds[-1])
            chunk = sparse.csr_matrix((data, genes, bounds - bounds[0]), shape=(stop - start, cells.shape[1]))
            if start == 0:
                write_elem(root, "X", chunk, dataset_kwargs=layout)
            else:
                sparse_dataset(root["X"]).append(chunk)
    finally:
        if isinstance(root, h5py.File):
            root.close()


def _copy(cells: _Cells, name: str, root: h5py.File | zarr.Group, whole: Path) -> None:
    if isinstance(root, h5py.File):
        cells.root.copy(name, root)
    else:
        shutil.copytree(cells.path / name, whole / name)
