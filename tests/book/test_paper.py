"""The paper on one page, its PDF and the crate, of a made book of two pages."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

from noise_scaling.paths import ROOT

from .browser import find_chromium

_SPEC = importlib.util.spec_from_file_location("paper", ROOT / "book" / "_ext" / "paper.py")
paper = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(paper)

PAGE = """<html><head><title>one</title><link href="../_static/a.css"><script src="../_static/tabs.js"></script></head>
<body><nav>left out</nav><article class="bd-article" role="main"><h1 id="top">{0}</h1>
<img alt="x" src="../_images/x.png">
<a href="#top">here</a> <a href="b.html#there">two</a> <a class="d" href="../gone.csv">file</a>
<a class="table-download" href="../held.csv">Download held.csv</a>
<a href="https://example.org">web</a></article></body></html>"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "notebooks").mkdir()
    for name in "ab":
        (tmp_path / f"notebooks/{name}.html").write_text(PAGE.format(name))
    return tmp_path


def test_links_of_the_one_page_lead_within_it_to_the_web_or_nowhere(book: Path) -> None:
    text = paper.one_page(book, ["notebooks/a", "notebooks/b"], "Title")
    assert re.findall(r"<h1[^>]*>(\w)<", text) == ["a", "b"]
    assert set(re.findall(r'(?:href|src)="([^"]*)"', text)) == {
        "_static/a.css", "_images/x.png", "#notebooks-a-top", "#notebooks-b-top", "#notebooks-b-there",
        "https://example.org",
    }  # fmt: skip
    assert re.findall(r'<h1 id="([^"]*)"', text) == ["notebooks-a-top", "notebooks-b-top"]
    assert "<a>" not in text
    assert 'class="d"' not in text
    assert "file" in text
    assert "held" not in text
    assert "<title>Title</title>" in text
    assert "left out" not in text


def test_the_crate_names_every_file_with_its_checksum(book: Path) -> None:
    about, root, *files = paper.crate(book)["@graph"]
    assert about["about"]["@id"] == root["@id"] == "./"
    assert [part["@id"] for part in root["hasPart"]] == ["notebooks/a.html", "notebooks/b.html"]
    assert files[0]["sha256"] == hashlib.sha256((book / "notebooks/a.html").read_bytes()).hexdigest()


def test_it_is_printed_where_there_is_a_browser(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chromium = find_chromium() or pytest.skip("no Chromium here")
    monkeypatch.setenv("CHROMIUM", chromium)
    assert paper.print_pdf(book / "notebooks/a.html", book / "a.pdf")
    assert (book / "a.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setenv("CHROMIUM", str(book / "no-browser"))
    assert not paper.print_pdf(book / "notebooks/a.html", book / "b.pdf")
