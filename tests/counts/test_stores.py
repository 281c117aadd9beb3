"""Streaming equals in-memory to the bit, and a run that is stopped leaves nothing half-written."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from noise_scaling.counts import stores, thin
from noise_scaling.counts.stores import open_tokens, store_medians, thin_store, token_store
from noise_scaling.counts.tokens import gene_medians, rank_tokens
from noise_scaling.errors import InputError

N_CELLS, N_GENES = 90, 40


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(stores, "_CHUNK", 150)
    monkeypatch.setattr(stores, "_NAMES", 32)


def cells(dtype=np.float32):
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.choice([0.1, 1, 20], N_GENES) * rng.random((N_CELLS, N_GENES)))
    counts[[0, 40, N_CELLS - 1]] = 0  # empty cells, first and last among them
    adata = ad.AnnData(
        sparse.csr_matrix(counts.astype(dtype)),
        obs=pd.DataFrame({"type": np.repeat(["B", "T", "NK"], 30)}, index=[f"cell-{i}" for i in range(N_CELLS)]),
        var=pd.DataFrame(index=[f"gene-{i}" for i in range(N_GENES)]),
    )
    adata.obsm["protein"] = rng.random((N_CELLS, 3))
    adata.layers["raw"] = sparse.csr_matrix((counts * 2).astype(np.int32))
    return adata


def write(adata, path):
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's own, on what format 3 will be
        adata.write_h5ad(path) if path.suffix == ".h5ad" else adata.write_zarr(path)
    return path


@pytest.fixture(params=[".h5ad", ".zarr"])
def source(request, tmp_path):
    return write(cells(), tmp_path / f"cells{request.param}")


def read(path):
    return ad.read_h5ad(path) if path.suffix == ".h5ad" else ad.read_zarr(path)


def digest(path):
    """One hash of a file, or of all names and files in a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_second_zarr_format(tmp_path):
    with ad.settings.override(zarr_write_format=2), pytest.warns(UserWarning, match="zarr v2"):
        cells().write_zarr(tmp_path / "cells.zarr")
    target = thin_store(tmp_path / "cells.zarr", tmp_path / "thin.zarr", 0.5, seed=3, progress=False)
    assert (target / ".zgroup").exists()
    assert (by_name(cells(), 0.5, 3) != read(target).X).nnz == 0


def by_name(adata, fraction, seed, layer=None):
    counts = adata.layers[layer] if layer else adata.X
    return thin(counts, fraction, seed=seed, cell_ids=adata.obs_names, gene_ids=adata.var_names)


@pytest.mark.parametrize("fraction", [0.3, 0.001, 1.0])
def test_a_thinned_store_holds_what_thinning_in_memory_gives(source, tmp_path, fraction):
    target = thin_store(source, tmp_path / f"thin{source.suffix}", fraction, seed=3, progress=False)
    found, adata = read(target), cells()
    expected = by_name(adata, fraction, 3)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found.X, name), getattr(expected, name))
    assert found.X.dtype == adata.X.dtype
    pd.testing.assert_frame_equal(found.obs, adata.obs.astype({"type": "category"}))
    assert (found.var_names == adata.var_names).all()
    np.testing.assert_array_equal(found.obsm["protein"], adata.obsm["protein"])
    assert not found.layers
    assert '"seed": 3' in found.uns["thinning"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, target.name])


def test_another_layer_and_dtype(source, tmp_path):
    target = thin_store(source, tmp_path / f"thin{source.suffix}", 0.5, seed=3, layer="raw", progress=False)
    found = read(target)
    assert found.X.dtype == np.int32
    assert (by_name(cells(), 0.5, 3, "raw") != found.X).nnz == 0


@pytest.mark.parametrize("fraction", [0.3, 1.0, 1e-9])
def test_a_token_store_holds_what_ranking_in_memory_gives(source, tmp_path, fraction):
    medians = gene_medians(cells().X)
    target = token_store(source, tmp_path / "tokens", medians, fraction=fraction, seed=3, max_length=12, progress=False)
    for found, expected in zip(
        open_tokens(target), rank_tokens(by_name(cells(), fraction, 3), medians, max_length=12), strict=True
    ):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert sorted(p.name for p in target.iterdir()) == ["ids.bin", "offsets.bin", "tokens.json"]


def test_medians_of_a_store_are_those_of_its_thinned_training_cells(source):
    training = np.random.default_rng(0).random(N_CELLS) < 0.5
    expected = gene_medians(by_name(cells(), 0.4, 1)[training])
    found = store_medians(source, cells=training, fraction=0.4, seed=1, progress=False)
    np.testing.assert_allclose(found, expected, rtol=2**-9)
    np.testing.assert_allclose(store_medians(source, progress=False), gene_medians(cells().X), rtol=2**-9)
    with pytest.raises(InputError, match=r"cells is int64 \(2,\) for a store of 90 cells: give a mask"):
        store_medians(source, cells=np.array([1, 2]), progress=False)


def run(kind, source, target, fraction=0.5):
    if kind == "thin":
        return thin_store(source, target, fraction, seed=1, progress=False)
    return token_store(source, target, gene_medians(cells().X), fraction=fraction, seed=1, progress=False)


def stop_at_cell(monkeypatch, error, cell=40):
    """Chunks come as they would, and `error` with the one that holds this cell."""

    def thinned(self, good=stores._Source.thinned):
        for stop, chunk in good(self):
            if stop > cell:
                raise error
            yield stop, chunk

    monkeypatch.setattr(stores._Source, "thinned", thinned)


