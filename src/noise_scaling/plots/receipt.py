"""The receipt of a run: which of the committed rows of `make book` it reproduced, and how closely."""

from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import measurements, paths
from ..measurements.provenance import provenance
from . import page, style

DEMO = paths.ROOT / "data" / "measurements" / "demo.csv"
SAME, NEAR, WITHIN, BEYOND = "the same to 1e-9 bits", "within 0.001 bits", "within 2 standard errors", "beyond"
_KINDS = [SAME, NEAR, WITHIN, BEYOND, "not measured"]


def compare(table: pd.DataFrame, committed: pd.DataFrame) -> pd.DataFrame:
    """Compare each committed row with the table's row of the same key.

    Columns: the key, `committed` and `again` in bits, `off` (their difference), `standard_error` of the difference,
    and `result`, one of the kinds above. Summing in another order (another processor or BLAS) changes most rows by
    less than 0.001 bits; a row changes by more if its training then stops at another epoch.
    """
    key, values = measurements.KEY, ["mi_bits", "mi_stderr"]
    both = committed[[*key, *values]].merge(table[[*key, *values]], on=key, how="left", suffixes=("", "_again"))
    off = both["mi_bits_again"] - both["mi_bits"]
    error = np.hypot(both["mi_stderr"], both["mi_stderr_again"])
    within = [off.isna(), *(off.abs() <= most for most in (1e-9, 1e-3, 2 * error))]
    found = both.rename(columns={"mi_bits": "committed", "mi_bits_again": "again"})[[*key, "committed", "again"]]
    result = np.select(within, ["not measured", *_KINDS[:3]], BEYOND)
    return found.assign(off=off, standard_error=error, result=result)


def receipt(source: str | Path) -> HTML:
    """Compare the rows of this run with the committed ones of the same command, in a sentence and a line per model."""
    opened = page.measured(source)
    if opened.name == "data/measurements":
        said = "These pages were drawn from the committed tables themselves"
        return page.paragraph(f"{said}: `make book` measures, and writes its receipt here.", "finding")
    found = compare(opened.table, measurements.read(DEMO))
    counts = found["result"].value_counts()
    about = provenance(opened.table, "")
    said = ", ".join(f"{counts[kind]:,} {kind}" for kind in _KINDS if kind in counts)
    title = (
        f"Of {len(found):,} committed rows of this command: {said}. On {about['machine']} ({about['processor']}), "
        f"Python {about['python']}."
    )
    by_model = pd.crosstab(found["model"], found["result"]).reindex(columns=_KINDS, fill_value=0)
    by_model["largest difference (bits)"] = found["off"].abs().groupby(found["model"]).max()
    shown = by_model.loc[style.ordered(found["model"])].reset_index().rename_axis(columns=None)
    with style.presets(opened.table):
        return page.as_table(shown, "receipt.csv", full=found, title=title)
