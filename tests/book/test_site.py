"""The checker itself: each fault it looks for, planted in a small book, is found, and a sound book passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import site as book_site

SOUND = """<!doctype html><html><head>
<link rel="stylesheet" href="../_static/book.css"><link rel="next" href="b.html">
<script src="../_static/book.js"></script><script>window.config = {"home": "https://example.org"}</script>
</head><body><h1 id="top-heading">A</h1>
<a class="btn-download-source-button" href="../_sources/notebooks/a.ipynb">download</a>
<a href="b.html#there">b</a> <a href="https://example.org/paper">the web</a> <a href="mailto:a@b.c">mail</a>
<figure id="fig-1"><img src="../_images/a%20b.png" alt="Bits against cells"><figcaption>Figure 1</figcaption></figure>
<p class="provenance">Provenance: notebooks/a.ipynb, data/measurements/demo.csv
<a class="table-download" download="a_drawn.csv" href="b.html">Download a_drawn.csv</a></p>
FAULT</body></html>"""


DRAWN = '<a class="table-download" download="a-b_drawn.csv" href="b.html">x</a>'


def build(root: Path, fault: str = "", *, name: str = "notebooks/a.html", css: str = "", js: str = "") -> list[str]:
    """Problems of a book of two pages with `fault` in the body of the first."""
    for folder in ("_static", "_images", "_sources/notebooks", "notebooks", "book"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "_static/book.css").write_text("p { background: url(data:image/png;base64,AA) }" + css)
    (root / "_static/book.js").write_text(
        '// see https://example.org/licence\nconst ns = "http://www.w3.org/2000/svg";' + js
    )
    (root / "_images/a b.png").write_bytes(b"png")
    (root / "_sources/notebooks/a.ipynb").write_text(json.dumps({"cells": []}))
    (root / "notebooks/b.html").write_text(
        '<p id="there">B</p><a class="btn-download-source-button" href="../_sources/notebooks/a.ipynb"></a>'
    )
    (root / name).write_text(SOUND.replace("FAULT", fault))
    return book_site.Site(root).problems()


def test_a_sound_book_has_no_problems(tmp_path: Path) -> None:
    assert build(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ('<script src="https://cdn.example/require.js"></script>', "loads https://cdn.example/require.js"),
        ('<script src="//cdn.example/x.js"></script>', "loads //cdn.example/x.js"),
        ('<link rel="stylesheet" href="https://fonts.example/css">', "loads https://fonts.example/css"),
        ('<link rel="preconnect" href="https://fonts.example">', "loads https://fonts.example"),
        ('<img src="http://example.org/a.png" alt="a">', "loads http://example.org/a.png"),
        ('<img src="../_images/a%20b.png" srcset="https://e.org/2.png 2x" alt="a">', "loads https://e.org/2.png"),
        ('<iframe src="https://example.org"></iframe>', "loads https://example.org"),
        ("<style>@import 'https://fonts.example/a.css';</style>", "an inline style loads https://fonts.example/a.css"),
        ('<p style="background: url(https://e.org/a.png)">x</p>', "an inline style loads https://e.org/a.png"),
        ('<script>fetch("https://api.example/x")</script>', "an inline script loads https://api.example/x"),
        ('<script>import("//cdn.example/m.js")</script>', "an inline script loads //cdn.example/m.js"),
        ('<script>s.src = "https://cdn.example/s.js"</script>', "an inline script loads https://cdn.example/s.js"),
        ('<script type="module">import x from "https://c.example/m"</script>', "loads https://c.example/m"),
        ('<a href="gone.html">x</a>', "'gone.html' leads to no file"),
        ('<a href="b.html#nowhere">x</a>', "'b.html#nowhere' leads to no anchor"),
        ('<a href="#nowhere">x</a>', "'#nowhere' leads to no anchor"),
        ('<a href="/etc/hostname.html">x</a>', "'/etc/hostname.html' leads to no file"),
        ('<a href="../_downloads/gone.csv">x</a>', "'../_downloads/gone.csv' leads to no file"),
        ('<img src="gone.png" alt="a">', "'gone.png' leads to no file"),
        ('<meta http-equiv="Refresh" content="0; url=gone.html">', "'gone.html' leads to no file"),
        ('<div class="output stderr highlight-myst-ansi">w</div>', "a block of class 'output stderr"),
        ("<pre>Traceback (most recent call last)\n  File</pre>", "shows a traceback"),
        ('<div class="output traceback">x</div>', "a block of class 'output traceback'"),
        ('<img src="../_images/a%20b.png">', "has no alt text"),
        ('<img src="../_images/a%20b.png" alt="  ">', "has no alt text"),
        (f'<figure id="fig-2"></figure>{DRAWN}', "figure fig-2 has no line starting with 'Provenance:'"),
        (f'<figure id="fig-2"></figure><p>From: x</p>{DRAWN}', "figure fig-2 has no line starting with 'Provenance:'"),
        ('<figure id="fig-2"></figure><p>Provenance: x</p>', "figure fig-2 offers no table of what it draws"),
        (DRAWN, "a-b_drawn.csv is not what figure before it draws"),
    ],
)
def test_a_fault_is_found(fault: str, told: str, tmp_path: Path) -> None:
    problems = build(tmp_path, fault)
    assert len(problems) == 1
    assert problems[0].startswith("notebooks/a.html: ")
    assert told in problems[0]


def test_two_figures_need_two_lines(tmp_path: Path) -> None:
    twice = f'<figure id="fig-2"></figure>{DRAWN}<figure id="fig-3"></figure><p>Provenance: x {DRAWN}</p>'
    assert build(tmp_path, twice) == ["notebooks/a.html: figure fig-2 has no line starting with 'Provenance:' under it"]


def test_what_a_figure_draws_is_not_offered_under_another(tmp_path: Path) -> None:
    """Each line one figure late: the first offers none, and the second the first's."""
    late = f'<figure id="fig-a-b"></figure><p>Provenance: x</p><figure id="fig-c"></figure><p>Provenance: x{DRAWN}</p>'
    assert build(tmp_path, late) == [
        "notebooks/a.html: figure fig-a-b offers no table of what it draws",
        "notebooks/a.html: a-b_drawn.csv is not what figure fig-c draws",
    ]


def test_style_sheets_and_scripts_that_a_page_loads_are_read(tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static/inner.css").write_text("@font-face { src: url('https://fonts.example/f.woff2') }")
    found = build(tmp_path, css="@import 'inner.css';", js='fetch("https://api.example/v1")')
    assert found == [
        "notebooks/a.html: _static/book.css loads https://fonts.example/f.woff2",
        "notebooks/a.html: _static/book.js loads https://api.example/v1",
    ]


@pytest.mark.parametrize("bad", ["", "../_sources/notebooks/a.txt", "../_sources/notebooks/torn.ipynb"])
def test_a_notebook_page_without_its_notebook_is_found(bad: str, tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "_sources/notebooks/a.txt").write_text("x")
    (tmp_path / "_sources/notebooks/torn.ipynb").write_text('{"cells": [')
    page = tmp_path / "notebooks/a.html"
    page.write_text(page.read_text().replace("../_sources/notebooks/a.ipynb", bad))
    assert [p for p in book_site.Site(tmp_path).problems() if "notebook" in p.split(": ", 1)[1]]


def test_prose_pages_need_no_provenance(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "book/p.html").write_text('<figure id="fig-9"></figure>')
    assert book_site.Site(tmp_path).problems() == []


def test_text_in_a_script_is_no_text_of_the_page(tmp_path: Path) -> None:
    assert build(tmp_path, "<script>const t = 'Traceback (most recent call last)';</script>") == []
