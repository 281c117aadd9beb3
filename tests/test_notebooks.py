"""What every committed notebook must be: parameters, one call, one display; no outputs, no code of its own."""

import re

import nbformat
import papermill
import pytest

from noise_scaling import paths

NOTEBOOKS = sorted((paths.ROOT / "notebooks").rglob("*.ipynb"))
NAMES = [p.relative_to(paths.ROOT).as_posix() for p in NOTEBOOKS]


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook):
    return [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]


def test_valid_and_without_outputs(notebook):
    nbformat.validate(notebook)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(notebook))


def test_no_definitions(notebook):
    assert not [cell for cell in code(notebook) if re.search(r"^\s*(async def|def|class|lambda) ", cell.source, re.M)]


def test_one_parameters_cell_with_a_comment_on_each_line(notebook):
    (cell,) = parameters(notebook)
    for line in cell.source.splitlines():
        assert re.fullmatch(r"\w+ = .+?  # .{10,}", line), line


def test_figures_have_names_captions_and_alt_texts(notebook):
    for cell in code(notebook):
        settings = cell.metadata.get("mystnb")
        if settings or re.search(r'_figure\b|page\.show\("', cell.source):
            assert settings["figure"]["name"].startswith("fig-")
            assert len(settings["figure"]["caption"]) > 40
            assert len(settings["image"]["alt"]) > 40


def test_figure_names_are_unique():
    cells = [cell for path in NOTEBOOKS for cell in code(nbformat.read(path, as_version=4))]
    names = [c.metadata.mystnb["figure"]["name"] for c in cells if "mystnb" in c.metadata]
    assert len(names) == len(set(names)) >= 8


def test_papermill_finds_every_parameter():
    found = papermill.inspect_notebook(str(paths.ROOT / "notebooks/measure.ipynb"))
    assert {"dataset", "models", "cell_numbers", "fractions", "seeds", "results", "output"} <= set(found)
    assert all(entry["help"] for entry in found.values())


def run(name, tmp_path, **values):
    return papermill.execute_notebook(
        str(paths.ROOT / "notebooks" / name), str(tmp_path / "out.ipynb"), parameters=values, progress_bar=False
    )


def test_a_slice_through_papermill(tmp_path):
    settings = {"models": ["pca"], "cell_numbers": [50], "fractions": [1, 0.1]}
    table = tmp_path / "t.csv"
    run("measure.ipynb", tmp_path, **settings, results=str(tmp_path / "units"), output=str(table))
    assert table.read_text().count("\n") == 3


def test_a_wrong_parameter_is_one_sentence(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        run("measure.ipynb", tmp_path, models=["nope"], results=None)
    assert "unknown model 'nope'" in caught.value.evalue
    assert caught.value.traceback == [f"InputError: {caught.value.evalue}"]  # the sentence, no stack
