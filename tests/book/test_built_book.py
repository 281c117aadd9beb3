"""The built book, page by page and in a browser. NOISE_SCALING_BOOK names its html folder; without a build, skipped."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from noise_scaling.paths import ROOT

from . import site as book_site
from .browser import Visit, find_chromium, visit
from .driver import driven

DEFAULT = ROOT / "build" / "demo" / "book" / "_build" / "html"  # where `make book` puts it
INTERACTIVE_PAGES = {"notebooks/zoo.html": "Most information at full depth: ", "notebooks/plan.html": "Best: "}
FIGURE_PAGES = [f"notebooks/figures/figure_{k}.html" for k in (1, 2, 3)]


@pytest.fixture(scope="session")
def root() -> Path:
    named = os.environ.get("NOISE_SCALING_BOOK")
    folder = Path(named) if named else DEFAULT
    if not (folder / "index.html").is_file():
        if named:
            pytest.fail(f"NOISE_SCALING_BOOK is {named!r}, and no index.html is in it: run `make book` first")
        pytest.skip("no book has been built")
    return folder.resolve()


@pytest.fixture(scope="session")
def site(root: Path) -> book_site.Site:
    return book_site.Site(root)


@pytest.fixture(scope="session")
def chromium() -> str:
    return find_chromium() or pytest.skip("no Chromium here")


@pytest.mark.parametrize("check", book_site.CHECKS, ids=lambda check: check.__name__)
def test_no_page_has(check, site: book_site.Site) -> None:
    found = [f"{site.name(page.path)}: {problem}" for page in site.pages.values() for problem in check(site, page)]
    assert not found, "\n".join(found)


def test_downloads_are_told_apart_by_their_names(site: book_site.Site) -> None:
    """The build numbers those of one name; a number says neither table nor estimator."""
    offered = {c.removeprefix("download ") for page in site.pages.values() for c in page.captions if ".csv" in c}
    numbered = {name for name in offered if re.sub(r"_\d+\.csv$", ".csv", name) in offered - {name}}
    assert len(offered) > 50
    assert not numbered


def test_no_download_is_empty(root: Path) -> None:
    """Each has a row below its header; so every kind of mark that a figure draws is known to its table."""
    files = list((root / "_static/held").glob("*.csv"))
    assert len(files) > 50
    assert not [file.name for file in files if len(file.read_text(encoding="utf-8").splitlines()) < 2]


def test_all_pages_of_the_table_of_contents_are_there(site: book_site.Site) -> None:
    names = {site.name(path).removesuffix(".html") for path in site.pages}
    missing = book_site.toc_entries(ROOT / "_toc.yml") - names
    assert not missing


@pytest.mark.parametrize("page", FIGURE_PAGES)
def test_figure_pages_show_a_numbered_figure(page: str, site: book_site.Site) -> None:
    found = site.pages[site.root / page]
    assert any(caption.startswith("figure fig-") for caption in found.captions)


def test_the_front_page_has_a_figure_and_numbers(root: Path) -> None:
    text = (root / "notebooks/home.html").read_text(encoding="utf-8")
    abstract = re.search(r'<p class="abstract">(.*?)</p>', text, flags=re.DOTALL)[1]
    assert len(re.findall(r"\d[\d,.]*", abstract)) >= 5
    assert '<figure class="align-default" id="fig-hero">' in text


ON_THE_FIRST_SCREEN = (
    "h1", ".version", ".abstract", "#fig-hero", "#three-things-to-take-away", "#rebuild-it-two-commands",
    "#plan-your-own-experiment",
)  # fmt: skip


def test_the_front_page_is_one_screen(root: Path, chromium: str) -> None:
    """Of 1400 x 900; on a narrow one all stands in one column, no wider than the page."""
    ends = f"{list(ON_THE_FIRST_SCREEN)}.map(s => document.querySelector('.bd-article ' + s).getBoundingClientRect())"
    with driven(chromium, width=1400, height=900) as page:
        page.open((root / "notebooks/home.html").as_uri())
        assert max(page.evaluate(f"{ends}.map(box => box.bottom)")) <= 900
        page.resize(420, 900)
        assert len(set(page.evaluate(f"{ends}.slice(3).map(box => Math.round(box.left))"))) == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_every_page_fits_a_phone(site: book_site.Site, chromium: str) -> None:
    """Nothing sticks out of a narrow window, wide things scroll in boxes of their own; and no script fails."""
    with driven(chromium, width=420, height=900) as page:
        for path in (path for path in site.pages if path.name != "index.html"):  # which sends on to the first page
            page.open(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 420, site.name(path)
            assert not [line for line in page.console if "Error" in line], site.name(path)


@pytest.mark.parametrize("page", FIGURE_PAGES)
def test_a_results_page_begins_with_its_finding(page: str, root: Path) -> None:
    text = (root / page).read_text(encoding="utf-8")
    assert re.search(r'</h1>(?:\s|</?div[^>]*>)*<p class="finding">[^<]*\d', text)


def test_the_side_bar_is_short_and_pages_are_light(root: Path) -> None:
    text = (root / "notebooks/home.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<li class="toctree-l1', text)) <= 16
    heavy = {p.name: p.stat().st_size for p in root.rglob("*.html") if p.stat().st_size > 1.5e6}
    assert not heavy


def test_the_papers_figures_keep_their_numbers(root: Path) -> None:
    for page, numbers in zip(FIGURE_PAGES, (["1", "1b", "1c"], ["2", "2b", "2c"], ["3", "3b", "3c"]), strict=True):
        text = (root / page).read_text(encoding="utf-8")
        assert re.findall(r'<span class="caption-number">Figure (\w+) </span>', text) == numbers


def test_the_paper_ends_with_its_references_and_every_link_leads_somewhere(root: Path) -> None:
    text = (root / "paper.html").read_text(encoding="utf-8")
    anchors = re.findall(r'\sid="([^"]*)"', text)
    links = re.findall(r"<a\b[^>]*>", text)
    assert len(set(anchors)) == len(anchors)
    assert [link for link in links if not re.search(r'\shref="(#|https?:)', link)] == []
    assert set(re.findall(r'<a\b[^>]*\shref="#([^"]*)"', text)) <= set(anchors)
    cited = {int(n) for n in re.findall(r'href="#book-references-id\d+"[^>]*>(\d+)</a>', text)}
    listed = text.rpartition('<section id="book-references">')[2]
    assert {f"[</span>{n}<" for n in cited} <= set(re.findall(r"\[</span>\d+<", listed))
    assert len(cited) > 10


@pytest.mark.parametrize("page", ["index.html", "notebooks/home.html", *FIGURE_PAGES])
def test_opens_from_the_file_system_with_a_clean_console(page: str, root: Path, chromium: str) -> None:
    seen: Visit = visit(chromium, (root / page).as_uri())
    assert seen.console == []
    assert seen.requests == []


@pytest.mark.parametrize(("page", "words"), INTERACTIVE_PAGES.items())
def test_interactive_pages_answer_from_the_file_system(page: str, words: str, root: Path, chromium: str) -> None:
    seen = visit(chromium, (root / page).as_uri())
    said = seen.dom.split('data-part="said"', 1)[1].split("</p>", 1)[0]
    assert words in said
    assert (seen.console, seen.requests) == ([], [])


def test_formulas_are_typeset_without_a_network(root: Path, chromium: str) -> None:
    seen = visit(chromium, (root / "book/setup.html").as_uri())
    assert seen.dom.count("<mjx-container") >= 10
    assert (seen.console, seen.requests) == ([], [])


def test_search_finds_a_word_without_a_network(root: Path, chromium: str) -> None:
    seen = visit(chromium, (root / "search.html").as_uri() + "?q=thinning")
    assert "book/setup.html" in seen.dom.split('id="search-results"', 1)[1]
    assert (seen.console, seen.requests) == ([], [])
