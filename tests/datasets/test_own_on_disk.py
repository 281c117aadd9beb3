"""A file too large for memory gives the same data set as one that is read whole: counts, names, notes and refusals."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import datasets
from noise_scaling.counts import count_store
from noise_scaling.errors import InputError


@pytest.fixture
def on_disk(monkeypatch, tmp_path):
    """Call it to have every file that can be read cell by cell stay on disk, in small blocks."""

    def switch():
        monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(count_store, "IN_MEMORY_BELOW", 0)
        monkeypatch.setattr(count_store.FileStore.blocks, "__defaults__", (50,))

    return switch


def nearly_whole(adata):
    adata.X.data *= 1 + 1e-7


def with_proteins(adata):
    adata.var["feature_types"] = ["Gene Expression"] * 6 + ["Antibody Capture"] * 2


def in_a_layer(adata):
    adata.layers["raw"] = adata.X.astype(np.int64)
    adata.X = adata.X.log1p()


def stored_zeros(adata):
    adata.X = sp.csr_matrix(adata.X.toarray())
    adata.X.data[::5] = 0


@pytest.mark.parametrize(
    ("change", "ask"),
    [
        (lambda adata: None, {"signal": "obs:type"}),
        (nearly_whole, {"signal": "obs:score"}),
        (with_proteins, {"signal": "features:Antibody Capture"}),
        (with_proteins, {"signal": "obs:day"}),
        (in_a_layer, {"signal": "pairs:clone", "layer": "raw"}),
        (stored_zeros, {"signal": "obs:type"}),
        (lambda adata: adata.X.data.__iadd__(0.25), {"signal": "obs:type", "round_counts": True}),
    ],
)
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_large_file_gives_what_a_small_one_gives(change, ask, suffix, make_adata, on_disk, tmp_path):
    adata = make_adata()
    change(adata)
    path = tmp_path / f"cells.{suffix}"
    (adata.write_h5ad if suffix == "h5ad" else adata.write_zarr)(path)
    small = datasets.load(path, **ask)
    on_disk()
    for _ in range(2):  # the second time with what the cache knows
        large = datasets.load(path, **ask)
        assert large.on_disk
        assert large.data_sha256 == small.data_sha256
        assert large.notes == small.notes
        assert large.card == small.card
        assert large.cell_ids.tolist() == small.cell_ids.tolist()
        assert large.gene_ids.tolist() == small.gene_ids.tolist()
        assert (large.counts.tocsr() != small.counts).nnz == 0
        np.testing.assert_array_equal(large.signal.values, small.signal.values)


@pytest.mark.parametrize(
    "change",
    [
        lambda adata: adata.X.data.__itruediv__(1.7),
        lambda adata: adata.X.data.__imul__(-1),
        lambda adata: adata.X.data.__setitem__(3, np.nan),
        lambda adata: setattr(adata, "X", sp.csr_matrix(adata.X.toarray() * (np.arange(30) != 7)[:, None])),
        lambda adata: setattr(adata, "X", sp.csr_matrix(adata.X.toarray() * 0)),
        lambda adata: setattr(adata, "obs_names", ["a"] * 30),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_refused_in_memory_is_refused_on_disk(change, make_adata, on_disk, tmp_path):
    adata = make_adata()
    change(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(InputError) as small:
        datasets.load(tmp_path / "cells.h5ad", signal="obs:type")
    on_disk()
    with pytest.raises(InputError) as large:
        datasets.load(tmp_path / "cells.h5ad", signal="obs:type")
    assert str(large.value).split(":")[0].split(",")[0] == str(small.value).split(":")[0].split(",")[0]


@pytest.mark.parametrize("kind", ["dense", "csc"])
def test_what_cannot_be_read_by_cell_is_read_whole(kind, make_adata, on_disk, tmp_path):
    adata = make_adata()
    adata.X = adata.X.toarray() if kind == "dense" else adata.X.tocsc()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    on_disk()
    assert not datasets.load(tmp_path / "cells.h5ad", signal="obs:type").on_disk


def test_a_file_changed_in_place_is_another_data_set(make_adata, on_disk, tmp_path):
    adata = make_adata()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    on_disk()
    before = datasets.load(tmp_path / "cells.h5ad", signal="obs:type")
    adata.X[0, 0] += 1
    adata.write_h5ad(tmp_path / "cells.h5ad")
    after = datasets.load(tmp_path / "cells.h5ad", signal="obs:type")
    assert after.data_sha256 != before.data_sha256
    assert after.umis[0] == before.umis[0] + 1


def test_a_broken_entry_of_the_cache_is_made_anew(make_adata, on_disk, tmp_path):
    make_adata().write_h5ad(tmp_path / "cells.h5ad")
    on_disk()
    before = datasets.load(tmp_path / "cells.h5ad", signal="obs:type")
    for path in (tmp_path / "cache" / "surveys").iterdir():
        path.write_bytes(b"")
    again = datasets.load(tmp_path / "cells.h5ad", signal="obs:type")
    assert again.data_sha256 == before.data_sha256
    assert isinstance(again.counts, count_store.CountStore)
    assert anndata.read_h5ad(tmp_path / "cells.h5ad").n_obs == again.n_cells
    assert pd.Index(again.cell_ids).is_unique


def split_up(adata, folder):
    folder.mkdir()
    for number, at in enumerate((slice(0, 11), slice(11, None))):
        adata[at].copy().write_h5ad(folder / f"part{number}.h5ad")
    return folder


@pytest.mark.parametrize(
    "signal", ["obs:type", "obs:score", "obsm:protein", "space:obsm/spatial,section", "pairs:clone"]
)
@pytest.mark.parametrize("change", [nearly_whole, in_a_layer])
def test_a_folder_of_files_is_one_data_set(signal, change, make_adata, on_disk, tmp_path):
    """In memory and on disk as the one file that holds all of their cells."""
    adata = make_adata()
    change(adata)
    layer = "raw" if change is in_a_layer else None
    adata.obs["type"] = pd.Categorical(adata.obs["type"], adata.obs["type"].cat.categories[::-1])
    adata.write_h5ad(tmp_path / "cells.h5ad")
    one = datasets.load(tmp_path / "cells.h5ad", signal=signal, layer=layer)
    folder = split_up(adata, tmp_path / "parts")
    several = datasets.load(folder, signal=signal, layer=layer)
    assert not several.on_disk
    on_disk()
    large = datasets.load(folder, signal=signal, layer=layer)
    assert large.on_disk
    for found in (several, large):
        assert found.name == "parts"
        assert found.data_sha256 == one.data_sha256
        assert found.cell_ids.tolist() == one.cell_ids.tolist()
        assert [note.replace("parts", "cells.h5ad") for note in found.notes] == list(one.notes)
        assert (found.take(np.arange(30)) != one.counts).nnz == 0


def test_files_of_a_folder_that_do_not_fit_together_are_named(make_adata, tmp_path):
    adata = make_adata()
    folder = split_up(adata, tmp_path / "parts")
    other = adata[11:].copy()
    other.var_names = [f"x{i}" for i in range(8)]
    other.write_h5ad(folder / "part1.h5ad")
    with pytest.raises(InputError, match=r"part1.h5ad has other genes than part0.h5ad, or in another order: write all"):
        datasets.load(folder, signal="obs:type")
    other = adata[11:].copy()
    other.obs["type"] = pd.Categorical(other.obs["type"], ["T", "B", "NK"], ordered=True)
    other.write_h5ad(folder / "part1.h5ad")
    with pytest.raises(
        InputError, match=r"obs/type of the 2 files of .*parts cannot be put together \(.*write it alike"
    ):
        datasets.load(folder, signal="obs:type")
    adata[:11].copy().write_h5ad(folder / "part1.h5ad")
    with pytest.raises(InputError, match="parts has several cells named 'cell0', 11 such names in all"):
        datasets.load(folder, signal="obs:type")
    (folder / "part1.h5ad").write_bytes(b"no file of cells")
    with pytest.raises(InputError, match=r"part1.h5ad is not an .h5ad file, or is cut short"):
        datasets.load(folder, signal="obs:type")
