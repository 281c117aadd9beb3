"""Tables as pages show them: labels for names, rounded numbers, a value and its interval in one column."""

import re

import numpy as np
import pandas as pd

from ..laws.formulas import AT_BOUND, FAILED, NO_ERROR_BAR, NOT_IDENTIFIED
from . import style

_IF_EQ1 = "_if_eq1"
_LEAST = 1e-3  # a lower bound below this is shown as 0
_WORDS = {
    "dataset": "data", "n_cells": style.CELLS, "umis_per_cell": style.UMIS, "u_bar": "ū", "i_max": "I_max",
    "r_squared": "R²", "n_parameters": "parameters", "full_depth_bits": "bits at full depth",
    "train_seconds": "seconds to train", "true_i_max": "true I_max", "exact_i_max": "I_max of the exact curve",
    "exact_u_bar": "ū of the exact curve",
}  # fmt: skip
_DIGITS = {
    "u_bar": 0, "reading_depth": 0, "learning_depth": 0, "umis_per_cell": 1, "train_seconds": 1, "memory_gb": 1,
    "hours_asked": 1, "fraction": 4, "cells_90": 0,
}  # fmt: skip
"""Decimals shown, by the beginning of a column's name; all other columns have 3."""


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for reading, not computing: data sets, signals, models and estimators have their labels.

    The parameters and R² of a failed fit are left empty.
    """
    out = {}
    status = table.get("status", pd.Series("", table.index))
    undetermined, failed = (
        status.isin([AT_BOUND, NO_ERROR_BAR, NOT_IDENTIFIED]),
        status.astype(str).str.startswith(FAILED),
    )
    of_fits = [name for name in table if name == "r_squared" or f"{name}_low" in table]
    table = table.assign(**{name: table[name].mask(failed) for name in of_fits})
    if "dataset" in table:
        of = [table[name] for name in ("dataset", "signal") if name in table]
        named = pd.Series(map((style.dataset, style.title)[len(of) - 1], *of), index=table.index)
        table = table.drop(columns="signal", errors="ignore").assign(dataset=named)
    for name, values in table.items():
        base, _, end = str(name).rpartition("_")
        if base.endswith(_IF_EQ1):
            continue  # the CSV alone has this narrower interval
        if f"{name}_low" in table:
            parts = zip(values, table[f"{name}_low"], table[f"{name}_high"], undetermined, strict=True)
            out[f"{name} (95 %)"] = pd.Series([_interval(*four) for four in parts], index=table.index)
        elif name == "model":
            presets = table["preset"] if "preset" in table else [""] * len(table)
            out[name] = pd.Series(map(style.label, values, presets), index=table.index, dtype=object)
        elif name == "estimator":
            out[name] = values.map(style.estimator)
        elif pd.api.types.is_integer_dtype(values):
            out[name] = values.map("{:,}".format)
        elif end not in ("low", "high", "stderr") or f"{base}_low" not in table:
            known = (n for key, n in _DIGITS.items() if str(name).startswith(key) and " / " not in str(name))
            digits = next(known, 3)
            out[name] = values.round(digits) if pd.api.types.is_float_dtype(values) else values
    return pd.DataFrame(out, index=table.index).rename(columns=_heading)


def _heading(name: object) -> str:
    """Return a column's heading: a quantity's name as in figures, any other name with spaces for underscores."""
    text = str(name)
    word = next((word for word in _WORDS if re.match(rf"{word}(\b|_)", text)), "")
    return _WORDS.get(word, "") + text.removeprefix(word).replace("_", " ")


def _interval(value: float, low: float, high: float, undetermined: bool) -> str:
    """Return a value and its interval, or the interval alone for a parameter that its fit does not determine."""
    if pd.isna(value):
        return "–"
    ends = f"{_number(low)} to {_number(high)}" if np.isfinite(high) else f"over {_number(low)}"
    ends = "–" if pd.isna(low) else ends
    if not undetermined:
        return f"{_number(value)} ({ends})"
    known = np.isfinite(high) or low >= _LEAST  # an interval from 0 to infinity tells nothing
    return f"not determined ({ends})" if known else "not determined"


def _number(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
