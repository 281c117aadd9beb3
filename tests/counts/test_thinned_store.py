"""Counts on disk, thinned in one pass into the order of training: the molecules that memory gives, or nothing."""

import errno
import multiprocessing
import os
import shutil
import signal
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from noise_scaling.counts import thin, thinned_store
from noise_scaling.counts.count_store import CountStore, FileStore
from noise_scaling.counts.thinned_store import Pool, ThinnedStore, thin_to_disk
from noise_scaling.errors import InputError

N_CELLS, N_GENES, SEED = 90, 300, 3
ORDER = np.random.default_rng(1).permutation(N_CELLS)
TRAIN, TEST, VALIDATION = ORDER[:50], ORDER[50:70], ORDER[70:80]
CELLS, GENES = ([f"{what}-{i}" for i in range(n)] for what, n in (("cell", N_CELLS), ("gene", N_GENES)))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Several blocks, buckets and parts of names."""
    for name, value in (("_READ", 1000), ("_BUCKET", 700), ("_NAMES", 32)):
        monkeypatch.setattr(thinned_store, name, value)


def counts(dtype=np.int32):
    rng = np.random.default_rng(0)
    drawn = rng.poisson(rng.choice([0.1, 1, 20], N_GENES) * rng.random((N_CELLS, N_GENES)))
    drawn[[0, 40, N_CELLS - 1]] = 0  # empty cells, first and last among them
    drawn[1, 0] = 70_000
    return sparse.csr_matrix(drawn.astype(dtype))


def write(path, values=None, cells=CELLS):
    adata = ad.AnnData(counts() if values is None else values, pd.DataFrame(index=cells), pd.DataFrame(index=GENES))
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's own, on what format 3 will be
        adata.write_h5ad(path) if path.suffix == ".h5ad" else adata.write_zarr(path)
    return path


@pytest.fixture(params=["h5ad", "zarr", "two files"])
def source(request, tmp_path):
    if request.param != "two files":
        return FileStore(write(tmp_path / f"cells.{request.param}"))
    parts = [slice(0, 37), slice(37, None)]
    return FileStore([write(tmp_path / f"{i}.h5ad", counts()[at], CELLS[at]) for i, at in enumerate(parts)])


def run(source, folder, fraction=0.3, **changes):
    pools = {"test": Pool(TEST, fraction), "validation": Pool(VALIDATION, 1.0)}
    facts = {"cell_ids": np.array(CELLS, dtype=np.dtypes.StringDType()), "gene_ids": np.array(GENES), "largest": 70_000}
    facts["umis"] = np.asarray(counts().sum(1)).ravel()
    return thin_to_disk(source, Pool(TRAIN, fraction), pools, folder, seed=SEED, **facts | changes)


def same(found, expected):
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("fraction", [0.3, 0.001, 1.0])
def test_the_molecules_and_their_order_are_those_of_thinning_in_memory(source, tmp_path, fraction):
    train, held, _ = run(source, tmp_path / "thinned", fraction)
    thinned = thin(counts(), fraction, seed=SEED, cell_ids=CELLS, gene_ids=GENES)
    same(train.tocsr(), thinned[TRAIN])
    same(held["test"], thinned[TEST])
    same(held["validation"], thin(counts(), 1.0, seed=SEED)[VALIDATION])
    np.testing.assert_array_equal(train.umis, np.asarray(thinned[TRAIN].sum(1)).ravel())
    for n in (1, 17, 50):
        first = train.take(slice(n))
        same(first.tocsr(), thinned[TRAIN[:n]])
        assert first.umis.sum() == thinned[TRAIN[:n]].sum()
    filled = np.diff(thinned[TRAIN].indptr) > 0
    same(train.not_empty().tocsr(), thinned[TRAIN][filled])


def test_counts_lie_in_integers_as_narrow_as_they_may_be(source, tmp_path):
    train, *_ = run(source, tmp_path / "thinned", 1.0)
    nnz = counts()[TRAIN].nnz
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "thinned").iterdir()}
    assert sizes["counts.bin"] == 6 * nnz
    assert train.tocsr().dtype == np.int32
    assert sorted(sizes) == [
        "counts.bin", "facts.json", "starts.npy", "test.npz", "umis.npy", "validation.npz",
    ]  # fmt: skip


def test_training_counts_below_256_stay_bytes_in_memory(tmp_path):
    few = counts().minimum(255)
    train, *_ = run(FileStore(write(tmp_path / "cells.h5ad", few)), tmp_path / "thinned", 1.0, largest=255)
    assert train.tocsr().dtype == np.uint8
    same(train.tocsr(), few[TRAIN])
    np.testing.assert_array_equal(train.tocsr().sum(1), few[TRAIN].sum(1))


def test_chosen_cells_of_several_files_are_read_across_their_border(source):
    for cells in (np.arange(30, 45), np.array([2, 36, 37, 88]), np.flatnonzero(np.arange(N_CELLS) % 7 == 0)):
        store = source.take(cells)
        same(store.tocsr(), counts()[cells])
        np.testing.assert_array_equal(store.lengths, np.diff(counts()[cells].indptr))


def test_what_is_there_is_used_as_it_is(source, tmp_path, monkeypatch):
    run(source, tmp_path / "thinned")
    monkeypatch.setattr(thinned_store, "_write", None)  # would be called
    train, held, _ = run(source, tmp_path / "thinned")
    assert train.shape == (50, N_GENES)
    assert held["test"].shape == (20, N_GENES)


def test_a_folder_is_removed_when_nobody_reads_it(source, tmp_path):
    mine, other = run(source, tmp_path / "thinned"), run(source, tmp_path / "thinned")
    for lease in (mine, other):
        assert not thinned_store.remove(tmp_path / "thinned")
        same(lease.train.tocsr(), other.train.tocsr())
        lease.lease.release()
    assert thinned_store.remove(tmp_path / "thinned")
    assert not (tmp_path / "thinned").exists()
    assert thinned_store.remove(tmp_path / "thinned")


def forked(target, *arguments):
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


def killed_on_the_way(folder):
    """Thin, and be killed once a few cells are written."""

    def watched(*args, good=CountStore.watched, **bar):
        for at, chunk in good(*args, **bar):
            if at.start > 30:
                os.kill(os.getpid(), signal.SIGKILL)
            yield at, chunk

    CountStore.watched = watched
    run(FileStore(folder / "cells.h5ad"), folder / "thinned")


def test_a_killed_process_leaves_no_target_and_the_next_one_clears_up(tmp_path):
    write(tmp_path / "cells.h5ad")
    process = forked(killed_on_the_way, tmp_path)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.h5ad", "thinned.draft", "thinned.lock"]
    train, *_ = run(FileStore(tmp_path / "cells.h5ad"), tmp_path / "thinned")
    same(train.tocsr(), thin(counts(), 0.3, seed=SEED, cell_ids=CELLS, gene_ids=GENES)[TRAIN])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.h5ad", "thinned", "thinned.lock"]


def note_what_is_read(folder):
    train, held, _ = run(FileStore(folder / "cells.h5ad"), folder / "thinned")
    said = f"{train.umis.sum()} {held['test'].sum()} {(folder / 'thinned').stat().st_mtime_ns}"
    (folder / f"{os.getpid()}.said").write_text(said)


def test_of_several_processes_one_writes_and_all_read(tmp_path):
    write(tmp_path / "cells.h5ad")
    started = [forked(note_what_is_read, tmp_path) for _ in range(3)]
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0]
    said = [path.read_text() for path in tmp_path.glob("*.said")]
    assert len(said) == 3
    assert len(set(said)) == 1


def test_the_room_asked_for_holds_what_is_left_and_little_more():
    lengths, umis = np.diff(counts().indptr), np.asarray(counts().sum(1)).ravel()
    left = {q: thin(counts(), q, seed=SEED, cell_ids=CELLS, gene_ids=GENES).nnz for q in (1.0, 0.1, 0.01)}
    asked = {q: thinned_store._at_most(lengths, umis, q) for q in left}
    assert asked[1.0] == left[1.0]
    assert all(left[q] <= asked[q] for q in left)
    assert asked[0.01] < 0.5 * lengths.sum()


def test_a_full_disk_is_said_and_leaves_nothing(monkeypatch, source, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30, 1000))
        with pytest.raises(InputError, match=r"may take 0.0 GB and .* has 0.0 GB free: free some, or name another"):
            run(source, tmp_path / "thinned")

    def full(*args, good=CountStore.watched, **bar):
        for at, chunk in good(*args, **bar):
            yield at, chunk
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CountStore, "watched", full)
        with pytest.raises(InputError, match=r"no space left to write .*thinned: free some and run again"):
            run(source, tmp_path / "thinned")
    assert not [path for path in tmp_path.iterdir() if path.name in ("thinned", "thinned.draft")]
    run(source, tmp_path / "thinned")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (counts(float).tocsc(), "X of .* is csc_matrix, not csr_matrix"),
        (counts(float).toarray(), "X of .* is array, not csr_matrix"),
        (counts(float).log1p(), r"X of .* holds \d+\.\d+: counts must be whole numbers"),
        (-counts(), "a count cannot be negative"),
    ],
)
def test_what_is_no_count_is_refused_and_nothing_is_left(tmp_path, values, sentence):
    with pytest.raises(InputError, match=sentence):
        run(FileStore(write(tmp_path / "wrong.h5ad", values)), tmp_path / "thinned")
    assert not (tmp_path / "thinned").exists()


def test_names_that_repeat_are_refused(source, tmp_path):
    twice = np.array(["a", *CELLS[:-2], CELLS[3]])
    with pytest.raises(InputError, match="cell_ids repeats 'cell-3'"):
        run(source, tmp_path / "thinned", cell_ids=twice)
    with pytest.raises(InputError, match="gene_ids repeats 'g'"):
        run(source, tmp_path / "thinned", gene_ids=np.array(["g"] * N_GENES))


def test_files_that_cannot_be_read(tmp_path):
    whole = write(tmp_path / "cells.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "table.csv").write_text("a,b\n")
    for name, sentence in (
        ("cut.h5ad", "cannot be read .*cut short"),
        ("none.h5ad", "no store at"),
        ("table.csv", "neither .h5ad nor .zarr"),
    ):
        with pytest.raises(InputError, match=sentence):
            FileStore(tmp_path / name)
    with pytest.raises(InputError, match=r"layers/none of .* is missing"):
        FileStore(tmp_path / "cells.h5ad", layer="none")


def test_a_chunk_that_cannot_be_unpacked_is_named_with_its_file(tmp_path):
    rng = np.random.default_rng(0)
    values = sparse.csr_matrix(rng.poisson(1, (N_CELLS, N_GENES)))
    adata = ad.AnnData(values, pd.DataFrame(index=CELLS), pd.DataFrame(index=GENES))
    adata.write_h5ad(tmp_path / "cells.h5ad", compression="gzip")
    content = bytearray((tmp_path / "cells.h5ad").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "cells.h5ad").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"X of .*h5ad cannot be read from cell \d+ on .*fetch or write it again"):
        FileStore(tmp_path / "cells.h5ad").tocsr()


def test_thinned_counts_cut_off_by_hand_are_refused(source, tmp_path):
    train, *_ = run(source, tmp_path / "thinned")
    path = tmp_path / "thinned" / "counts.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="thinned is cut short: delete that folder and run again"):
        train.tocsr()


def test_a_store_can_be_handed_to_another_process(source, tmp_path):
    import pickle

    train, *_ = run(source, tmp_path / "thinned")
    again = pickle.loads(pickle.dumps(train))
    assert isinstance(again, ThinnedStore)
    same(again.tocsr(), train.tocsr())
