"""The claims ledger: every claim of the paper beside the published table and our own measurements."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from . import claims, claims_open, page


@dataclass(frozen=True)
class Column:
    """A table to test the claims on: its heading, its rows and the estimator whose rows count."""

    heading: str
    table: pd.DataFrame
    estimator: str | None


def columns(measurements: str | Path, beside: str | Path) -> list[Column]:
    """The table beside (the published one with all rows and without the doubtful ones); ours by estimator."""
    out = [Column(name, table, None) for name, table in page.versions(beside).items()]
    if str(measurements) in page.VERSIONS:  # then none of ours was asked for
        return out
    ours = page.measured(measurements).table
    return [*out, Column("ours, default", ours, "default"), Column("ours, LMI", ours, "lmi")]


def ledger(
    measurements: str | Path, beside: str | Path, which: tuple[claims.Claim, ...] = claims.CLAIMS
) -> pd.DataFrame:
    """One row a claim: its text and statistic, then value, interval, blocks and verdict on each table."""
    found = []
    tables = columns(measurements, beside)
    for claim in which:
        row = {"claim": claim.text, "statistic": claim.statistic, "unit": claim.unit}
        for column in tables:
            finding = claims.find(claim, column.table, estimator=column.estimator)
            row |= {f"{column.heading}: {name}": value for name, value in finding.__dict__.items()}
        found.append(row)
    return pd.DataFrame(found)


def verdicts(measurements: str | Path, *about: str) -> HTML:
    """What our own table says of the open questions whose text holds one of the words `about`, a line each."""
    table = page.measured(measurements).table
    lines = []
    for claim in claims_open.OPEN:
        if not any(word in claim.text for word in about):
            continue
        found = claims.find(claim, table, estimator="default")
        told = "not measured in this table"
        if not pd.isna(found.value):
            told = f"{found.verdict}: {claim.statistic}, {found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
            told += f" {claim.unit}" if claim.unit == "bits" else ""
        lines.append(f"<li>{html.escape(claim.text)}: {html.escape(told)}.</li>")
    return HTML(f"<ul>{''.join(lines)}</ul>")


def show_open(measurements: str | Path, beside: str | Path) -> HTML:
    """The same of what the paper leaves open."""
    return show(measurements, beside, claims_open.OPEN, "open_questions.csv")


def show(
    measurements: str | Path,
    beside: str | Path,
    which: tuple[claims.Claim, ...] = claims.CLAIMS,
    download: str = "claims.csv",
) -> HTML:
    """The ledger to read, and all of its numbers to download."""
    full = ledger(measurements, beside, which)
    short = full[["claim", "statistic"]].copy()
    for heading in [name.removesuffix(": value") for name in full if name.endswith(": value")]:
        short[heading] = [_cell(row, heading) for _, row in full.iterrows()]
    return page.as_table(short, download=download, full=full, wrap=True)


def _cell(row: pd.Series, heading: str) -> str:
    """The verdict and the number behind it: 'holds: 0.92 (0.84 to 0.98)'."""
    value, low, high, verdict = (row[f"{heading}: {name}"] for name in ("value", "low", "high", "verdict"))
    if pd.isna(value):
        return "not measured"
    return f"{verdict}: {value:.2f} ({low:.2f} to {high:.2f})"
