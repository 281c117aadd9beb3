"""Summaries of the suite's rows: bits and truth, error, spread and cost, by problem, cells and estimator."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
from common import machine, table

from noise_scaling.information import ESTIMATORS

from .run import read
from .truth import STORED, stored

ORDER = ("default", "lmi", "latentmi", "cca_ksg", "ksg", "mixed_ksg", "mine", "smile", "nwj", "infonce_bmi")


FOUND = 0.05  # bits


def gather(results: Path) -> pd.DataFrame:
    """Return all rows under `results`/information, with columns for the true bits and the error."""
    rows = pd.concat([read(path) for path in sorted((results / "information").glob("*.csv"))], ignore_index=True)
    rows = rows.assign(true=rows.problem.map({name: value[0] for name, value in stored().items()}))
    return rows.assign(error=rows.bits - rows.true)


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarise by problem, cells and method: mean bits and error, spread, stated standard error, median seconds."""
    table = rows.groupby(["problem", "cells", "method"], sort=True).agg(
        true=("true", "first"), bits=("bits", "mean"), error=("error", "mean"), sd=("bits", "std"),
        stderr=("stderr", "mean"), seconds=("seconds", "median"), seeds=("bits", "count"),
    )  # fmt: skip
    return table.reset_index()


def write(results: Path) -> str:
    """Gather the rows into `results`/information_suite.md, and return its text."""
    rows = gather(results)
    means = over_seeds(rows[rows.method.isin(ORDER)])
    parts = [
        "# Known information, and what is found of it",
        "Bits, mean over seeds; each seed is a new draw of the pairs, the same for every estimator. `(n)`: estimates "
        "that were made, where they are not 5. Empty: not run. Problems: `benchmarks/information/problems.py`; truths: "
        "`truth.py`. `mine`, `smile`, `nwj`, `infonce_bmi`: as the public benchmark bmi trains them; `cca_ksg`: told "
        "that there are four latents; `latentmi`: the published code as it stands, `lmi` ours of the same protocol. "
        "Seconds were taken as the rows were made, beside other work: ratios are in `information_speed.md`.",
    ]
    for cells, part in means.groupby("cells"):
        parts += [f"## {cells:,} cells", _wide(part)]
    parts += ["## Error over all problems, and cost", _cost(means)]
    parts += ["## LMI beside the published code", _paired(rows, "lmi", "latentmi")]
    parts += [
        "## LMI on the published schedule, the best weights kept, beside the published code",
        _paired(rows, "lmi_published", "latentmi"),
    ]
    parts += ["## bfloat16 beside float32 in LMI", _paired(rows, "lmi", "lmi_float32")]
    parts += ["## Standard errors of `default`", _spread(rows), *_coverage(results)]
    text = "\n\n".join(parts) + "\n"
    (results / "information_suite.md").write_text(text)
    return text


def publish(results: Path, folder: Path) -> None:
    """Write every estimate, with its truth, to `folder`/information.csv for the book, and provenance to the .json."""
    rows = gather(results).sort_values(["method", "cells", "problem", "seed"], kind="stable")
    rows = rows[rows.method.isin(ORDER)].drop(columns="error").assign(true=rows.true.round(5))
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / "information.csv", index=False, lineterminator="\n")
    made = {
        "command": "python benchmarks/information_suite.py",
        "rows": len(rows),
        "estimates": rows.groupby("method").size().to_dict(),
        "truths_sha256": hashlib.sha256(STORED.read_bytes()).hexdigest(),
        "numbers_version": {name: ESTIMATORS[name].version for name in sorted(set(rows.method) & set(ESTIMATORS))},
        "peers": {"latentmi": "0.1.3", "benchmark-mi": "0.1.3"},
    } | {key: value for key, value in machine("torch", "scipy").items() if key not in ("command", "load_at_start")}
    (folder / "information.json").write_text(json.dumps(made, indent=1) + "\n")


def _methods(means: pd.DataFrame) -> list[str]:
    there = set(means.method)
    return [method for method in ORDER if method in there] + sorted(there - set(ORDER))


