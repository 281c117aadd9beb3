import json
import os
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

from noise_scaling.datasets import card, names
from noise_scaling.errors import InputError
from noise_scaling.measure import cost, grid
from noise_scaling.measure.grid import check_config, jobs, read_config
from noise_scaling.models import MODELS
from noise_scaling.paths import ROOT

TINY = {
    "folder": "build/tiny", "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": [0, 1],
    "models": ["pca", "scvi"],
    "datasets": {"pbmc68k": {"cell_numbers": [50, 100], "fractions": [1, 0.5, 0.1]}},
}  # fmt: skip


def changed(**changes):
    return TINY | changes


def entry(**changes):
    return changed(datasets={"pbmc68k": TINY["datasets"]["pbmc68k"] | changes})


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "workflow/config").glob("*.yml")))
def test_shipped_configurations_are_sound(root, name):
    assert jobs(read_config(root / f"workflow/config/{name}.yml"))


def test_the_paper_grid(root):
    """10 cell numbers x 10 depths x 4 models x 3 seeds of each signal: 1,200 embeddings, 2 estimators."""
    config = read_config(root / "workflow/config/paper.yml")
    rows = [key for job in jobs(config) for key in job.row_keys()]
    assert len(rows) == 5 * 1200 * 2
    assert {row["dataset"] for row in rows} == {"pbmc", "larry", "merfish", "mouse_embryo"}
    assert max(row["n_cells"] for row in rows) == 10**7
    assert len({json.dumps(row) for row in rows}) == len(rows)


def test_the_campaign_has_an_order_room_and_no_point_twice(root):
    """Every data set but the paper's four, one after the other in each replicate; N fits beside the cells held out."""
    found = jobs(read_config(root / "workflow/config/campaign.yml"))
    assert [job.priority for job in found] == list(range(len(found), 0, -1))
    assert [job.seed for job in found] == sorted(job.seed for job in found)
    first = [job.dataset for job in found if job.seed == 0]
    assert len([name for name, before in zip(first, ["", *first], strict=False) if name != before]) == len(set(first))
    rows = [key for job in found for key in job.row_keys()]
    assert len({json.dumps(row) for row in rows}) == len(rows)
    largest = pd.DataFrame(rows).groupby("dataset")["n_cells"].max()
    assert set(largest.index) == set(names()) - {"pbmc", "larry", "merfish", "mouse_embryo"}
    for name, n_cells in largest.items():
        about = card(name)
        assert n_cells + about.n_test + about.n_validation <= about.n_cells, name
    trained = pd.DataFrame(rows).query("model != ['shuffled', 'known_2_bits'] and estimator == 'default'")
    assert len(trained) > 6000


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (changed(seedz=[1]), "unknown key 'seedz' in the file: choose one of beside, datasets, device"),
        (entry(cells=[1]), "unknown key 'cells' in datasets.pbmc68k: choose one of cell_numbers"),
        (changed(seeds="all"), "seeds must be of type array: found 'all'"),
        (changed(seeds=[0.5]), "seeds.0 must be of type integer: found 0.5"),
        (changed(device="tpu"), "device must be one of 'cpu', 'cuda', 'auto': found 'tpu'"),
        (entry(fractions=[1.5]), "datasets.pbmc68k.fractions.0 does not fit: 1.5 is greater than the maximum of 1"),
        (changed(unit_seconds=0), "unit_seconds does not fit: 0 is less than or equal to the minimum of 0"),
        ({k: v for k, v in TINY.items() if k != "seeds"}, "lacks a key: 'seeds' is a required property"),
        (
            changed(datasets={"mars": {}}),
            "unknown data set 'mars': give the path of an .h5ad file or a folder of such, or one of",
        ),
        (
            changed(datasets={"a": {"dataset": "a.h5ad"}}),
            "is a file and has no card: say its cell_numbers and fractions",
        ),
        (changed(models=["mofa"]), "models.0 must be one of 'scvi', 'scvi_nb', 'scvi_poisson'"),
        (entry(models=["mofa"]), "datasets.pbmc68k.models.0 must be one of 'scvi', 'scvi_nb'"),
        (changed(estimators=["guess"]), "estimators.0 must be one of 'default', "),
        (changed(preset="huge"), "preset must be one of 'published', 'small', 'published_trained': found 'huge'"),
        (entry(variants=["upside_down"]), "unknown variant 'upside_down': choose one of"),
        (changed(limits={"measure": {"runtime": "1 d"}}), "limits.measure.runtime does not fit: '1 d' does not match"),
        (changed(limits={"gather": {}}), "limits must be one of 'measure', 'measure_large', "),
        (
            changed(limits={"measure": {"cpus": 1}}),
            "unknown key 'cpus' in limits.measure: choose one of mem_mb, runtime",
        ),
        (changed(jobs="cell"), "jobs must be one of 'seed', 'depth': found 'cell'"),
        (changed(workers="auto"), "workers must be of type integer: found 'auto'"),
        ([], "the file must be of type object: found []"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(config, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)) as caught:
        check_config(config)
    assert "\n" not in str(caught.value)


