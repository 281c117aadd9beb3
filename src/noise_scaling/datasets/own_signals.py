"""Read the signal of a file from its place in the file, with notes on how its values were interpreted.

obs:day[:number]                a column; a kind at the end overrides the result of `columns.kind_of`
obsm:protein                    a matrix: a vector
features:Antibody Capture       the other features of a 10x matrix, as log(1 + count): a vector
pairs:clone[,time]              clones, or obsm/KEY, a matrix cells x clones: the signal is a relative, or a later one
space:obsm/spatial[,section]    coordinates, or obs/X,Y: the signal is the nearest neighbour, in its section if given
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..counts.thinning import check_format
from ..errors import InputError, choose
from ..signals import NO_CLONE, Signal, single_clone, test_eligible
from . import columns
from .columns import LABEL, NUMBER, ORDERED, listed, quoted
from .formats import ANEW, Cells
from .own_counts import Others

FORMS = "obs:COLUMN, obsm:KEY, pairs:CLONE[,TIME], space:obsm/KEY[,SECTION] or, of features beside genes, features:TYPE"
STREAM = "own"
"""Name of every file's random stream: the same cells give the same bits, whatever the names of file and columns."""
GIANT = 0.1
"""A note names clones with a larger share of the cells: their name may stand for cells without a clone."""

FAR = 1e100
"""Values above `FAR`, or below 1 / `FAR`, are outside the range in which estimators can compute."""

Found = tuple[Signal, list[str]]


def read_signal(cells: Cells, others: Others, spec: str | None, name: str) -> Found:
    """Read the signal `spec`, in one of `FORMS`, of all cells of the file `name`; return it and notes for the user."""
    columns_there = f"obs has {listed(cells.obs)}; obsm has {listed(cells.obsm)}"
    if not spec:
        raise InputError(f"{name} needs a signal, as {FORMS}: {columns_there}")
    form, _, rest = (part.strip() for part in spec.partition(":"))
    makers = {"obs": _from_obs, "obsm": _from_obsm, "pairs": _from_clones, "space": _from_space}
    if form == "features":
        signal, notes = _from_features(others, rest, spec)
    elif form in makers and rest:
        signal, notes = makers[form](cells, rest, spec)
    else:
        raise InputError(f"signal {spec!r} has no known form, give {FORMS}: {columns_there}")
    signal = replace(signal, stream=STREAM)
    eligible = test_eligible(signal)
    if not eligible.any():
        remedy = "give clones of two cells or more" if signal.is_relatives else "give a signal that was measured"
        found = f"missing in all {len(eligible)} cells, or has no partners ({'; '.join(notes)})"
        raise InputError(f"signal {spec!r} is {found}: {remedy}")
    if signal.values.dtype.kind == "f":
        _refuse_extremes(signal, spec)
    have = f"{eligible.sum()} of {len(eligible)} cells have it"
    if signal.is_relatives:
        have += " and a relative" + ("" if signal.times is None else " at another time")
    else:
        _refuse_constant(signal, eligible, spec)
    return signal, [f"signal {spec}: {'; '.join([*notes, have])}"]


def _refuse_constant(signal: Signal, eligible: np.ndarray, spec: str) -> None:
    seen = signal.values[eligible]
    if (seen == seen[0]).all():
        raise InputError(f"signal {spec!r} is the same in all {len(seen)} cells that have it: choose one that varies")
    if signal.kind == "label":
        classes = len(np.unique(seen))
        if classes > len(seen) / 2:
            how = f"different in {'each' if classes == len(seen) else 'nearly each'} of {len(seen)} cells"
            raise InputError(f"signal {spec!r} is {how}: choose a column of shared labels")


def _refuse_extremes(signal: Signal, spec: str) -> None:
    """Raise InputError for values beyond `FAR`, because their squares are infinite, or 0."""
    sizes = np.abs(np.where(np.isfinite(signal.values), signal.values, 0)).max(axis=0)
    far = sizes[(sizes > FAR) | ((sizes > 0) & (sizes < 1 / FAR))]
    if len(far):
        raise InputError(
            f"signal {spec!r} has values of {far[0]:.3g}: make them NaN if they stand for none, or rescale"
        )


def _missing(missing: np.ndarray, values: pd.Series) -> list[str]:
    """Return a note on the values that were taken for missing."""
    if not missing.any():
        return []
    return [f"{quoted(values[missing])} taken for missing in {missing.sum()} cells"]


def _from_obs(cells: Cells, rest: str, spec: str) -> Found:
    name, kind = rest, None
    if rest not in cells.obs and ":" in rest:
        name, _, kind = rest.rpartition(":")
        choose("kind of column", kind, (LABEL, NUMBER, ORDERED))
    values = columns.series(cells, name)
    asked, kind = kind, kind or columns.kind_of(values)
    if kind == NUMBER:
        return _as_number(values, name, spec)
    return _as_label(values, name, spec, kind, asked)


