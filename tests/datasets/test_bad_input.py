"""What a wrong input gets: one sentence that names the thing and the way out, and nothing left behind.

One row a kind of bad input: how to make it, what is then called, and words that the sentence must have. Cases of
loading are here; other modules' tables can use `check` the same way.
"""

import contextlib
import io
import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import cli, datasets


def check(call, words, folder):
    """Call it as the command line does: status 2, one sentence with all of `words`, and `folder` as it was."""
    before = sorted(folder.rglob("*"))
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        assert cli.answer(call) == 2
    said = stderr.getvalue().removesuffix("\n")
    assert "\n" not in said
    assert len(said) < 700
    for word in words:
        assert word in said, said
    assert sorted(folder.rglob("*")) == before


def put(column, values):
    def change(adata):
        adata.obs[column] = values(adata) if callable(values) else values

    return change


def in_obsm(key, values):
    def change(adata):
        adata.obsm[key] = values(adata.n_obs)

    return change


def counts(function):
    """Change X as a dense array of floats."""

    def change(adata):
        adata.X = sp.csr_matrix(function(adata.X.toarray().astype(np.float64)))

    return change


def one(value):
    def function(x):
        x[3, 2] = value
        return x

    return counts(function)


def normalise(x):
    return np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)


def counts_in_a_layer(adata):
    adata.layers["umi"] = adata.X.copy()
    counts(normalise)(adata)


def counts_in_raw(adata):
    adata.raw = adata.copy()
    counts(normalise)(adata)


def empty_cell(x):
    x[4] = 0
    return x


def rename(which, names):
    def change(adata):
        setattr(adata, which, names)

    return change


def no_x(adata):
    adata.layers["raw"] = adata.X
    adata.X = None


def dtype(kind):
    def change(adata):
        adata.X = adata.X.astype(kind)

    return change


