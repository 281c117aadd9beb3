"""The browser check itself: it sees what a page says and asks for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from .browser import Visit, find_chromium, visit

chromium = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")


def opened(folder: Path, body: str) -> Visit:
    page = folder / "page.html"
    page.write_text(f"<!doctype html><html><body>{body}</body></html>")
    return visit(find_chromium(), page.as_uri())


@chromium
def test_a_quiet_page_is_clean(tmp_path: Path) -> None:
    seen = opened(tmp_path, "<p id='p'></p><script>document.getElementById('p').textContent = 6 * 7</script>")
    assert (seen.console, seen.requests) == ([], [])
    assert ">42<" in seen.dom


@chromium
def test_requests_and_messages_are_seen(tmp_path: Path) -> None:
    seen = opened(
        tmp_path,
        '<img src="https://example.org/a.png" alt=""><script src="https://example.org/b.js"></script>'
        "<script>fetch('https:' + '//example.org/c').catch(() => 0); console.warn('careful'); nothing.here</script>",
    )
    assert set(seen.requests) == {f"https://example.org/{name}" for name in ("a.png", "b.js", "c")}
    assert seen.console[0] == "careful"
    assert "nothing is not defined" in seen.console[1]


def test_a_browser_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/opt/chromium")
    assert find_chromium() == "/opt/chromium"
