"""Every rule of the workflow: the paper's grid as a dry run, here and on Slurm, and a tiny one from cells to book."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from noise_scaling import measurements

PAPER = ["build/paper/measurements.csv", "--configfile", "workflow/config/paper.yml", "--dry-run", "--quiet", "reason"]


def jobs(text):
    return {name: int(n) for name, n in re.findall(r"^(\w+)\s+(\d+)$", text, flags=re.MULTILINE)}


@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_dry_run_of_the_paper_grid(root, profile):
    """5 signals x 10 depths x 3 seeds, each a job for the CPU and one for the GPU; the embryo's large ones apart.

    No data set of the paper is here, and no Slurm: a dry run needs neither.
    """
    command = [sys.executable, "-m", "snakemake", *PAPER, "--profile", f"workflow/profiles/{profile}"]
    command += ["--cores", "1"] if profile == "local" else []
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert jobs(run.stdout + run.stderr) == {
        "measure": 150, "measure_gpu": 150, "measure_large": 30, "measure_gpu_large": 30, "gather": 1, "total": 361,
    }  # fmt: skip


def small_book(root, folder):
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
    (folder / "tiny.yml").write_text(yaml.safe_dump(config))
    return folder


def test_a_tiny_configuration_through_every_rule(root, tmp_path):
    folder = small_book(root, tmp_path / "checkout")
    run = subprocess.run(
        [sys.executable, "workflow/run.py", "tiny.yml", "--cores", "1"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:]
    rules = set(re.findall(r"^rule (\w+):|\(Rule: (\w+)\)", run.stdout + run.stderr, flags=re.MULTILINE))
    assert {a or b for a, b in rules} == {
        "measure", "measure_large", "measure_gpu", "measure_gpu_large", "gather", "show", "page", "stage", "html",
        "book",
    }  # fmt: skip
    rows = measurements.read(folder / "build/tiny/measurements.csv")
    assert rows[["model", "n_cells"]].values.tolist() == [
        ["pca", 50], ["pca", 60], ["untrained_geneformer", 50], ["untrained_geneformer", 60],
    ]  # fmt: skip
    assert (rows["status"] == measurements.OK).all(), rows["error"].tolist()
    assert "4 rows" in (folder / "build/tiny/book/_build/html/notebooks/tiny.html").read_text()
    # prose is edited, on a page and in the notebook that measures: pages are made again, nothing is measured
    for name in ("tiny", "measure"):
        notebook = folder / f"notebooks/{name}.ipynb"
        cells = json.loads(notebook.read_text())
        cells["cells"][0]["source"] = "# Other words"
        notebook.write_text(json.dumps(cells))
    again = subprocess.run(
        [sys.executable, "workflow/run.py", "tiny.yml", "--cores", "1", "--dry-run"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert set(jobs(again.stdout + again.stderr)) == {"page", "stage", "html", "book", "total"}
