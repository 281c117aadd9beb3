import json

import pytest

from noise_scaling import measurements
from noise_scaling.measure.grid import check_config, jobs
from noise_scaling.measure.refused import main, rows

CONFIG = {
    "folder": "build/tiny", "preset": "small", "estimators": ["default", "ksg"], "device": "cpu", "seeds": [4],
    "models": ["pca", "scvi"], "datasets": {"pbmc68k": {"cell_numbers": [50, 1000], "fractions": [1, 0.5]}},
}  # fmt: skip


def executed(folder, name):
    """A notebook that ended with an error of this name."""
    (job,) = jobs(check_config(CONFIG))
    error = {"output_type": "error", "ename": name, "evalue": "no: do this", "traceback": []}
    cells = [{"cell_type": "markdown"}, {"outputs": [{"output_type": "stream"}]}, {"outputs": [error]}]
    path = folder / "log.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {"papermill": {"parameters": job.parameters()}}}))
    return job, path


def test_a_refused_job_becomes_its_rows(tmp_path):
    job, notebook = executed(tmp_path, "InputError")
    assert main(str(notebook), str(tmp_path / "table.csv")) == 0
    table = measurements.read(tmp_path / "table.csv")
    assert len(table) == 2 * 2 * 2 * 2
    asked = sorted(map(str, rows(job.parameters(), "")[measurements.KEY].values.tolist()))
    assert sorted(map(str, table[measurements.KEY].values.tolist())) == asked
    assert set(table["status"]) == {measurements.ERROR}
    assert set(table["error"]) == {"InputError: no: do this"}
    assert set(table["signal"]) == {"bulk_labels"}
    assert measurements.gather([tmp_path / "table.csv"], rows=len(table)).equals(table)


@pytest.mark.parametrize("name", ["KeyError", None])
def test_what_is_no_refusal_is_no_table(tmp_path, name):
    """A mistake in the code, or a kernel that died before a notebook was written."""
    notebook = executed(tmp_path, name)[1] if name else tmp_path / "none.ipynb"
    assert main(str(notebook), str(tmp_path / "table.csv")) == 1
    assert not (tmp_path / "table.csv").exists()
