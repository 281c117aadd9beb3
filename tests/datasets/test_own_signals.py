"""Signals as people have them: what each form reads, what is taken for missing, and what the notes say of it."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import datasets, signals
from noise_scaling.errors import InputError

CELLS = 60
CLONES = np.arange(CELLS) // 3
HOLES = np.arange(CELLS) % 4 == 0


@pytest.fixture
def load(make_adata, tmp_path):
    """Load the cells after a change, through a file."""

    def write_and_load(signal, change=lambda adata: None):
        adata = make_adata(n_cells=CELLS)
        change(adata)
        adata.write_h5ad(tmp_path / "mine.h5ad")
        return datasets.load(tmp_path / "mine.h5ad", signal=signal)

    return write_and_load


def put(column, values):
    def change(adata):
        adata.obs[column] = values

    return change


def in_obsm(key, values):
    def change(adata):
        adata.obsm[key] = values(adata) if callable(values) else values

    return change


def holed(values, hole):
    return np.where(HOLES, hole, np.asarray(values, dtype=object))


AGES = 20 + np.arange(CELLS)
TYPES = np.array(["T", "B", "NK"])[np.arange(CELLS) % 3]

# signal, the obs column x, the kind it is taken for, and words of the note
COLUMNS = {
    "text": ("obs:x", TYPES, "label", "signal obs:x: 3 classes; 60 of 60 cells have it"),
    "ages": ("obs:x", AGES, "vector", "60 different numbers, taken for a measurement (classes? obs:x:label)"),
    "codes": ("obs:x", np.arange(CELLS) % 3, "label", "3 classes (a measurement? obs:x:number)"),
    "codes as a measurement": (
        "obs:x:number",
        np.arange(CELLS) % 3,
        "vector",
        "3 different numbers, taken for a measur",
    ),
    "ages as classes": ("obs:x:label", AGES // 4, "label", "15 classes"),
    "ordered numbers": ("obs:x:ordered", np.arange(CELLS) % 3, "label", "3 ordered classes"),
    "an ordered category": (
        "obs:x",
        pd.Categorical(TYPES, ["T", "NK", "B"], ordered=True),
        "label",
        "3 ordered classes;",
    ),
    "digits as a measurement": ("obs:x:number", (np.arange(CELLS) % 3).astype(str), "vector", "3 different numbers"),
    "holes": (
        "obs:x",
        pd.Categorical(holed(TYPES, None)),
        "label",
        "NaN taken for missing in 15 cells; 45 of 60 cells",
    ),
    "holes in words": ("obs:x", holed(TYPES, "nan").astype(str), "label", "'nan' taken for missing in 15 cells"),
    "blanks": ("obs:x", holed(TYPES, " ").astype(str), "label", "' ' taken for missing in 15 cells"),
    "holes of SeuratDisk": (
        "obs:x",
        np.where(HOLES, -(2**31), np.arange(CELLS) % 3).astype("i4"),
        "label",
        "3 classes (a measurement? obs:x:number); '-2147483648' taken for missing in 15 cells",
    ),
    "a class None": (
        "obs:x",
        holed(TYPES, "None").astype(str),
        "label",
        "'None' is scored as a class, of 15 cells (none?",
    ),
    "a class NA": ("obs:x", holed(TYPES, "NA").astype(str), "label", "'NA' is scored as a class, of 15 cells"),
    "a class unknown": ("obs:x", holed(TYPES, "Unknown").astype(str), "label", "'Unknown' is scored as a class"),
    "a class -1": ("obs:x", np.where(HOLES, -1, np.arange(CELLS) % 3), "label", "'-1' is scored as a class"),
    "infinities": ("obs:x", np.where(HOLES, np.inf, AGES / 7), "vector", "'inf' taken for missing in 15 cells"),
    "numbers with holes": ("obs:x", np.where(HOLES, np.nan, AGES / 7), "vector", "NaN taken for missing in 15 cells"),
    "numbers as text": ("obs:x", pd.Categorical((AGES / 7).round(4).astype(str)), "vector", "60 different numbers"),
    "a blank behind": (
        "obs:x",
        np.where(HOLES, "T ", TYPES),
        "label",
        "4 classes; 'T' and 'T ' are different classes",
    ),
    "another case": ("obs:x", np.where(HOLES, "b", TYPES), "label", "'B' and 'b' are different classes"),
    "flags": ("obs:x", np.arange(CELLS) % 2 == 0, "label", "signal obs:x: 2 classes; 60 of"),
    "a column with a colon": ("obs:x:y", TYPES, "label", "signal obs:x:y: 3 classes"),
    "a column called after a kind": ("obs:x:label", TYPES, "label", "signal obs:x:label: 3 classes"),
    "unused categories": ("obs:x", pd.Categorical(TYPES, ["", "T", "B", "NK", "z"]), "label", "3 classes; 60 of 60"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns(case, load):
    signal, values, kind, words = COLUMNS[case]
    column = "x:y" if signal == "obs:x:y" else "x"
    data = load(signal, put(column, values))
    assert data.signal.kind == kind
    assert words in data.notes[-1], data.notes
    assert data.notes[-1].endswith(f"{signals.test_eligible(data.signal).sum()} of 60 cells have it")


def same_partition(one, other):
    return (pd.factorize(one)[0] == pd.factorize(other)[0]).all()


# how "no clone" may be written
NO_CLONES = [
    None, "", " ", "nan", "NaN", "None", "NA", "none", "unassigned", "Unassigned", "no_clone", "No clone", "0", ".",
    "-", "?", "unknown", "No_contig", "-1",
]  # fmt: skip


@pytest.mark.parametrize("hole", NO_CLONES)
def test_no_clone_under_any_name(hole, load):
    names = np.array([f"c{clone}" for clone in CLONES], dtype=object)
    data = load("pairs:clone", put("clone", pd.Categorical(holed(names, hole))))
    assert (data.signal.values[HOLES] == signals.NO_CLONE).all()
    assert same_partition(data.signal.values[~HOLES], CLONES[~HOLES])
    assert "taken for missing in 15 cells" in data.notes[-1]


@pytest.mark.parametrize(
    ("values", "none"),
    [
        (np.where(HOLES, np.nan, CLONES), HOLES),
        (np.where(HOLES, -1, CLONES + 1), HOLES),
        (np.where(HOLES, 0, CLONES + 1), HOLES),
        (np.where(HOLES, -(2**31), CLONES), HOLES),
        (np.where(HOLES, 0.0, CLONES + 1.0), HOLES),
        (CLONES, np.zeros(CELLS, bool)),
    ],
    ids=["NaN", "-1", "0 of many", "INT_MIN", "0.0 of many", "0 of few"],
)
def test_numbered_clones(values, none, load):
    """0 is no clone where it holds five times as many cells as any; else it is one of the clones."""
    found = load("pairs:clone", put("clone", values)).signal.values
    assert (found[none] == signals.NO_CLONE).all()
    assert same_partition(found[~none], CLONES[~none])


def test_a_giant_clone_is_named(load):
    data = load("pairs:clone", put("clone", np.where(HOLES, "c0", [f"c{clone}" for clone in CLONES])))
    assert "clone 'c0' holds 17 cells, 28% of all (no clone? make it NaN)" in data.notes[-1]
    small = np.where(np.arange(CELLS) < 10, "twin", [f"c{i // 2}" for i in range(CELLS)])
    monster = np.where(np.arange(CELLS) < 10, "no one", small)
    assert "holds" in load("pairs:clone", put("clone", monster)).notes[-1]
    assert "holds" not in load("pairs:clone", put("clone", CLONES)).notes[-1]


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_clones_as_a_matrix(kind, load):
    marks = np.eye(20)[CLONES]
    marks[0] = 0  # in none
    marks[1, 5] = 1  # in two
    data = load("pairs:obsm/X_clone", in_obsm("X_clone", kind(marks)))
    assert (data.signal.values[:2] == signals.NO_CLONE).all()
    assert (data.signal.values[2:] == CLONES[2:]).all()
    assert "20 clones; 2 cells are in none, 1 of them in several" in data.notes[-1]
    data = load("pairs:obsm/X_clone,day", in_obsm("X_clone", kind(marks)))
    assert data.signal.times is not None
    one_hot = load("obsm:X_clone", in_obsm("X_clone", kind(np.eye(20)[CLONES])))
    assert "marked in one of 20 columns, so these are classes (clones? pairs:obsm/X_clone)" in one_hot.notes[-1]


@pytest.mark.parametrize(
    "times",
    [
        np.arange(CELLS) % 3 * 2,
        [f"day {i % 3 * 2}" for i in range(CELLS)],
        pd.Categorical([str(i % 3) for i in range(CELLS)]),
    ],
    ids=["numbers", "words", "categories"],
)
def test_pairs_do_not_depend_on_what_columns_are_called(times, load):
    def change(adata):
        adata.obs["t"], adata.obs["family"] = times, CLONES

    plain = load("pairs:clone,day", put("day", np.arange(CELLS) % 3 * 2)).signal
    found = load("pairs:family,t", change).signal
    for one, other in zip(
        signals.pairs(plain, np.arange(CELLS), seed=3), signals.pairs(found, np.arange(CELLS), seed=3), strict=True
    ):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("column", ["clo,ne", "clone,2", "a,b,c"])
def test_a_column_with_a_comma_and_a_time(column, load):
    data = load(f"pairs:{column},day", put(column, CLONES))
    assert "20 clones" in data.notes[-1]
    assert data.signal.times is not None


def test_missing_times_are_said(load):
    data = load("pairs:clone,day", put("day", np.where(HOLES, np.nan, np.arange(CELLS) % 3)))
    assert "time NaN taken for missing in 15 cells" in data.notes[-1]
    assert not signals.test_eligible(data.signal)[HOLES].any()


@pytest.mark.parametrize("hole", [None, "", "nan", "NA", "unknown", " "])
def test_cells_without_a_section_have_no_neighbour(hole, load):
    sections = holed(np.array(["left", "right"])[np.arange(CELLS) % 2], hole)
    data = load("space:obsm/spatial,section", put("section", pd.Categorical(sections)))
    assert "taken for missing in 15 cells; 45 of 60 cells have it" in data.notes[-1]
    first, second = signals.pairs(data.signal, np.arange(CELLS), seed=0)
    assert not HOLES[first].any()
    assert not HOLES[second].any()
    assert (sections[first] == sections[second]).all()


def xy(adata):
    adata.obs["x"], adata.obs["y"] = adata.obsm["spatial"].T
    del adata.obsm["spatial"]


def spoilt(at, value):
    def change(adata):
        adata.obsm["spatial"][at] = value

    return change


PLACES = {
    "a table": in_obsm("spatial", lambda a: pd.DataFrame(a.obsm["spatial"], a.obs_names, ["x", "y"])),
    "digits in a table": in_obsm(
        "spatial", lambda a: pd.DataFrame(a.obsm["spatial"], a.obs_names, ["x", "y"]).map(repr)
    ),
    "a flat third axis": in_obsm("spatial", lambda a: np.c_[a.obsm["spatial"], np.zeros(CELLS)]),
    "small units": in_obsm("spatial", lambda a: a.obsm["spatial"] * 2.0**-30),
    "columns of obs": xy,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", PLACES)
def test_places_are_the_same_however_stored(case, load):
    plain = load("space:obsm/spatial")
    found = load("space:obs/x,y" if case == "columns of obs" else "space:obsm/spatial", PLACES[case])
    for one, other in zip(
        *(signals.align(d.signal, np.arange(CELLS), np.arange(CELLS * 1.0)[:, None], seed=1) for d in (plain, found)),
        strict=True,
    ):
        assert one.tolist() == other.tolist()


def test_places_that_stand_for_none_are_named(load):
    data = load("space:obsm/spatial", spoilt(HOLES, 0))
    assert "15 cells lie at one place, 0, 0 (no place? make it NaN)" in data.notes[-1]
    assert "lie at" not in load("space:obsm/spatial").notes[-1]


def test_sections_beside_columns_of_obs(load):
    assert load("space:obs/x,y,section", xy).signal.sections[:2].tolist() == ["left", "right"]
    with pytest.raises(
        InputError, match="unknown obsm key 'spatial': choose one of protein, or two columns of obs, space:"
    ):
        load("space:obsm/spatial", xy)
    with pytest.raises(InputError, match="does not name two columns of numbers"):
        load("space:obs/x", xy)


def test_proteins_with_columns_of_nothing(load):
    values = np.random.default_rng(0).normal(size=(CELLS, 4))
    values[:, 2] = np.nan
    data = load("obsm:protein", in_obsm("protein", values))
    assert data.signal.values.shape == (CELLS, 3)
    assert "1 of 4 columns hold nothing but NaN and are left out" in data.notes[-1]
    table = pd.DataFrame(values * 1000, columns=list("abcd")).round().astype("Int64")
    table.iloc[4, 0] = pd.NA
    data = load("obsm:protein", lambda adata: in_obsm("protein", table.set_index(adata.obs_names))(adata))
    expected = np.rint(values[:, [0, 1, 3]] * 1000)
    expected[4, 0] = np.nan
    assert data.signal.values == pytest.approx(expected, nan_ok=True)
    assert "column 1 has no number in 1 cells" in data.notes[-1]
    assert "59 of 60 cells have it" in data.notes[-1]


WRONG = {
    "words as a measurement": ("obs:type:number", None, ["'type' holds", "no number", "obs:type:label"]),
    "an order that is not there": ("obs:type:ordered", None, ["has no order", "make it an ordered category"]),
    "an unknown kind": ("obs:type:factor", None, ["unknown kind of column 'factor'", "label, number, ordered"]),
    "nearly all different": ("obs:x", put("x", [f"c{min(i, 40)}" for i in range(CELLS)]), ["nearly each of 60"]),
    "words among proteins": (
        "obsm:protein",
        in_obsm("protein", lambda a: pd.DataFrame({"CD3": 1.0, "batch": "a"}, index=a.obs_names)),
        ["columns that are no numbers, batch"],
    ),
    "times of two units": ("pairs:clone,t", put("t", ["2h", "30min"] * 30), ["'t' holds '2h', '30min'"]),
    "all proteins missing": ("obsm:protein", in_obsm("protein", np.full((CELLS, 2), np.nan)), ["missing in all 60"]),
    "values beyond all range": ("obs:x", put("x", np.where(HOLES, 1.7e308, AGES / 7)), ["1.7e+308", "make them NaN"]),
    "values next to nothing": ("obs:x", put("x", AGES * 1e-200), ["e-199", "rescale"]),
    "one protein next to nothing": (
        "obsm:protein",
        in_obsm("protein", lambda a: a.obsm["protein"] * [1, 1, 1e-200]),
        ["e-200", "rescale"],
    ),
    "places beyond all range": ("space:obsm/spatial", in_obsm("spatial", np.full((CELLS, 2), 1e200)), ["1e+200"]),
    "only zeros": ("pairs:clone", put("clone", np.zeros(CELLS, int)), None),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_a_signal(case, load):
    signal, change, words = WRONG[case]
    if words is None:
        assert "clone '0' holds 60 cells" in load(signal, change).notes[-1]
        return
    with pytest.raises(InputError) as error:
        load(signal, change or (lambda adata: None))
    for word in words:
        assert word in str(error.value), error.value


def test_registered_data_sets_say_nothing():
    assert datasets.load("simulated").notes == ()
