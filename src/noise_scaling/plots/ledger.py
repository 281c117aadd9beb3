"""The claims ledger: every claim of the paper on the published table and on our own measurements."""

import html
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
from IPython.display import HTML

from ..measure import check_rules
from . import claims, page
from .claim_terms import of_development
from .claims import CLAIMS, Claim
from .claims_open import OPEN
from .curve_zoo import OURS
from .findings import KNOWN_BITS

_ZOO = f"zoo.html#{urlencode({'source': OURS, 'estimator': 'lmi'})}"
_OURS = "on-our-own-measurements"
"""Anchor of the tab of our own table."""
_TABBED = ("figures/", "cells_or_depth")
"""Beginnings of the names of pages that have a tab for each table."""
_HEADINGS = {"published, all rows": "published", "published, not flagged": "published, filtered"}


@page.of_content
def _findings(table: pd.DataFrame) -> dict[Claim, claims.Finding]:
    return {claim: claims.find(claim, table) for claim in (*CLAIMS, *OPEN)}


@dataclass(frozen=True)
class Column:
    """A table to test the claims on, of one estimator: its heading and its rows."""

    heading: str
    table: pd.DataFrame
    tab: str = ""  # anchor of the table's tab on pages that have tabs
    page: str = ""  # page, with its state, that shows the table if figures' pages do not

    @property
    def findings(self) -> dict[Claim, claims.Finding]:
        """The statistic and verdict of every claim on this table."""
        return _findings(self.table)

    @property
    def small(self) -> bool:
        """Whether all Geneformer rows of the table are of its small preset."""
        return set(self.table.loc[self.table["model"] == "geneformer", "preset"]) == {"small"}


def summary(measurements: str | Path, reference: str | Path) -> HTML:
    """Say how many of the paper's claims hold on each table, and which fail."""
    said, tables = [], columns(measurements, reference)
    alike: dict[tuple[str, ...], list[Column]] = {}
    for column in tables:
        alike.setdefault(tuple(_cell(column.findings[claim])[0] for claim in CLAIMS), []).append(column)
    for found, same in alike.items():
        verdicts = dict(zip(CLAIMS, found, strict=True))
        holds, partly, failed = (list(verdicts.values()).count(verdict) for verdict in _CLASSES)
        fails = "; ".join(f"“{full_text(claim)}”" for claim, verdict in verdicts.items() if verdict == claims.FAILS)
        every = [same[0].findings[claim] for claim in CLAIMS]
        alone = sum(one.studies == 1 and one.verdict in _CLASSES for one in every)
        where, untold = " and on ".join(f"“{column.heading}”" for column in same), len(CLAIMS) - holds - partly - failed
        held = f"{holds} of the paper's {len(CLAIMS)} claims hold{'s' * (holds < 2)}, {_verb(partly, 'hold')} partly"
        none = f"{untold or 'none'} {'has' if untold < 2 else 'have'} no verdict"
        said.append(
            f"On the table {where}, {held}, {none}, and {_verb(failed, 'fail')}"
            f"{f': {fails}' if fails else ''}. Of these verdicts, {_verb(alone, 'rest')} on one study alone."
        )
    told, moves = _moved(_firm(tables))
    said.append(f"Thresholds a tenth stricter or more lenient change {moves} of the {told} verdicts on this page.")
    return page.bullets(said, "finding")


def full_text(claim: Claim) -> str:
    """Return a claim's full text: "… PCA" continues the last text without an ellipsis, up to that text's colon."""
    if not claim.text.startswith("…"):
        return claim.text
    whole = [c.text for c in CLAIMS[: CLAIMS.index(claim)] if not c.text.startswith("…")]
    start, colon, _ = whole[-1].partition(":")
    return f"{start}{colon} {claim.text.removeprefix('… ')}"


def columns(measurements: str | Path, reference: str | Path) -> list[Column]:
    """Return the reference (the published table with and without flagged rows), and our table by estimator."""
    tabs = ["on-the-published-table", "published-without-the-flagged-rows"]
    found = zip(page.versions(reference).items(), tabs if str(reference) == page.PUBLISHED else [""], strict=True)
    out = [Column(_HEADINGS.get(name, name), table, tab=tab) for (name, table), tab in found]
    if str(measurements) in page.VERSIONS:  # then our own table was not asked for
        return out
    ours = page.measured(measurements).table
    default, lmi = (ours[ours["estimator"] == estimator] for estimator in ("default", "lmi"))
    return [*out, Column("ours, default", default, _OURS), Column("ours, LMI", lmi, _OURS, _ZOO)]


