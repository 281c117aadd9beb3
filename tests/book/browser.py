"""A page opened in headless Chromium: what it wrote to the console, and what it asked the network for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--window-size=1200,1400",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name resolves: what a reader without a network has
    "--virtual-time-budget=8000",  # ms of page time, in which MathJax typesets and deferred scripts run
)  # fmt: skip
_CONSOLE = re.compile(r'CONSOLE:\d+\] "(.*)", source:')
# What the theme's scripts say when all is well. Chromium logs every level as INFO, so anything else counts as unclean.
_EXPECTED = re.compile(r"\[PST\]: (Changed to|Scrolled sidebar|Set focus)|\[togglebutton\]: Adding toggle buttons")


@dataclass(frozen=True)
class Visit:
    """What came of opening one page."""

    console: list[str]  # messages other than the theme's usual ones
    requests: list[str]  # network addresses the page asked for
    dom: str  # the document after its scripts ran


def find_chromium() -> str | None:
    """The browser named by CHROMIUM, else the first one on the PATH, else None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def visit(chromium: str, url: str, *, seconds: float = 60) -> Visit:
    """Open `url` in a fresh profile and wait until its scripts have run."""
    with tempfile.TemporaryDirectory(prefix="book-browser-", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "net.json")
        command = [chromium, *_FLAGS, f"--user-data-dir={folder}/profile", f"--log-net-log={log}", "--dump-dom", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True, errors="replace")
        said = [m for m in _CONSOLE.findall(done.stderr) if not _EXPECTED.search(m)]
        return Visit(said, _requests(json.loads(log.read_text())), done.stdout)


def _requests(log: dict) -> list[str]:
    """Addresses from a net log, without Chromium's own (which have no page as their initiator)."""
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    asked = [e.get("params", {}) for e in log["events"] if kinds[e["type"]] == "URL_REQUEST_START_JOB"]
    ours = [p["url"] for p in asked if "url" in p and p.get("initiator") != "not an origin"]
    return [url for url in ours if not url.startswith(("file:", "data:", "blob:"))]
