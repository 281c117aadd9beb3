"""The question of a lab: what is a model trained on a deep atlas worth for new cells that are measured shallow?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .. import measurements, paths
from ..laws.saturation import reached
from ..measurements import protocol_rows

_COLUMNS = ["model", "n_cells", "umis_per_cell", "bits_trained_deep", "bits_trained_alike"]
_KEY = ["model", "preset", "n_cells", "fraction"]
KEPT = 0.9


def with_factorial(rows: pd.DataFrame) -> pd.DataFrame:
    """Add rows of the committed factorial (`paths.FACTORIAL`) to the rows of one data set, signal and estimator."""
    names = ["dataset", "signal", "estimator"]
    if not {*names} <= set(rows) or not paths.FACTORIAL.exists():
        return rows
    return pd.concat([rows, measurements.read(paths.FACTORIAL).merge(rows[names].drop_duplicates())], ignore_index=True)


def atlas(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the measured bits of shallow new cells by models trained on deep cells, by model, cells and depth.

    Columns model, n_cells, umis_per_cell (of the new cells), bits_trained_deep, bits_trained_alike (on cells as shallow
    as the new ones). The table has no rows where training at full depth was not measured.
    """
    if not {"variant", "fraction"} <= set(rows):
        return pd.DataFrame(columns=_COLUMNS)
    alike, variant = protocol_rows(rows), protocol_rows(rows, variant="train_full_depth")
    apart = protocol_rows(rows, apart=True)
    deep = pd.concat([variant, apart[apart.get("fraction_train") == 1]]).query("fraction < 1")
    deep, alike = (table.groupby(_KEY)[["umis_per_cell", "mi_bits"]].mean() for table in (deep, alike))
    deep = pd.concat([deep, alike[alike.index.get_level_values("fraction") == 1]])  # full depth is both deep and alike
    deep = deep[deep.groupby(["model", "preset", "n_cells"])["mi_bits"].transform("size") > 1]
    both = deep.join(alike["mi_bits"], rsuffix="_alike", how="inner").reset_index()
    both = both.rename(columns={"mi_bits": "bits_trained_deep", "mi_bits_alike": "bits_trained_alike"})
    return both[_COLUMNS].sort_values(["model", "n_cells", "umis_per_cell"], ignore_index=True)


def depths(table: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence per model of `atlas` at its most cells: the depth that keeps KEPT of the bits at the deepest."""
    for model, here in table.groupby("model"):
        here = here[here["n_cells"] == here["n_cells"].max()]
        u, none = here["umis_per_cell"].to_numpy(float), np.full(len(here), np.nan)
        deep, alike = (reached(u, here[f"bits_trained_{how}"].to_numpy(), none, KEPT)[0] for how in ("deep", "alike"))
        yield (
            f"{model}: new cells of {deep:,.0f} UMIs of the panel keep {KEPT:.0%} of what the deepest, {u[-1]:,.0f}, "
            f"give where the model is trained on {here['n_cells'].iloc[0]:,} deep cells; of {alike:,.0f} where it is "
            "trained on cells as shallow as they."
        )
