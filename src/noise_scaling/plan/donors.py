"""The question of a lab: what do more donors add to models that are trained on the same number of cells?"""

import re
from pathlib import Path

import pandas as pd
from scipy import stats

from .. import measurements, paths
from ..measurements import protocol_rows

TABLE = "donors.csv"
_KEY = ["dataset", "signal", "model", "preset", "estimator", "n_cells"]
_NAMED = r"blocks_(\d+)"


def donors(table: pd.DataFrame) -> pd.DataFrame:
    """Return the bits that more donors add to one donor's, at equal numbers of training cells.

    Test cells are of other donors. Rows of the variants blocks_1, blocks_2, ... are used; there may be none. One row
    per data set, signal, model, preset, estimator, n_cells and number of `donors` above one: `added_bits`, the mean
    over depths and then over `seeds`, and its 95 % interval over seeds (Student's t), `low` and `high`. A single seed
    gets no row.
    """
    names = [name for name in table["variant"].unique() if re.fullmatch(_NAMED, name)] if len(table) else []
    out: list[dict[str, object]] = []
    found = pd.concat([table.reindex(columns=_KEY)[:0], *(protocol_rows(table, variant=name) for name in names)])
    for key, rows in found.groupby(_KEY, sort=True):
        n_donors = rows["variant"].str.extract(_NAMED, expand=False).astype(int)
        bits = rows.pivot_table("mi_bits", ["seed", "fraction"], n_donors.rename("donors")).dropna()
        by_seed = bits.sub(bits[1], axis=0).drop(columns=1).groupby("seed").mean() if 1 in bits else pd.DataFrame()
        for number, added in by_seed.items() if len(by_seed) > 1 else ():
            half = added.sem() * stats.t.ppf(0.975, len(added) - 1)
            out.append({
                **dict(zip(_KEY, key, strict=True)), "donors": number, "seeds": len(added), "added_bits": added.mean(),
                "low": added.mean() - half, "high": added.mean() + half,
            })  # fmt: skip
    return pd.DataFrame(out, columns=[*_KEY, "donors", "seeds", "added_bits", "low", "high"])


def sentence(path: Path = paths.MEASUREMENTS / TABLE) -> str:
    """Return a sentence on the bits that the most donors were measured to add, by model; or that none were measured."""
    found = donors(measurements.read(path)) if path.exists() else donors(pd.DataFrame())
    if found.empty:
        return "what donors add in bits is not measured yet."
    most = found[found["donors"] == found.groupby("dataset")["donors"].transform("max")]
    said = []
    for (dataset, n, number), rows in most.groupby(["dataset", "n_cells", "donors"]):
        each = (f"{m.added_bits:+.2f} bits ({m.low:+.2f} to {m.high:+.2f}) for {m.model}" for m in rows.itertuples())
        said.append(f"{number} donors in place of one added {' and '.join(each)} at {n:,} cells of {dataset}")
    return f"measured so far, {'; '.join(said)}. The bits above do not count it."