def test_what_is_not_yaml_is_one_sentence(tmp_path):
    (tmp_path / "broken.yml").write_text("seeds: [0, 1\nfolder: x")
    with pytest.raises(InputError, match="is not YAML") as caught:
        read_config(tmp_path / "broken.yml")
    assert "\n" not in str(caught.value)


def test_a_registered_model_can_be_asked_for(monkeypatch):
    """Its name, its presets and its versions are known to configurations and jobs by the registry alone."""
    own = type("Own", (grid.MODELS["pca"],), {"PRESETS": {"tiny": {}}, "NUMBERS_VERSION": 7, "wants_gpu": True})
    monkeypatch.setitem(grid.MODELS, "own", own)
    (job,) = jobs(check_config(entry(models=["own"], preset="tiny", seeds=[0]) | {"device": "cuda"}))
    assert (job.part, job.device, job.versions()["models"]) == ("gpu", "cuda", {"own": 7})


def test_one_job_for_each_seed_and_its_depths_from_the_ends_inwards():
    found = jobs(check_config(TINY))
    assert [(job.seed, job.fractions) for job in found] == [(0, (1, 0.1, 0.5)), (1, (1, 0.1, 0.5))]
    assert [job.name for job in found] == ["protocol/pbmc68k_seed0_cpu", "protocol/pbmc68k_seed1_cpu"]
    assert found[0].parameters() == {
        "dataset": "pbmc68k", "models": ["pca", "scvi"], "preset": "small", "cell_numbers": [50, 100],
        "fractions": [1.0, 0.1, 0.5], "seeds": [0], "estimators": ["default"], "variant": "", "device": "cpu",
    }  # fmt: skip


def test_one_job_for_each_depth_in_an_order_that_leaves_whole_curves():
    found = jobs(check_config(changed(jobs="depth")))
    assert [(job.seed, job.fractions) for job in found] == [
        (0, (1,)), (0, (0.1,)), (0, (0.5,)), (1, (1,)), (1, (0.1,)), (1, (0.5,)),
    ]  # fmt: skip
    assert {job.part for job in found} == {"cpu"}
    assert found[1].name == "protocol/pbmc68k_q0.1_seed0_cpu"
    keys = [
        [key for job in jobs(check_config(config)) for key in job.row_keys()]
        for config in (TINY, changed(jobs="depth"))
    ]
    assert sorted(map(str, keys[0])) == sorted(map(str, keys[1]))


def test_versions_of_a_controls_learner_and_of_many_pairs():
    (job,) = jobs(check_config(entry(models=["shuffled"], n_test=5000, seeds=[0])))
    assert job.versions()["models"] == {"shuffled": grid.MODELS["pca"].NUMBERS_VERSION}
    assert job.versions()["estimators"] == {"default": grid.information.numbers_version("default", 5000)}


def test_a_gpu_takes_the_networks_and_large_cell_numbers_stand_apart():
    found = jobs(check_config(entry(fractions=[1], seeds=[3]) | {"device": "cuda", "large_cells": 100}))
    assert {(job.part, job.models, job.cell_numbers, job.device) for job in found} == {
        ("cpu", ("pca",), (50,), "cpu"), ("cpu_large", ("pca",), (100,), "cpu"),
        ("gpu", ("scvi",), (50,), "cuda"), ("gpu_large", ("scvi",), (100,), "cuda"),
    }  # fmt: skip


def test_one_entry_alone_may_go_to_a_gpu():
    both = TINY["datasets"] | {"trained": {"dataset": "pbmc68k", "models": ["scvi"], "device": "auto"}}
    found = jobs(check_config(changed(seeds=[3], datasets=both)))
    assert [(job.entry, job.part, job.device) for job in found] == [
        ("pbmc68k", "cpu", "cpu"),
        ("trained", "gpu", "auto"),
    ]


