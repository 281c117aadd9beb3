"""The claims ledger: every claim of the paper on the published table and on our own measurements."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from . import claims, claims_open, page
from .claims import CLAIMS, Claim


@dataclass(frozen=True)
class Column:
    """A table to test the claims on: its heading, its rows and the estimator whose rows count."""

    heading: str
    table: pd.DataFrame
    estimator: str | None = None

    def find(self, claim: Claim) -> claims.Finding:
        """The claim's statistic and verdict on this table."""
        return claims.find(claim, self.table, estimator=self.estimator)


def columns(measurements: str | Path, reference: str | Path) -> list[Column]:
    """The reference table (the published one with all rows and without the flagged ones); ours by estimator."""
    out = [Column(name, table) for name, table in page.versions(reference).items()]
    if str(measurements) in page.VERSIONS:  # then none of ours was asked for
        return out
    ours = page.measured(measurements).table
    return [*out, Column("ours, default", ours, "default"), Column("ours, LMI", ours, "lmi")]


def ledger(measurements: str | Path, reference: str | Path, which: tuple[Claim, ...] = CLAIMS) -> HTML:
    """The claims with a verdict and its number on each table, to read; all of the numbers to download.

    Parameters
    ----------
    measurements, reference
        Tables, as `page.measured` takes them; where the first is the published one, the reference stands alone.
    which
        The claims.
    """
    download = "claims.csv" if which is CLAIMS else "open_questions.csv"
    return of_columns(columns(measurements, reference), which, download=download)


def of_columns(tables: list[Column], which: tuple[Claim, ...] = CLAIMS, *, download: str) -> HTML:
    """The same of any tables; `download` names the CSV."""
    shown, full = [], []
    for claim in which:
        found = {column.heading: column.find(claim) for column in tables}
        head = {"claim": claim.text, "statistic": claim.statistic}
        shown.append(head | {heading: _cell(finding) for heading, finding in found.items()})
        numbers = {f"{heading}: {k}": v for heading, finding in found.items() for k, v in asdict(finding).items()}
        full.append(head | {"unit": claim.unit} | numbers)
    return page.as_table(pd.DataFrame(shown), download, full=pd.DataFrame(full), wrap=True)


def open_ledger(measurements: str | Path, reference: str | Path) -> HTML:
    """The same of what the paper leaves open."""
    return ledger(measurements, reference, claims_open.OPEN)


def verdicts(table: pd.DataFrame, *about: str) -> HTML:
    """What a table says of the open questions whose text holds one of the words `about`, a line each."""
    asked = [claim for claim in claims_open.OPEN if any(word in claim.text for word in about)]
    return page.bullets(f"{claim.text}: {_verdict(claim, table)}." for claim in asked)


def _verdict(claim: Claim, table: pd.DataFrame) -> str:
    found = claims.find(claim, table, estimator="default")
    if pd.isna(found.value):
        return "not measured in this table"
    unit = " bits" if claim.unit == "bits" else ""
    return f"{found.verdict}: {claim.statistic}, {_number(found)}{unit}"


def _number(found: claims.Finding) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _cell(found: claims.Finding) -> str:
    """The verdict and the number behind it: 'holds: 0.92 (0.84 to 0.98)'."""
    return "not measured" if pd.isna(found.value) else f"{found.verdict}: {_number(found)}"
