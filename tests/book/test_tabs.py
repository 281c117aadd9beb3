"""Sections of class tab, as the book's script makes tabs of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .driver import Page
from .pages import page

BODY = """<article class="bd-article"><h1>Title</h1>
<section class="tab" id="one"><h2>One<a class="headerlink" href="#one">#</a></h2><p id="first">first</p></section>
<section class="tab" id="two"><h2>Two<a class="headerlink" href="#two">#</a></h2><p id="second">second</p></section>
<section id="rest"><h2>Rest</h2><p id="third">third</p></section>
<section class="tab" id="alone"><h2>Alone</h2><p id="fourth">fourth</p></section></article>
<link rel="stylesheet" href="_static/book.css"><script src="_static/tabs.js"></script>"""


def seen(opened: Page) -> list[str]:
    return opened.evaluate("[...document.querySelectorAll('p')].filter(p => p.offsetParent).map(p => p.id)")


@pytest.fixture
def url(scripts: Path) -> str:
    return page(scripts, "tabs.html", BODY)


def test_one_of_the_neighbouring_sections_is_seen_and_keys_change_it(browser: Page, url: str) -> None:
    browser.open(url)
    assert browser.evaluate("[...document.querySelectorAll('[role=tab]')].map(t => t.textContent)") == ["One", "Two"]
    assert seen(browser) == ["first", "third", "fourth"]
    browser.press("Tab")
    browser.press("ArrowRight")
    assert seen(browser) == ["second", "third", "fourth"]
    assert browser.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert browser.evaluate("location.hash") == "#two"


def test_a_link_into_a_section_opens_its_tab(browser: Page, scripts: Path) -> None:
    browser.open(f"{page(scripts, 'linked.html', BODY)}#second")
    assert seen(browser) == ["second", "third", "fourth"]
