"""From a file of any number of cells to thinned counts or tokens on disk, chunk by chunk.

A target appears when everything is in it. Ten million cells take two to three minutes, so a stopped run starts anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from anndata.io import read_elem, sparse_dataset, write_elem
from scipy import sparse
from tqdm import tqdm

from ..errors import InputError
from ..files import replacing
from .count_store import CountStore, check_mask, open_store
from .thinning import name_keys, refuse_repeats, thin_keyed, threshold
from .tokens import MedianSketch, check_medians, rank_tokens, token_dtype

_CHUNK = 1 << 22  # counts read at a time, 32 MB: anndata takes 2.6 ms a slice, whatever its size
_NAMES = 1 << 16  # cell names read at a time
_SPARE = 1 << 24  # bytes to be left on the disk: HDF5 does not raise but crash where it is full
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
        If the source cannot be read, is itself thinned or holds no counts; if the target came from other settings, or
        another run finished it first; if the disk is full.
    """
    source, target = Path(source), Path(target)
    if target.suffix != source.suffix:
        raise InputError(f"target {target} is not a {source.suffix} store as the source is: name it so")
    cells = _Source(source, layer, fraction, seed, progress)
    if target.exists():
        return _same_or_refuse(target, _thinning_of(target), cells.settings)
    with _new(target) as draft:
        _write_store(cells, draft)
    return target


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
    tokens.json.

    Parameters
    ----------
    source, fraction, seed, layer, progress
        As for `thin_store`; fraction 1 keeps every molecule.
    target
        The folder.
    gene_medians, max_length
        As for `tokens.rank_tokens`.

    Returns
    -------
    `target`, at once if it is already there with these settings.

    Raises
    ------
    InputError
        As for `thin_store` and `tokens.rank_tokens`.
    """
    target, cells = Path(target), _Source(Path(source), layer, fraction, seed, progress)
    n_cells, n_genes = cells.store.shape
    medians = check_medians(gene_medians, n_genes)
    digest = hashlib.blake2b(medians.tobytes(), digest_size=16).hexdigest()
    settings = cells.settings | {"max_length": max_length, "medians": digest}
    if target.exists():
        return _same_or_refuse(target, _facts(target).get("settings"), settings)
    facts = {"dtype": token_dtype(n_genes).__name__, "cells": n_cells, "genes": n_genes, "settings": settings}
    with _new(target) as draft:
        draft.mkdir()
        (draft / "tokens.json").write_text(json.dumps(facts, indent=1))
        with open(draft / "ids.bin", "wb") as ids_file, open(draft / "offsets.bin", "wb") as offsets_file:
            end = np.zeros(1, np.int64)
            offsets_file.write(end.data)
            for _, chunk in cells.thinned():
                ids, offsets = rank_tokens(chunk, medians, max_length=max_length)
                ids_file.write(ids.data)
                offsets_file.write((end + offsets[1:]).data)
                end += ids.size
    return target


def open_tokens(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The ids and offsets of a token store, memory-mapped, read-only: as `tokens.rank_tokens` returns them.

    Raises
    ------
    InputError
        If the folder is no token store.
    """
    folder = Path(folder)
    facts = _facts(folder)
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
    """Gene medians of a store's cells, thinned, in one pass; each within 0.2 % (see `tokens.MedianSketch`).

    Parameters
    ----------
    source, fraction, seed, layer, progress
        As for `thin_store`.
    cells
        Mask [cells of the store] of those to count, the training cells; None counts all.

    Returns
    -------
    float64 [genes], NaN for a gene that no cell has.

    Raises
    ------
    InputError
        If the source is refused as in `thin_store`, or `cells` is no mask.
    """
    source_cells = _Source(Path(source), layer, fraction, seed, progress)
    n_cells, n_genes = source_cells.store.shape
    chosen = np.ones(n_cells, bool) if cells is None else check_mask(cells, n_cells)
    sketch, start = MedianSketch(n_genes), 0
    for stop, chunk in source_cells.thinned():
        if chosen[start:stop].any():
            sketch.add(chunk[chosen[start:stop]])
        start = stop
    return sketch.medians()


def _facts(folder: Path) -> dict[str, Any]:
    """What a token store says of itself; empty if it is none."""
    file = folder / "tokens.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _flat(path: Path, dtype: str | type) -> np.ndarray:
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)


