"""What the tests of the workflow share."""

import json
import shutil
from functools import partial

import pytest
import yaml


@pytest.fixture
def small_book(root):
    """A function that makes a small checkout in a folder; further arguments change its configuration, tiny.yml."""
    return partial(_small_book, root)


def _small_book(root, folder, **changes):
    """A checkout in little: the workflow, the package and its notebooks, and a book of two pages."""
    shutil.copytree(root / "workflow", folder / "workflow")
    for name in ("src", "notebooks", "data", "benchmarks"):
        (folder / name).symlink_to(root / name)
    (folder / "book").mkdir()
    (folder / "book/index.md").write_text("# A book\n\nOf two pages.\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/tiny\n")
    (folder / "notebooks").unlink()
    (folder / "notebooks").mkdir()
    shutil.copy(root / "notebooks/measure.ipynb", folder / "notebooks")
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "outputs": [],
        "id": "a",
        "metadata": {"tags": ["parameters"]},
    }
    read = "from noise_scaling import measurements as m; print(len(m.read(measurements)), 'rows')"
    cells = [
        {"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# Tiny"},
        cell | {"source": 'measurements = "data/measurements"'},
        cell | {"id": "b", "metadata": {}, "source": read},
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebooks/tiny.ipynb").write_text(json.dumps(notebook))
    (folder / "_config.yml").write_text("title: Tiny\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: off\n")
    config = {
        "folder": "build/tiny", "preset": "small", "estimators": ["default"], "seeds": [0],
        # "auto" makes GPU jobs too; where there is no card they run on the processor
        "device": "auto", "large_cells": 60, "unit_seconds": 300, "models": ["pca", "untrained_geneformer"],
        "datasets": {"pbmc68k": {"cell_numbers": [50, 60], "fractions": [0.1]}},
    }  # fmt: skip
    (folder / "tiny.yml").write_text(yaml.safe_dump(config | changes))
    return folder