CELLS = 30
EACH_ITS_OWN = [f"x{i}" for i in range(CELLS)]
# how the AnnData is changed, the signal and layer asked for, words of the sentence
H5AD = {
    "no signal": (
        None,
        None,
        None,
        ["bad.h5ad needs a signal", "obs has clone, day", "obsm has protein"],
    ),
    "empty signal": (None, "", None, ["needs a signal"]),
    "bare column": (None, "type", None, ["'type' has no known form", "obs:COLUMN"]),
    "unknown form": (None, "var:type", None, ["'var:type' has no known form"]),
    "no column named": (None, "obs:", None, ["'obs:' has no known form"]),
    "unknown column": (None, "obs:age", None, ["unknown obs column 'age'", "clone, day, score"]),
    "unknown matrix": (None, "obsm:rna", None, ["unknown obsm key 'rna'", "protein, spatial"]),
    "constant label": (put("type", "T"), "obs:type", None, ["the same in all 30 cells", "choose one that varies"]),
    "constant number": (put("score", 1.5), "obs:score", None, ["the same in all 30 cells"]),
    "constant matrix": (in_obsm("protein", lambda n: np.ones((n, 2))), "obsm:protein", None, ["the same in all 30"]),
    "a label for each cell": (put("type", EACH_ITS_OWN), "obs:type", None, ["different in each of 30 cells"]),
    "labels all missing": (put("type", [""] * CELLS), "obs:type", None, ["missing in all 30 cells"]),
    "numbers all missing": (put("score", np.nan), "obs:score", None, ["missing in all 30 cells"]),
    "matrix all missing": (in_obsm("protein", lambda n: np.full((n, 2), np.nan)), "obsm:protein", None, ["missing in"]),
    "matrix of no columns": (in_obsm("protein", lambda n: np.ones((n, 0))), "obsm:protein", None, ["shape (30, 0)"]),
    "matrix of three axes": (in_obsm("protein", lambda n: np.ones((n, 2, 2))), "obsm:protein", None, ["(30, 2, 2)"]),
    "unknown clones": (None, "pairs:family", None, ["unknown obs column 'family'"]),
    "clones of one cell": (put("clone", EACH_ITS_OWN), "pairs:clone", None, ["has no partners", "clones of two cells"]),
    "no cell in a clone": (put("clone", [""] * CELLS), "pairs:clone", None, ["has no partners"]),
    "unknown time": (None, "pairs:clone,hour", None, ["unknown obs column 'hour'"]),
    "time as words": (
        put("day", ["early", "late"] * 15),
        "pairs:clone,day",
        None,
        ["'day' holds 'early', 'late'", "2 rather than"],
    ),
    "one time only": (put("day", 4), "pairs:clone,day", None, ["has no partners"]),
    "space without obsm": (None, "space:spatial", None, ["does not say where the coordinates are", "space:obsm/KEY"]),
    "unknown coordinates": (None, "space:obsm/place", None, ["unknown obsm key 'place'"]),
    "unknown section": (None, "space:obsm/spatial,slide", None, ["unknown obs column 'slide'"]),
    "all at one place": (
        in_obsm("spatial", lambda n: np.zeros((n, 2))),
        "space:obsm/spatial",
        None,
        ["the same in all"],
    ),
    "nowhere": (in_obsm("spatial", lambda n: np.full((n, 2), np.inf)), "space:obsm/spatial", None, ["missing in all"]),
    "unknown layer": (None, "obs:type", "counts", ["no layer 'counts'", "choose one of none"]),
    "no X": (no_x, "obs:type", None, ["bad.h5ad has no X", "--layer raw (", "there are layers raw"]),
    "log-normalised": (counts(normalise), "obs:type", None, ["is log-normalised", "100% of", "give the raw counts"]),
    "counts in a layer": (
        counts_in_a_layer,
        "obs:type",
        None,
        ["is log-normalised", "give --layer umi (layer='umi' in Python)"],
    ),
    "counts in raw": (counts_in_raw, "obs:type", None, ["is log-normalised", "raw.X holds whole numbers"]),
    "per million": (counts(lambda x: x / x.sum() * 1e6 + 0.5), "obs:type", None, ["is normalised", "fractional"]),
    "one fraction": (one(40.5), "obs:type", None, ["1 in 233 of its non-zero values are fractional", "40.5"]),
    "negative": (one(-1), "obs:type", None, ["holds -1", "cannot be negative"]),
    "scaled": (counts(lambda x: (x - x.mean()) / x.std()), "obs:type", None, ["is scaled, it seems"]),
    "not a number": (one(np.nan), "obs:type", None, ["holds nan"]),
    "infinite": (one(np.inf), "obs:type", None, ["holds inf"]),
    "above 2^31": (one(2.0**40), "obs:type", None, ["more than 2^31 - 1"]),
    "true and false": (dtype(bool), "obs:type", None, ["has dtype bool"]),
    "complex": (dtype(np.complex64), "obs:type", None, ["has dtype complex64"]),
    "cells without counts": (counts(empty_cell), "obs:type", None, ["1 of 30 cells without", "filter_cells"]),
    "cells named twice": (rename("obs_names", ["c"] * CELLS), "obs:type", None, ["'c'", "obs_names_make_unique"]),
    "genes named twice": (rename("var_names", list("aabcdefg")), "obs:type", None, ["'a'", "var_names_make_unique"]),
    "no cells": ("no cells", "obs:type", None, ["is empty, 0 cells x 8 genes"]),
    "no genes": ("no genes", "obs:type", None, ["is empty, 30 cells x 0 genes"]),
}


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize("case", H5AD)
def test_a_bad_h5ad(case, make_adata, tmp_path):
    change, signal, layer, words = H5AD[case]
    adata = make_adata()
    if case == "no cells":
        adata = adata[:0].copy()
    elif case == "no genes":
        adata = adata[:, :0].copy()
    elif change:
        change(adata)
    path = tmp_path / "bad.h5ad"
    adata.write_h5ad(path)
    check(lambda: datasets.load(str(path), signal=signal, layer=layer), words, tmp_path)


def text_file(path, adata):
    path.write_text("cell,gene\n")


def empty_file(path, adata):
    path.write_bytes(b"")


def cut_short(path, adata):
    adata.write_h5ad(path)
    path.write_bytes(path.read_bytes()[:2000])


def other_hdf5(path, adata):
    with h5py.File(path, "w") as file:
        file["matrix"] = np.ones(3)


def unknown_encoding(path, adata):
    adata.write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["obs"].attrs["encoding-type"] = "spreadsheet"


def shapes_disagree(path, adata):
    adata.write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["X"].attrs["shape"] = np.array([7, 8])


def folder(path, adata):
    path.mkdir()