def test_each_large_training_has_a_job_of_its_own():
    """2 depths x 2 large N x 2 models, beside one job for the small N at both depths; no row is lost or doubled."""
    config = entry(cell_numbers=[100, 20, 80], fractions=[1, 0.5], seeds=[3]) | {"large_cells": 80}
    found = jobs(check_config(config))
    assert {job.name for job in found if job.part == "cpu_large"} == {
        f"protocol/pbmc68k_q{q}_n{n}_{model}_seed3_cpu_large"
        for q in ("1", "0.5")
        for n in (80, 100)
        for model in ("pca", "scvi")
    }
    assert [(job.cell_numbers, job.fractions) for job in found if job.part == "cpu"] == [((20,), (1, 0.5))]
    whole = jobs(check_config(config | {"large_cells": 1000}))
    keys = [sorted(str(sorted(key.items())) for job in some for key in job.row_keys()) for some in (found, whole)]
    assert keys[0] == keys[1]
    assert [job.rule for job in found][:2] == ["measure", "measure_large"]


def test_no_request_exceeds_its_limit_and_what_was_cut_is_said():
    found = jobs(check_config(entry(seeds=[0], fractions=[1]) | {"large_cells": 100}))
    small, large = found[0], max(found[1:], key=cost.memory_mb)
    needed = cost.memory_mb(large)
    limits = {"measure_large": {"mem_mb": str(needed - 1), "runtime": 10**6}, "measure_gpu": {"mem_mb": 1}}
    assert cost.request(small, limits, attempt=3) == {
        "mem_mb": 3 * cost.memory_mb(small), "runtime": 3 * cost.runtime_minutes(small)
    }  # fmt: skip
    assert cost.request(large, limits, attempt=2)["mem_mb"] == needed - 1
    assert cost.request(large, limits, attempt=9999)["runtime"] > cost.LONGEST_MINUTES
    assert cost.request(large, {}, attempt=9999)["runtime"] == cost.LONGEST_MINUTES
    assert len(found) == 3
    assert cost.cuts([large, large], limits) == [
        f"2 of 2 jobs of measure_large would ask for up to {needed:,} MB and get {needed - 1:,}: "
        "limits.measure_large.mem_mb allows no more"
    ]
    assert cost.cuts(found, {}) == []


def test_an_entry_may_differ_in_seeds_models_estimators_and_variants():
    config = entry(
        seeds=[7], models=["pca"], estimators=["default", "lmi"], fractions=[1],
        variants=["", "stop_on_scored", "fixed_steps_10"],
    )  # fmt: skip
    found = jobs(check_config(config))
    # stop_on_scored means something for lmi alone, fixed steps for no PCA
    assert [(job.variant, job.estimators, job.seed) for job in found] == [
        ("", ("default", "lmi"), 7), ("stop_on_scored", ("lmi",), 7),
    ]  # fmt: skip


def test_two_entries_of_one_data_set_have_jobs_of_their_own():
    own = TINY["datasets"]["pbmc68k"]
    found = jobs(check_config(changed(datasets={"pbmc68k": own, "again": own | {"dataset": "pbmc68k"}})))
    assert len({job.name for job in found}) == 4
    assert {job.dataset for job in found} == {"pbmc68k"}
    assert len({job.trains_as() for job in found}) == 2, "one training for each seed"


def test_memory_by_hand():
    """78,329 cells of 483 + 1 entries at 8 bytes, 20,000 + 100 own at 20 bytes, the model, and the program."""
    about = card("merfish")
    config = changed(datasets={"merfish": {"cell_numbers": [100], "fractions": [1]}}, seeds=[0])
    entries = min(about.n_genes, 0.6 * about.median_umis) + 1
    expected = 2000 + (about.n_cells * 8 + (about.n_test + about.n_validation + 100) * 20) * entries / 1e6
    model = max(MODELS[name].bytes_in_training("small", n_genes=about.n_genes) for name in config["models"])
    assert cost.memory_mb(jobs(check_config(config))[0]) == pytest.approx(expected + model / 1e6, abs=1)


