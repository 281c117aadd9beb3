"""What a file's slice rests on: not on names, and refused before the work where no estimate can come of it."""

import shutil
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import cli
from noise_scaling.errors import InputError
from noise_scaling.measure import ablations
from noise_scaling.measure.run import measure
from noise_scaling.measure.slice import Grid
from noise_scaling.models import MODELS, geneformer_data
from noise_scaling.signals import Signal

CELLS = 200
ASK = {
    "models": ["random_projection"],
    "cell_numbers": [50],
    "fractions": [0.5],
    "estimators": ["mixed_ksg"],
    "n_test": 60,
    "n_validation": 20,
    "progress": False,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, CELLS)
    counts = rng.poisson(np.where(kind[:, None] == np.arange(20) % 2, 4, 1)) + 1
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(CELLS)])
    obs["kind"], obs["few"], obs["many"] = (
        kind.astype(str),
        pd.Categorical(["a", "b"] * 20 + [None] * 160),
        np.arange(200) // 4,
    )
    obs["age"] = kind + rng.normal(0, 0.3, CELLS)
    obs["clone"] = np.where(np.arange(CELLS) < 40, np.arange(CELLS) // 2, -1)
    path = tmp_path_factory.mktemp("cells") / "one.h5ad"
    anndata.AnnData(
        sp.csr_matrix(counts.astype("f4")), obs, pd.DataFrame(index=[f"g{i}" for i in range(20)])
    ).write_h5ad(path)
    return path


def test_a_files_name_does_not_matter(path, tmp_path):
    shutil.copy(path, tmp_path / "another name.h5")
    one, other = (measure(p, signal="obs:kind", **ASK) for p in (path, tmp_path / "another name.h5"))
    assert one["mi_bits"][0] > 0.3
    assert one["dataset"].tolist() == ["one"]
    assert other["dataset"].tolist() == ["another name"]
    columns = ["mi_bits", "umis_per_cell", "umis_per_cell_train", "data_sha256"]
    assert one[columns].equals(other[columns])


def test_two_signals_of_the_same_cells_train_once(path, tmp_path, monkeypatch):
    one = ASK | {"models": ["pca"], "estimators": ["infonce"]}
    asked = one | {"results": tmp_path, "keep_embeddings": True}
    measure(path, signal="obs:kind:number", **asked)
    monkeypatch.setattr("noise_scaling.measure.slice.models.create", lambda *_, **__: pytest.fail("trained again"))
    found = measure(path, signal="obs:age", **asked)
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    monkeypatch.undo()
    alone = measure(path, signal="obs:age", **one)
    assert found["mi_bits"][0] > 0.3
    assert found["mi_bits"].tolist() == alone["mi_bits"].tolist()


@pytest.mark.parametrize(
    ("signal", "asked", "words"),
    [
        ("obs:few", {"n_test": None}, "'obs:few' has 20 test cells, too few for an estimate: at least 30"),
        ("pairs:clone", {"n_test": 30}, "'pairs:clone' has 15 pairs of test cells, too few for an estimate"),
        ("obs:many:label", {"n_test": 40}, r"'obs:many:label' has \d+ classes in 40 test cells"),
        ("obs:kind", {"cell_numbers": [121]}, "121 training cells asked for, 120 left"),
        ("obs:few", {"n_test": 60}, "60 test cells asked for, 40 found"),
    ],
)
def test_what_no_estimator_takes_is_refused_before_the_work(signal, asked, words, path, tmp_path):
    with pytest.raises(InputError, match=words):
        measure(path, signal=signal, **(ASK | asked), results=tmp_path / "units", output=tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())


def test_notes_are_said_once_and_not_where_nobody_looks(path, capsys):
    measure(path, signal="obs:kind", **ASK)
    assert capsys.readouterr().err == ""
    measure(path, signal="obs:kind", **(ASK | {"progress": True}))
    assert capsys.readouterr().err.count("signal obs:kind: 2 classes (a measurement? obs:kind:number); 200 of 200") == 1


def test_estimated_counts_are_rounded_where_the_command_says_so(path, tmp_path, capsys, monkeypatch):
    adata = anndata.read_h5ad(path)
    adata.X = adata.X.multiply(1 + 0.01 * (adata.X.toarray() > 4)).tocsr()
    adata.write_h5ad(tmp_path / "em.h5ad")
    asked = {
        "dataset": "em.h5ad",
        "signal": "obs:kind",
        "models": "random_projection",
        "cell-numbers": 50,
        "fractions": 0.5,
    }
    asked |= {"estimators": "mixed_ksg", "n-test": 60, "n-validation": 20, "results": "units", "output": "table.csv"}
    command = ["measure", *(word for key, value in asked.items() for word in (f"--{key}", str(value)))]
    monkeypatch.chdir(tmp_path)
    assert cli.main(command) == 2
    assert "round them with --round" in capsys.readouterr().err
    assert cli.main([*command, "--round"]) == 0
    assert "was rounded to whole numbers" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "table.csv")["mi_bits"][0] == measure(path, signal="obs:kind", **ASK)["mi_bits"][0]


def test_training_cells_are_made_tokens_once(path, monkeypatch):
    """For each depth and N, whatever models and controls follow: the untrained control needs their medians alone."""
    made = []

    def tokens_of(cells, *how):
        made.append(cells.shape[0])
        return geneformer_data.tokens_of(cells, *how)

    monkeypatch.setattr("noise_scaling.models.geneformer.tokens_of", tokens_of)
    monkeypatch.setitem(MODELS["geneformer"].PRESETS["small"], "max_steps", 1)
    models = ["geneformer", "untrained_geneformer", "shuffled"]
    asked = {"models": models, "cell_numbers": [50, 70]}
    assert (measure(path, signal="obs:kind", **ASK | asked)["status"] == "ok").all()
    assert sorted(n for n in made if n in (50, 70)) == [50, 70]


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_a_variant_trains_on_some_blocks_alone(n_blocks):
    blocks, kind = np.repeat(np.arange(4), 50), np.tile(["a", "b"], 100)
    names = np.array([f"cell{i}" for i in range(200)])
    data = SimpleNamespace(cell_ids=names, stream="s", signal=Signal("kind", "label", kind), blocks=blocks)
    variant = ablations.named(f"blocks_{n_blocks}")
    cells = Grid(data, ("pca",), (20,), (1.0,), "small", ("default",), 50, 10, "cpu", variant=variant).split(0)
    assert len(set(blocks[cells.train])) == n_blocks
    assert not set(blocks[cells.test]) & set(blocks[cells.train])
