"""Build the book from its sources and the executed pages, from nothing each time, whole or not at all.

python workflow/scripts/book.py EXECUTED_PAGES BOOK
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

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
    """Fill `site`: sources, the configuration with execution off, and the executed pages."""
    for name in COPIED:
        copy(Path(name), site / name)
    configuration = yaml.safe_load(Path("_config.yml").read_text(encoding="utf-8"))
    configuration["execute"]["execute_notebooks"] = "off"
    (site / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    for page in sorted(pages.rglob("*.ipynb")):
        stage_page(page, site / "notebooks" / page.relative_to(pages))


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, if it is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        shutil.copy(source, target)


def stage_page(source: Path, target: Path) -> None:
    """Copy an executed notebook, its injected parameters folded away like the other code."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags:
            cell["metadata"]["tags"] = [*tags, "hide-input"]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
