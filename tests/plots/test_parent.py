"""The page on the parent paper: what is compared, against differences that were put in."""

import re

import numpy as np
import pandas as pd
import pytest

from noise_scaling.measurements import published
from noise_scaling.measurements.parent import read_parent
from noise_scaling.plots import page, parent, style
from noise_scaling.plots.readable import readable


@pytest.fixture
def shifted(monkeypatch):
    """In place of the paper's table three seeds of the parent's, scVI higher by 0.5 bits and PCA by 0.1."""
    table = read_parent()
    table = table[table["variant"] == ""]
    rows = [
        table.assign(
            seed=seed,
            mi_bits=table["mi_bits"] + 0.1 * (seed - 1) + table["model"].map({"scvi": 0.5, "pca": 0.1}).fillna(0),
        )
        for seed in (0, 1, 2)
    ]
    monkeypatch.setattr(page, "measured", lambda source: page.Source(pd.concat(rows), "shifted", ""))


def test_a_shift_is_found_where_it_was_put_and_beyond_the_seeds_where_it_is(shifted):
    found = parent.disagreements("shifted").set_index(["signal", "model"])
    assert len(found) == 3 * 4
    gap = found["parent - paper (bits)"].unstack()
    for model, shift in {"scvi": -0.5, "pca": -0.1, "random_projection": 0}.items():
        # the mean depths of a fraction, over numbers of cells, are a little apart from those of one
        assert gap[model].to_numpy() == pytest.approx(shift, abs=0.03)
    beyond = found["beyond seeds"].unstack()  # the seeds' standard deviation is 0.1
    assert (beyond["scvi"] > 0.9).all()
    assert (beyond["random_projection"] < 0.1).all()


def test_a_depth_scale_beyond_the_data_is_not_said_to_agree():
    """scVI's of the parent on the mouse brain is at the fit's bound, 3.5e8, and the paper's is beyond its counts."""
    found = parent.disagreements("published").set_index(["signal", "model"])
    fits = pd.concat([parent._fits(table) for table in (read_parent(), published.read())])
    for (signal, model), row in found.iterrows():
        of = next(key for key in parent.SHARED if style.title(*key) == signal)
        here = fits[(fits["dataset"] == of[0]) & (fits["signal"] == of[1]) & (fits["model"] == model)]
        settled = (here["status"] == "converged").all() and np.isfinite(here["u_bar_high"]).all()
        assert (row["ū agrees"] != "not determined") == settled
    assert found.loc[("mouse brain, place", "scvi"), "ū agrees"] == "not determined"
    assert np.isnan(found.loc[("mouse brain, place", "scvi"), "ū, parent"])
    html = parent.disagreements_table("published").data
    assert not re.search(r"<td>[^<]*\de[+-]\d", html)
    assert "<td>1,467</td>" in html


def test_the_two_papers_order_the_models_as_their_rows_do():
    text = parent.sentences("published").data
    assert "parent paper scVI 4.57, PCA 4.37, Geneformer 3.08, random projection 2.91; the paper scVI" in text
    paper = published.read().query("dataset == 'pbmc' and signal == 'protein' and n_cells == 100000 and fraction == 1")
    best = paper.groupby("model")["mi_bits"].mean()
    assert f"the paper scVI {best['scvi']:.2f}, PCA {best['pca']:.2f}" in text


def test_fits_name_the_transformer_of_each_table(monkeypatch):
    """The parent's own and the paper's have no small preset, ours has no other."""
    table = read_parent()
    sources = {"ours": table.assign(preset="small"), "published": table}
    monkeypatch.setattr(page, "measured", lambda source: page.Source(sources[source], source, ""))
    found = parent.fits("ours", "published")
    of_it = found[found["model"] == "geneformer"]
    assert dict(zip(of_it["table"], of_it["preset"], strict=True)) == {
        "parent paper": "its own", "the paper": "published", "ours": "small",
    }  # fmt: skip
    shown = readable(of_it)
    assert set(zip(shown["table"], shown["model"], strict=True)) == {
        ("parent paper", "Geneformer"), ("the paper", "Geneformer"), ("ours", "small Geneformer"),
    }  # fmt: skip


def test_sentences_of_the_other_tables_hold_their_numbers():
    text = parent.tables_sentences().data
    assert "0.70 of 2.89 bits at 8,164 UMIs" in text  # the last row of each encoding in rank_encoding_info_loss.csv
    assert "adds 1.10 bits (protein)" in text  # 3.94413 - 2.84332
    assert np.isclose(read_parent("finetuning")["mi_bits"].max(), 3.94413)


def test_figures_have_a_panel_for_each_signal_and_table():
    assert len(parent.curves_figure("published").axes) == 3 * 4
    assert [len(axes.get_legend().texts) for axes in parent.tables_figure().axes] == [3, 5, 2, 2]
