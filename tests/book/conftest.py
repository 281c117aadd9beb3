"""A browser for the tests of pages, and a folder that has the scripts of the book."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from noise_scaling.paths import ROOT

from .browser import find_chromium
from .driver import Page, driven


@pytest.fixture(scope="session")
def browser() -> Iterator[Page]:
    """One tab for all tests: a page is opened afresh in it."""
    chromium = find_chromium() or pytest.skip("no Chromium here")
    with driven(chromium) as tab:
        yield tab


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages' scripts in _static, as the built book has them."""
    out = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "book" / "_static", out / "_static")
    (out / "_static" / "plotly.min.js").write_text(get_plotlyjs())
    return out
