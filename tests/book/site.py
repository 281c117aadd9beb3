"""A built book as a set of pages, and what can be wrong with a page: each check returns sentences, or none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

# What a browser fetches by itself on opening a page: tag -> attributes. Plain links (a href) wait for a click.
_LOADED = {
    "script": ("src",), "img": ("src", "srcset"), "source": ("src", "srcset"), "iframe": ("src",), "frame": ("src",),
    "embed": ("src",), "object": ("data",), "video": ("src", "poster"), "audio": ("src",), "track": ("src",),
    "image": ("href", "xlink:href"), "use": ("href", "xlink:href"), "input": ("src",), "body": ("background",),
}  # fmt: skip
_LOADED_RELS = {
    "stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest",
    "apple-touch-icon", "mask-icon",
}  # fmt: skip
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_CSS_URL = re.compile(r"""url\(\s*["']?([^"')]+)["']?\s*\)|@import\s+["']([^"']+)["']""")
# Calls in a script that fetch a fixed address. An address in a string that nothing calls (a licence, an xmlns) is fine.
_JS_LOAD = re.compile(
    r"""(?:\bfetch|\bimport|\bimportScripts|\bnew\s+(?:Worker|WebSocket|EventSource)|\.open|\bgetScript|\bgetJSON)"""
    r"""\s*\(\s*(?:["'`]GET["'`]\s*,\s*)?["'`]((?:https?:|wss?:)?//[^"'`]+)"""
    r"""|\.(?:src|href)\s*=\s*["'`]((?:https?:)?//[^"'`]+)"""
    r"""|\b(?:from|import)\s+["'`]((?:https?:)?//[^"'`]+)"""
)
# Plotly's script names these for maps, its logo and browsers without WebGL; no page here has any of them, and
# test_interactive.py sees that nothing is asked of the network.
_UNUSED = {
    "plotly.min.js": {
        "https://plotly.com/", "https://get.webgl.org", "https://maplibre.org/",
        "https://cdn.jsdelivr.net/npm/@mapbox/maki@8.2.0/icons/${p}.svg",
    }
}  # fmt: skip
PROVENANCE = "Provenance:"


@dataclass
class Page:
    """What one HTML file holds: everything the checks need, in the order of the file."""

    path: Path
    ids: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)  # source, alternative text
    scripts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)  # "figure ID", "provenance", "download NAME", in order
    errors: list[str] = field(default_factory=list)  # output to stderr, tracebacks
    source: str = ""  # the address of the page's own source for download


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self._open, self._raw = page, [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            self._open.append(tag)
        self._take_names(tag, given)
        self._take_addresses(tag, given)
        classes = given.get("class", "").split()
        if {"output", "stderr"} <= set(classes) or "traceback" in classes:
            self.page.errors.append(f"a block of class {given['class']!r}")
        if tag == "figure":
            self.page.captions.append(f"figure {given.get('id', '(no id)')}")
        if "table-download" in classes:
            self.page.captions.append(f"download {given.get('download', '')}")
        if "btn-download-source-button" in classes:
            self.page.source = given.get("href", "")

    def _take_names(self, tag: str, given: dict[str, str]) -> None:
        self.page.ids.update(given[name] for name in ("id", "name") if name in given and (name == "id" or tag == "a"))
        if tag == "img":
            self.page.images.append((given.get("src", ""), given.get("alt", "")))
        if "style" in given:
            self.page.styles.append(given["style"])

    def _take_addresses(self, tag: str, given: dict[str, str]) -> None:
        if tag in ("a", "area") and "href" in given:
            self.page.links.append(given["href"])
        if tag == "link" and _LOADED_RELS & set(given.get("rel", "").lower().split()):
            self.page.loads.append(given.get("href", ""))
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh" and "url=" in given.get("content", ""):
            self.page.links.append(given["content"].split("url=", 1)[1].strip(" '\""))
        for name in _LOADED.get(tag, ()):
            if name in given:
                urls = [given[name]] if name != "srcset" else [part.split()[0] for part in given[name].split(",")]
                self.page.loads.extend(urls)

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside in ("script", "style"):
            self._raw.append(data)
            return
        if data.lstrip().startswith(PROVENANCE):
            self.page.captions.append("provenance")
        if "Traceback (most recent call last)" in data:
            self.page.errors.append("a traceback")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag in ("script", "style") and self._raw:
            (self.page.scripts if tag == "script" else self.page.styles).append("".join(self._raw))
            self._raw = []


class Site:
    """All pages under the folder of a built book."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        files = [f for f in sorted(self.root.rglob("*.html")) if "_static" not in f.relative_to(self.root).parts]
        self.pages = {file: read_page(file) for file in files}

    def name(self, path: Path) -> str:
        """The path as readers see it, relative to the book."""
        return path.relative_to(self.root).as_posix()

    def problems(self) -> list[str]:
        """Everything that is wrong anywhere, as sentences."""
        return [
            f"{self.name(page.path)}: {found}"
            for page in self.pages.values()
            for check in CHECKS
            for found in check(self, page)
        ]


def read_page(file: Path) -> Page:
    """Parse one HTML file."""
    page = Page(file)
    reader = _Reader(page)
    reader.feed(file.read_text(encoding="utf-8"))
    reader.close()
    return page


def is_network(url: str) -> bool:
    """Whether a browser would leave the file system for `url`."""
    return url.startswith("//") or urlparse(url).scheme in ("http", "https", "ws", "wss", "ftp")


def network_loads(site: Site, page: Page) -> list[str]:
    """Network addresses that opening the page would fetch, through the style sheets and scripts it loads as well."""
    found = [f"loads {url}" for url in page.loads if is_network(url)]
    found += [f"an inline style loads {url}" for text in page.styles for url in css_loads(text)]
    found += [f"an inline script loads {url}" for text in page.scripts for url in js_loads(text)]
    for url in page.loads:
        file = _local(page.path, url)
        if file and file.is_file() and file.suffix in (".css", ".js"):
            found += [f"{site.name(file)} loads {address}" for address in _asset_loads(file)]
    return found


def _asset_loads(file: Path, seen: frozenset[Path] = frozenset()) -> list[str]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix == ".js":
        return [url for url in js_loads(text) if url not in _UNUSED.get(file.name, ())]
    found = css_loads(text)
    for url in (a or b for a, b in _CSS_URL.findall(text)):
        inner = _local(file, url)
        if inner and inner.suffix == ".css" and inner.is_file() and inner not in seen:
            found += _asset_loads(inner, seen | {file})
    return found


def css_loads(text: str) -> list[str]:
    """Network addresses in a style sheet's url(...) and @import."""
    return [url for url in (a or b for a, b in _CSS_URL.findall(text)) if is_network(url)]


def js_loads(text: str) -> list[str]:
    """Fixed network addresses that a script fetches, imports or assigns to a src or href."""
    return [next(filter(None, found)) for found in _JS_LOAD.findall(text)]


def broken_links(site: Site, page: Page) -> list[str]:
    """Links and loaded files that lead nowhere inside the book, anchors included."""
    found = []
    for url in dict.fromkeys(page.links + page.loads):
        file = _local(page.path, url)
        fragment = unquote(urldefrag(url).fragment)
        if file is None:
            continue
        if not file.exists() or (file.is_dir() and not (file / "index.html").exists()):
            found.append(f"{url!r} leads to no file")
        elif not file.is_relative_to(site.root):
            found.append(f"{url!r} leads out of the book")
        elif "=" in fragment:
            continue  # the state of a widget, which reads it by itself
        elif fragment and file in site.pages and fragment not in site.pages[file].ids and fragment != "top":
            found.append(f"{url!r} leads to no anchor")
    return found


def _local(page: Path, url: str) -> Path | None:
    """The file a relative URL names; None for the network, for data: and for what is no address at all."""
    parts = urlparse(url)
    if parts.scheme == "file" or (url.startswith("/") and not url.startswith("//")):
        return Path(unquote(parts.path))  # an absolute path: wrong unless it happens to lie in the book
    if parts.scheme or parts.netloc or url == "":
        return None
    return (page.parent / unquote(parts.path)).resolve() if parts.path else page


def output_errors(site: Site, page: Page) -> list[str]:
    """Output to stderr and tracebacks that a notebook left in the page."""
    return [f"shows {error}" for error in page.errors]


def missing_alts(site: Site, page: Page) -> list[str]:
    """Images that a screen reader cannot name."""
    return [f"image {source!r} has no alt text" for source, alt in page.images if not alt.strip()]


def missing_provenance(site: Site, page: Page) -> list[str]:
    """Figures of executed notebooks that no provenance line follows."""
    if not site.name(page.path).startswith("notebooks/"):
        return []
    captions = [caption for caption in page.captions if not caption.startswith("download")]
    return [
        f"{this} has no line starting with {PROVENANCE!r} under it"
        for this, after in pairwise([*captions, "the end"])
        if this.startswith("figure") and after != "provenance"
    ]


def missing_downloads(site: Site, page: Page) -> list[str]:
    """Pages made from a notebook that do not offer it, or offer something that is no notebook."""
    if not site.name(page.path).startswith("notebooks/"):
        return []
    if not page.source.endswith(".ipynb"):
        return [f"offers no notebook to download (found {page.source!r})"]
    file = _local(page.path, page.source)
    try:
        json.loads(file.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        return [f"offers {page.source!r}, which is no notebook: {error}"]
    return []


def misplaced_downloads(site: Site, page: Page) -> list[str]:
    """Figures of executed notebooks without one table of what they draw, and tables that are another figure's.

    A name with a figure's anchor in it, such as pbmc_facs-cells, is that figure's; other names do not say whose.
    """
    if not site.name(page.path).startswith("notebooks/"):
        return []
    ids = {caption.removeprefix("figure fig-") for caption in page.captions if caption.startswith("figure")}
    found, figure = [], ""
    for caption in [*page.captions, "figure "]:
        kind, _, name = caption.partition(" ")
        if kind == "figure":
            found += [f"figure {figure} offers no table of what it draws"] * bool(figure)
            figure = name
        elif name.endswith("_drawn.csv"):
            named = {i for i in ids if "-" in i and f"{i}_" in name}
            if not figure or (named and figure.removeprefix("fig-") not in named):
                found.append(f"{name} is not what figure {figure or 'before it'} draws")
            figure = ""
    return found


CHECKS = (
    network_loads, broken_links, output_errors, missing_alts, missing_provenance, missing_downloads, misplaced_downloads
)  # fmt: skip


def toc_entries(toc: Path) -> set[str]:
    """Every page that a Jupyter Book table of contents names."""
    return set(re.findall(r"^\s*(?:- file|root):\s*(\S+)", toc.read_text(encoding="utf-8"), flags=re.MULTILINE))
