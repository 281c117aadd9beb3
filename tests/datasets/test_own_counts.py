"""Counts as people have them: what is read as it is, what is rounded and said, what is refused and how."""

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import datasets
from noise_scaling.errors import InputError


@pytest.fixture
def load(make_adata, tmp_path):
    """Load the cells with another X, given as a function of the dense counts; the file may be spoiled after writing."""

    def write_and_load(change=lambda x: x, *, spoil=None, signal="obs:type", **options):
        adata = make_adata()
        adata.X = change(adata.X.toarray().astype(np.float64))
        adata.write_h5ad(tmp_path / "mine.h5ad")
        if spoil:
            with h5py.File(tmp_path / "mine.h5ad", "a") as file:
                spoil(file["X"])
        return datasets.load(tmp_path / "mine.h5ad", signal=signal, **options)

    return write_and_load


def stored_as(dtype):
    return lambda x: sp.csr_matrix(x.astype(dtype))


def parts(x):
    """Each count stored as two."""
    whole = sp.csr_matrix(x)
    data = np.repeat(whole.data, 2)
    data[::2] -= 1
    data[1::2] = 1
    return sp.csr_matrix((data, np.repeat(whole.indices, 2), whole.indptr * 2), shape=whole.shape)


def halves(x):
    """Each count stored as two halves: fractions that are none."""
    whole = sp.csr_matrix(x)
    return sp.csr_matrix((np.repeat(whole.data / 2, 2), np.repeat(whole.indices, 2), whole.indptr * 2), whole.shape)


def write_zeros(group):
    values = group["data"][:]
    group["data"][...] = np.nan_to_num(values)


def reverse(group):
    for row in range(len(group["indptr"]) - 1):
        at = slice(*group["indptr"][row : row + 2])
        for name in ("data", "indices"):
            group[name][at] = group[name][at][::-1]


def retype(name, dtype):
    def spoil(group):
        values = group[name][:]
        del group[name]
        group[name] = values.astype(dtype)

    return spoil


def scaled_back(x):
    totals = x.sum(axis=1, keepdims=True)
    return (x / totals * 1e4) * totals / 1e4