def _as_number(values: pd.Series, name: str, spec: str) -> Found:
    found = columns.numbers(values)
    if found is None:
        known = values[~columns.is_missing(values)]
        wrong = known[pd.to_numeric(known.astype(str), errors="coerce").isna()]
        raise InputError(f"obs column {name!r} holds {quoted(wrong, 1)}, no number: give obs:{name}:label, or numbers")
    different = len(np.unique(found[np.isfinite(found)]))
    notes = [f"{different} different numbers, taken for a measurement (classes? obs:{name}:label)"]
    return Signal(spec, "vector", found[:, None]), notes + _missing(~np.isfinite(found), values)


def _as_label(values: pd.Series, name: str, spec: str, kind: str, asked: str | None) -> Found:
    """Make a label signal. Ordered categories and whole numbers have an order; text and other categories have none."""
    is_number = columns.numbers(values) is not None
    if asked == ORDERED and not is_number and columns.kind_of(values) != ORDERED:
        raise InputError(f"obs column {name!r} has no order: make it an ordered category, or give obs:{name}:label")
    found, missing = columns.text(values), columns.is_missing(values)
    classes, sizes = np.unique(found[~missing], return_counts=True)
    notes = [f"{len(classes)} {'ordered ' if kind == ORDERED else ''}classes"]
    notes[0] += f" (a measurement? obs:{name}:number)" if is_number else ""
    notes += filter(None, [columns.near_twins(classes)])
    odd = columns.means_nothing(pd.Series(classes)) | (classes == "-1")
    notes += [
        f"{c!r} is scored as a class, of {n} cells (none? make it NaN)"
        for c, n in zip(classes[odd], sizes[odd], strict=True)
    ]
    return Signal(spec, "label", found, levels=_levels(values, kind)), notes + _missing(missing, values)


def _levels(values: pd.Series, kind: str) -> tuple[str, ...]:
    """Return the classes of a column in their order; empty if they have no order."""
    if isinstance(values.dtype, pd.CategoricalDtype) and values.cat.ordered:
        return tuple(columns.text(pd.Series(values.cat.categories)))
    if kind != ORDERED and not pd.api.types.is_numeric_dtype(values):
        return ()
    found = columns.numbers(values)
    if found is None:
        return ()
    different = pd.DataFrame({"text": columns.text(values), "number": found}).dropna().drop_duplicates("text")
    return tuple(different.sort_values("number")["text"])


def _from_obsm(cells: Cells, key: str, spec: str) -> Found:
    values, notes = matrix(cells, key)
    d = values.shape[1]
    if d > 2 and ((values == 0) | (values == 1)).all() and (values.sum(axis=1) <= 1).all():
        notes += [f"each cell is marked in one of {d} columns, so these are classes (clones? pairs:obsm/{key})"]
    return Signal(spec, "vector", values), [f"a measurement of {d} numbers", *notes]


def _from_features(others: Others, kind: str, spec: str) -> Found:
    if kind not in others:
        raise InputError(f"signal {spec!r} is not there: beside genes there are features of type {listed(others)}")
    values = np.log1p(others[kind]().toarray().astype(np.float64))
    return Signal(spec, "vector", values), [f"log(1 + count) of {values.shape[1]} features"]


def _from_clones(cells: Cells, rest: str, spec: str) -> Found:
    clone, time = _and_more(cells, rest)
    numbers, notes = _marked(cells, clone.removeprefix("obsm/")) if clone.startswith("obsm/") else _named(cells, clone)
    if not time:
        return Signal(spec, "pair", numbers), notes
    values = columns.series(cells, time)
    times, how = columns.times(values, time)
    notes += [how] if how else []
    notes += [f"time {said}" for said in _missing(~np.isfinite(times), values)]
    return Signal(spec, "pair", numbers, times=times), notes


def _named(cells: Cells, column: str) -> tuple[np.ndarray, list[str]]:
    """Number the clones of a column. "0" is a clone like others, unless it is five times as large as any other."""
    values = columns.series(cells, column)
    found = columns.text(values)
    none = columns.means_nothing(values) | np.isin(found, ("-1", "-1.0"))
    names, sizes = np.unique(found[~none], return_counts=True)
    zero = np.isin(names, ("0", "0.0"))
    if zero.any() and sizes[zero].sum() >= 5 * sizes[~zero].max(initial=0) and not zero.all():
        none |= np.isin(found, ("0", "0.0"))
    numbers, _ = pd.factorize(np.where(none, "", found))
    numbers[none] = NO_CLONE
    notes = [f"{len(np.unique(numbers[~none]))} clones", *_missing(none, values), *_giants(numbers, found)]
    return numbers, notes


def _marked(cells: Cells, key: str) -> tuple[np.ndarray, list[str]]:
    """Number the clones that are columns of a matrix, as CoSpar stores them."""
    marks = sp.csr_matrix(numbers_of(cells, key))
    numbers = single_clone(marks)
    several = int((np.diff(marks.indptr) > 1).sum())
    none = f"{(numbers == NO_CLONE).sum()} cells are in none" + (f", {several} of them in several" if several else "")
    notes = [f"{len(np.unique(numbers[numbers != NO_CLONE]))} clones", none, *_giants(numbers, numbers.astype(str))]
    return numbers, notes


