"""What the book needs of the published table where the table cannot be had, into data/published/.

python -m noise_scaling.plots.summary
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pandas as pd

from .. import datasets, laws, measurements, paths, published
from . import careful, claims, claims_open, trade

COMMAND = "python -m noise_scaling.plots.summary"
_DIGITS = "%.8g"
"""Of means: enough to give the third of three seeds back to the table's last digit."""


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The committed tables by their names, from the published table. data/README.md says what each holds."""
    return {
        "points": published.points(table),
        "fits": _in_both(table, laws.fit_curves),
        "claims": _in_both(table, findings),
        "seed_shares": _in_both(table, shares),
        "seed_pairs": careful.seed_pairs(table),
        "notes": careful.note_table(table),
        "doubtful": careful.doubt_counts(table),
    }


def _in_both(table: pd.DataFrame, make: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    versions = {published.ALL: table, published.KEPT: published.sound(table)}
    made = pd.concat({version: make(rows) for version, rows in versions.items()}, names=["rows"])
    return made.reset_index(level=0).reset_index(drop=True)


def findings(table: pd.DataFrame) -> pd.DataFrame:
    """Every claim that the table can be asked for, with its statistic's value, interval and verdict."""
    found = [
        {"claim": claim.text, "statistic": claim.statistic, "unit": claim.unit} | vars(claims.find(claim, table))
        for claim in (*claims.CLAIMS, *claims_open.OPEN)
        if not claim.departures
    ]
    return pd.DataFrame(found)


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """`trade.seed_shares` as a table of one row."""
    by_law, starts = trade.seed_shares(table)
    return pd.DataFrame([by_law | {"starts": starts}])


def about() -> dict[str, object]:
    """Where the committed tables come from."""
    card = datasets.card("published")
    source = card.files[0]
    return {
        "what": "statistics that this project computed from the table of the source, which is not kept here",
        "command": COMMAND, "citation": card.citation, "doi": card.doi, "source": source.url, "bytes": source.bytes,
        "sha256": source.sha256, "licence": card.licence,
    }  # fmt: skip


def main() -> None:
    """Make them all, from the table itself, downloaded if need be."""
    datasets.fetch("published")
    for name, made in tables(published.read()).items():
        text = made.to_csv(index=False, float_format=_DIGITS, lineterminator="\n")
        measurements.write_atomically(paths.PUBLISHED / f"{name}.csv", text)
    measurements.write_atomically(paths.PUBLISHED / "source.json", json.dumps(about(), indent=1) + "\n")


if __name__ == "__main__":
    main()
