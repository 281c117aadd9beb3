"""A tiny configuration through the rules that measure; the graph of the real one is checked in test_project.py."""

import contextlib
import fcntl
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

from noise_scaling import measurements

TINY = {
    "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": [0], "unit_seconds": 120,
    "datasets": {"pbmc68k": {"models": ["pca"], "cell_numbers": [50], "fractions": [1, 0.1]}},
}  # fmt: skip


def run(root, config, *options):
    return subprocess.run(
        [sys.executable, "workflow/run.py", str(config), *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yml"
    path.write_text(yaml.safe_dump(TINY | {"folder": str(tmp_path / "run")}))
    return path


def test_measure_gather_and_do_only_what_is_missing(root, config, tmp_path):
    table, log = tmp_path / "run" / "measurements.csv", tmp_path / "run" / "run.log"
    first = run(root, config, str(table))
    assert first.returncode == 0, first.stderr
    rows = measurements.read(table)
    ours = rows[(rows["model"] == "pca") & (rows["n_cells"] == 50) & (rows["seed"] == 0) & (rows["n_test"] == 280)]
    assert {1.0, 0.1} <= set(ours["fraction"])
    assert table.with_suffix(".json").exists()
    before = table.read_bytes()
    assert first.stdout.splitlines()[-1] == f"The log: {log}"
    assert len(first.stdout.splitlines()) < 8, first.stdout
    again = run(root, config, str(table))
    assert again.returncode == 0, again.stderr
    assert "Nothing to be done" in log.read_text()
    # the table and the slice lost: made again, from the units kept, to the same bytes
    table.unlink()
    (tmp_path / "run" / "slices" / "protocol" / "pbmc68k_seed0_cpu.csv").unlink()
    third = run(root, config, str(table))
    assert third.returncode == 0, third.stderr
    assert log.read_text().count("Measure protocol/pbmc68k") == 1
    assert table.read_bytes() == before


def test_one_run_at_a_time(root, config, tmp_path):
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run(root, config)
    assert refused.returncode == 2
    assert refused.stderr.startswith("another run is at work in")


def test_a_wrong_configuration_stops_before_anything_runs(root, tmp_path):
    path = tmp_path / "wrong.yml"
    path.write_text(yaml.safe_dump(TINY | {"folder": str(tmp_path / "run"), "seedz": [1]}))
    refused = run(root, path)
    assert refused.returncode != 0
    assert "unknown key 'seedz' in the file: choose one of beside, datasets, device" in refused.stderr + refused.stdout
    assert not (tmp_path / "run" / "units").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "FileNotFoundError"),
        ("preset: small", "KeyError('folder')"),
        ("just words", "TypeError"),
        ("a: [", "Par"),
    ],
)
def test_what_is_no_configuration_is_refused_in_a_sentence(root, tmp_path, text, said):
    path = tmp_path / "wrong.yml"
    if text:
        path.write_text(text)
    refused = run(root, path)
    assert refused.returncode == 2
    assert f"{path} is not a configuration that can be run: {said}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_run_that_is_stopped_takes_all_with_it_and_the_next_goes_on(root, config, tmp_path):
    mark = os.environ | {"NOISE_SCALING_TEST": str(tmp_path)}
    table = tmp_path / "run" / "measurements.csv"
    command = [sys.executable, "workflow/run.py", str(config), str(table)]
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = subprocess.Popen(
            command, cwd=root, env=mark, stderr=subprocess.PIPE, text=True, start_new_session=True
        )  # fmt: skip
        _soon(lambda: "Measure protocol" in (tmp_path / "run" / "run.log").read_text())
        process.send_signal(number)
        said = process.communicate(timeout=30)[1]
        assert process.returncode == code
        assert said == (
            "" if code < 0 else "\nStopped: what is finished is kept, and the same command goes on from there.\n"
        )
        _soon(lambda: not _alive(tmp_path))
        (tmp_path / "run" / "run.log").unlink()
    again = run(root, config, str(table))
    assert again.returncode == 0, again.stderr
    assert table.exists()


def _alive(folder):
    """Processes that were started with this folder in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("NOISE_SCALING_TEST") == str(folder):
                found.append(process)
    return found


def test_what_a_wrong_clock_dated_ahead_is_dated_as_of_now(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(root / "workflow")
    ahead, past = tmp_path / "slices" / "protocol" / "a.csv", tmp_path / "measurements.csv"
    ahead.parent.mkdir(parents=True)
    for path, stamp in ((ahead, 4102444800), (past, 1000)):
        path.touch()
        os.utime(path, (stamp, stamp))
    script(root, "../run").forget_the_future(tmp_path)
    assert abs(ahead.stat().st_mtime - time.time()) < 5
    assert past.stat().st_mtime == 1000


@pytest.mark.parametrize(
    ("error", "again"),
    [
        ("", False),
        ("InputError: 10000000 training cells asked for, 9500 left", False),
        ("TimeLimit: stopped after 172800 s", False),
        ("FloatingPointError: the training diverged", False),
        ("WorkerDied: its process ended with exit code -9, 3 times", True),
        ("OutOfMemoryError: CUDA out of memory", True),
        ("InputError: the thinned counts may take 30.1 GB and /work has 2.0 GB free: free some, or name another", True),
    ],
)
def test_what_the_machine_was_at_fault_for_is_tried_again(root, tmp_path, monkeypatch, error, again):
    monkeypatch.syspath_prepend(root / "workflow")
    table = tmp_path / "slices/protocol/a.csv"
    table.parent.mkdir(parents=True)
    table.write_text(f'model,status,error,version\npca,ok,,1\nscvi,{"error" if error else "ok"},"{error}",1\n')
    script(root, "../run").try_again(tmp_path)
    assert table.exists() != again


def script(root, name):
    spec = importlib.util.spec_from_file_location(Path(name).name, root / f"workflow/scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _soon(look, seconds=180):
    """What `look` finds, as soon as it is there; a busy machine may take a minute to start a kernel."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            if found := look():
                return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def staged(root, tmp_path, *cells):
    pages = tmp_path / "pages"
    (pages / "figures").mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), pages / "figures/fits.ipynb")
    script(root, "book").stage(pages, tmp_path / "site")
    return nbformat.read(tmp_path / "site/notebooks/figures/fits.ipynb", as_version=4)


