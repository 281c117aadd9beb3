import pytest

from noise_scaling import cli, measurements


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
        (["gather", "missing.csv", "--output", "x.csv"], "missing.csv"),
        (["fit", "missing.csv"], "missing.csv"),
        (["figure", "pie", "published", "--output", "x.png"], "unknown figure 'pie'"),
        (["datasets", "nope"], "nope"),
    ],
)
def test_one_sentence_and_status_2(arguments, word, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_datasets_are_listed(capsys):
    assert cli.main(["datasets"]) == 0
    assert "pbmc68k" in capsys.readouterr().out
    assert cli.main(["datasets", "pbmc68k"]) == 0
    assert "10.1038/ncomms14049" in capsys.readouterr().out
