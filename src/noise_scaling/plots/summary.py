"""Write to data/published/ what the book needs of the published table if the table itself is not available.

python -m noise_scaling.plots.summary
"""

import json
from collections.abc import Callable

import pandas as pd

from .. import datasets, laws, paths
from ..files import write_atomically
from ..measurements import published
from ..measurements import table_audit as audit
from . import cells_or_depth, claims, claims_open, follow_up, table_audit

COMMAND = "python -m noise_scaling.plots.summary"
_DIGITS = "%.8g"  # of means: enough to restore the third of three seeds to the table's last digit


def findings(table: pd.DataFrame) -> pd.DataFrame:
    """Return every claim that the table can be tested on, with its statistic's value, interval and verdict."""
    asked = [claim for claim in (*claims.CLAIMS, *claims_open.OPEN) if not claim.ablations]
    named = pd.DataFrame({"claim": claim.text, "statistic": claim.statistic, "unit": claim.unit} for claim in asked)
    return named.join(pd.DataFrame(vars(claims.find(claim, table)) for claim in asked))


def _in_both(make: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def made(table: pd.DataFrame) -> pd.DataFrame:
        both = {published.ALL: make(table), published.KEPT: make(audit.filtered(table))}
        return pd.concat(both, names=["rows"]).reset_index(level=0).reset_index(drop=True)

    return made


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "points": published.points,
    "fits": _in_both(laws.fit_curves),
    "claims": _in_both(findings),
    "seed_shares": _in_both(cells_or_depth.seed_shares),
    "seed_pairs": table_audit.seed_pairs,
    "notes": table_audit.note_table,
    "flagged": table_audit.flag_counts,
    "follow_up": lambda _: follow_up.fits(),
}
"""The committed tables, each made from the published table, the last from later ones; data/README.md describes them."""


def about() -> dict[str, object]:
    """Return the source of the committed tables."""
    card = datasets.card("published")
    source = card.files[0]
    return {
        "what": "statistics that this project computed from the table of the source, which is not kept here",
        "command": COMMAND, "citation": card.citation, "doi": card.doi, "source": source.url, "bytes": source.bytes,
        "sha256": source.sha256, "licence": card.licence,
    }  # fmt: skip


def main() -> None:
    """Write all committed tables from the published table, which is downloaded if needed."""
    datasets.fetch("published")
    for name, make in TABLES.items():
        text = make(published.read()).to_csv(index=False, float_format=_DIGITS, lineterminator="\n")
        write_atomically(paths.PUBLISHED / f"{name}.csv", text)
    write_atomically(paths.PUBLISHED / "source.json", json.dumps(about(), indent=1) + "\n")


if __name__ == "__main__":
    main()
