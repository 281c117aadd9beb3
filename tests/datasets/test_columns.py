"""Columns as people have them: which are classes, which a measurement, what is missing, and how times are read."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling.datasets import columns
from noise_scaling.datasets.columns import LABEL, NUMBER, ORDERED
from noise_scaling.errors import InputError

N = 600
RNG = np.random.default_rng(0)
CODE = RNG.choice(3, N, p=[0.5, 0.3, 0.2])
SCORE = RNG.normal(0.5, 0.2, N)
AGE = RNG.integers(20, 90, N)
LEIDEN = RNG.permutation(np.repeat(np.arange(20), np.arange(49, 10, -2)))  # 20 clusters, the largest first
HOLES = np.arange(N) % 4 == 0


def text(values, **options):
    return pd.Categorical(pd.Series(values).astype(str), **options)


def holed(values, dtype, hole=None):
    return pd.array([hole if h else v for h, v in zip(HOLES, values, strict=True)], dtype=dtype)


# values of the column, and the kind they are taken for
KINDS = {
    "cell types": (np.array(["T", "B", "NK"])[CODE], LABEL),
    "flags": (CODE == 1, LABEL),
    "flags with holes": (holed(CODE == 1, "boolean"), LABEL),
    "a category of flags": (pd.Categorical(CODE == 1), LABEL),
    "days 2, 4, 6": (np.array([2, 4, 6])[CODE], LABEL),
    "days as floats": (np.array([2.0, 4.0, 6.0])[CODE], LABEL),
    "days 8.5, 9.5, 10.5": (np.array([8.5, 9.5, 10.5])[CODE], LABEL),
    "days as a category": (pd.Categorical(np.array([2, 4, 6])[CODE]), LABEL),
    "days with holes": (holed(np.array([2, 4, 6])[CODE], "Int64"), LABEL),
    "stages in words": (text(np.array(["E8.5", "E9.5", "E10.5"])[CODE]), LABEL),
    "codes of a factor": (CODE.astype("i4"), LABEL),
    "codes that became floats": (np.where(HOLES, np.nan, CODE), LABEL),
    "codes of SeuratDisk with holes": (np.where(HOLES, -(2**31), CODE).astype("i4"), LABEL),
    "twelve codes": (RNG.integers(0, 12, N), LABEL),
    "twenty clusters, largest first": (LEIDEN, LABEL),
    "twenty clusters as floats with holes": (np.where(HOLES, np.nan, LEIDEN), LABEL),
    "twenty clusters as text": (text(RNG.permutation(np.arange(N) % 20)), LABEL),
    "twenty clusters as a category": (pd.Categorical(RNG.permutation(np.arange(N) % 20)), LABEL),
    "twenty types of a factor": (RNG.choice(20, N, p=RNG.dirichlet(np.ones(20))), LABEL),
    "clusters of a part of the cells": (LEIDEN[np.isin(LEIDEN, [3, 7, 12], invert=True)], LABEL),
    "days 0 to 18 by 2": (RNG.choice(np.arange(0, 20, 2), N), LABEL),
    "eight fractions": (RNG.choice(8, N) / 4, NUMBER),
    "sixteen days that are no codes": (RNG.choice(np.arange(0, 48, 3), N), NUMBER),
    "a score": (SCORE, NUMBER),
    "a score with holes": (np.where(HOLES, np.nan, SCORE), NUMBER),
    "a score with infinities": (np.where(HOLES, np.inf, SCORE), NUMBER),
    "a score in single precision": (SCORE.astype("f4"), NUMBER),
    "a nullable score": (holed(SCORE, "Float64"), NUMBER),
    "a score in per cent": ((SCORE * 100).round().astype(int), NUMBER),
    "a score in per cent as floats": ((SCORE * 100).round(), NUMBER),
    "a score of 0 to 99": ((SCORE.clip(0, 1) * 99).round().astype(int), NUMBER),
    "a score in 40 steps": ((SCORE.clip(0, 1) * 39).round().astype(int), NUMBER),
    "a score in 20 steps": ((SCORE.clip(0, 1) * 19).round().astype(int), NUMBER),
    "ages": (AGE, NUMBER),
    "ages up to 100 different": (RNG.integers(0, 100, N), NUMBER),
    "ages of 101 different": (RNG.integers(0, 101, N), NUMBER),
    "ages in bytes": (AGE.astype("u1"), NUMBER),
    "counts of molecules": (RNG.poisson(220, N), NUMBER),
    "counts as text": (text(RNG.poisson(2000, N).astype(float)), NUMBER),
    "a score as text": (text(SCORE.round(4)), NUMBER),
    "a score as strings": (pd.Series(SCORE.round(4).astype(str), dtype="string"), NUMBER),
    "scores that are mostly 0": (np.where(SCORE < 0.5, 0.0, SCORE), NUMBER),
    "ordered stages": (text(np.array(["a", "b", "c"])[CODE], categories=["c", "a", "b"], ordered=True), ORDERED),
    "ordered numbers": (pd.Categorical(CODE / 2, ordered=True), ORDERED),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_a_column_is(case):
    values, kind = KINDS[case]
    assert columns.kind_of(pd.Series(values)) == kind


def test_the_kind_does_not_depend_on_how_many_cells_there_are():
    """A rule on the number of different values alone turned an age into classes in a small file, not in a large one."""
    for n in (100, 1_000, 100_000):
        assert columns.kind_of(pd.Series(RNG.integers(20, 90, n))) == NUMBER
        assert columns.kind_of(pd.Series(RNG.integers(0, 3, n))) == LABEL


# a value, whether it is missing, and whether it means "none" for a clone
MISSING = {
    "": (True, True),
    " ": (True, True),
    "nan": (True, True),
    "NaN": (True, True),
    "<NA>": (True, True),
    "-2147483648": (True, True),
    "None": (False, True),
    "NA": (False, True),
    "N/A": (False, True),
    "none ": (False, True),
    "unassigned": (False, True),
    "Unassigned": (False, True),
    "not assigned": (False, True),
    "no_clone": (False, True),
    "No clone": (False, True),
    "no-clonotype": (False, True),
    "No_contig": (False, True),
    "unknown": (False, True),
    ".": (False, True),
    "-": (False, True),
    "--": (False, True),
    "?": (False, True),
    "no IR": (False, True),
    "ambiguous": (False, True),
    "None|None": (False, True),
    "Unassigned|Unassigned": (False, True),
    "No_contig,nan": (False, True),
    "c1|None": (False, False),
    "0": (False, False),
    "Nanette": (False, False),
    "NAB2": (False, False),
    "clone-1": (False, False),
    "False": (False, False),
}


@pytest.mark.parametrize("value", MISSING)
def test_what_is_missing(value):
    column = pd.Series([value, "c1", None])
    missing, none = MISSING[value]
    assert columns.is_missing(column).tolist() == [missing, False, True]
    assert columns.means_nothing(column.astype("category")).tolist() == [none, False, True]


def test_numbers_of_missing_whole_numbers():
    assert columns.is_missing(pd.Series([-(2**31), -1, 0], dtype="i4")).tolist() == [True, False, False]
    assert columns.is_missing(pd.Series([-(2.0**31), -1, np.nan])).tolist() == [True, False, True]


def test_whole_numbers_are_named_alike_whatever_they_are_stored_as():
    for dtype in ("i8", "f8", "f4", "Int64", "Float64", "category"):
        assert columns.text(pd.Series([2, 10, 2], dtype=dtype)).tolist() == ["2", "10", "2"]
    assert columns.text(pd.Series([2.0, np.nan, 10.0])).tolist() == ["2", "", "10"]
    assert columns.text(pd.Series([0.5, np.nan, 10.0])).tolist() == ["0.5", "", "10.0"]


# times as they are written, and as they are read
TIMES = {
    "numbers": ([2, 4, 6], [2, 4, 6]),
    "digits": (["2", "4", "10"], [2, 4, 10]),
    "digits in a category": (pd.Categorical(["2", "4", "10"]), [2, 4, 10]),
    "in words": (["day 2", "day 4", "day 10"], [2, 4, 10]),
    "in words, a hole": (["day 2", None, "day 10"], [2, np.nan, 10]),
    "with a name for a hole": (["2", "unknown", "10"], [2, np.nan, 10]),
    "embryonic": (["E8.5", "E9.5", "E10.5"], [8.5, 9.5, 10.5]),
    "a letter before": (["d2", "d4", "d10"], [2, 4, 10]),
    "a unit behind": (["2h", "4h", "10h"], [2, 4, 10]),
    "before and behind": (["t=2 h", "t=4 h", "t=10 h"], [2, 4, 10]),
    "flags": ([False, True, True], [0, 1, 1]),
    "flags with holes": (pd.array([False, None, True], dtype="boolean"), [0, np.nan, 1]),
    "whole numbers with holes": (pd.array([2, None, 6], dtype="Int64"), [2, np.nan, 6]),
    "ordered stages": (pd.Categorical(["late", "early", None], ["early", "late"], ordered=True), [1, 0, np.nan]),
    "hours before": (["-2h", "-4h", "1h"], [-2, -4, 1]),
    "negative": ([-1, 0, 2], [-1, 0, 2]),
}


@pytest.mark.parametrize("case", TIMES)
def test_times(case):
    values, expected = TIMES[case]
    found, _ = columns.times(pd.Series(values), "t")
    np.testing.assert_array_equal(found, np.array(expected, dtype=float))


@pytest.mark.parametrize(
    "values",
    [
        ["2", "day 4"],
        ["E18.5", "P0"],
        ["2h", "30min"],
        ["early", "late"],
        ["day -1", "day 2"],
        ["1_3", "2_4"],
        ["2", "x"],
    ],
    ids=str,
)
def test_times_that_cannot_be_compared_are_refused(values):
    with pytest.raises(InputError, match="give the time as a number"):
        columns.times(pd.Series(values), "t")
