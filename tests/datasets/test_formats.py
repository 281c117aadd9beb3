"""Files as people have them: each kind is read as the same cells, or refused with the way out; nobody reads what is not
asked for."""

import gzip
import shutil
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from noise_scaling import datasets
from noise_scaling.errors import InputError

TYPE = "obs:type"


@pytest.fixture
def clean(make_adata, tmp_path):
    """The cells, and what they give from a plain .h5ad."""
    adata = make_adata()
    adata.write_h5ad(tmp_path / "clean.h5ad")
    return adata, datasets.load(tmp_path / "clean.h5ad", signal=TYPE)


def same(one, other):
    return one.data_sha256 == other.data_sha256 and one.notes == other.notes


def tenx_h5(path, adata, *, others=0):
    counts = sp.csc_matrix(adata.X.T.astype("i4"))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(counts, name)
        group["shape"] = np.array(counts.shape)
        group["barcodes"] = np.array(adata.obs_names, dtype="S")
        features = group.create_group("features")
        features["id"] = np.array(adata.var_names, dtype="S")
        features["name"] = np.array(["CD4"] * adata.n_vars, dtype="S")  # symbols repeat
        kinds = ["Gene Expression"] * (adata.n_vars - others) + ["Antibody Capture"] * others
        features["feature_type"] = np.array(kinds, dtype="S")
        features["genome"] = np.array(["GRCh38"] * adata.n_vars, dtype="S")


def tenx_mtx(folder, adata, *, version=3, others=0):
    folder.mkdir()
    kinds = ["Gene Expression"] * (adata.n_vars - others) + ["Antibody Capture"] * others
    features = pd.DataFrame({"id": adata.var_names, "name": "CD4", "type": kinds})
    end = ".gz" if version == 3 else ""
    features.to_csv(folder / f"{'features' if end else 'genes'}.tsv{end}", sep="\t", header=False, index=False)
    pd.Series(adata.obs_names).to_csv(folder / f"barcodes.tsv{end}", header=False, index=False)
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(adata.X.T.astype(int)))
    if end:
        packed = gzip.compress((folder / "matrix.mtx").read_bytes())
        (folder / "matrix.mtx.gz").write_bytes(packed)
        (folder / "matrix.mtx").unlink()


