"""The paper on one page, as PDF where there is a browser to print it, and an RO-Crate that names the book's files."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin, urlparse

from sphinx.application import Sphinx

PAGE, PDF, CRATE = "paper.html", "paper.pdf", "ro-crate-metadata.json"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PRINT = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=20000")


def finish(app: Sphinx, exception: Exception | None) -> None:
    """When the pages are written: the paper, the link to its PDF, the crate."""
    out = Path(app.outdir)
    if exception is None and app.builder.format == "html":
        (out / PAGE).write_text(one_page(out, app.config.paper_pages, app.config.html_title), encoding="utf-8")
        if print_pdf(out / PAGE, out / PDF):
            first = out / f"{app.config.paper_pages[0]}.html"
            text = first.read_text(encoding="utf-8")
            link = f'<a class="paper" href="../{PAGE}">the paper'
            first.write_text(text.replace(link, link.replace(PAGE, PDF) + " (PDF)"), encoding="utf-8")
        (out / CRATE).write_text(json.dumps(crate(out), indent=1) + "\n", encoding="utf-8")


def one_page(out: Path, pages: list[str], title: str) -> str:
    """The articles of some pages as one, with the head of the first; links to other pages are text."""
    articles, head = [], ""
    for page in pages:
        text = (out / f"{page}.html").read_text(encoding="utf-8")
        article = re.search(r'<article class="bd-article"[^>]*>(.*?)</article>', text, flags=re.DOTALL)[1]
        articles.append(f'<section id="{_anchor(page)}">{_moved(article, page, pages)}</section>')
        head = head or _moved(re.search(r"<head>(.*?)</head>", text, flags=re.DOTALL)[1], page, pages)
    head = re.sub(r"<title>.*?</title>", f"<title>{title}</title>", head, flags=re.DOTALL)
    head = re.sub(r"<script[^>]*/(tabs|sphinx-book-theme)\.js[^>]*></script>", "", head)  # of parts that are not here
    body = f'<main class="bd-article paper-page">{"".join(articles)}</main>'
    return f'<!DOCTYPE html>\n<html lang="en" data-theme="light"><head>{head}</head><body>{body}</body></html>\n'


def _anchor(page: str, within: str = "") -> str:
    """The anchor of a page, or of what has an anchor in it: pages may use the same ones."""
    return "-".join([*page.split("/"), *filter(None, [within])])


def _moved(text: str, page: str, pages: list[str]) -> str:
    """HTML of a page with its addresses as seen from the book's folder, and its own anchors.

    Links to what is not among `pages` are plain text, and downloads are left out.
    """

    def address(found: re.Match[str]) -> str:
        tag, _, url = found.groups()
        if urlparse(url).scheme:
            return found[0]
        url = urljoin(f"{page}.html", url)
        if tag != "a":
            return f'{found[0][: found.start(3) - found.start()]}{url}"'
        target, _, within = url.partition("#")
        here = target.removesuffix(".html")
        kept = f'href="#{_anchor(here, within)}"' if here in pages else ""
        return f"{found[0][: found.start(2) - found.start()]}{kept}"

    text = re.sub(r'(<\w+\b[^>]*?\sid=")([^"]*)"', lambda found: f'{found[1]}{_anchor(page, found[2])}"', text)
    text = re.sub(r'<(\w+)\b[^>]*?\s(href|src)="([^"]*)"', address, text)
    text = re.sub(r'<a class="table-download"[^>]*>.*?</a>', "", text, flags=re.DOTALL)
    return re.sub(r"<a\b(?![^>]*\shref=)[^>]*>(.*?)</a>", r"\1", text, flags=re.DOTALL)


def print_pdf(page: Path, pdf: Path) -> bool:
    """Print a page with the browser that CHROMIUM or the PATH names; False where there is none, or it fails."""
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return False
    with tempfile.TemporaryDirectory(prefix="paper-", ignore_cleanup_errors=True) as profile:
        command = [browser, *_PRINT, f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", page.as_uri()]
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=180)
        except (subprocess.SubprocessError, OSError):
            pdf.unlink(missing_ok=True)
    return pdf.is_file()


def crate(out: Path) -> dict[str, object]:
    """RO-Crate 1.1 of a built book: its pages, tables and figures, each with its checksum."""
    kinds = {".html": "text/html", ".csv": "text/csv", ".pdf": "application/pdf", ".png": "image/png"}
    found = [f for f in sorted(out.rglob("*")) if f.suffix in kinds and f.is_file()]
    files = [
        {
            "@id": file.relative_to(out).as_posix(), "@type": "File", "encodingFormat": kinds[file.suffix],
            "contentSize": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in found
    ]  # fmt: skip
    root = {
        "@id": "./", "@type": "Dataset", "name": "noise-scaling: a reproducible paper",
        "description": "The book that `make book` builds, with the tables that its figures draw.",
        "datePublished": datetime.now(UTC).date().isoformat(), "license": "https://spdx.org/licenses/MIT",
        "hasPart": [{"@id": file["@id"]} for file in files],
    }  # fmt: skip
    about = {
        "@id": CRATE, "@type": "CreativeWork", "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }  # fmt: skip
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [about, root, *files]}


def setup(app: Sphinx) -> dict[str, bool]:
    """Once all pages are written."""
    app.add_config_value("paper_pages", [], "html")
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
