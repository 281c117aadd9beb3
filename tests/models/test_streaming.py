import warnings
from itertools import islice

import anndata
import numpy as np
import pytest
from scipy.sparse import csr_matrix, vstack

from noise_scaling import models
from noise_scaling.counts import count_store
from noise_scaling.counts.count_store import CountStore, FileStore
from noise_scaling.errors import InputError
from noise_scaling.models import pca, scvi, scvi_data, streaming, training


@pytest.fixture(scope="module")
def counts() -> csr_matrix:
    """300 cells of 80 genes in four groups, ten of them empty."""
    rng = np.random.default_rng(0)
    profiles = rng.gamma(1, 2, (4, 80))
    drawn = rng.poisson(profiles[rng.integers(0, 4, 300)]).astype(np.int32)
    drawn[::30] = 0
    return csr_matrix(drawn)


@pytest.fixture(scope="module", params=[".h5ad", ".zarr"])
def path(request, counts, tmp_path_factory):
    target = tmp_path_factory.mktemp("store") / f"cells{request.param}"
    data = anndata.AnnData(counts.copy())
    with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's on the future of its own format
        data.write_h5ad(target) if request.param == ".h5ad" else data.write_zarr(target)
    return target


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of about 500 counts, some 8 cells, and two of them shuffled together."""
    for store in (CountStore, FileStore):
        monkeypatch.setattr(store.blocks, "__defaults__", (500,))
    monkeypatch.setattr(scvi_data.Streamed.__init__, "__kwdefaults__", {"block": 500})
    monkeypatch.setattr(scvi_data, "_BLOCKS", 2)


def test_store_holds_the_chosen_cells(path, counts):
    mask = np.arange(300) % 3 == 0
    store = FileStore(path).take(mask)
    assert store.shape == (100, 80)
    assert len(store.blocks()) > 10
    np.testing.assert_array_equal(vstack(list(store.chunks())).toarray(), counts[mask].toarray())
    np.testing.assert_array_equal(store.lengths, np.diff(counts[mask].indptr))
    empty = (counts[mask].sum(1) == 0).sum()
    assert store.not_empty().shape[0] == 100 - empty == 90


def test_small_stores_are_read_into_memory(path, counts, monkeypatch):
    store = FileStore(path)
    monkeypatch.setattr(count_store, "IN_MEMORY_BELOW", 8 * counts.nnz)
    assert store.held() is store
    monkeypatch.setattr(count_store, "IN_MEMORY_BELOW", 8 * counts.nnz + 1)
    np.testing.assert_array_equal(store.held().toarray(), counts.toarray())


def test_random_projection_is_the_same_from_disk(path, counts):
    store = FileStore(path)
    on_disk = models.create("random_projection", seed=3).fit(store, store)
    in_memory = models.create("random_projection", seed=3).fit(counts, counts)
    np.testing.assert_array_equal(on_disk.embed(store), in_memory.embed(counts))


@pytest.mark.parametrize("n_genes", [40, 80])
def test_pca_is_the_same_from_disk(path, counts, n_genes):
    store = FileStore(path)
    on_disk = models.create("pca", n_genes=n_genes).fit(store, store)
    in_memory = models.create("pca", n_genes=n_genes).fit(counts, counts)
    np.testing.assert_array_equal(on_disk.genes, in_memory.genes)
    signs = np.sign((on_disk.axes * in_memory.axes).sum(1))[:, None]
    np.testing.assert_allclose(signs * on_disk.axes, in_memory.axes, atol=1e-8)
    embedding = in_memory.embed(counts)
    np.testing.assert_allclose(signs.T * on_disk.embed(store), embedding, atol=1e-5 * np.abs(embedding).max())


def test_many_cells_in_memory_are_taken_in_parts(counts, monkeypatch):
    few = models.create("pca").fit(counts, counts)
    monkeypatch.setattr(streaming, "_PART", 1000)
    monkeypatch.setattr(pca, "_MANY", 100)
    assert [part.shape[0] for part in streaming.chunks_of(counts)] != [300]
    np.testing.assert_array_equal(vstack(list(streaming.chunks_of(counts))).toarray(), counts.toarray())
    many = models.create("pca").fit(counts, counts)
    np.testing.assert_allclose(np.abs(many.embed(counts)), np.abs(few.embed(counts)), atol=1e-4)


def test_streamed_batches_visit_each_cell_once_an_epoch(path, counts):
    source = scvi_data.Streamed(FileStore(path).not_empty(), 32, seed=1, device="cpu")
    assert source.steps_per_epoch == 10  # 290 cells
    epochs = [[b.dense.numpy() for b in islice(source.batches(10 * e), 10)] for e in (0, 1)]
    assert [len(batch) for batch in epochs[0]] == [32] * 9 + [2]
    there = counts.toarray()[counts.getnnz(1) > 0]
    for epoch in epochs:
        seen = np.concatenate(epoch)
        np.testing.assert_array_equal(seen[np.lexsort(seen.T)], there[np.lexsort(there.T)])
    assert not np.array_equal(epochs[0][0], epochs[1][0])


@pytest.mark.parametrize("start", [1, 5, 9, 10, 17])
def test_streamed_batches_start_at_any_step(path, start):
    source = scvi_data.Streamed(FileStore(path).not_empty(), 32, seed=1, device="cpu")
    through, late = ([batch.dense.numpy() for batch in islice(source.batches(n), 20 - n)] for n in (0, start))
    np.testing.assert_array_equal(np.concatenate(late), np.concatenate(through[start:]))


def test_scvi_learns_from_disk_what_it_learns_in_memory(path, counts):
    """The batches differ in their order alone, so the losses after 200 steps do by little."""
    mask = np.arange(300) < 200
    store, validation = (FileStore(path).take(m) for m in (mask, ~mask))
    settings = {"seed": 1, "device": "cpu", "fixed_steps": 200}
    on_disk = models.create("scvi", **settings).fit(store, validation)
    in_memory = models.create("scvi", **settings).fit(counts[mask], counts[~mask])
    first, last = in_memory.history["elbo_validation"][0], in_memory.history["elbo_validation"][-1]
    assert abs(on_disk.history["elbo_validation"][-1] - last) < 0.1 * (first - last)
    np.testing.assert_allclose(on_disk.embed(validation), on_disk.embed(counts[~mask]), rtol=1e-5, atol=1e-5)


def test_scvi_from_disk_resumes_in_the_middle_of_an_epoch(path, monkeypatch, tmp_path):
    """The loss is checked at a step that is no epoch's last; what goes on from there are the batches not yet seen."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    mid = training.Limits(steps=20, every=13, patience=5, min_delta=0.0, keep_best=False)
    monkeypatch.setattr(scvi, "limits", lambda *arguments, **options: mid)
    mask = np.arange(300) < 250
    store, validation = (FileStore(path).take(m) for m in (mask, ~mask))
    settings = {"seed": 1, "device": "cpu", "batch_size": 25}
    through = models.create("scvi", **settings).fit(store, validation)
    update = scvi._Training.update

    def stopped(self, batch):
        if self.progress.step == 16:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(scvi._Training, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        models.create("scvi", **settings).fit(store, validation, checkpoint=tmp_path / "state.ckpt")
    monkeypatch.setattr(scvi._Training, "update", update)
    resumed = models.create("scvi", **settings).fit(store, validation, checkpoint=tmp_path / "state.ckpt")
    assert resumed.history == through.history
    assert resumed.history["step"] == [13, 20]
    np.testing.assert_array_equal(resumed.embed(validation), through.embed(validation))


def test_bad_stores(path, counts, tmp_path):
    with pytest.raises(InputError, match="no store at"):
        FileStore(tmp_path / "absent.h5ad")
    anndata.AnnData(counts.toarray()).write_h5ad(tmp_path / "dense.h5ad")
    with pytest.raises(InputError, match="store the counts by cell"):
        FileStore(tmp_path / "dense.h5ad")
    store = FileStore(path).take(np.arange(300) % 30 == 0)
    with pytest.raises(InputError, match="0 of 10 training cells hold any molecule"):
        models.create("pca").fit(store, store)