@pytest.mark.parametrize(
    "name", ["cells.H5AD", "cells", "cells.tar", "cells.h5", "cells v2 (β).h5ad", "cells.backup.hdf5"]
)
@pytest.mark.parametrize("where", ["{name}", "./{name}", "{folder}/{name}"])
def test_the_ending_does_not_matter(name, where, clean, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy("clean.h5ad", name)
    data = datasets.load(where.format(name=name, folder=tmp_path), signal=TYPE)
    assert same(data, clean[1])
    assert data.name == name.rsplit(".", 1)[0] if "." in name else name


def test_a_registered_name_comes_before_a_file(clean, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy("clean.h5ad", "simulated")
    assert datasets.load("simulated").n_cells != 30
    assert same(datasets.load("./simulated", signal=TYPE), clean[1])


@pytest.mark.filterwarnings("ignore:.*[zZ]arr:UserWarning")
@pytest.mark.parametrize("version", [2, 3])
def test_zarr(version, clean, tmp_path):
    with anndata.settings.override(zarr_write_format=version):
        clean[0].write_zarr(tmp_path / "cells.zarr")
    assert same(datasets.load(tmp_path / "cells.zarr", signal=TYPE), clean[1])
    clean[0].write_zarr(tmp_path / "space.zarr" / "tables" / "table")
    assert same(datasets.load(tmp_path / "space.zarr" / "tables" / "table", signal=TYPE), clean[1])


@pytest.mark.parametrize("kind", ["h5", "mtx 2", "mtx 3", "matrix.mtx.gz"])
def test_10x_with_antibodies_as_the_signal(kind, make_adata, tmp_path):
    adata = make_adata()
    if kind == "h5":
        tenx_h5(tmp_path / "filtered_feature_bc_matrix.h5", adata, others=2)
        path = tmp_path / "filtered_feature_bc_matrix.h5"
    else:
        tenx_mtx(tmp_path / "filtered", adata, version=2 if kind == "mtx 2" else 3, others=2)
        path = tmp_path / "filtered" / ("matrix.mtx.gz" if kind == "matrix.mtx.gz" else "")
    if kind == "mtx 2":  # CellRanger 2 says nothing of features
        with pytest.raises(InputError, match="there are features of type none"):
            datasets.load(path, signal="features:Antibody Capture")
        return
    data = datasets.load(path, signal="features:Antibody Capture")
    assert (data.counts.toarray() == adata.X.toarray()[:, :6]).all()
    assert data.gene_ids.tolist() == adata.var_names[:6].tolist()
    assert data.signal.values == pytest.approx(np.log1p(adata.X.toarray()[:, 6:]))
    assert "2 Antibody Capture are no genes" in data.notes[0]
    with pytest.raises(InputError, match="unknown obs column 'type': the file has none; put the signal"):
        datasets.load(path, signal=TYPE)


def as_06(path, adata):
    """As AnnData 0.6 wrote it: compound tables, categories in uns."""
    obs = np.zeros(adata.n_obs, dtype=[("index", "S9"), ("type", "i1"), ("day", "i8")])
    obs["index"], obs["type"], obs["day"] = list(adata.obs_names), adata.obs["type"].cat.codes, adata.obs["day"]
    protein = np.zeros(adata.n_obs, dtype=[("protein", "f8", (3,))])
    protein["protein"] = adata.obsm["protein"]
    var = np.array([(name,) for name in adata.var_names], dtype=[("index", "S9")])
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", np.array(adata.shape)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(adata.X, name)
        file["obs"], file["var"], file["obsm"] = obs, var, protein
        file["uns/type_categories"] = np.array(list(adata.obs["type"].cat.categories), dtype="S")


def as_07(path, adata):
    """As AnnData 0.7 wrote it: categories beside the columns, found by reference."""
    adata.write_h5ad(path)
    text = h5py.string_dtype()
    with h5py.File(path, "a") as file:
        for key in ("obs", "var"):
            file[key].attrs["encoding-version"] = "0.1.0"
        obs = file["obs"]
        for name in adata.obs:
            del obs[name]
        obs.attrs.create("column-order", np.array(["type", "day"], dtype=object), dtype=text)
        categories = np.array(list(adata.obs["type"].cat.categories), dtype=object)
        stored = obs.create_dataset("__categories/type", data=categories, dtype=text)
        obs["type"], obs["day"] = adata.obs["type"].cat.codes.to_numpy(), adata.obs["day"].to_numpy()
        obs["type"].attrs["categories"] = stored.ref


@pytest.mark.parametrize("write", [as_06, as_07])
@pytest.mark.parametrize("signal", [TYPE, "obs:day", "obsm:protein"])
def test_files_of_older_programs(write, signal, clean, tmp_path):
    write(tmp_path / "old.h5ad", clean[0])
    expected = datasets.load(tmp_path / "clean.h5ad", signal=signal)
    assert same(datasets.load(tmp_path / "old.h5ad", signal=signal), expected)


def alien(group, key, **attributes):
    group.create_group(key).attrs.update(attributes)


# what is spoiled in the file, none of it asked for
ELSEWHERE = {
    "an awkward array in obsm, as scirpy keeps it": lambda f: alien(
        f["obsm"], "airr", **{"encoding-type": "awkward-array", "encoding-version": "0.1.0", "form": "{}", "length": 30}
    ),
    "an unknown item in uns": lambda f: alien(f["uns"], "new", **{"encoding-type": "x", "encoding-version": "9"}),
    "an obsm of the wrong length": lambda f: f["obsm"].create_dataset("short", data=np.ones((7, 2))),
    "a layer of the wrong shape": lambda f: f["layers"].create_dataset("short", data=np.ones((7, 2))),
    "an obs column of the wrong length": lambda f: replace(f["obs"], "score", np.ones(7)),
    "an obs column of an unknown kind": lambda f: f["obs/score"].attrs.update({"encoding-type": "x"}),
    "an obs column that is listed and not there": lambda f: f["obs"].pop("score"),
    "a var column of the wrong length": lambda f: f["var"].create_dataset("short", data=np.ones(2)),
    "an obsp of the wrong shape": lambda f: f.require_group("obsp").create_dataset("d", data=np.ones((2, 2))),
    "a broken raw": lambda f: f.require_group("raw").create_dataset("X", data=np.ones((2, 2))),
}


def replace(group, key, values):
    attributes = dict(group[key].attrs)
    del group[key]
    group[key] = values
    group[key].attrs.update(attributes)


@pytest.mark.parametrize("case", ELSEWHERE)
def test_only_what_is_asked_for_is_read(case, clean, tmp_path):
    shutil.copy(tmp_path / "clean.h5ad", tmp_path / "mine.h5ad")
    with h5py.File(tmp_path / "mine.h5ad", "a") as file:
        ELSEWHERE[case](file)
    assert same(datasets.load(tmp_path / "mine.h5ad", signal=TYPE), clean[1])


@pytest.mark.parametrize(
    ("case", "signal", "words"),
    [
        (0, "obsm:airr", "obsm/airr of .* cannot be read"),
        (2, "obsm:short", r"obsm\['short'\] has 7 rows for 30 cells"),
        (4, "obs:score", r"obs column 'score' has shape \(7,\) for 30 cells"),
        (5, "obs:score", "obs/score of .* cannot be read"),
        (6, "obs:score", "obs/score of .* cannot be read"),
    ],
)
def test_what_is_asked_for_and_broken_is_said(case, signal, words, clean, tmp_path):
    with h5py.File(tmp_path / "clean.h5ad", "a") as file:
        list(ELSEWHERE.values())[case](file)
    with pytest.raises(InputError, match=words):
        datasets.load(tmp_path / "clean.h5ad", signal=signal)


def text(content):
    return lambda path, adata: path.write_text(content)


def packed(path, adata):
    path.write_bytes(gzip.compress(b"anything"))


def loom(path, adata):
    with h5py.File(path, "w") as file:
        file["matrix"] = adata.X.T.toarray()
        file.create_group("col_attrs")
        file.create_group("row_attrs")


def h5mu(path, adata):
    with h5py.File(path, "w") as file:
        file.create_group("mod/rna/obs")


def not_whole(path, adata):
    tenx_mtx(path, adata)
    (path / "barcodes.tsv.gz").unlink()


def tenx_without_features(path, adata):
    tenx_h5(path, adata)
    with h5py.File(path, "a") as file:
        del file["matrix/features"]


def spatialdata(path, adata):
    adata.write_zarr(path / "tables" / "table")
    for name in (".zgroup", "zarr.json"):
        if (path / "tables" / "table" / name).exists():
            shutil.copy(path / "tables" / "table" / name, path / name)
            shutil.copy(path / "tables" / "table" / name, path / "tables" / name)


def unknown_filter(path, adata):
    """X compressed with zstd, for which this HDF5 may have no plugin."""
    adata.X = adata.X.toarray()
    adata.write_h5ad(path)
    with h5py.File(path, "a") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((30, 8))
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple((30, 8))
        stored = h5py.h5d.create(file.id, b"X", h5py.h5t.IEEE_F32LE, space, dcpl=plan)
        stored.write_direct_chunk((0, 0), b"0" * 100, 0)
        file["X"].attrs.update(attributes)


def bare_groups(path, adata):
    adata.write_h5ad(path)
    with h5py.File(path, "a") as file:
        for name in ("encoding-type", "encoding-version", "_index", "column-order"):
            del file["obs"].attrs[name]


WAYS_OUT = {
    "bare.h5ad": (bare_groups, ["obs is not marked as a table", "write it anew"]),
    "cells.csv": (text("gene,c1\n"), ["is a table of text", "anndata.io.read_csv", "write_h5ad"]),
    "cells.tsv": (text("gene\tc1\n"), ["is a table of text"]),
    "cells.rds": (packed, ["is packed with gzip"]),
    "cells.RData": (text("x"), ["is a file of R", "zellkonverter::writeH5AD"]),
    "cells.mtx": (text("%%MatrixMarket"), ["without names", "give the folder"]),
    "cells.h5ad.gz": (packed, ["is packed with gzip (gunzip FILE)", "unpack it first"]),
    "cells.h5ad.zst": (lambda p, a: p.write_bytes(b"\x28\xb5\x2f\xfd" + b"0" * 9), ["zstd (unzstd FILE)"]),
    "cells.zip": (lambda p, a: p.write_bytes(b"PK\x03\x04" + b"0" * 9), ["zip (unzip FILE)"]),
    "cells.loom": (loom, ["is a loom file", "pip install loompy"]),
    "renamed.h5ad": (h5mu, ["is MuData (rna)", "read_h5mu(FILE)['rna'].write_h5ad"]),
    "raw_feature_bc_matrix": (not_whole, ["is not a whole 10x folder", "barcodes.tsv.gz"]),
    "molecule.h5": (tenx_without_features, ["cannot be read as 10x"]),
    "space.zarr": (spatialdata, ["is SpatialData", "space.zarr/tables/table"]),
    "zstd.h5ad": (unknown_filter, ["compressed in a way", "pip install hdf5plugin", "compression='gzip'"]),
    "other.h5ad": (lambda p, a: h5py.File(p, "w").close(), ["no obs and var, but nothing"]),
    "results": (lambda p, a: p.mkdir(), ["is a folder", "a folder of such", "10x folder of matrix.mtx"]),
}


@pytest.mark.filterwarnings("ignore:.*[zZ]arr:UserWarning")
@pytest.mark.parametrize("name", WAYS_OUT)
def test_the_way_out_is_named(name, make_adata, tmp_path):
    make, words = WAYS_OUT[name]
    if name == "cells.loom":
        try:
            import loompy  # noqa: F401

            pytest.skip("loompy is here and reads it")
        except ImportError:
            pass
    make(tmp_path / name, make_adata())
    with pytest.raises(InputError) as error:
        datasets.load(tmp_path / name, signal=TYPE)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value), error.value


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("https://example.org/cells.h5ad", "is an address: download the file first"),
        ("file:///data/cells.h5ad", "is an address"),
        ("s3:/bucket/cells.h5ad", "is an address"),
        ("D:/data/cells.h5ad", "no file"),
        (r"C:\Users\me\cells.h5ad", "no file"),
        (r"data\cells", "no file"),
        ("*.h5ad", "no file"),
        ("nothere.h5ad", "no file"),
        ("~/nothere.h5ad", "no file"),
        ("pbmc68", "unknown data set 'pbmc68'"),
    ],
)
def test_names_that_lead_nowhere(name, words):
    with pytest.raises(InputError, match=words):
        datasets.load(name, signal=TYPE)


def test_a_file_that_another_program_writes(clean, tmp_path, monkeypatch):
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    hold = "import h5py, sys; file = h5py.File(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    command, pipe = [sys.executable, "-c", hold, str(tmp_path / "clean.h5ad")], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:  # which ends with its input
        assert other.stdout.readline() == "open\n"
        with pytest.raises(InputError, match="is open for writing in another program: close it there"):
            datasets.load(tmp_path / "clean.h5ad", signal=TYPE)