def ledger(measurements: str | Path, reference: str | Path, which: tuple[Claim, ...] = CLAIMS) -> HTML:
    """Return the verdict on each claim of CLAIMS or OPEN by each table; `columns` says which tables those are."""
    download = "claims.csv" if which is CLAIMS else "open_questions.csv"
    return of_columns(columns(measurements, reference), which, download=download)


def of_columns(tables: list[Column], which: tuple[Claim, ...] = CLAIMS, *, download: str) -> HTML:
    """Return the ledger of any tables: a matrix of verdicts, each linked to its page, and a CSV named `download`."""
    heads = "".join(f'<th scope="col">{html.escape(column.heading)}</th>' for column in tables)
    lines, full = [], []
    findings = {column.heading: column.findings for column in tables}
    for claim in which:
        found = {heading: of[claim] for heading, of in findings.items()}
        cells = [_linked(claim, column, found[column.heading]) for column in tables]
        about = f"{page.as_html(claim.text)}<small>{page.as_html(f'{claim.statistic}; {_rule(claim)}')}</small>"
        lines.append(f'<tr><th scope="row">{about}</th>{"".join(cells)}</tr>')
        numbers = {f"{heading}: {k}": v for heading, finding in found.items() for k, v in asdict(finding).items()}
        full.append({"claim": claim.text, "statistic": claim.statistic, "unit": claim.unit} | numbers)
    body = f'<thead><tr><th scope="col">claim</th>{heads}</tr></thead><tbody>{"".join(lines)}</tbody>'
    return HTML(f'<table class="ledger">{body}</table><p>{page.link(pd.DataFrame(full), download)}</p>')


def _verb(count: int, verb: str) -> str:
    return f"{count or 'none'} {verb}{'s' * (count < 2)}"


def _rule(claim: Claim) -> str:
    """Return the two thresholds of a claim in words."""
    if claim.unit == "bits":
        return f"holds up to {claim.holds_from:g} bits, fails from {claim.fails_at:g}"
    return f"holds from {claim.holds_from:g}, fails at {claim.fails_at:g}"


_CLASSES = {claims.HOLDS: "holds", claims.PARTLY: "partly", claims.FAILS: "fails"}


def _linked(claim: Claim, column: Column, found: claims.Finding) -> str:
    where = f"{claim.page}.html"
    if claim.page.startswith("figures/") and column.page:
        where = column.page + _signal(claim, column)
    elif claim.page.startswith(_TABBED) and column.tab:
        where += f"#{column.tab}"
    verdict, number = _cell(found)
    said = f"{html.escape(verdict)}<small>{html.escape(_who(claim, column) + number if number else '')}</small>"
    about = f'class="{_CLASSES.get(verdict, "untold")}" data-table="{html.escape(column.heading)}"'
    return f'<td {about}><a href="{html.escape(where)}">{said}</a></td>'


def _signal(claim: Claim, column: Column) -> str:
    """Return the zoo's URL state for the signal of a claim on development, if the table has only one such signal."""
    if not getattr(claim.rows, "keywords", {}).get("development"):
        return ""
    here = column.table[of_development(column.table)].groupby(["dataset", "signal"]).size().index
    return f"&{urlencode({'signal': '/'.join(here[0])})}" if len(here) == 1 else ""


def robustness(measurements: str | Path, reference: str | Path) -> HTML:
    """Tabulate for every claim and table the interval with studies drawn too, and verdicts with thresholds moved."""
    rows = _firm(columns(measurements, reference))
    return page.as_table(rows, "robustness.csv", title=how_many(rows))