# how the same counts may be stored, and how they may be spoiled in the file
SAME = {
    **{dtype: (stored_as(dtype), None) for dtype in ("u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")},
    "half precision": (stored_as("f4"), retype("data", "f2")),
    "big-endian": (stored_as("f4"), retype("data", ">f4")),
    "big-endian integers": (stored_as("i4"), retype("data", ">i4")),
    "wide indices": (stored_as("f4"), retype("indptr", "i8")),
    "columns": (sp.csc_matrix, None),
    "dense": (lambda x: x, None),
    "dense integers": (lambda x: x.astype("i8"), None),
    "unsorted": (sp.csr_matrix, reverse),
    "in two parts": (parts, None),
    "in two halves": (halves, None),
    "zeros written out": (lambda x: sp.csr_matrix(np.where(x == 0, np.nan, x)), write_zeros),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_counts_however_stored(case, load):
    change, spoil = SAME[case]
    plain, data = load(), load(change, spoil=spoil)
    assert data.data_sha256 == plain.data_sha256
    assert data.counts.dtype == np.int32
    assert data.notes == plain.notes


# floats that are nearly whole, and the words of what is said
NEARLY = {
    "through a logarithm": (lambda x: np.expm1(np.log1p(x.astype("f4"))), "rounded to whole numbers: by at most"),
    "scaled and back": (lambda x: scaled_back(x), "rounded to whole numbers: by at most"),
    "off by 1e-6": (lambda x: np.where(x > 0, x + 1e-6, 0), "by at most 1e-06"),
    "off by 1e-4 below": (lambda x: np.where(x > 0, x - 1e-4, 0), "by at most 0.0001"),
    "dust where 0 was": (lambda x: np.where(x > 0, x, 1e-9), "by at most 1e-09"),
    "dust below 0": (lambda x: np.where(x > 0, x, -1e-9), "by at most 1e-09"),
}


@pytest.mark.parametrize("case", NEARLY)
def test_nearly_whole_numbers_are_rounded_and_that_is_said(case, load):
    change, words = NEARLY[case]
    data = load(change)
    assert data.data_sha256 == load().data_sha256
    assert words in data.notes[0]


def test_large_counts_may_be_off_by_more(load):
    data = load(lambda x: (x + 50_000) * (1 + 1e-6))
    assert (data.counts.toarray() == load().counts.toarray() + 50_000).all()


def em(x):
    return np.where(x > 3, x + 0.333, x)


# estimated counts: fractional, refused, and rounded with round_counts
ESTIMATED = {
    "EM": (em, "is made of estimated counts"),
    "EM, deep": (lambda x: em(x) * 1 + 30, "is made of estimated counts"),
    "SoupX": (lambda x: np.where(x > 0, x * 5 - 0.03, 0), "is normalised, or corrected for ambient molecules"),
    "SoupX, shallow": (lambda x: np.where(x > 0, x - 0.03, 0), "is log-normalised, or corrected for ambient molecules"),
}


@pytest.mark.parametrize("case", ESTIMATED)
def test_estimated_counts_are_refused_or_rounded_when_asked(case, load):
    change, words = ESTIMATED[case]
    with pytest.raises(InputError, match=rf"{words}.*round them with --round \(round_counts=True in Python\)"):
        load(change)
    data = load(change, round_counts=True)
    expected = np.rint(change(load().counts.toarray().astype(float)))
    assert (data.counts.toarray() == expected).all()
    assert "% of the values were fractional, by at most 0." in data.notes[0]


def per_cell(x, total=1e4):
    return x / x.sum(axis=1, keepdims=True) * total


NO_COUNTS = {
    "counts per million": (lambda x: per_cell(x, 1e6), r"is normalised \(every cell sums to 1e\+06\)"),
    "log of counts per 10,000": (lambda x: np.log1p(per_cell(x)), "is log-normalised, it seems"),
    "log of the median total": (lambda x: np.log1p(per_cell(x, 25)), "is log-normalised, it seems"),
    "log2 of TPM": (lambda x: np.log2(per_cell(x, 1e6) + 1), "is log-normalised, it seems"),
    "log of the counts": (np.log1p, "is log-normalised, it seems"),
    "log2 of the counts": (lambda x: np.log2(x + 1), "is log-normalised, it seems"),
    "Pearson residuals": (lambda x: (x - x.mean(axis=0)) / x.std(axis=0), "is scaled, it seems"),
    "negative counts": (lambda x: np.where(x == 3, -3, x), "holds -3: a count cannot be negative"),
}


@pytest.mark.parametrize("round_counts", [False, True])
@pytest.mark.parametrize("case", NO_COUNTS)
def test_what_is_no_count_is_never_rounded(case, round_counts, load):
    change, words = NO_COUNTS[case]
    with pytest.raises(InputError, match=words):
        load(change, round_counts=round_counts)


def test_totals_that_are_all_alike_are_named(load):
    assert "every cell has about 10000 counts, as if normalised" in load(lambda x: np.round(per_cell(x))).notes[0]


def put(name, at, value):
    def spoil(group):
        values = group[name][:]
        values[at] = value
        group[name][...] = values

    return spoil


def shorten(group):
    values = group["data"][:-5]
    del group["data"]
    group["data"] = values


BROKEN = {
    "columns declared rows": (sp.csc_matrix, lambda g: g.attrs.__setitem__("encoding-type", "csr_matrix")),
    "rows declared columns": (sp.csr_matrix, lambda g: g.attrs.__setitem__("encoding-type", "csc_matrix")),
    "a gene too many": (sp.csr_matrix, put("indices", 5, 8)),
    "a gene far out": (sp.csr_matrix, put("indices", 5, 1_000_000)),
    "a cell too many": (sp.csc_matrix, put("indices", 5, 30)),
    "a cell far out": (sp.csc_matrix, put("indices", 5, 1_000_000)),
    "a negative gene": (sp.csr_matrix, put("indices", 5, -3)),
    "a negative cell": (sp.csc_matrix, put("indices", 5, -3)),
    "a falling pointer": (sp.csr_matrix, put("indptr", 3, 0)),
    "a falling pointer of columns": (sp.csc_matrix, put("indptr", 3, 0)),
    "a pointer beyond the end": (sp.csr_matrix, put("indptr", -1, 10_000)),
    "a pointer of columns beyond the end": (sp.csc_matrix, put("indptr", -1, 10_000)),
    "a pointer that starts late": (sp.csr_matrix, put("indptr", 0, 2)),
    "values that are too few": (sp.csr_matrix, shorten),
    "values of columns that are too few": (sp.csc_matrix, shorten),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_sparse_matrix_is_refused_before_it_is_converted(case, load):
    change, spoil = BROKEN[case]
    with pytest.raises(InputError, match=r"X of mine.h5ad is a broken sparse matrix \(.*\): write it anew"):
        load(change, spoil=spoil)


# the type of the last two features, how they are called in var, and whether they are kept out
FEATURES = {
    "antibodies": ("Antibody Capture", "feature_types", True),
    "guides": ("CRISPR Guide Capture", "feature_types", True),
    "hashtags": ("Multiplexing Capture", "feature_types", True),
    "peaks": ("Peaks", "feature_types", True),
    "in other words": ("ADT", "modality", True),
    "unnamed": (np.nan, "feature_types", True),
    "genes": ("Gene Expression", "feature_types", False),
    "another column": ("Antibody Capture", "biotype", False),
}


@pytest.mark.parametrize("case", FEATURES)
def test_what_is_no_gene_is_kept_out_of_the_counts(case, make_adata, tmp_path):
    kind, column, out = FEATURES[case]
    adata = make_adata()
    adata.var[column] = pd.Categorical(["Gene Expression"] * 6 + [kind] * 2)
    adata.write_h5ad(tmp_path / "mine.h5ad")
    data = datasets.load(tmp_path / "mine.h5ad", signal="obs:type")
    assert data.n_genes == (6 if out else 8)
    left_out = [note for note in data.notes if "are no genes and are left out" in note]
    assert len(left_out) == out
    assert not out or f"'features:{kind if isinstance(kind, str) else 'unnamed'}'" in left_out[0]
    if out:
        adata[:, :6].copy().write_h5ad(tmp_path / "genes.h5ad")
        assert data.data_sha256 == datasets.load(tmp_path / "genes.h5ad", signal="obs:type").data_sha256


def test_a_gene_and_an_antibody_may_share_a_name(make_adata, tmp_path):
    adata = make_adata()
    adata.var["feature_types"] = ["Gene Expression"] * 6 + ["Antibody Capture"] * 2
    adata.var_names = [*list("abcdef"), "a", "b"]
    adata.write_h5ad(tmp_path / "mine.h5ad")
    data = datasets.load(tmp_path / "mine.h5ad", signal="features:Antibody Capture")
    assert data.gene_ids.tolist() == list("abcdef")
    with pytest.raises(InputError, match="there are features of type Antibody Capture"):
        datasets.load(tmp_path / "mine.h5ad", signal="features:ATAC")


def drop_x(adata):
    adata.X = None


def keep_raw(adata):
    adata.raw = adata.copy()
    adata.X = None


def one_half(adata):
    adata.X = adata.X.astype("f8")
    adata.X.data[3] += 0.5


def nothing(adata):
    adata.X = adata.X * 0


# what is done to the file, the layer asked for, and words of the sentence
ELSEWHERE = {
    "raw only": (keep_raw, None, ["has no X: raw.X holds whole numbers: save adata.raw.to_adata()"]),
    "no counts at all": (drop_x, None, ["has no X: give the raw counts"]),
    "raw.X as a layer": (keep_raw, "raw.X", ["no layer 'raw.X'", "raw.X holds whole numbers"]),
    "X as a layer": (lambda adata: None, "X", ["no layer 'X'", "X is read where no layer is named"]),
    "one fraction": (one_half, None, ["it seems: 1 in "]),
    "only zeros": (nothing, None, ["holds no count but 0"]),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_where_the_counts_are_instead(case, make_adata, tmp_path):
    change, layer, words = ELSEWHERE[case]
    adata = make_adata()
    change(adata)
    adata.write_h5ad(tmp_path / "mine.h5ad")
    with pytest.raises(InputError) as error:
        datasets.load(tmp_path / "mine.h5ad", signal="obs:type", layer=layer)
    for word in words:
        assert word in str(error.value), error.value


def test_a_file_of_no_genes_says_so(make_adata, tmp_path):
    """A file of peaks or of antibodies alone is measured as it is, but not unsaid."""
    adata = make_adata()
    adata.var["feature_types"] = "Peaks"
    adata.write_h5ad(tmp_path / "mine.h5ad")
    data = datasets.load(tmp_path / "mine.h5ad", signal="obs:type")
    assert data.n_genes == adata.n_vars
    assert "no feature is called a gene (Peaks), so all are taken for genes" in data.notes[0]
