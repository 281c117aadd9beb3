import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from noise_scaling import cli, datasets, information, measurements, models, paths
from noise_scaling.measure import ablations
from noise_scaling.measure.slice import Slice

ONE = ["measure", "--models", "pca", "--cell-numbers", "100", "--fractions", "1"]
"""One unit of the packaged data set, in a fraction of a second."""

PRINTS = [sys.executable, "-c", "from noise_scaling import cli; raise SystemExit(cli.answer(lambda: print('a line')))"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    assert "measure" in capsys.readouterr().out


def test_measure_gather_fit_figure(tmp_path, capsys):
    common = ["--models", "pca", "--cell-numbers", "100", "--results", str(tmp_path / "units")]
    for q in ("1", "0.3", "0.1"):
        out = ["--fractions", q, "--output", str(tmp_path / f"{q}.csv")]
        assert cli.main(["measure", "--dataset", "pbmc68k", *common, *out]) == 0
    tables = [str(tmp_path / f"{q}.csv") for q in ("1", "0.3", "0.1")]
    together = tmp_path / "all.csv"
    assert cli.main(["gather", *tables, "--output", str(together)]) == 0
    assert len(measurements.read(together)) == 3
    assert cli.main(["fit", str(together), "--output", str(tmp_path / "fits.csv")]) == 0
    assert (tmp_path / "fits.csv").read_text().count("\n") == 2
    assert cli.main(["figure", "information", str(together), "--output", str(tmp_path / "f.png")]) == 0
    assert (tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"
    assert "3 rows in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["measure", "--dataset", "nope"], "nope"),
        (["measure", "--models", "nope"], "unknown model 'nope'"),
        (["measure", "--fractions", "2"], "(0, 1]"),
        (["check", "missing.npz"], "no file missing.npz"),
        (["check", "nope"], "unknown data set 'nope'"),
        (["check", "pbmc68k", "--embedding", "nope"], "obsm:KEY"),
        (["check", "pbmc68k", "--estimator", "ksgg"], "unknown estimator 'ksgg'"),
        (["check", "pbmc68k", "--estimator", "ksg", "--seed", "half"], "--seed"),
        (["check", "pbmc68k", "--output", __file__], "is a file"),
        (["gather", "missing.csv", "--output", "x.csv"], "missing.csv"),
        (["fit", "missing.csv"], "missing.csv"),
        (["figure", "pie", "published", "--output", "x.png"], "unknown figure 'pie'"),
        (["datasets", "nope"], "nope"),
        (["fetch", "nope"], "nope"),
        (["measure", "--n-test", "0"], "n_test (--n-test) must be a whole number from 30 on"),
        (["measure", "--n-test", "-5"], "--n-test"),
        (["measure", "--n-validation", "0"], "--n-validation"),
        (["measure", "--seeds", str(2**70)], "--seeds"),
        (["measure", "--seeds", "1e20"], "--seeds"),
        (["measure", "--seeds", "-1"], "--seeds"),
        (["measure", "--cell-numbers", "1.5"], "--cell-numbers"),
        (["measure", "--cell-numbers", "many"], "--cell-numbers"),
        (["measure", "--cell-numbers", "1e9"], "training cells asked for"),
        (["measure", "--fractions", "half"], "--fractions"),
        (["measure", "--workers", "0"], "--workers"),
        (["measure", "--unit-seconds", "-1"], "--unit-seconds"),
        (["measure", "--results", __file__], "is a file"),
        (["measure", "--output", "."], "is a folder"),
        (["measure", "--output", f"{__file__}/t.csv"], "is a file"),
        (["measure", "--output", __file__, *ONE[1:]], "no table to be replaced"),
        (["gather", ".", "--output", "x.csv"], "holds no table and no finished unit"),
        (["status", "missing.yml"], "missing.yml"),
        (["status", "."], "cannot be read (Is a directory)"),
        (["fit", "."], "holds no measurements CSV"),
        (["fit", sys.executable], "cannot be read as CSV"),
        (["fit", "t.csv", "--output", " "], "--output is empty"),
        (["gather", "", "--output", "x.csv"], "tables is empty"),
        (["restore", "t.csv", "--results", ""], "--results is empty"),
        (["measure", "--output", ""], "--output is empty"),
        (["measure", "--unit-seconds", "1e300"], "--unit-seconds"),
        (["figure", "fits", "t.csv", "--output", "f.pdf"], "as PNG"),
        (
            [
                "plan",
                "--pilot",
                "missing.csv",
                "--budget",
                "1000",
                "--cost-per-cell",
                "1",
                "--cost-per-million-reads",
                "4",
            ],
            "missing.csv",
        ),
    ],
)
def test_one_sentence_and_status_2(arguments, word, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_check_answers_in_a_sentence_as_json_and_in_a_folder(folder, capsys):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 2))
    np.savez("p.npz", x=x, y=x[:, :1] + rng.standard_normal((200, 1)))
    assert cli.main(["check", "p.npz", "--estimator", "ksg"]) == 0
    verdict, empty, *checks = capsys.readouterr().out.splitlines()
    assert verdict.startswith("Trust at least 0.")
    assert empty == ""
    assert len(checks) == 10
    assert all(line.startswith(("ok ", "tie ")) for line in checks)
    assert cli.main(["check", "p.npz", "--estimator", "ksg", "--output", "checked", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == verdict
    assert {"name", "value", "ok"} <= set(answer["checks"][0])
    assert json.loads((folder / "checked/check.json").read_text()) == answer
    assert (folder / "checked/check.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "checked/estimates.csv").read_text().count("\n") == 29
    np.savez("p.npz", x=np.r_[x, x], y=np.r_[x, x][:, :1])
    assert cli.main(["check", "p.npz", "--estimator", "ksg", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"].startswith("Do not trust")
    assert [check["name"] for check in answer["checks"] if not check["ok"]][:2] == ["repeated_cells", "leak"]


def test_gathering_nothing_leaves_the_good_table(folder, capsys):
    assert cli.main([*ONE, "--output", "t.csv"]) == 0
    before = (folder / "t.csv").read_bytes()
    (folder / "empty").mkdir()
    (folder / "header").mkdir()
    (folder / "header" / "t.csv").write_bytes(before.splitlines(keepends=True)[0])
    for nothing in ("empty", "header", "header/t.csv"):
        assert cli.main(["gather", nothing, "--output", "t.csv"]) == 2
        assert (folder / "t.csv").read_bytes() == before
    assert cli.main(["gather", "results/units", "--rows", "3", "--output", "t.csv"]) == 2
    assert "1 rows in 1 files where 3 were asked for (--rows): measure what is missing" in capsys.readouterr().err
    assert cli.main(["gather", "results/units", "--rows", "1", "--output", "t.csv"]) == 0
    assert (folder / "t.csv").read_bytes() == before


def test_gathering_takes_no_other_file_for_its_provenance(folder, capsys):
    assert cli.main([*ONE, "--output", "t.csv"]) == 0
    (folder / "x.json").write_text("mine")
    for output in ("x.csv", "y.json"):
        assert cli.main(["gather", "t.csv", "--output", output]) == 2
        assert "provenance" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["results", "t.csv", "x.json"]
    assert (folder / "x.json").read_text() == "mine"
    assert cli.main(["gather", "t.csv", "--output", "z.csv"]) == 0
    assert cli.main(["gather", "t.csv", "--output", "z.csv"]) == 0


def test_controls_alone_give_no_fit_and_a_model_of_others_is_drawn(folder, capsys):
    assert cli.main(["measure", "--models", "shuffled", *ONE[3:], "--output", "t.csv"]) == 0
    assert cli.main(["fit", "t.csv"]) == 2
    assert "holds no model but controls" in capsys.readouterr().err
    table = measurements.read("t.csv").assign(model="theirs")
    measurements.write(table, "u.csv")
    assert cli.main(["figure", "information", "u.csv", "--output", "u.png"]) == 0


def test_a_second_run_keeps_the_default_table_of_the_first(folder, capsys):
    assert cli.main(ONE) == 0
    before = (folder / "results/measurements.csv").read_bytes()
    assert cli.main([*ONE, "--seeds", "1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "results/measurements.csv holds 1 rows that this run does not measure" in said
    assert "--output" in said
    assert (folder / "results/measurements.csv").read_bytes() == before
    assert cli.main([*ONE, "--seeds", "0", "1"]) == 0
    assert len(measurements.read(folder / "results/measurements.csv")) == 2


@pytest.mark.parametrize(("bad", "status"), [(("pca", "random_projection"), 1), (("pca",), 0)])
def test_the_status_says_when_every_unit_failed(bad, status, folder, monkeypatch, capsys):
    def embed(self, point, unit, trained, good=Slice._embed):
        if point.model in bad:
            raise RuntimeError("no luck")
        return good(self, point, unit, trained)

    monkeypatch.setattr(Slice, "_embed", embed)
    assert cli.main([*ONE[:3], "random_projection", *ONE[3:], "--output", "t.csv"]) == status
    said = capsys.readouterr()
    failed = (measurements.read("t.csv")["status"] == "error").sum()
    assert failed == len(bad)
    if status:
        assert "all 2 rows failed, they are in t.csv; the first: RuntimeError: no luck" in said.err
    else:
        assert said.out == "2 rows in t.csv, 1 of them failed: see their error\n"


@pytest.fixture
def interruptible():
    """A shell starts what it runs in the background deaf to interrupts; a test has to hear them there too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
@pytest.mark.parametrize("when", ["training", "estimating"])
def test_a_signal_ends_with_the_sentence_and_its_status(
    number, status, word, when, interruptible, folder, monkeypatch, capsys
):
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    if when == "training":
        from noise_scaling.models.training import Training

        monkeypatch.setattr(Training, "run", lambda self, checkpoint: signal.raise_signal(number))
    else:
        monkeypatch.setattr(information, "estimate", lambda *_, **__: signal.raise_signal(number))
    arguments = [*ONE, "--output", "t.csv"]
    assert cli.main([{"pca": "scvi"}.get(a, a) if when == "training" else a for a in arguments]) == status
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"noise-scaling: {word}; what was finished is kept, run the same command to go on"
    )
    assert not (folder / "t.csv").exists()
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_killed_command_with_workers_ends_them(folder):
    hang = (
        "import sys, time; from noise_scaling import cli; from noise_scaling.measure.slice import Slice\n"
        "def embed(self, point, unit, trained, good=Slice._embed):\n"
        "    if point.model == 'pca': return good(self, point, unit, trained)\n"
        "    open(f'at_work_{point.n_cells}', 'w').close(); time.sleep(600)\n"
        "Slice._embed = embed\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    arguments = ["measure", "--models", "pca", "random_projection", "--cell-numbers", "100", "200", "--fractions", "1"]
    command = [sys.executable, "-c", hang, *arguments, "--workers", "2", "--output", "t.csv"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while len(list(folder.glob("at_work_*"))) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert said.splitlines()[-1].startswith("noise-scaling: terminated")
    assert len(list(folder.glob("results/units/*/*.json"))) == 2
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_reader_that_goes_away_is_no_traceback(folder):
    """`noise-scaling fit table.csv | head -1`."""
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(PRINTS, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_under_what_is_printed_is_one_sentence(folder):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(PRINTS, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr == "noise-scaling: the disk that takes what is printed is full: free it, or print elsewhere\n"


@pytest.mark.parametrize(("closed", "arguments", "status"), [(1, ["datasets"], 0), (2, ["fit", "nosuch.csv"], 2)])
def test_a_closed_stream_is_no_crash_and_the_other_takes_nothing_of_it(closed, arguments, status, folder):
    """`noise-scaling ... 2>&-`"""
    command = [sys.executable, "-m", "noise_scaling.cli", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=lambda: os.close(closed))
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")


def test_a_working_folder_that_is_gone_is_one_sentence(folder, monkeypatch, capsys):
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    assert cli.main(["fit", "t.csv"]) == 2
    assert capsys.readouterr().err == "noise-scaling: the working folder is no longer there: change to another one\n"


def test_help_lists_what_the_registries_hold(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        cli.main(["measure", "--help"])
    said = " ".join(capsys.readouterr().out.replace("-\n", "-").split())
    for registry in (models.MODELS, information.METHODS, filter(None, ablations.VARIANTS), ["published", "--workers"]):
        for name in registry:
            assert name in said


@pytest.mark.parametrize("columns", ["1", "0", "-3", "wide"])
def test_a_narrow_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    for command in ([], ["measure"], ["plan"]):
        with pytest.raises(SystemExit) as stop:
            cli.main([*command, "--help"])
        assert stop.value.code == 0


def test_help_imports_nothing_heavy():
    code = "import sys; from noise_scaling import cli; cli._parser().format_help(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_fetch_prints_every_file_or_says_that_there_is_none(tmp_path, monkeypatch, capsys):
    files = tuple(datasets.File(f"d/{name}.csv") for name in "ab")
    for file in files:
        (tmp_path / file.name).parent.mkdir(exist_ok=True)
        (tmp_path / file.name).write_text(file.name)
    monkeypatch.setenv("NOISE_SCALING_MIRROR", str(tmp_path))
    monkeypatch.setattr(datasets, "card", lambda name: datasets.Card(name, "two files", files=files))
    assert cli.main(["fetch", "d"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/d/a.csv  0.0 MB\n{tmp_path}/d/b.csv  0.0 MB\n"
    monkeypatch.undo()
    for name in ("pbmc68k", "simulated"):
        assert cli.main(["fetch", name]) == 0
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"{name} needs no download")


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["status", __file__.replace(".py", ".yml")], ["fit", "data/measurements"],
     ["plan", "--dataset", "pbmc10k", "--budget", "99", "--cost-per-cell", "1", "--cost-per-million-reads", "4"]],
)  # fmt: skip
def test_a_wheel_says_what_needs_the_checkout(arguments, folder, monkeypatch, capsys):
    from noise_scaling.measure import grid

    (folder / "own.yml").write_text("datasets: {}\n")
    monkeypatch.setattr(paths, "ROOT", folder / "lib")
    monkeypatch.setattr(paths, "MEASUREMENTS", folder / "lib" / "data" / "measurements")
    monkeypatch.setattr(grid, "SCHEMA", folder / "lib" / "workflow" / "schema.json")
    assert cli.main([a if not a.endswith("yml") else "own.yml" for a in arguments]) == 2
    said = capsys.readouterr().err
    assert "the project's checkout and this installation has none" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", [["fit"], ["figure", "information"]])
def test_a_table_does_not_take_its_own_place(command, folder, capsys):
    assert cli.main([*ONE, "--output", "t.csv"]) == 0
    before = (folder / "t.csv").read_bytes()
    assert cli.main([*command, "t.csv", "--output", "./t.csv"]) == 2
    assert "would take the place of the table itself" in capsys.readouterr().err
    assert (folder / "t.csv").read_bytes() == before
    assert cli.main(["restore", "t.csv", "--results", "t.csv"]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert (folder / "t.csv").read_bytes() == before


def test_datasets_are_listed(capsys):
    assert cli.main(["datasets"]) == 0
    assert "pbmc68k" in capsys.readouterr().out
    assert cli.main(["datasets", "pbmc68k"]) == 0
    assert "10.1038/ncomms14049" in capsys.readouterr().out