def _wide(means: pd.DataFrame) -> str:
    """Return a table with one line per problem and one column per estimator."""
    methods, lines = _methods(means), []
    for name, part in means.groupby("problem", sort=False):
        found = part.set_index("method")
        lines.append([name, f"{found.true.iloc[0]:.2f}", *(_cell(found, method) for method in methods)])
    return table(["problem", "true", *methods], lines)


def _cell(found: pd.DataFrame, method: str) -> str:
    if method not in found.index:
        return ""
    bits, seeds = found.bits[method], found.seeds[method]
    return f"{bits:.2f}" + ("" if seeds == 5 else f" ({seeds})") if seeds else "failed"


def _cost(means: pd.DataFrame) -> str:
    """Return each estimator's mean size of the error, over the problems it was run on, and its median seconds."""
    lines = []
    for (cells, method), part in means.groupby(["cells", "method"]):
        size = part.error.abs()
        lines.append(
            [cells, method, len(part), f"{size.mean():.3f}", f"{size.max():.3f}", f"{part.seconds.median():.2f}"]
        )
    return table(["cells", "estimator", "problems", "mean size of error, bits", "largest", "median seconds"], lines)


def _paired(rows: pd.DataFrame, one: str, other: str) -> str:
    """Compare `one` minus `other` on the same pairs: mean over seeds, its standard error, and seconds of both."""
    by = rows.set_index(["problem", "cells", "seed"])
    both = by[by.method == one].join(by[by.method == other], rsuffix="_other", how="inner").reset_index()
    lines = []
    for (cells, name), part in both.groupby(["cells", "problem"]):
        apart = part.bits - part.bits_other
        error = f"{apart.std() / len(apart) ** 0.5:.3f}" if len(apart) > 1 else ""
        means = [f"{part.bits.mean():.3f}", f"{part.bits_other.mean():.3f}", f"{apart.mean():+.3f}", error]
        lines.append([name, cells, *means, len(apart), part.seconds.median(), part.seconds_other.median()])
    if lines:
        mean = (both.bits - both.bits_other).mean()
        lines.append(
            ["all", "", "", "", f"{mean:+.3f}", "", len(both), both.seconds.median(), both.seconds_other.median()]
        )
    return table(["problem", "cells", one, other, "difference", "se", "seeds", f"{one}, s", f"{other}, s"], lines)


def _spread(rows: pd.DataFrame) -> str:
    """Compare the spread over seeds with the stated standard error: equal if that covers the draw of the cells."""
    lines = []
    for cells, part in rows[rows.method == "default"].groupby("cells"):
        spread = part.groupby("problem").agg(sd=("bits", "std"), stderr=("stderr", "mean"))
        lines.append([cells, len(spread), f"{spread.sd.pow(2).mean() ** 0.5:.3f}", f"{spread.stderr.mean():.3f}"])
    return table(["cells", "problems", "spread over seeds, bits", "standard error stated"], lines)


def _coverage(results: Path) -> list[str]:
    """Return how often draws that nothing was fitted to lie within 1.96 standard errors of their problem's mean."""
    path = results / "information" / "fresh" / "default.csv"
    if not path.exists():
        return []
    rows = read(path)
    rows = rows[~rows.problem.str.startswith("mixture")]  # labels have another estimator
    lines = []
    for cells, part in rows.groupby("cells"):
        each = part.groupby("problem")
        part = part[each.bits.transform("mean") > FOUND]
        each = part.groupby("problem")
        draws = each.bits.transform("count")
        off = (part.bits - each.bits.transform("mean")) / (part.stderr * (1 - 1 / draws) ** 0.5)
        ratio = (off**2).mean() ** 0.5
        lines.append([cells, part.problem.nunique(), len(part), f"{(off.abs() <= 1.96).mean():.0%}", f"{ratio:.2f}"])
    header = ["cells", "problems", "estimates", "within 1.96 standard errors", "spread in standard errors"]
    text = (
        f"Of draws that the widening (`core.LEARNING_CELLS`) was not fitted to, around their problem's mean, where "
        f"more than {FOUND} bits are found between vectors:"
    )
    return [text, table(header, lines)]
