"""Build the book from its sources and the executed pages, from nothing each time, whole or not at all.

python workflow/scripts/book.py EXECUTED_PAGES BOOK
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

COPIED = ("_toc.yml", "book", "data/README.md", "benchmarks/results")
STRICT = ("-W", "-n", "--keep-going", "--quiet")
"""Warnings are errors, and all of them are shown."""


def main(pages: Path, book: Path) -> int:
    """Build beside `book`, and take its place only when all went well; Jupyter Book's exit status."""
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
    """Fill `site`: sources, the configuration with execution off, and the executed pages, their parameters folded."""
    for source in map(Path, COPIED):
        (site / source).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, site / source)
    configuration = yaml.safe_load(Path("_config.yml").read_text(encoding="utf-8"))
    configuration["execute"]["execute_notebooks"] = "off"
    (site / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    for page in pages.rglob("*.ipynb"):
        notebook, target = nbformat.read(page, as_version=4), site / "notebooks" / page.relative_to(pages)
        for cell in notebook.cells:
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.metadata.tags.append("hide-input")
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