@pytest.mark.parametrize("kind", ["thin", "tokens"])
@pytest.mark.parametrize("cell", [0, 40])
def test_a_stopped_run_leaves_nothing_and_the_next_gives_the_same_bytes(monkeypatch, source, tmp_path, kind, cell):
    suffix = source.suffix if kind == "thin" else ""
    expected = digest(run(kind, source, tmp_path / f"straight{suffix}"))
    before, target = sorted(tmp_path.iterdir()), tmp_path / f"stopped{suffix}"
    with monkeypatch.context() as patch:
        stop_at_cell(patch, KeyboardInterrupt(), cell)
        with pytest.raises(KeyboardInterrupt):
            run(kind, source, target)
    assert sorted(tmp_path.iterdir()) == before
    assert digest(run(kind, source, target)) == expected


def test_a_killed_process_leaves_no_target(tmp_path):
    source = write(cells(), tmp_path / "cells.h5ad")
    script = (
        "import os, signal, sys\n"
        "from noise_scaling.counts import stores\n"
        "stores._CHUNK = 150\n"
        "def killing(self, good=stores._Source.thinned):\n"
        "    for stop, chunk in good(self):\n"
        "        os.kill(os.getpid(), signal.SIGKILL) if stop > 40 else None\n"
        "        yield stop, chunk\n"
        "stores._Source.thinned = killing\n"
        "stores.thin_store(sys.argv[1], sys.argv[2], 0.5, seed=1, progress=False)\n"
    )
    target = tmp_path / "killed.h5ad"
    done = subprocess.run([sys.executable, "-c", script, source, target], check=False, env={**os.environ})
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert digest(run("thin", source, target)) == digest(run("thin", source, tmp_path / "straight.h5ad"))


@pytest.mark.parametrize("kind", ["thin", "tokens"])
def test_what_is_there_is_kept_if_it_is_the_same_and_refused_if_not(source, tmp_path, kind):
    target = run(kind, source, tmp_path / f"target{source.suffix}")
    before = digest(target)
    assert run(kind, source, target) == target
    with pytest.raises(InputError, match="is there already, from other settings"):
        run(kind, source, target, fraction=0.25)
    assert digest(target) == before


@pytest.mark.parametrize("kind", ["thin", "tokens"])
def test_of_two_writers_the_second_is_refused(monkeypatch, source, tmp_path, kind):
    target = tmp_path / f"target{source.suffix}"
    good = stores._Source.thinned

    def overtaken(self):
        with monkeypatch.context() as patch:
            patch.setattr(stores._Source, "thinned", good)
            run(kind, source, target)
        yield from good(self)

    monkeypatch.setattr(stores._Source, "thinned", overtaken)
    with pytest.raises(InputError, match="was finished by another run just now"):
        run(kind, source, target)
    assert sorted(tmp_path.iterdir()) == sorted([source, target])


def test_a_full_disk_is_said_and_leaves_nothing(monkeypatch, source, tmp_path):
    target = tmp_path / f"target{source.suffix}"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30, 0))
        with pytest.raises(InputError, match=r"no space left to write .*run again"):
            run("thin", source, target)
    with monkeypatch.context() as patch:
        stop_at_cell(patch, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(InputError, match=r"no space left to write .*run again"):
            run("tokens", source, target)
    assert list(tmp_path.iterdir()) == [source]


def test_a_thinned_store_is_not_thinned_again(source, tmp_path):
    target = run("thin", source, tmp_path / f"target{source.suffix}")
    with pytest.raises(InputError, match="is itself thinned"):
        run("tokens", target, tmp_path / "tokens")


def changed(**changes):
    adata = cells()
    for name, value in changes.items():
        setattr(adata, name, value)
    return adata


@pytest.mark.parametrize(
    ("adata", "sentence"),
    [
        (changed(X=cells().X.tocsc()), "X of .* is csc_matrix, not csr_matrix"),
        (changed(X=cells().X.toarray()), "X of .* is array, not csr_matrix"),
        (changed(X=cells().X.log1p()), "X of .* looks log-normalised"),
        (changed(X=None), "X of .* is missing"),
        (changed(X=-cells().X), "a count cannot be negative"),
        (changed(obs_names=["a", *[f"c{i % 80}" for i in range(N_CELLS - 1)]]), "cell_ids repeats 'c[0-8]'"),
        (changed(var_names=["g"] * N_GENES), "gene_ids repeats 'g'"),
    ],
)
@pytest.mark.filterwarnings("ignore:(Observation|Variable) names are not unique")
def test_wrong_stores_are_refused_and_nothing_is_left_half_written(tmp_path, adata, sentence):
    source = write(adata, tmp_path / "wrong.h5ad")
    with pytest.raises(InputError, match=sentence):
        run("thin", source, tmp_path / "target.h5ad")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.h5ad"]


def test_files_that_cannot_be_read(tmp_path):
    source = write(cells(), tmp_path / "cells.h5ad")
    whole = source.read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "table.csv").write_text("a,b\n")
    for name, target, sentence in (
        ("cut.h5ad", "t.h5ad", "cannot be read .*cut short"),
        ("none.h5ad", "t.h5ad", "no store at"),
        ("table.csv", "t.csv", "neither .h5ad nor .zarr"),
        ("cells.h5ad", "t.zarr", "target .* is not a .h5ad store as the source is"),
    ):
        with pytest.raises(InputError, match=sentence):
            thin_store(tmp_path / name, tmp_path / target, 0.5, seed=0, progress=False)
    with pytest.raises(InputError, match=r"layers/none of .* is missing"):
        thin_store(source, tmp_path / "t.h5ad", 0.5, seed=0, layer="none", progress=False)
    with pytest.raises(InputError, match="fraction is 0: give a number above 0"):
        thin_store(source, tmp_path / "t.h5ad", 0, seed=0, progress=False)
    with pytest.raises(InputError, match="no token store at"):
        open_tokens(tmp_path / "nowhere")
