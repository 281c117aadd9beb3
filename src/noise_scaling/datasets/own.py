"""Your own cells: any .h5ad with raw counts, and a signal named by where it lies in the file.

obs:day                      a column: text, categories and whole numbers are labels; other numbers a vector
obsm:protein                 a matrix: a vector
pairs:clone[,time]           a column of clones: the signal is a relative, at a later time if one is given
space:obsm/spatial[,section] coordinates: the signal is the nearest neighbour, of the same section if one is given
"""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata._io.specs.registry import IORegistryError  # raised by the public readers, exported nowhere

from ..counts import umis_per_cell, validate_counts
from ..errors import InputError, choose
from ..signals import NO_CLONE, Signal, test_eligible
from . import recover
from .dataset import Dataset, assemble
from .registry import Card, default_grid

FORMS = "obs:COLUMN, obsm:KEY, pairs:CLONE[,TIME] or space:obsm/KEY[,SECTION]"
MOST_LABELS = 100
"""A column of whole numbers with more distinct values is taken for a measurement, not for labels."""

_MISSING = ("", "nan", "NaN", "None", "NA", "<NA>")


def load_h5ad(path: Path, *, signal: str | None, layer: str | None) -> Dataset:
    """Counts and signal of an .h5ad file, with a card made from what is found.

    Parameters
    ----------
    path
        The file.
    signal
        Where the signal lies, in one of the forms above.
    layer
        Which layer holds the raw counts; X if not given.

    Raises
    ------
    InputError
        If the file cannot be read, its counts are not raw counts, or the signal is missing, constant or unusable.
    """
    adata = _open(path)
    counts = _counts(adata, layer, path.name)
    found = _signal(adata, signal, path.name)
    return assemble(_card(path, counts, found, signal), counts, adata.obs, adata.var_names.to_numpy(str), found)


def _open(path: Path) -> anndata.AnnData:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the .h5ad file itself")
    if not path.exists():
        raise InputError(f"no file {path}: check the path")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an .h5ad file, or is cut short: write it anew with adata.write_h5ad")
    try:
        return recover.read_h5ad(path)
    # What AnnData raises on a damaged or foreign file depends on where it stumbles.
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        IORegistryError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise InputError(f"{path} cannot be read as AnnData ({reason}): write it anew with adata.write_h5ad") from error


def _counts(adata: anndata.AnnData, layer: str | None, name: str) -> sp.csr_matrix:
    if min(adata.shape) == 0:
        raise InputError(f"{name} is empty, {adata.n_obs} cells x {adata.n_vars} genes: give at least one of each")
    if layer is not None and layer not in adata.layers:
        raise InputError(f"{name} has no layer {layer!r}: choose one of {_listed(adata.layers)}")
    where = f"layer {layer!r} of {name}" if layer else f"X of {name}"
    values = adata.layers[layer] if layer else adata.X
    if values is None:
        raise InputError(f"{name} has no X: name the layer that holds the raw counts, one of {_listed(adata.layers)}")
    _names_unique(adata, name)
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where} has dtype {values.dtype}: give integers, or floats that hold integers")
    counts = sp.csr_matrix(values)
    _refuse_normalised(counts.data, where, adata)
    counts = validate_counts(counts, name=where).astype(np.int32)
    counts.eliminate_zeros()
    empty = int((np.diff(counts.indptr) == 0).sum())
    if empty:
        raise InputError(
            f"{where} has {empty} of {counts.shape[0]} cells without a single count: "
            "remove them first with scanpy.pp.filter_cells(adata, min_counts=1)"
        )
    return counts


def _names_unique(adata: anndata.AnnData, name: str) -> None:
    for what, index, remedy in (
        ("cells", adata.obs_names, "adata.obs_names_make_unique()"),
        ("genes", adata.var_names, "adata.var_names_make_unique()"),
    ):
        repeated = index[index.duplicated()].unique()
        if len(repeated):
            raise InputError(
                f"{name} has {len(repeated)} names shared by several {what}, e.g. {repeated[0]!r}: {remedy}"
            )


def _refuse_normalised(values: np.ndarray, where: str, adata: anndata.AnnData) -> None:
    """Say how much of a matrix is fractional, whether it looks like a logarithm, and where counts might be."""
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        return
    fractional = float(np.mean(values != np.rint(values))) if len(values) else 0.0
    if fractional == 0:
        return
    # log1p of 10,000 per cell stays below 9.3, and of 1e6 below 13.9; counts of whole cells nearly always pass 20.
    kind = "scaled" if values.min() < 0 else "log-normalised" if values.max() < 20 else "normalised"
    raise InputError(
        f"{where} is {kind}, it seems: {fractional:.0%} of its non-zero values are fractional, "
        f"the largest {values.max():.4g}; {_counts_elsewhere(adata)}"
    )


def _counts_elsewhere(adata: anndata.AnnData) -> str:
    whole = [name for name, values in adata.layers.items() if _is_whole(values)]
    if whole:
        return f"give layer={whole[0]!r}, which holds whole numbers"
    if adata.raw is not None and _is_whole(adata.raw.X):
        return "raw.X holds whole numbers: save adata.raw.to_adata() with obs and obsm as a file of its own"
    return "give the raw counts, in X or in a layer named with layer="


