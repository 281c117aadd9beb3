"""Thinned counts on disk, in the order in which training takes its cells: one pass over a store of any size.

The N training cells are then the first N rows, read one after another, for every N and every model.
"""

import errno
import json
import os
import shutil
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz, vstack
from tqdm import tqdm

from ..errors import InputError
from .count_store import CountStore
from .thinning import name_keys, refuse_repeats, thin_keyed, threshold

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_READ = 1 << 22  # counts read at a time, 32 MB
_BUCKET = 1 << 22  # counts of a bucket, which is sorted in memory: 0.1 GB
_MOST_BUCKETS = 200  # each is an open file, of which some systems allow a process 256
_NAMES = 1 << 16  # names hashed at a time
_SPARE = 1 << 28  # bytes that are left on the disk
_FACTS = "facts.json"


class Pool(NamedTuple):
    """Positions of cells in a store, [cells], and the share of their molecules that is kept."""

    cells: np.ndarray
    fraction: float


class ThinnedStore(CountStore):
    """Training cells in a folder that `thin_to_disk` wrote, in nested order.

    The folder holds counts.bin, for each count its gene and itself, as narrow as they may be; starts.npy; and umis.npy.
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
        return _rows(found, (starts - starts[0]).astype(np.int32), self.shape[1])


def _entry(n_genes: int, largest: int) -> np.dtype:
    """A count's gene and the count."""
    return np.dtype([("gene", np.min_scalar_type(n_genes - 1)), ("count", np.min_scalar_type(largest))])


def _rows(entries: np.ndarray, starts: np.ndarray, n_genes: int) -> csr_matrix:
    values, genes = entries["count"].astype(np.int32), entries["gene"].astype(np.int32)
    return csr_matrix((values, genes, starts), shape=(len(starts) - 1, n_genes))


def _entries(rows: csr_matrix, dtype: np.dtype) -> np.ndarray:
    found = np.empty(rows.nnz, dtype)
    found["gene"], found["count"] = rows.indices, rows.data
    return found


class Lease:
    """The right to read a folder: while any process has one, nobody writes or removes the folder.

    It ends with the object, or with the process. Where the system has no such locks (Windows) it means nothing.
    """

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(f"{folder}.lock", "wb")  # noqa: SIM115 - closed with the object
        self.release = weakref.finalize(self, self._file.close)
        self.share()

    def own(self) -> None:
        """Wait until no other process has one: then the folder may be written."""
        if fcntl:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def share(self) -> None:
        """Let others read too."""
        if fcntl:
            fcntl.flock(self._file, fcntl.LOCK_SH)


class Thinned(NamedTuple):
    """Training cells on disk, the other pools in memory, and the lease on the folder."""

    train: ThinnedStore
    held: dict[str, csr_matrix]
    lease: Lease


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
    umis: np.ndarray | None = None,
    progress: bool = False,
) -> Thinned:
    """Thin some cells of a store in one pass, as `counts.thin` does given names: training cells into a folder.

    Parameters
    ----------
    source
        Integer counts [cells, genes].
    train
        The training cells in nested order.
    held
        Other pools by name; they come back in memory.
    folder
        Appears when everything is in it, and is then used as it is: its name must stand for all of the above. Another
        process that wants it meanwhile waits.
    seed, cell_ids, gene_ids
        As for `counts.thin`, of all of the store's cells and genes.
    largest
        The largest count.
    umis
        Molecules of each cell of the store, which say how much room few of them need; without, as much as all.
    progress
        Show a bar.

    Returns
    -------
    The training cells, and the other pools as CSR in the order of their positions.

    Raises
    ------
    InputError
        If names repeat, the store cannot be read, or the disk is full or has too little room left.
    """
    lease = Lease(folder)
    if not folder.exists():
        lease.own()
    if not folder.exists():
        draft = folder.with_name(folder.name + ".draft")
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed: the lock is ours
        try:
            keys = _keys(cell_ids, "cell", seed), _keys(gene_ids, "gene", seed)
            _write(source, train, held, draft, keys, largest, umis, progress)
            os.replace(draft, folder)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, None):  # numpy's own has no number
                raise
            raise InputError(f"no space left to write {folder}: free some and run again") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            if not folder.exists():
                lease.release()  # the error that is on its way holds this frame, and so the lease
    lease.share()
    pools = {name: load_npz(folder / f"{name}.npz") for name in held}
    return Thinned(ThinnedStore(folder), pools, lease)


def remove(folder: Path) -> bool:
    """Remove what `thin_to_disk` wrote, unless another process, or an object of this one, has a lease on it."""
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
    """As `name_keys` of all names, a part at a time: as text they take more memory than all else."""
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
    umis: np.ndarray | None,
    progress: bool,
) -> None:
    pools = {"train": train, **held}
    entry = _entry(source.shape[1], largest)
    most = _at_most(source.lengths[train.cells], None if umis is None else umis[train.cells], train.fraction)
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
    with _Sorter(folder, (len(train.cells), source.shape[1]), most, entry) as sorter:
        for cells, chunk in _chunks(source, progress):
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


def _at_most(lengths: np.ndarray, umis: np.ndarray | None, fraction: float) -> int:
    """Counts that are left: no more than there are, nor than molecules are kept, and six standard deviations more."""
    if umis is None:
        return int(lengths.sum())
    expected = float(np.minimum(lengths, fraction * umis).sum())
    return int(min(lengths.sum(), expected + 6 * np.sqrt(umis.sum()) + 1))


def _chunks(source: CountStore, progress: bool) -> Iterator[tuple[slice, csr_matrix]]:
    """The store's cells, block by block, with a bar."""
    blocks = source.blocks(_READ)
    with tqdm(total=source.shape[0], unit=" cells", desc="thinning", disable=not progress, leave=False) as bar:
        for (start, stop), chunk in zip(blocks, source.read(blocks), strict=True):
            yield slice(start, stop), chunk
            bar.update(stop - start)


class _Sorter:
    """Rows that come in any order, written in that of their ranks: into buckets of ranks, each sorted in memory."""

    def __init__(self, folder: Path, shape: tuple[int, int], n_counts: int, entry: np.dtype) -> None:
        buckets = min(max(1, n_counts // _BUCKET), _MOST_BUCKETS)
        self.width, self.folder, self.n_genes, self.entry = -(-shape[0] // buckets), folder, shape[1], entry
        self.lengths, self.umis = np.zeros(shape[0], np.int64), np.zeros(shape[0], np.int64)
        self.ranks: list[list[np.ndarray]] = [[] for _ in range(buckets)]
        self.files = ExitStack()
        self.buckets = [self.files.enter_context(self._path(number).open("wb")) for number in range(buckets)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.files.close()

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
        """Sort every bucket, and put them one after another."""
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