def _giants(numbers: np.ndarray, names: np.ndarray) -> list[str]:
    """Return notes that name clones of more than a tenth of the cells, or far larger than any other clone."""
    sizes = pd.Series(names[numbers != NO_CLONE]).value_counts()
    alone = len(sizes) > 1 and sizes.iloc[0] >= max(5 * sizes.iloc[1], 10)
    return [
        f"clone {name!r} holds {size} cells, {size / len(numbers):.0%} of all (no clone? make it NaN)"
        for rank, (name, size) in enumerate(sizes.items())
        if size > GIANT * len(numbers) or (alone and rank == 0)
    ]


def _from_space(cells: Cells, rest: str, spec: str) -> Found:
    where, _, key = rest.partition("/")
    if where not in ("obsm", "obs") or not key:
        wrong = f"signal {spec!r} does not say where the coordinates are"
        raise InputError(f"{wrong}: give space:obsm/KEY or space:obs/X,Y")
    if where == "obs":
        names, section = key.split(",")[:2], ",".join(key.split(",")[2:])
        axes = [columns.numbers(columns.series(cells, name.strip())) for name in names]
        known = [axis for axis in axes if axis is not None]
        if len(known) < 2:
            raise InputError(f"signal {spec!r} does not name two columns of numbers: give space:obs/X,Y[,SECTION]")
        place, notes = np.stack(known, axis=1), list[str]()
    else:
        key, section = _and_more(cells, key)
        if key not in cells.obsm:
            there = listed(cells.obsm)
            raise InputError(f"unknown obsm key {key!r}: choose one of {there}, or two columns of obs, space:obs/X,Y")
        place, notes = matrix(cells, key)
    notes = [f"places in {place.shape[1]} dimensions", *notes, *_crowd(place)]
    if not section:
        return Signal(spec, "pair", place), notes
    values = columns.series(cells, section)
    none = columns.means_nothing(values)
    sections = np.where(none, "", columns.text(values))
    notes += [f"section {said}" for said in _missing(none, values)]
    return Signal(spec, "pair", place, sections=sections), notes


def _crowd(place: np.ndarray) -> list[str]:
    """Return a note if over a tenth of the cells lie at one place, where they are each other's neighbours."""
    spots, sizes = np.unique(place[np.isfinite(place).all(axis=1)], axis=0, return_counts=True)
    if sizes.max(initial=0) <= GIANT * len(place):
        return []
    at = ", ".join(f"{x:g}" for x in spots[sizes.argmax()])
    return [f"{sizes.max()} cells lie at one place, {at} (no place? make it NaN)"]


def _and_more(cells: Cells, rest: str) -> tuple[str, str]:
    """Split into a column or key and the rest after its comma; names may contain commas themselves."""
    if rest in cells.obs or rest in cells.obsm:
        return rest, ""
    parts = rest.split(",")
    for n in range(len(parts) - 1, 1, -1):
        if (first := ",".join(parts[:n])) in cells.obs or first in cells.obsm:
            return first, ",".join(parts[n:]).strip()
    first, _, second = rest.partition(",")
    return first.strip(), second.strip()


def numbers_of(cells: Cells, key: str) -> Any:
    """Return a matrix of obsm as floats [cells, d], NaN where missing; a sparse matrix stays sparse."""
    if key not in cells.obsm:
        raise InputError(f"unknown obsm key {key!r}: choose one of {listed(cells.obsm)}")
    values: Any = cells.obsm[key]
    if isinstance(values, pd.DataFrame):
        found = {name: columns.numbers(values[name].reset_index(drop=True)) for name in values}
        if text := [name for name, column in found.items() if column is None]:
            raise InputError(f"obsm[{key!r}] has columns that are no numbers, {listed(text)}: leave them out")
        values = pd.DataFrame(found)
    if sp.issparse(values):
        check_format(values, f"obsm[{key!r}]", ANEW)
    else:
        values = np.asarray(values)
    if values.dtype.kind not in "buif" or values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"obsm[{key!r}] has shape {values.shape} of {values.dtype}: give numbers [cells, dimensions]")
    if values.shape[0] != len(cells.obs_names):
        rows, n_cells = values.shape[0], len(cells.obs_names)
        raise InputError(f"obsm[{key!r}] has {rows} rows for {n_cells} cells: give one row for each")
    return values.astype(np.float64)


def matrix(cells: Cells, key: str) -> tuple[np.ndarray, list[str]]:
    """Return `numbers_of` as a dense array without columns of only NaN, and notes on missing values."""
    values, notes = numbers_of(cells, key), []
    values = values.toarray() if sp.issparse(values) else values
    empty = np.isnan(values).all(axis=0)
    if empty.any() and not empty.all():
        values = values[:, ~empty]
        notes = [f"{empty.sum()} of {len(empty)} columns hold nothing but NaN and are left out"]
    holes = (~np.isfinite(values)).sum(axis=0)
    if holes.any():
        worst = np.flatnonzero(~empty)[holes.argmax()] if not empty.all() else 0
        notes.append(f"column {worst + 1} has no number in {holes.max()} cells, which are then without the signal")
    return values, notes