def _is_whole(values: object) -> bool:
    data = values.data if sp.issparse(values) else np.asarray(values)
    return data.dtype.kind in "iu" or (data.dtype.kind == "f" and bool(np.all(data == np.rint(data))))


def _signal(adata: anndata.AnnData, spec: str | None, name: str) -> Signal:
    columns = f"obs has {_listed(adata.obs.columns)}; obsm has {_listed(adata.obsm)}"
    if not spec:
        raise InputError(f"{name} needs a signal, as {FORMS}: {columns}")
    form, _, rest = spec.partition(":")
    makers = {"obs": _from_obs, "obsm": _from_obsm, "pairs": _from_clones, "space": _from_space}
    if form not in makers or not rest:
        raise InputError(f"signal {spec!r} has no known form, give {FORMS}: {columns}")
    signal = makers[form](adata, rest, spec)
    eligible = test_eligible(signal)
    if not eligible.any():
        remedy = "give clones of two cells or more" if signal.kind == "pair" else "give a signal that was measured"
        raise InputError(f"signal {spec!r} is missing in all {len(eligible)} cells, or has no partners: {remedy}")
    if signal.kind != "pair" or signal.is_spatial:
        _refuse_constant(signal, eligible, spec)
    return signal


def _refuse_constant(signal: Signal, eligible: np.ndarray, spec: str) -> None:
    seen = signal.values[eligible]
    if (seen == seen[0]).all():
        raise InputError(f"signal {spec!r} is the same in all {len(seen)} cells that have it: choose one that varies")
    if signal.kind == "label" and len(np.unique(seen)) == len(seen):
        raise InputError(f"signal {spec!r} is different in each of {len(seen)} cells: choose a column of shared labels")


def _from_obs(adata: anndata.AnnData, column: str, spec: str) -> Signal:
    values = _column(adata, column)
    whole = pd.api.types.is_integer_dtype(values) and values.nunique() <= MOST_LABELS
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) and not whole:
        return Signal(spec, "vector", values.to_numpy(dtype=np.float64, na_value=np.nan)[:, None])
    text = values.astype(object).where(values.notna(), "").astype(str)
    return Signal(spec, "label", text.where(~text.isin(_MISSING), "").to_numpy(dtype=str))


def _from_obsm(adata: anndata.AnnData, key: str, spec: str) -> Signal:
    return Signal(spec, "vector", _matrix(adata, key))


def _from_clones(adata: anndata.AnnData, rest: str, spec: str) -> Signal:
    clone, _, time = rest.partition(",")
    values = _column(adata, clone)
    text = values.astype(object).where(values.notna(), "").astype(str)
    numbers, _ = pd.factorize(text)
    numbers[text.isin((*_MISSING, "-1", "-1.0")).to_numpy()] = NO_CLONE
    if not time:
        return Signal(spec, "pair", numbers)
    times = pd.to_numeric(_column(adata, time).astype(object), errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(times).any():
        raise InputError(f"obs column {time!r} holds no numbers: give the time as a number, e.g. 2 rather than 'day 2'")
    return Signal(spec, "pair", numbers, times=times)


def _from_space(adata: anndata.AnnData, rest: str, spec: str) -> Signal:
    place, _, section = rest.partition(",")
    where, _, key = place.partition("/")
    if where != "obsm" or not key:
        raise InputError(f"signal {spec!r} does not say where the coordinates are: give space:obsm/KEY")
    sections = _column(adata, section).astype(str).to_numpy(dtype=str) if section else None
    return Signal(spec, "pair", _matrix(adata, key), sections=sections)


def _column(adata: anndata.AnnData, name: str) -> pd.Series:
    return adata.obs[choose("obs column", name, adata.obs.columns)]


def _matrix(adata: anndata.AnnData, key: str) -> np.ndarray:
    """A matrix of obsm as floats [cells, d]; DataFrames and sparse matrices too."""
    values = adata.obsm[choose("obsm key", key, adata.obsm)]
    values = values.toarray() if sp.issparse(values) else np.asarray(values)
    if values.dtype.kind not in "buif" or values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"obsm[{key!r}] has shape {values.shape} of {values.dtype}: give numbers [cells, dimensions]")
    return values.astype(np.float64)


def _card(path: Path, counts: sp.csr_matrix, signal: Signal, spec: str) -> Card:
    eligible = int(test_eligible(signal).sum())
    grid = default_grid(counts.shape[0], umis_per_cell(counts))
    grid["n_test"] = max(1, min(grid["n_test"], eligible // 2))
    return Card(
        name=path.stem,
        title=path.name,
        n_cells=counts.shape[0],
        n_genes=counts.shape[1],
        median_umis=float(np.median(np.asarray(counts.sum(axis=1)))),
        signal=spec,
        signals={spec: {"kind": signal.kind, "description": f"{spec} of {path.name}, in {eligible} cells"}},
        licence="yours",
        citation=path.name,
        limits=("Nothing is known of this file beyond what it holds.",),
        **grid,
    )


def _listed(names: object) -> str:
    names = sorted(map(str, names))
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "none"
