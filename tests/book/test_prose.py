"""The prose says what the code does: columns, tests that deviations name, files that commands name."""

from __future__ import annotations

import re

import pytest

from noise_scaling import measurements
from noise_scaling.paths import ROOT

from .site import toc_entries

BOOK = ROOT / "book"


def test_the_data_dictionary_lists_the_columns_of_the_table() -> None:
    rows = re.findall(r"^\* - `(\w+)`$", (BOOK / "data_dictionary.md").read_text(), flags=re.MULTILINE)
    assert rows == list(measurements.COLUMNS)
    assert rows[: len(measurements.KEY)] == measurements.KEY


def test_every_page_of_the_table_of_contents_has_a_source() -> None:
    entries = toc_entries(ROOT / "_toc.yml")
    sources = [p for e in entries for p in (ROOT / f"{e}.md", ROOT / f"{e}.ipynb") if p.is_file()]
    assert len(sources) == len(entries)


def test_every_page_of_prose_is_in_the_table_of_contents() -> None:
    assert {f"book/{p.stem}" for p in BOOK.glob("*.md")} <= toc_entries(ROOT / "_toc.yml")


def deviations_tests() -> list[str]:
    return sorted(set(re.findall(r"`(tests/[^`]*)`", (BOOK / "deviations.md").read_text())))


@pytest.mark.parametrize("named", deviations_tests())
def test_the_tests_that_deviations_name_exist(named: str) -> None:
    file, _, name = named.partition("::")
    assert (ROOT / file).exists()
    if name:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), flags=re.MULTILINE)


def test_every_cited_key_is_in_the_bibliography() -> None:
    keys = set(re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), flags=re.MULTILINE))
    prose = "".join(p.read_text() for p in BOOK.glob("*.md"))
    cited = {k for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", prose) for k in group.split(",")}
    assert cited <= keys
