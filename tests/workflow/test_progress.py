"""The line of progress and the reasons of a failure, from what Snakemake writes."""

import io
from pathlib import Path

import pytest

STATS = """Job stats:
job        count
-------  -------
measure        2
pages          3
html           1
book           1
total          7
"""
TRACEBACK = (
    "Traceback (most recent call last):\n  File x\n\x1b[0;31mInputError\x1b[0m: no file here: check the path\n\n"
)
SPHINX = (
    "notebooks/fits.ipynb:10: WARNING: unknown document: 'x'\n\n===\nBuilding your book, returns a non-zero exit code\n"
)


@pytest.fixture
def progress(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "workflow")
    import progress

    return progress


def finished(rule, *jobs):
    return "".join(f"Finished jobid: {job} (Rule: {rule})\n" for job in jobs)


def failed(rule, job, logs):
    return f"Error in rule {rule}:\n    message: None\n    jobid: {job}\n    input: a, b\n    log: {logs} (check log)\n"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("Building DAG of jobs...\n", "Getting ready"),
        (STATS, "Measuring 0 of 2, about 6 min left"),
        (STATS.replace("measure ", "measure_gpu_large "), "Measuring 0 of 2, about 6 min left"),
        (STATS + finished("measure", 1), "Measuring 1 of 2, about"),
        (STATS + finished("measure", 1, 2) + finished("pages", 3), "Executing the pages 1 of 3, about"),
        (STATS + finished("measure", 1, 2) + failed("pages", 3, "x.txt"), "Executing the pages 0 of 3, about"),
        (STATS + finished("measure", 1, 2) + finished("pages", 3, 4, 5), "Building the book 0 of 1, about 1 min left"),
    ],
)
def test_the_line_names_the_step_and_the_time_left(progress, log, line):
    output = io.StringIO()
    progress.Line(output).show(log)
    said = output.getvalue()
    assert said.startswith(line)
    assert said.endswith(", 1 failed\n") == ("Error in rule" in log)


def test_where_nobody_watches_a_line_is_printed_at_each_step_only(progress):
    output = io.StringIO()
    line = progress.Line(output)
    for log in (STATS, STATS, STATS + finished("measure", 1), STATS + finished("measure", 1, 2)):
        line.show(log)
    line.clear()
    assert [said.split(",")[0] for said in output.getvalue().splitlines()] == [
        "Measuring 0 of 2",
        "Executing the pages 0 of 3",
    ]


def test_on_a_terminal_one_line_is_overwritten_and_cleared(progress, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    output = Terminal()
    line = progress.Line(output)
    line.show(STATS)
    line.show(STATS + finished("measure", 1))
    line.clear()
    assert "\n" not in output.getvalue()
    assert output.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.txt": "x.py:1: UserWarning: no entries\n  legend()\n"}, "x.py:1: UserWarning: no entries (more in a.txt)"),
        ({"a.txt": "", "b.txt": TRACEBACK}, "InputError: no file here: check the path (more in b.txt)"),
        (
            {"a.ipynb": '{"x": "Error: y"}', "b.txt": SPHINX},
            "notebooks/fits.ipynb:10: WARNING: unknown document: 'x' (more in b.txt)",
        ),
        ({"a.txt": "AssertionError\n"}, "AssertionError (more in a.txt)"),
        ({}, "it ended without a word, as when it is killed for memory"),
    ],
)
def test_the_reason_comes_from_the_failed_jobs_own_log(progress, tmp_path, monkeypatch, files, said):
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        Path(name).write_text(text)
    log = "Job 3: Execute notebooks/fits.ipynb\n" + failed("pages", 3, ", ".join(files) or "gone.txt")
    assert progress.reasons(log) == [f"Execute notebooks/fits.ipynb failed: {said}"]
    assert progress.failed_jobs(log + finished("pages", 3)) == {}


def test_what_snakemake_refuses_is_said_in_its_own_words(progress):
    log = 'Using profile x\nWorkflowError in file "a", line 3:\nunknown key: a\n  File "a", line 3, in <module>\n'
    assert progress.reasons(log) == ["unknown key: a"]


def test_hours_are_told(progress):
    output = io.StringIO()
    progress.Line(output).show(STATS.replace("measure        2", "measure      600"))
    assert output.getvalue().startswith("Measuring 0 of 600, about 10 h ")


def test_failed_measurements_are_counted(progress, root, tmp_path):
    import run

    about = tmp_path / "measurements.json"
    assert run.failed_rows(about) == []
    about.write_text('{"rows": 2, "failed_rows": 1}')
    assert run.failed_rows(about)[0].startswith("Warning: 1 of 2 measurements failed; the column `error` of ")
    about.write_text('{"rows": 2, "failed_rows": 0}')
    assert run.failed_rows(about) == []
