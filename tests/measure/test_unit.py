from dataclasses import replace

import numpy as np

from noise_scaling import information, models
from noise_scaling.information import latent_training
from noise_scaling.information.crossfit import three_way
from noise_scaling.measure import unit as measure_unit
from noise_scaling.measure.unit import Unit, digest
from noise_scaling.splits import Split

POINT = {
    "dataset": "pbmc68k", "signal": "bulk_labels", "model": "pca", "preset": "small", "n_cells": 50, "fraction": 0.1,
    "seed": 0, "estimator": "default", "n_test": 280, "n_validation": 70, "device": "cpu", "data_sha256": "e9c3",
}  # fmt: skip
OTHERS = {
    "dataset": "x", "signal": "x", "model": "scvi", "n_cells": 51, "fraction": 0.2, "seed": 1, "estimator": "ksg",
    "n_test": 1, "n_validation": 1, "device": "cuda", "data_sha256": "x", "variant": "test_full_depth",
    "devices": 2, "precision": "bf16",
}  # fmt: skip


def hashes(**changes):
    unit = Unit(**(POINT | changes))
    return unit.config_hash, unit.embedding_hash("cells")


def raised(monkeypatch, method, **facts):
    """`method` with other facts in the registry."""
    monkeypatch.setitem(information.ESTIMATORS, method, replace(information.ESTIMATORS[method], **facts))


def test_every_field_changes_the_hash_of_the_row():
    rows = {hashes(**{name: value})[0] for name, value in OTHERS.items()}
    assert len(rows | {hashes()[0]}) == len(OTHERS) + 1


def test_an_embedding_does_not_depend_on_signal_estimator_and_pools_sizes():
    """The cells of the pools themselves enter instead."""
    same = {name for name, value in OTHERS.items() if hashes(**{name: value})[1] == hashes()[1]}
    assert same == {"signal", "data_sha256", "estimator", "n_test", "n_validation"}
    assert hashes(variant="both_pair_orders")[1] == hashes()[1]
    assert Unit(**POINT).embedding_hash("others") != hashes()[1]


def test_a_field_at_its_default_is_not_in_the_hash():
    """So that units kept before there were variants, devices and precisions keep their hashes."""
    assert not {"variant", "devices", "precision"} & set(Unit(**POINT)._facts)
    assert hashes(variant="", devices=1, precision="") == hashes()


def test_geneformers_settings_are_hashed_as_they_were_before_they_had_other_names():
    """The small preset as it stood in version 2 of its numbers, of which rows are kept."""
    assert Unit(**(POINT | {"model": "geneformer"}))._settings == {
        "context": 512, "width": 64, "feed_forward": 128, "heads": 2, "layers": 2, "dropout": 0.0, "train_tokens": 64,
        "batch_size": 32, "batch_tokens": 2048, "learning_rate": 6e-3, "warmup": 50, "weight_decay": 1e-3,
        "max_cells_seen": None, "max_steps": 400, "check_every": 50, "patience": 5, "patience_unit": "steps",
        "validation_cells": 256, "fixed_steps": None, "precision": "float32", "layer": "second_to_last",
        "frequency_start": True,
    }  # fmt: skip


def test_the_hash_is_pinned(monkeypatch):
    """A change here re-runs every unit that anyone has kept: it must be meant (BLAKE2b of the JSON, by hand)."""
    monkeypatch.setattr(models.MODELS["pca"], "NUMBERS_VERSION", 1, raising=False)
    monkeypatch.setattr(models.MODELS["pca"], "PRESETS", {"small": {"dims": 16}})
    raised(monkeypatch, "default", version=1)
    monkeypatch.setattr(measure_unit, "NUMBERS_VERSION", 1)
    assert hashes()[0] == "441e54a47b8c054163e9587d"


def test_a_new_version_of_one_model_leaves_the_others_alone(monkeypatch):
    before = {model: hashes(model=model) for model in ("pca", "shuffled", "scvi")}
    monkeypatch.setattr(models.MODELS["scvi"], "NUMBERS_VERSION", 99, raising=False)
    after = {model: hashes(model=model) for model in before}
    assert after["scvi"][0] != before["scvi"][0]
    assert after["scvi"][1] != before["scvi"][1]
    assert (after["pca"], after["shuffled"]) == (before["pca"], before["shuffled"])
    monkeypatch.setattr(models.MODELS["pca"], "NUMBERS_VERSION", 99, raising=False)
    assert hashes(model="shuffled")[0] != before["shuffled"][0], "the control is made of PCA's embedding"


def test_a_new_version_of_one_estimator_leaves_embeddings_and_other_estimators_alone(monkeypatch):
    before = {method: hashes(estimator=method) for method in ("default", "lmi")}
    raised(monkeypatch, "lmi", version=99)
    assert hashes(estimator="lmi")[0] != before["lmi"][0]
    assert hashes(estimator="lmi")[1] == before["lmi"][1]
    assert hashes(estimator="default") == before["default"]


def test_a_change_that_reaches_only_many_pairs_leaves_units_of_fewer_alone(monkeypatch):
    few, many = {"n_test": information.MANY_PAIRS - 1}, {"n_test": information.MANY_PAIRS}
    before = hashes(**few), hashes(**many)
    raised(monkeypatch, "default", many_pairs_version=99)
    assert hashes(**few) == before[0]
    assert hashes(**many)[0] != before[1][0]
    assert len(three_way(information.MANY_PAIRS, seed=0).fit) == latent_training.MANY_CELLS


def test_a_split_is_known_by_its_cells():
    cells = Split(np.arange(3), np.arange(3, 5), np.arange(5, 9))
    assert digest(cells) == digest(
        Split(*(part.astype(np.int32) for part in (cells.test, cells.validation, cells.train)))
    )
    assert digest(cells) != digest(Split(cells.test, cells.validation, cells.train[::-1]))
