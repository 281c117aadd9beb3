"""Build the book from its sources and the executed pages, from scratch; a failed build leaves the old book.

python workflow/scripts/book.py EXECUTED_PAGES BOOK
"""

import base64
import hashlib
import html
import os
import re
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import nbformat
import yaml

COPIED = ("_toc.yml", "book", "data/README.md", "benchmarks/results")
STRICT = ("-W", "-n", "--keep-going", "--quiet")
"""Warnings are errors, and all of them are shown."""


def main(pages: Path, book: Path) -> int:
    """Build next to `book`, and replace it only if the build succeeds; return Jupyter Book's exit status."""
    new = book.with_name(f"{book.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    stage(pages, new / "site")
    command = ["jupyter-book", "build", new / "site", "--path-output", new, *STRICT]
    built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(built.stdout.replace(f"{(new / 'site').resolve()}/", ""))
    if built.returncode == 0:
        shutil.rmtree(book / "_build", ignore_errors=True)
        (new / "_build").rename(book / "_build")
    shutil.rmtree(new)
    return built.returncode


def stage(pages: Path, site: Path) -> None:
    """Fill `site`: sources, the configuration with execution off, and the executed pages with their parameters hidden.

    The findings between a figure and the figure or heading above it are appended to its alt text. For a figure without
    findings in a page's first tab, the findings above the tab are.
    """
    for source in map(Path, COPIED):
        (site / source).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, site / source)
    configuration = yaml.safe_load(Path("_config.yml").read_text(encoding="utf-8"))
    configuration["execute"]["execute_notebooks"] = "off"
    (site / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    for page in pages.rglob("*.ipynb"):
        notebook, target = nbformat.read(page, as_version=4), site / "notebooks" / page.relative_to(pages)
        lead, found, drawn = "", "", False
        for cell in notebook.cells:
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.metadata.tags.append("remove-input")
            if re.search(r"^#+ ", cell.source, flags=re.MULTILINE) and cell.cell_type == "markdown":
                lead, found = (found if "{.tab}" in cell.source and not drawn else ""), ""
            if figure := cell.metadata.get("mystnb", {}).get("image"):
                figure["alt"] = f"{figure['alt']} {first_sentences(found or lead)}".strip()
                lead, found, drawn = "", "", True
            found = f"{found} {finding(cell)}".strip()
            for output in cell.get("outputs", []):
                if "text/html" in output.get("data", {}):
                    output.data["text/html"] = with_files(output.data["text/html"], target, site)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)


def with_files(text: str, page: Path, site: Path) -> str:
    """Return a page's HTML with its embedded CSVs and images moved to files of the site, so that pages stay small."""
    folder = site / "book/_static/held"
    folder.mkdir(exist_ok=True)

    def write(name: str, data: bytes) -> Path:
        """Write a file of this name, or of the next free name if another page has other data by this one."""
        named = Path(name)
        files = (folder / (name if not i else f"{named.stem}_{i + 1}{named.suffix}") for i in count())
        file = next(file for file in files if not file.exists() or file.read_bytes() == data)
        file.write_bytes(data)
        return file

    def address(file: Path) -> str:
        return os.path.relpath(site / "_static/held" / file.name, page.parent)

    def table(link: re.Match[str]) -> str:
        file = write(link[1], base64.b64decode(link[2]))
        return f'download="{file.name}" href="{address(file)}">Download {file.name}<'

    def image(source: re.Match[str]) -> str:
        data = base64.b64decode(source[1])
        return f'loading="lazy" src="{address(write(f"{hashlib.sha256(data).hexdigest()[:16]}.png", data))}"'

    text = re.sub(r'download="([^"]+)" href="data:text/csv;base64,([^"]+)">Download \1<', table, text)
    return re.sub(r'src="data:image/png;base64,([^"]+)"', image, text)


def first_sentences(text: str, most: int = 400) -> str:
    """Return as many whole sentences as fit in `most` characters, at least one: screen readers read them in one go."""
    ends = [end.start() for end in re.finditer(r"(?<=[.!?])(?= [A-ZŪū“])|$", text)]
    return text[: max([end for end in ends if end <= most], default=ends[0])]


def finding(cell: nbformat.NotebookNode) -> str:
    """Return the finding that a cell shows, a paragraph or the first two items of a list, as plain text."""
    shown = "".join(output.get("data", {}).get("text/html", "") for output in cell.get("outputs", []))
    found = re.search(r'<(p|ul) class="finding">(.*?)</\1>', shown, flags=re.DOTALL)
    first = " ".join(found[2].split("</li><li>")[:2]) if found else ""
    text = re.sub(r"<sup>(.*?)</sup>", r"^(\1)", first)
    return html.unescape(re.sub("<[^>]+>", "", text.replace("<sub>", "_")))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