def shows(text):
    return nbformat.v4.new_output("display_data", {"text/html": text})


def test_the_staged_book_is_not_executed_again(root, tmp_path):
    page = staged(root, tmp_path, nbformat.v4.new_code_cell(metadata={"tags": ["injected-parameters"]}))
    assert yaml.safe_load((tmp_path / "site/_config.yml").read_text())["execute"]["execute_notebooks"] == "off"
    assert "remove-input" in page.cells[0].metadata.tags
    assert (tmp_path / "site/book/setup.md").exists()


def test_alt_texts_go_on_with_the_finding_above_the_figure(root, tmp_path):
    found = nbformat.v4.new_code_cell(outputs=[shows('<p class="finding">It rises by 2 &lt; 3 bits.</p>')])
    figure = nbformat.v4.new_code_cell(metadata={"mystnb": {"image": {"alt": "Lines."}}})
    items = ("<i>I</i><sub>max</sub> is 2.", "Below 2<sup>−2 <i>I</i></sup>.", "More.")
    several = f'<ul class="finding">{"".join(f"<li>{item}</li>" for item in items)}</ul>'
    listed = nbformat.v4.new_code_cell(outputs=[shows(several)])
    heading = nbformat.v4.new_markdown_cell("{.tab}\n## Without the flagged rows")
    page = staged(root, tmp_path, found, figure, figure.copy(), listed, figure.copy(), found, heading, figure.copy())
    alts = [c.metadata.mystnb.image.alt for c in page.cells if "mystnb" in c.metadata]
    assert alts == ["Lines. It rises by 2 < 3 bits.", "Lines.", "Lines. I_max is 2. Below 2^(−2 I).", "Lines."]
    page = staged(root, tmp_path / "led", found, heading, figure.copy(), heading, figure.copy())
    alts = [c.metadata.mystnb.image.alt for c in page.cells if "mystnb" in c.metadata]
    assert alts == ["Lines. It rises by 2 < 3 bits.", "Lines."]


def test_alt_texts_are_of_whole_sentences_and_not_long(root):
    first_sentences = script(root, "book").first_sentences
    text = "Eq. 1 errs by 0.04 bits. ū is 12 to 30. More follows here."
    assert first_sentences(text) == text
    assert first_sentences(text, 45) == "Eq. 1 errs by 0.04 bits. ū is 12 to 30."
    assert first_sentences(text, 5) == "Eq. 1 errs by 0.04 bits."
    assert first_sentences("") == ""


def test_downloads_become_files_of_distinct_names(root, tmp_path):
    link = '<a download="t.csv" href="data:text/csv;base64,{}">Download t.csv</a><img src="data:image/png;base64,YQo=">'
    cells = [nbformat.v4.new_code_cell(outputs=[shows(link.format(data))]) for data in ("YQo=", "YQo=", "Ygo=")]
    page = staged(root, tmp_path, *cells)
    first, same, other = (cell.outputs[0].data["text/html"] for cell in page.cells)
    assert (
        first
        == same
        == (
            '<a download="t.csv" href="../../_static/held/t.csv">Download t.csv</a>'
            '<img loading="lazy" src="../../_static/held/87428fc522803d31.png">'
        )
    )
    assert '<a download="t_2.csv" href="../../_static/held/t_2.csv">Download t_2.csv</a>' in other
    held = tmp_path / "site/book/_static/held"
    assert [(held / name).read_text() for name in ("t.csv", "t_2.csv")] == ["a\n", "b\n"]


def test_a_book_takes_the_older_ones_place_whole_or_not_at_all(root, tmp_path, monkeypatch):
    """A stand-in for Jupyter Book that writes a page and then ends well, or does not."""
    builder = tmp_path / "jupyter-book"
    builder.write_text('#!/bin/sh\nmkdir -p "$4/_build/html"; echo "$SAYS" >"$4/_build/html/index.html"; exit $ENDS\n')
    builder.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "pages").mkdir()
    (tmp_path / "book").mkdir()
    index = tmp_path / "book/_build/html/index.html"
    for says, ends, stands in (("first", 0, "first"), ("broken", 1, "first"), ("second", 0, "second")):
        monkeypatch.setenv("SAYS", says)
        monkeypatch.setenv("ENDS", str(ends))
        assert script(root, "book").main(tmp_path / "pages", tmp_path / "book") == ends
        assert index.read_text() == f"{stands}\n"
        assert not (tmp_path / "book.new").exists()
