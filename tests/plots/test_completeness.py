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
    figure = completeness.draw(states)
    axes = figure.axes[0]
    shares = axes.collections[0].get_array().reshape(4, 2)
    # scVI above PCA, each from few cells to many; columns from shallow to deep
    assert shares.tolist() == [[1, 1], [1, pytest.approx(2 / 3)], [pytest.approx(1 / 3), 1], [1, 1]]
    (crosses,) = (line for line in axes.lines if line.get_marker() == "x")
    assert (crosses.get_xdata().tolist(), crosses.get_ydata().tolist()) == ([0.5], [2.5])
    assert axes.get_ylim() == (4, 0)


def test_a_cell_that_was_not_asked_for_has_neither_colour_nor_cross(states):
    axes = completeness.draw(states[(states["n_cells"] == 50) | (states["fraction"] == 1.0)]).axes[0]
    shares = axes.collections[0].get_array().reshape(4, 2)
    assert shares.mask.tolist() == [[False, False], [True, False], [False, False], [True, False]]
    (crosses,) = (line for line in axes.lines if line.get_marker() == "x")
    assert crosses.get_xydata().tolist() == [[0.5, 2.5]]


def test_the_colour_runs_from_nothing_done_to_all_done(states):
    drawn = completeness.draw(states).axes[0].collections[0]
    assert drawn.get_clim() == (0, 1)


def test_names_take_two_lines_where_their_block_has_two_rows(states):
    states["model"] = states["model"].replace("pca", "random_projection")
    for rows, name in ((states, "random\nprojection"), (states[states["n_cells"] == 50], "random projection")):
        assert name in [text.get_text() for text in completeness.draw(rows).axes[0].texts]


def test_data_sets_stand_in_two_columns(states):
    three = pd.concat([states.assign(dataset=name) for name in ("a", "b", "c")])
    *panels, _ = completeness.draw(three).axes  # the last is the bar of colours
    assert [panel.axison for panel in panels] == [True, True, True, False]
    places = [panel.get_subplotspec() for panel in panels]
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_failures_are_listed_or_a_sentence_says_there_are_none(tmp_path, monkeypatch, states):
    monkeypatch.setattr(completeness.status, "completeness", lambda configs, source: states)
    assert "2 failed." in completeness.failures("any.yml").data
    assert "24 measurements asked for: 21 done, 2 failed, 1 missing." in completeness.counts("any.yml").data
    states["state"] = status.DONE
    assert completeness.failures("any.yml").data == "<p>None of them failed.</p>"
