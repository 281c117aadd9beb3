import pandas as pd
import pytest

from noise_scaling.measure import status
from noise_scaling.plots import completeness


@pytest.fixture
def states():
    """Two models at two cell numbers and two depths, three seeds: all done, but two failed and one missing."""
    rows = [
        ("pbmc68k", "bulk_labels", model, "small", n, q, q, seed, "default", "", status.DONE, "", 1.0)
        for model in ("pca", "scvi") for n in (50, 100) for q in (0.1, 1.0) for seed in range(3)
    ]  # fmt: skip
    columns = [*status.KEY, "state", "error", "seconds"]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[[0, 1], "state"] = status.FAILED  # PCA, 50 cells, fraction 0.1
    table.loc[23, "state"] = status.MISSING  # scVI, 100 cells, full depth
    return table


def test_colours_are_shares_and_crosses_are_failures(states):
    axes = completeness.draw(states).axes[0]
    shares = axes.collections[0].get_array().reshape(1, 2)
    assert shares.tolist() == [[pytest.approx(11 / 12), pytest.approx(10 / 12)]]  # scVI before PCA
    assert [text.get_text() for text in axes.texts] == ["91", "83"]
    (crosses,) = (line for line in axes.lines if line.get_marker() == "x")
    assert (crosses.get_xdata().tolist(), crosses.get_ydata().tolist()) == ([1.85], [0.3])
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["one or more failed"]
    assert axes.get_ylim() == (1, 0)


def test_a_cell_that_was_not_asked_for_has_neither_colour_nor_number(states):
    other = states[states["model"] == "scvi"].assign(dataset="worm_embryo", signal="time.point", state=status.DONE)
    axes = completeness.draw(pd.concat([states, other])).axes[0]
    shares = axes.collections[0].get_array().reshape(2, 2)
    assert shares.mask.tolist() == [[False, False], [False, True]]
    assert len(axes.texts) == 2  # neither the blank cell nor the one that is whole
    assert [label.get_text() for label in axes.get_yticklabels()] == ["PBMC 68k, cell type", "worm embryo, time"]


def test_numbers_are_white_on_dark_cells_and_black_on_light_ones(states):
    states.loc[states["model"] == "scvi", "state"] = status.MISSING
    states.loc[23, "state"] = status.DONE
    texts = completeness.draw(states).axes[0].texts
    assert [(text.get_text(), text.get_color()) for text in texts] == [("8", "black"), ("83", "white")]


def test_the_colour_runs_from_nothing_done_to_all_done(states):
    drawn = completeness.draw(states).axes[0].collections[0]
    assert drawn.get_clim() == (0, 1)


def test_columns_are_named_by_model_and_preset(states):
    states["model"] = states["model"].replace("pca", "geneformer")
    names = [label.get_text() for label in completeness.draw(states).axes[0].get_xticklabels()]
    assert names == ["scVI", "small Geneformer"]


def test_tables_name_models_by_their_preset_like_the_figure(monkeypatch, states):
    states["model"] = states["model"].replace("pca", "geneformer")
    monkeypatch.setattr(completeness.status, "completeness", lambda configs, source: states)
    for shown in (completeness.counts("any.yml", by=["model"]), completeness.hours("any.yml")):
        assert "<td>small Geneformer</td>" in shown.data
    assert "<td>small Geneformer</td>" in completeness.failures("any.yml").data


def test_failures_are_listed_or_a_sentence_says_there_are_none(tmp_path, monkeypatch, states):
    monkeypatch.setattr(completeness.status, "completeness", lambda configs, source: states)
    assert "2 failed." in completeness.failures("any.yml").data
    assert "24 measurements asked for: 21 done, 2 failed, 1 missing." in completeness.totals("any.yml").data
    states["state"] = status.DONE
    assert completeness.failures("any.yml").data == "<p>None of them failed.</p>"


def test_trained_models_are_counted(monkeypatch):
    counted = pd.DataFrame({"model": ["pca", "scvi"], "trained": [3000, 3]})
    monkeypatch.setattr(completeness.status, "trainings", lambda source: counted)
    assert "3,003 trained models." in completeness.trainings("any").data