class _Source:
    """A store to be thinned: its counts, the keys of its names, and the settings that say what comes of it."""

    def __init__(self, path: Path, layer: str | None, fraction: float, seed: int, progress: bool) -> None:
        self.path, self.limit, self.progress = path, threshold(fraction), progress
        self.store = CountStore(path, layer=layer)
        where, shape = self.store.where, self.store.shape
        if min(shape) == 0:
            raise InputError(f"{where} of {path} is empty, shape {shape}: give at least one cell and one gene")
        with open_store(path) as root:
            if _NOTE in root.get("uns", {}):
                raise InputError(f"{path} is itself thinned (uns/{_NOTE}): thin the store that it came from")
            self.keys = self._keys(root["obs"], "cell", shape[0], seed), self._keys(root["var"], "gene", shape[1], seed)
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.store.indptr, *self.keys):
            digest.update(array.data)
        self.settings = {
            "fraction": float(fraction), "seed": int(seed), "counts": where, "source": digest.hexdigest(),
            "written": path.stat().st_mtime_ns,
        }  # fmt: skip

    def _keys(self, frame: Any, axis: str, n: int, seed: int) -> np.ndarray:
        """As `name_keys` of all names, but with few names in memory at a time."""
        names = frame[frame.attrs["_index"]]
        names = names.asstr() if isinstance(names, h5py.Dataset) and names.dtype.kind == "O" else names
        if names.shape != (n,):
            raise InputError(f"{self.path} has {names.shape} {axis} names for {n} {axis}s: write it again")
        parts = (np.asarray(names[start : start + _NAMES]) for start in range(0, n, _NAMES))
        keys = np.concatenate([name_keys(part, part.size, seed=seed, axis=axis) for part in parts])
        refuse_repeats(keys, axis, lambda i: names[i])
        return keys

    def thinned(self) -> Generator[tuple[int, sparse.csr_matrix]]:
        """Each chunk of cells, thinned, with the number of cells up to its end."""
        blocks = self.store.blocks(_CHUNK)
        bar = tqdm(total=self.store.shape[0], unit=" cells", desc=self.path.name, disable=not self.progress)
        with bar, closing(self.store.read(blocks)) as chunks:
            for (start, stop), chunk in zip(blocks, chunks, strict=True):
                yield stop, self._thin(chunk, start, stop)
                bar.update(stop - start)

    def _thin(self, chunk: sparse.csr_matrix, start: int, stop: int) -> sparse.csr_matrix:
        if self.limit == threshold(1):
            chunk.eliminate_zeros()
            return chunk
        return thin_keyed(chunk, self.limit, self.keys[0][start:stop], self.keys[1])


@contextmanager
def _new(target: Path) -> Iterator[Path]:
    """A draft that becomes `target`; one sentence where the disk is full or another run was faster."""
    try:
        with replacing(target) as draft:
            yield draft
            if target.exists():
                raise InputError(f"{target} was finished by another run just now: run again to check it")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise InputError(f"no space left to write {target}: free some and run again") from error
        raise


def _same_or_refuse(target: Path, found: dict | None, settings: dict) -> Path:
    if found != settings:
        raise InputError(
            f"{target} is there already, from other settings or another source: remove it, or name another"
        )
    return target


def _thinning_of(target: Path) -> dict | None:
    with open_store(target) as root:
        note = root.get(f"uns/{_NOTE}")
        return None if note is None else json.loads(read_elem(note))


def _write_store(cells: _Source, draft: Path) -> None:
    """A store as the source is one: its annotation, how it was thinned, and as X the thinned counts."""
    with open_store(cells.path) as source:
        if cells.path.suffix == ".h5ad":
            with h5py.File(draft, "w") as root:
                root.attrs.update(source.attrs)
                for name in filter(source.__contains__, _KEPT):
                    source.copy(name, root)
                _write_counts(cells, root, draft.parent, chunks=(1 << 16,))
        else:
            root = zarr.open_group(draft, mode="w", zarr_format=source.metadata.zarr_format)
            root.attrs.update(dict(source.attrs))
            for name in filter(source.__contains__, _KEPT):
                shutil.copytree(cells.path / name, draft / name)
            _write_counts(cells, root, draft.parent, chunks=(1 << 20,), shards=None)


def _write_counts(cells: _Source, root: Any, folder: Path, **layout: Any) -> None:
    if "uns" not in root:
        write_elem(root, "uns", {})
    write_elem(root, f"uns/{_NOTE}", json.dumps(cells.settings))
    for _, chunk in cells.thinned():
        if shutil.disk_usage(folder).free < chunk.data.nbytes + chunk.indices.nbytes + _SPARE:
            raise OSError(errno.ENOSPC, "No space left on device")
        if "X" in root:
            sparse_dataset(root["X"]).append(chunk)
        else:
            write_elem(root, "X", chunk, dataset_kwargs={"indptr_dtype": np.int64, **layout})