FILES = {
    "no file": (lambda path, adata: None, ["no file", "check the path"]),
    "a folder": (folder, ["is a folder", "give the .h5ad file"]),
    "a text file": (text_file, ["is not an .h5ad file, or is cut short"]),
    "an empty file": (empty_file, ["is not an .h5ad file, or is cut short"]),
    "cut short": (cut_short, ["bad.h5ad", "write it anew"]),
    "another HDF5 file": (other_hdf5, ["cannot be read as AnnData", "write it anew"]),
    "an unknown encoding": (unknown_encoding, ["obs of", "cannot be read", "write it anew"]),
    "shapes that disagree": (shapes_disagree, ["X of bad.h5ad has shape (7, 8) for 30 cells and 8 genes"]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file(case, make_adata, tmp_path):
    make, words = FILES[case]
    make(tmp_path / "bad.h5ad", make_adata())
    check(lambda: datasets.load(str(tmp_path / "bad.h5ad"), signal="obs:type"), words, tmp_path)


def simulate(**changes):
    return lambda: datasets.simulate(**({"n_cells": 20, "n_genes": 10, "seed": 0} | changes))


CALLS = {
    "unknown data set": (lambda: datasets.load("pbmc68"), ["unknown data set 'pbmc68'", "larry", "worm_embryo"]),
    "a table": (lambda: datasets.load("published"), ["'published' is a table, not cells", "pbmc68k"]),
    "a layer of a registered set": (lambda: datasets.load("pbmc68k", layer="x"), ["for a file only"]),
    "unknown signal": (lambda: datasets.load("pbmc68k", signal="age"), ["unknown signal of 'pbmc68k' 'age'"]),
    "no cells simulated": (simulate(n_cells=0), ["n_cells must be a whole number of at least 2, not 0"]),
    "half a cell": (simulate(n_cells=20.5), ["n_cells must be a whole number"]),
    "one gene": (simulate(n_genes=1), ["n_genes must be a whole number of at least 2"]),
    "no latent": (simulate(n_latent=0), ["n_latent must be a whole number of at least 1"]),
    "bits below 0": (simulate(bits=-1), ["bits must be a number from 0 to 30, not -1"]),
    "bits not a number": (simulate(bits=float("nan")), ["bits must be a number", "nan"]),
    "bits as text": (simulate(bits="3"), ["bits must be a number", "'3'"]),
    "no molecules": (simulate(mean_umis=0), ["mean_umis must be more than 0"]),
    "dispersion 0": (simulate(dispersion=0), ["dispersion must be positive"]),
    "share above 1": (simulate(informative=1.5), ["informative must be a number from 0 to 1"]),
    "unknown kind": (simulate(signal="graph"), ["unknown kind of simulated signal 'graph'"]),
    "more bits than labels": (simulate(signal="label", bits=3, n_labels=8), ["8 labels hold at most 3.00 bits"]),
    "truth of real cells": (
        lambda: datasets.true_information(datasets.load("pbmc68k"), 10),
        ["'pbmc68k' is not simulated"],
    ),
    "depth below 0": (
        lambda: datasets.true_information(simulate()(), [-1.0]),
        ["umis_per_cell must be finite and not negative"],
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_bad_call(case, tmp_path):
    call, words = CALLS[case]
    check(call, words, tmp_path)


def test_there_are_sixty_kinds_or_more():
    assert len(H5AD) + len(FILES) + len(CALLS) >= 60


@contextlib.contextmanager
def an_ordinary_user():
    """Root reads any file: it gives that up for the while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable_files_are_said(make_adata):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        path = Path(folder) / "bad.h5ad"
        make_adata().write_h5ad(path)
        datasets.load(str(path), signal="obs:type")
        path.chmod(0)
        path.parent.chmod(0o755)
        with an_ordinary_user():
            words = ["cannot be read (Permission denied)"]
            check(lambda: datasets.load(str(path), signal="obs:type"), words, Path(folder))


def test_missing_values_do_not_hide_a_constant(make_adata, tmp_path):
    adata = make_adata()
    adata.obs["type"] = pd.Categorical(["T"] * 20 + [None] * 10)
    adata.write_h5ad(tmp_path / "bad.h5ad")
    check(lambda: datasets.load(str(tmp_path / "bad.h5ad"), signal="obs:type"), ["the same in all 20 cells"], tmp_path)