def control(measurements: str | Path, reference: str | Path) -> HTML:
    """Say how many verdicts change if the positive control must find as many bits as `check` asks for."""
    least, every = check_rules.FOUND * KNOWN_BITS, [*CLAIMS, *OPEN]
    changed = sum(
        claims.find(claim, one.table, control=least).verdict != one.findings[claim].verdict
        for one in columns(measurements, reference) if one.tab == _OURS for claim in every
    )  # fmt: skip
    return page.paragraph(
        "A claim compares models that one estimator reads, and half of the control is asked; `check`, which judges a "
        f"single number, asks {100 * check_rules.FOUND:.0f} %. Were that asked here, {changed or 'none'} of the "
        "verdicts on our measurements would be another."
    )


def _firm(tables: list[Column]) -> pd.DataFrame:
    rows = []
    for claim in (*CLAIMS, *OPEN):
        for heading, found in ((column.heading, column.findings[claim]) for column in tables):
            if pd.notna(found.value):
                rows.append({
                    "claim": claim.text, "table": heading, "verdict": found.verdict, "value": _number(found),
                    "over studies": f"{found.wide_low:.2f} to {found.wide_high:.2f}", "studies": found.studies,
                    "stricter": found.strict, "more lenient": found.lenient,
                })  # fmt: skip
    return pd.DataFrame(rows)


def _moved(rows: pd.DataFrame) -> tuple[int, int]:
    """Return the number of verdicts, and how many change when the thresholds move."""
    told = rows[rows["verdict"].isin([claims.HOLDS, claims.PARTLY, claims.FAILS])]
    return len(told), int(((told["stricter"] != told["verdict"]) | (told["more lenient"] != told["verdict"])).sum())


def how_many(rows: pd.DataFrame) -> str:
    """Say how many verdicts there are and how many may miss by chance, from the rows of `robustness`."""
    told, moves = _moved(rows)
    return (
        f"{told} verdicts stand on this page. Each interval is a 95 % interval by itself: of so many, about "
        f"{0.05 * told:.0f} miss the truth by chance alone. Nothing is corrected for that, and lines on one model "
        f"share rows. Thresholds a tenth stricter or more lenient (in bits: half or double) change {moves} of them."
    )


def verdicts(table: pd.DataFrame, *about: str) -> HTML:
    """Return a table's verdicts, one per line, on the open questions whose text has one of the words `about`."""
    table = table[table["estimator"] == "default"]
    asked = [claim for claim in OPEN if any(word in claim.text for word in about)]
    return page.bullets((_verdict(claim, table) for claim in asked), "finding")


def _verdict(claim: Claim, table: pd.DataFrame) -> str:
    found = claims.find(claim, table)
    if pd.isna(found.value):
        return f"“{claim.text}” was not measured in this table."
    verb = {claims.PARTLY: "holds partly", claims.NO_CONTROL: "has no verdict: the positive control fails"}
    verb |= {claims.NOT_TESTED: "was not tested at this size", claims.GIVEN: "holds by construction"}
    what = {"bits": "{:z.2f} bits", "share": "a share of {:z.2f}"}.get(claim.unit, "{:z.2f}").format(found.value)
    return (
        f"“{claim.text}” {verb.get(found.verdict, found.verdict)}. Its statistic, {claim.statistic}, is {what} (95 % "
        f"interval {found.low:z.2f} to {found.high:z.2f}{', one study' * (found.studies == 1)})."
    )


def _who(claim: Claim, column: Column) -> str:
    models = getattr(claim.rows, "keywords", {}).values()  # a claim that continues the last one names none
    named = "geneformer" in models or "Geneformer" in claim.text + claim.statistic
    return "small Geneformer: " if column.small and named else ""


def _number(found: claims.Finding) -> str:
    return page.interval(found.value, found.low, found.high, "z.2f")  # no -0.00


def _cell(found: claims.Finding) -> tuple[str, str]:
    """Return the verdict and the numbers behind it, such as 'holds' and '0.92 (0.84 to 0.98), 12 % tied'."""
    if found.tied == 1:
        return claims.UNTOLD, "all tied"
    if pd.isna(found.value):
        return ("not measured" if found.verdict == claims.UNTOLD else found.verdict), ""
    tied = f", {100 * found.tied:.0f}\N{NO-BREAK SPACE}% tied" if found.tied > 0 else ""
    few = f", fewer than {claims.LEAST_BLOCKS} depths or curves" if found.blocks < claims.LEAST_BLOCKS else ""
    return found.verdict, _number(found) + tied + few + ", one study" * (found.studies == 1)