def test_memory_of_what_stays_on_disk_hardly_grows_with_the_cells_in_training():
    """The atlas at full depth: 100 bytes for each of 11,441,407 cells, whatever N; 140 GB would hold it."""

    def gigabytes(n):
        atlas = {"mouse_embryo": {"cell_numbers": [n], "fractions": [1]}}
        return cost.memory_mb(jobs(check_config(changed(datasets=atlas, seeds=[0], models=["pca"])))[0]) / 1000

    assert gigabytes(10**7) == gigabytes(10**6)
    assert gigabytes(10**6) - gigabytes(100) == pytest.approx(0.67, abs=0.02)
    assert gigabytes(10**7) < 6


def test_a_file_of_ones_own_is_asked_for_by_its_shape(tmp_path):
    counts = sp.random_array((400, 90), density=0.2, random_state=0, format="csr")
    anndata.AnnData(counts.astype(bool).astype(np.float32)).write_h5ad(tmp_path / "cells.h5ad")
    own = {"cells": {"dataset": str(tmp_path / "cells.h5ad"), "cell_numbers": [50], "fractions": [1]}}
    job = jobs(check_config(changed(datasets=own, seeds=[0], models=["random_projection"])))[0]
    assert 2000 < cost.memory_mb(job) < 2020
    asked = []
    for form in (counts.tocsr(), counts.tocsc(), counts.toarray()):
        anndata.AnnData(form).write_h5ad(tmp_path / "cells.h5ad")
        asked.append(cost.memory_mb(job))
    assert asked[0] == asked[1] <= asked[2] < 2030
    unknown = {"cells": {"dataset": "elsewhere.h5ad", "cell_numbers": [50], "fractions": [1]}}
    job = jobs(check_config(changed(datasets=unknown, seeds=[0], models=["random_projection"])))[0]
    assert cost.memory_mb(job) > 3000


def test_counts_stay_on_disk_only_if_they_are_stored_cell_by_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "IN_MEMORY_BELOW", 0)
    counts = sp.random_array((400, 90), density=0.2, random_state=0, format="csr")
    own = {"cells": {"dataset": str(tmp_path / "cells.h5ad"), "cell_numbers": [50], "fractions": [1]}}
    job = jobs(check_config(changed(datasets=own, seeds=[0], models=["random_projection"])))[0]
    above = []
    for form in (counts.tocsr(), counts.tocsc(), counts.toarray()):
        anndata.AnnData(form).write_h5ad(tmp_path / "cells.h5ad")
        above.append(cost.memory_mb(job) > 2000 + cost.ON_DISK_BYTES / 1e6)
    assert above == [True, False, False]


def test_time_holds_the_reading_of_what_stays_on_disk():
    """The atlas's counts at 8 bytes and 100 MB a second, once to look at them and once for each depth."""

    def minutes(*fractions):
        atlas = {"mouse_embryo": {"cell_numbers": [100], "fractions": list(fractions)}}
        return cost.runtime_minutes(jobs(check_config(changed(datasets=atlas, seeds=[0], models=["pca"])))[0])

    about = card("mouse_embryo")
    reading = 8 * cost.nonzeros_per_cell(about) * about.n_cells / 1e8 / 60
    estimates = 25 * about.n_test / 1000 / 60
    assert reading > 10
    assert minutes(1, 0.5) - minutes(1) == pytest.approx(reading + 2 + estimates, abs=2)


def test_a_changed_file_changes_the_versions_of_its_job(tmp_path):
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(np.ones((400, 9), np.float32)).write_h5ad(path)
    own = {"cells": {"dataset": str(path), "cell_numbers": [50], "fractions": [1]}}
    job = jobs(check_config(changed(datasets=own, seeds=[0])))[0]
    before = job.versions()
    assert before == job.versions()
    os.utime(path, (1, 1))
    assert job.versions()["files"] != before["files"]
    assert "files" not in jobs(check_config(TINY))[0].versions()


def test_time_grows_with_cells_and_depth_and_stops_at_two_days():
    def minutes(preset="small", **own):
        config = changed(preset=preset, datasets={"pbmc": {"models": ["pca"], "fractions": [1]} | own}, seeds=[0])
        return cost.runtime_minutes(jobs(check_config(config))[0])

    assert minutes(cell_numbers=[100_000]) > minutes(cell_numbers=[100])
    assert minutes(cell_numbers=[100_000]) > minutes(cell_numbers=[100_000], fractions=[0.01])
    assert minutes("published", models=["geneformer"], cell_numbers=[100_000]) == 2880


def test_configurations_are_mostly_comments(root):
    text = (root / "workflow/config/paper.yml").read_text()
    assert text.count("#") > len(yaml.safe_load(text))
