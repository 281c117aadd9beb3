"""Thinned counts on disk, in the order in which training takes its cells, from one pass over a store of any size.

For every N and every model, the N training cells are then the first N rows, which are read sequentially.
"""

import errno
import json
import os
import shutil
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz, vstack

from ..errors import InputError
from ..memory import release
from .count_store import CountStore
from .thinning import name_keys, refuse_repeats, thin_keyed, threshold

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_READ = 1 << 22  # counts read at a time, 32 MB
_BUCKET = 1 << 22  # counts per bucket; a bucket is sorted in memory: 0.1 GB
_MOST_BUCKETS = 200  # each bucket is an open file, and some systems allow a process only 256
_NAMES = 1 << 16  # names hashed at a time
_SPARE = 1 << 28  # bytes that must stay free on the disk
_FACTS = "facts.json"


class Pool(NamedTuple):
    """Positions of cells in a store [cells], and the fraction of their molecules that is kept."""

    cells: np.ndarray
    fraction: float


class ThinnedStore(CountStore):
    """Training cells in nested order, stored in a folder that `thin_to_disk` wrote.

    Files: counts.bin (gene and value of each count), starts.npy (row pointers), umis.npy (molecules of each cell).
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        self.folder: Path = folder
        self._entry = _entry(facts["genes"], facts["largest"])
        self._umis = np.load(folder / "umis.npy")
        super().__init__(np.load(folder / "starts.npy"), facts["genes"])

    @property
    def umis(self) -> np.ndarray:
        """Molecules of each cell, int64 [cells]."""
        return self._umis[self.rows]

    def _open(self) -> IO[bytes]:
        return (self.folder / "counts.bin").open("rb")

    def _span(self, opened: IO[bytes], first: int, stop: int) -> csr_matrix:
        starts = self.indptr[first : stop + 1]
        opened.seek(starts[0] * self._entry.itemsize)
        found = np.fromfile(opened, self._entry, starts[-1] - starts[0])
        if len(found) < starts[-1] - starts[0]:
            raise InputError(f"{self.folder} is cut short: delete that folder and run again")
        return _rows(found, (starts - starts[0]).astype(np.int32), self.shape[1])


def _entry(n_genes: int, largest: int) -> np.dtype:
    """Return the dtype of a stored count: gene index and value, each in the narrowest unsigned integer type."""
    return np.dtype([("gene", np.min_scalar_type(n_genes - 1)), ("count", np.min_scalar_type(largest))])


def _rows(entries: np.ndarray, starts: np.ndarray, n_genes: int) -> csr_matrix:
    counts = entries["count"]  # one byte each as a rule: with its gene 5 bytes in memory, not 8
    values = counts.astype(np.uint8 if counts.itemsize == 1 else np.int32)
    genes = entries["gene"].astype(np.int32)
    return csr_matrix((values, genes, starts), shape=(len(starts) - 1, n_genes))


def _entries(rows: csr_matrix, dtype: np.dtype) -> np.ndarray:
    found = np.empty(rows.nnz, dtype)
    found["gene"], found["count"] = rows.indices, rows.data
    return found


class Lease:
    """A file lock for reading a folder: while any process holds a lease, no process writes or removes the folder.

    The lease ends with the object, or with the process. On systems without such locks (Windows) it has no effect.
    """

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(f"{folder}.lock", "wb")  # noqa: SIM115 - closed with the object
        self.release = weakref.finalize(self, self._file.close)
        self.share()

    def own(self) -> None:
        """Wait until no other process holds a lease, and lock the folder exclusively, so that it may be written."""
        if fcntl:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def share(self) -> None:
        """Lock the folder for reading only, so that other processes can read it too."""
        if fcntl:
            fcntl.flock(self._file, fcntl.LOCK_SH)


class Thinned(NamedTuple):
    """Training cells, on disk or in memory, the other pools in memory, and the lease on the folder if there is one."""

    train: ThinnedStore | csr_matrix
    held: dict[str, csr_matrix]
    lease: Lease | None = None


def thin_to_disk(
    source: CountStore,
    train: Pool,
    held: Mapping[str, Pool],
    folder: Path,
    *,
    seed: int,
    cell_ids: np.ndarray,
    gene_ids: np.ndarray,
    largest: int,
    umis: np.ndarray,
    progress: bool = False,
) -> Thinned:
    """Thin some cells of a store by name in one pass, as `counts.thin` does; write the training cells to a folder.

    Parameters
    ----------
    source
        Integer counts [cells, genes].
    train
        The training cells in nested order.
    held
        Other pools by name; their counts are returned in memory.
    folder
        Output folder, which appears only when it is complete. An existing folder is reused without a check, so its name
        must identify all of the arguments above. Another process that needs the folder meanwhile waits for it.
    seed, cell_ids, gene_ids
        As for `counts.thin`: the seed, and the names of all cells and genes of the store.
    largest
        The largest count.
    umis
        Molecules of each cell of the store, from which the disk space needed is estimated.
    progress
        Show a progress bar.

    Returns
    -------
    The training cells, the other pools as CSR in the order of their positions, and the lease on the folder.

    Raises
    ------
    InputError
        If names repeat, the store cannot be read, or the disk is full or has too little space left.
    """
    lease = Lease(folder)
    if not folder.exists():
        lease.own()
    if not folder.exists():
        draft = folder.with_name(folder.name + ".draft")
        shutil.rmtree(draft, ignore_errors=True)  # left by a process that was killed: this one holds the lock
        try:
            keys = _keys(cell_ids, "cell", seed), _keys(gene_ids, "gene", seed)
            _write(source, train, held, draft, keys, largest, umis, progress)
            os.replace(draft, folder)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, None):  # numpy's own errors have no errno
                raise
            raise InputError(f"no space left to write {folder}: free some and run again") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            if not folder.exists():
                lease.release()  # the raised error's traceback keeps this frame, and so the lease, alive
    release()
    lease.share()
    pools = {name: load_npz(folder / f"{name}.npz") for name in held}
    return Thinned(ThinnedStore(folder), pools, lease)


def remove(folder: Path) -> bool:
    """Remove a folder that `thin_to_disk` wrote; return False if this or another process holds a lease on it."""
    if not folder.exists():
        return True
    with open(f"{folder}.lock", "wb") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _keys(names: np.ndarray, axis: str, seed: int) -> np.ndarray:
    """Return the `name_keys` of all names, made in parts because names as text take more memory than all else."""
    parts = (names[start : start + _NAMES] for start in range(0, len(names), _NAMES))
    keys = np.concatenate([name_keys(part, len(part), seed=seed, axis=axis) for part in parts])
    refuse_repeats(keys, axis, lambda i: names[i])
    return keys


def _write(
    source: CountStore,
    train: Pool,
    held: Mapping[str, Pool],
    folder: Path,
    keys: tuple[np.ndarray, np.ndarray],
    largest: int,
    umis: np.ndarray,
    progress: bool,
) -> None:
    pools = {"train": train, **held}
    entry = _entry(source.shape[1], largest)
    most = _at_most(source.lengths[train.cells], umis[train.cells], train.fraction)
    needed, free = most * entry.itemsize, shutil.disk_usage(folder.parent).free
    if free < needed + _SPARE:
        raise InputError(
            f"the thinned counts may take {needed / 1e9:.1f} GB and {folder.parent} has {free / 1e9:.1f} GB free: "
            "free some, or name another folder for the results"
        )
    folder.mkdir()
    of, rank = np.full(source.shape[0], -1, np.int8), np.zeros(source.shape[0], np.int64)
    for number, pool in enumerate(pools.values()):
        of[pool.cells], rank[pool.cells] = number, np.arange(len(pool.cells))
    parts: dict[str, list[csr_matrix]] = {name: [] for name in held}
    order: dict[str, list[np.ndarray]] = {name: [] for name in held}
    sorter = _Sorter(folder, (len(train.cells), source.shape[1]), most, entry)
    with sorter.files:
        for cells, chunk in source.watched("thinning", source.blocks(_READ), disable=not progress, leave=False):
            for number, (name, pool) in enumerate(pools.items()):
                mine = np.flatnonzero(of[cells] == number)
                if not len(mine):
                    continue
                thinned, limit = chunk[mine], threshold(pool.fraction)
                if limit < threshold(1):
                    thinned = thin_keyed(thinned, limit, keys[0][cells][mine], keys[1])
                else:
                    thinned.eliminate_zeros()
                if name == "train":
                    sorter.add(thinned, rank[cells][mine])
                else:
                    parts[name].append(thinned)
                    order[name].append(rank[cells][mine])
        sorter.finish()
    for name in held:
        rows = np.argsort(np.concatenate(order[name]))
        save_npz(folder / f"{name}.npz", vstack(parts[name], format="csr")[rows], compressed=False)
    (folder / _FACTS).write_text(json.dumps({"genes": source.shape[1], "largest": largest}), encoding="utf-8")


def _at_most(lengths: np.ndarray, umis: np.ndarray, fraction: float) -> int:
    """Return the most counts that may be left: all, or the kept molecules expected plus six standard deviations."""
    expected = float(np.minimum(lengths, fraction * umis).sum())
    return int(min(lengths.sum(), expected + 6 * np.sqrt(umis.sum()) + 1))


class _Sorter:
    """Sorts rows by rank on disk: rows that come in any order go to buckets of ranks, each sorted in memory."""

    def __init__(self, folder: Path, shape: tuple[int, int], n_counts: int, entry: np.dtype) -> None:
        buckets = min(max(1, n_counts // _BUCKET), _MOST_BUCKETS)
        self.width, self.folder, self.n_genes, self.entry = -(-shape[0] // buckets), folder, shape[1], entry
        self.lengths, self.umis = np.zeros(shape[0], np.int64), np.zeros(shape[0], np.int64)
        self.ranks: list[list[np.ndarray]] = [[] for _ in range(buckets)]
        self.files = ExitStack()
        self.buckets = [self.files.enter_context(self._path(number).open("wb")) for number in range(buckets)]

    def _path(self, bucket: int) -> Path:
        return self.folder / f"{bucket}.bucket"

    def add(self, rows: csr_matrix, ranks: np.ndarray) -> None:
        """Write `rows` to the buckets of their ranks."""
        order = np.argsort(ranks)
        rows, ranks = rows[order], ranks[order]
        self.lengths[ranks] = np.diff(rows.indptr)
        self.umis[ranks] = np.asarray(rows.sum(1, dtype=np.int64)).ravel()
        entries, bucket = _entries(rows, self.entry), ranks // self.width
        firsts = np.flatnonzero(np.diff(bucket, prepend=-1))
        for first, stop in zip(firsts, np.append(firsts[1:], len(ranks)), strict=True):
            self.buckets[bucket[first]].write(entries[rows.indptr[first] : rows.indptr[stop]].data)
            self.ranks[bucket[first]].append(ranks[first:stop])

    def finish(self) -> None:
        """Sort each bucket in memory, and write the buckets one after another to counts.bin."""
        self.files.close()
        np.save(self.folder / "starts.npy", np.append(0, np.cumsum(self.lengths)))
        np.save(self.folder / "umis.npy", self.umis)
        with (self.folder / "counts.bin").open("wb") as file:
            for number, parts in enumerate(self.ranks):
                ranks = np.concatenate(parts) if parts else np.empty(0, np.int64)
                starts = np.append(0, np.cumsum(self.lengths[ranks]))
                rows = _rows(np.fromfile(self._path(number), self.entry), starts, self.n_genes)
                file.write(_entries(rows[np.argsort(ranks)], self.entry).data)
                self._path(number).unlink()
