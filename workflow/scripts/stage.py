"""Stage the book: its sources beside the executed pages, so that Jupyter Book has nothing left to execute.

python workflow/scripts/stage.py EXECUTED_PAGES SITE
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import yaml

COPIED = ("_toc.yml", "book", "data/README.md", "benchmarks/results")


def main(pages: Path, site: Path) -> None:
    """Fill `site` anew: sources, the configuration with execution off, and the executed pages."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
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
    main(Path(sys.argv[1]), Path(sys.argv[2]))
