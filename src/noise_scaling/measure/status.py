"""Progress of a sweep: which measurements are done, failed or missing, and the time spent and expected."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .. import measurements, paths
from ..errors import InputError
from ..measurements import COLUMNS, ERROR, KEY, OK
from ..models import MODELS
from .grid import jobs, read_config

DONE, FAILED, MISSING = "done", "failed", "missing"
STATES = (DONE, FAILED, MISSING)


def completeness(configs: str | Path | Sequence[str | Path], source: str | Path | None = None) -> pd.DataFrame:
    """Return one row for each measurement that the configurations, YAML files of the workflow, ask for.

    Columns are the key, `state` (one of `STATES`), `error`, and `seconds`: the time of the estimate and the row's share
    of a training that other estimators used too (NaN if nothing was measured). Rows are looked up in `source`, a
    measurements CSV or a folder of them; None uses the units kept in the configurations' own folders, so that a running
    sweep can be watched. InputError if a configuration or a table is not valid.
    """
    read = [read_config(path) for path in ([configs] if isinstance(configs, str | Path) else configs)]
    wanted = pd.DataFrame(key for config in read for job in jobs(config) for key in job.row_keys())
    wanted = wanted.astype({name: COLUMNS[name] for name in KEY}).drop_duplicates(KEY, ignore_index=True)
    if source is None:
        found = kept_units(paths.ROOT / config["folder"] / "units" for config in read)
    else:
        found = measurements.read(source)
    found = found.assign(seconds=_own_seconds(found), state=found["status"].replace({OK: DONE, ERROR: FAILED}))
    table = wanted.merge(found[[*KEY, "state", "error", "seconds"]], on=KEY, how="left")
    table["state"] = table["state"].fillna(MISSING)
    table["error"] = table["error"].fillna("")
    return table[[*KEY, "state", "error", "seconds"]]


def kept_units(folders: Iterable[Path]) -> pd.DataFrame:
    """Return the rows in folders of units; if several files hold a measurement, the row of the newest file."""
    rows = [
        row | {"kept": path.stat().st_mtime}
        for folder in folders
        for path in folder.glob("??/*.json")
        for row in measurements.read_unit(folder, path.stem) or ()
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "kept"]).sort_values("kept").drop_duplicates(KEY, keep="last")
    return measurements.sort(table.drop(columns="kept"))


def gather(sources: Iterable[str | Path], *, first_wins: bool = False, rows: int | None = None) -> pd.DataFrame:
    """Join tables with `measurements.gather`; a folder without a table stands for the units kept in it.

    Thus an unfinished sweep has a table too. InputError as in `measurements.gather`, and if a folder holds neither a
    table nor a unit, or there is no row at all.
    """
    tables = []
    with tempfile.TemporaryDirectory() as scratch:
        for at, source in enumerate(map(Path, sources)):
            if source.is_dir() and not list(source.glob("*.csv")):
                units = kept_units([source])
                if units.empty:  # an empty table would only replace a good one
                    what = f"the folder {source} holds no table and no finished unit"
                    raise InputError(f"{what}: check the path, or measure first")
                source = measurements.write(units, Path(scratch) / f"{at}.csv")
            tables.append(source)
        table = measurements.gather(tables, first_wins=first_wins, rows=rows)
    if table.empty:
        raise InputError("the tables to gather hold no row: measure first")
    return table


def _own_seconds(table: pd.DataFrame) -> pd.Series:
    """Seconds of each row: its estimate, and its training divided among the estimators of the same embedding."""
    shared = [name for name in KEY if name != "estimator"]
    n_estimators = table.groupby(shared)["estimator"].transform("size")
    return table["mi_seconds"].fillna(0.0) + (table["train_seconds"] / n_estimators).fillna(0.0)


def trainings(source: str | Path) -> pd.DataFrame:
    """Count the trainings whose rows a measurements CSV, or a folder of them, holds: columns model, trained.

    One training serves all signals and estimators of its embedding. Models that learn nothing are left out. InputError
    if the table is not valid.
    """
    rows = measurements.read(source)
    learn = [name for name, model in MODELS.items() if model.seconds_per_cell]
    rows = rows[rows["model"].isin(learn) & (rows["status"] == OK)]
    once = rows.drop_duplicates([name for name in KEY if name not in ("signal", "estimator")])
    return once.groupby("model").size().reset_index(name="trained")


def summary(table: pd.DataFrame, by: Sequence[str] = ("dataset", "model")) -> pd.DataFrame:
    """Count measurements by state for each combination of the columns `by`."""
    unknown = [name for name in by if name not in KEY]
    if unknown or not by:
        raise InputError(f"cannot count by {unknown or 'nothing'}: choose from {', '.join(KEY)}")
    by = list(dict.fromkeys(by))
    counts = pd.crosstab([table[name] for name in by], table["state"])
    return counts.reindex(columns=list(STATES), fill_value=0).rename_axis(columns=None).reset_index()


def times(table: pd.DataFrame) -> pd.DataFrame:
    """Return the hours spent and still expected by model, from the `seconds` of each row.

    What is not done is expected to take the mean of those done with the same data set, model, number of cells and
    estimator; if there is none, with the same data set, model and estimator, then with the same model.
    Columns: model, done, left, hours_spent, seconds_each (mean), hours_left (NaN if no row of the model is done).
    """
    done = table[table["state"] == DONE]
    left = table[table["state"] != DONE]
    expected = _expected(done, left)
    rows = []
    for model in sorted(set(table["model"])):
        own, rest = done[done["model"] == model], expected[left["model"] == model]
        hours_left = rest.sum(skipna=False) / 3600 if len(rest) else 0.0
        spent = own["seconds"].sum() / 3600
        rows.append((model, len(own), len(rest), spent, own["seconds"].mean(), hours_left))
    return pd.DataFrame(rows, columns=["model", "done", "left", "hours_spent", "seconds_each", "hours_left"])


def _expected(done: pd.DataFrame, left: pd.DataFrame) -> pd.Series:
    """Return the seconds expected for each row of `left`."""
    expected = pd.Series(np.nan, index=left.index)
    for alike in (["dataset", "model", "n_cells", "estimator"], ["dataset", "model", "estimator"], ["model"]):
        means = done.groupby(alike)["seconds"].mean().rename("mean")
        expected = expected.fillna(left.join(means, on=alike)["mean"])
    return expected


def report(table: pd.DataFrame, by: Sequence[str] = ("dataset", "model")) -> str:
    """Return the state of a sweep as text: counts, times, and the most frequent errors."""
    counts = summary(table, by)
    total = counts[list(STATES)].sum()
    hours = times(table)
    parts = [
        ", ".join(f"{total[state]} {state}" for state in STATES) + f" of {len(table)} measurements",
        counts.to_string(index=False),
        hours.to_string(index=False, float_format=lambda value: f"{value:.2f}", na_rep="unknown"),
    ]
    errors = table[table["state"] == FAILED].groupby("error").size().sort_values(ascending=False)
    parts += [f"failed {n} times: {error}" for error, n in errors.head(10).items()]
    return "\n\n".join(parts)
