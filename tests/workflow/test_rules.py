"""Every rule of the workflow: the paper's grid as a dry run on Slurm, and a tiny one from cells to book."""

import json
import os
import re
import subprocess
import sys

import nbformat
import yaml

from noise_scaling import measurements

PAPER = ["build/paper/measurements.csv", "--configfile", "workflow/config/paper.yml", "--dry-run"]


def jobs(text):
    return {name: int(n) for name, n in re.findall(r"^(\w+)\s+(\d+)$", text, flags=re.MULTILINE)}


def test_dry_run_of_the_paper_grid(root):
    """5 signals x 10 depths x 3 seeds, each a job for the CPU and one for the GPU; each training on many cells has one.

    No data set of the paper is here, and no Slurm: a dry run needs neither.
    """
    command = [sys.executable, "-m", "snakemake", *PAPER, "--profile", "workflow/profiles/slurm"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert jobs(run.stdout + run.stderr) == {
        "measure": 150, "measure_gpu": 150, "measure_large": 240, "measure_gpu_large": 240, "gather": 1, "total": 781,
    }  # fmt: skip
    waits = r"pbmc_celltype_(\S+); Input files updated by another job: build/paper/slices/protocol/pbmc_\1"
    assert len(re.findall(waits, run.stdout + run.stderr)) == 60, "the second signal of the same cells waits"


def sweep(folder, *options, **environment):
    return subprocess.run(
        [sys.executable, "workflow/run.py", "tiny.yml", "--cores", "1", *options],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def edit(folder, name, number, source):
    """Other words in one cell of a notebook."""
    notebook = folder / f"notebooks/{name}.ipynb"
    cells = json.loads(notebook.read_text())
    cells["cells"][number]["source"] = source
    notebook.write_text(json.dumps(cells))


def test_a_tiny_configuration_through_every_rule(small_book, tmp_path):
    folder = small_book(tmp_path / "checkout")
    run = sweep(folder)
    log = (folder / "build/tiny/run.log").read_text()
    assert run.returncode == 0, run.stdout + run.stderr + log[-3000:]
    rules = set(re.findall(r"\(Rule: (\w+)\)", log))
    assert rules == {
        "measure", "measure_large", "measure_gpu", "measure_gpu_large", "gather", "show", "pages", "html", "book",
    }  # fmt: skip
    rows = measurements.read(folder / "build/tiny/measurements.csv")
    assert rows[["model", "n_cells"]].values.tolist() == [
        ["pca", 50], ["pca", 60], ["untrained_geneformer", 50], ["untrained_geneformer", 60],
    ]  # fmt: skip
    assert (rows["status"] == measurements.OK).all(), rows["error"].tolist()
    index = folder / "build/tiny/book/_build/html/index.html"
    assert "4 rows" in index.with_name("notebooks").joinpath("tiny.html").read_text()
    assert run.stdout.splitlines()[-2:] == [f"The book: {index}", "The log: build/tiny/run.log"]
    assert "Executing the pages 0 of 1, about" in run.stdout
    assert run.stderr == ""

    # prose is edited, on a page and in the notebook that measures: pages are made again, nothing is measured; and a
    # page that writes to stderr fails, each time, and the older book is not taken for its result
    for name in ("tiny", "measure"):
        edit(folder, name, 0, "# Other words")
    good = json.loads((folder / "notebooks/tiny.ipynb").read_text())["cells"][2]["source"]
    edit(folder, "tiny", 2, "import warnings; warnings.warn('a legend with no entries')")
    for _ in range(2):
        run = sweep(folder)
        assert run.returncode == 1
        assert "Measure protocol" not in (folder / "build/tiny/run.log").read_text()
        assert "The book:" not in run.stdout
        said = run.stderr.splitlines()
        assert said[0].startswith("Execute the pages, batch 0 failed: notebooks/tiny.ipynb: ")
        assert "UserWarning: a legend with no entries (more in build/tiny/logs/pages/0.txt)" in said[0]
        assert said[1:] == [
            "The log: build/tiny/run.log",
            "No new book was made: build/tiny/book/_build/html/index.html is that of an earlier run.",
        ]
        assert "4 rows" in index.with_name("notebooks").joinpath("tiny.html").read_text()

    # Sphinx's warnings are errors; the older book still stands
    edit(folder, "tiny", 2, good)
    (folder / "book/index.md").write_text("# A book\n\n[Of](nothing.md).\n")
    run = sweep(folder)
    assert run.returncode == 1
    assert run.stderr.startswith("Build the book failed: book/index.md:3: WARNING:")
    assert "Of two pages" in index.with_name("book").joinpath("index.html").read_text()
    (folder / "book/index.md").write_text("# A book\n\nOf more pages.\n")
    run = sweep(folder)
    assert run.returncode == 0, run.stderr
    assert "Of more pages" in index.with_name("book").joinpath("index.html").read_text()

    # the published table comes: the page is drawn anew
    table = tmp_path / "mirror/published/collect_mi_results.csv"
    table.parent.mkdir(parents=True)
    table.touch()
    again = sweep(folder, "--dry-run", NOISE_SCALING_MIRROR=str(tmp_path / "mirror"))
    assert set(jobs(again.stdout + again.stderr)) == {"pages", "html", "book", "total"}

    # a page that is gone is executed again
    (folder / "build/tiny/pages/tiny.ipynb").unlink()
    again = sweep(folder, "--dry-run")
    assert set(jobs(again.stdout + again.stderr)) == {"pages", "html", "book", "total"}


def test_pages_that_are_up_to_date_are_kept(root, tmp_path):
    """A kernel is started for what is older than its notebook or what all share; the names of one page are not seen by
    the next."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for name, source in {"one": "left = 1; print('one')", "two": "print('left' in globals())"}.items():
        cell = nbformat.v4.new_code_cell(source)
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), notebooks / f"{name}.ipynb")
    (tmp_path / "table.csv").touch()

    def execute(*shared):
        command = [sys.executable, root / "workflow/scripts/pages.py", "run", "table.csv", "--pages", "one", "two"]
        command += ["--shared", *shared] if shared else []
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        return [(tmp_path / f"run/pages/{name}.ipynb").stat().st_mtime for name in ("one", "two")]

    first = execute()
    assert '"False\\n"' in (tmp_path / "run/pages/two.ipynb").read_text()
    os.utime(notebooks / "two.ipynb")
    second = execute()
    assert second[0] == first[0]
    assert second[1] > first[1]
    assert execute() == second
    (tmp_path / "cells").touch()
    os.utime(tmp_path / "cells", (1000, 1000))  # data that come may be older than the pages
    third = execute("cells")
    assert min(third) > max(second)
    assert execute("cells") == third


def test_a_job_that_fails_is_missed_though_an_earlier_table_is_there(small_book, tmp_path):
    """Its part is gone; the table that an earlier run made with it must not stand for this one's."""
    one = {"device": "cpu", "models": ["pca"], "datasets": {"pbmc68k": {"cell_numbers": [50], "fractions": [0.1]}}}
    folder = small_book(tmp_path / "checkout", **one)
    profile = folder / "workflow/profiles/local/config.yaml"
    profile.write_text(profile.read_text().replace("retries: 2", "retries: 0"))
    table = "build/tiny/measurements.csv"
    assert sweep(folder, table).returncode == 0
    edit(folder, "measure", 2, "raise RuntimeError('no such luck')")
    (folder / "build/tiny/slices/protocol/pbmc68k_seed0_cpu.csv").unlink()
    config = yaml.safe_load((folder / "tiny.yml").read_text())
    (folder / "tiny.yml").write_text(yaml.safe_dump(config | {"unit_seconds": 200}))
    for _ in range(2):
        run = sweep(folder, table)
        assert run.returncode == 1
        assert "Measure protocol/pbmc68k_seed0_cpu failed: RuntimeError: no such luck" in run.stderr
        assert not (folder / table).exists()
