"""The sentences above figures say what a table of known content holds, and downloads hold what is drawn."""

import html
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.display import HTML
from matplotlib.lines import Line2D

from noise_scaling import laws, measurements
from noise_scaling.plots import findings, limits, page, style
from noise_scaling.plots.drawn import COLUMNS, drawn

from .test_small_tables import table

N, FRACTIONS = (50, 100, 200, 400), (1.0, 0.5, 0.25, 0.12, 0.06)


@pytest.fixture(scope="module")
def known():
    """scVI half a bit above PCA, which is above a random projection; all follow Eq. 1."""
    rows = table(N, FRACTIONS, ("random_projection", "pca", "scvi"))
    rows["mi_bits"] += rows["model"].map({"random_projection": 0.0, "pca": 0.01, "scvi": 0.5})
    return rows


def test_findings_have_the_numbers_of_the_table(known):
    rise = float(np.median([laws.noise_law(230 * np.array([1, 0.06]), 20 * (1 + 100 / 400), 1.5) @ [1, -1]]))
    said = findings.information(known)
    assert f"3 of 3 curves end higher at their deepest counts than at their shallowest, by {rise:.2f} bits" in said
    assert "scVI is the best model at 100 % of the depths." in said
    fits = findings.fits(known)
    assert "explains 100.0 % of the variance of a curve (of its means over seeds) in the median" in fits
    assert "90 % or more in 3 of 3 curves that rise" in fits
    assert "converges in 3 of 3 of them" in fits
    collapse = findings.collapse(known)
    assert re.search(r"60 observations lie 0\.0\d bits from the one curve", collapse)
    assert "They are of 12 curves; 0 others, whose fit does not converge" in collapse


def test_a_flat_curve_is_not_asked_for_its_shape(known):
    flat = known["model"] == "pca"
    rows = known.assign(mi_bits=known["mi_bits"].where(~flat, 0.5))
    assert "in 2 of 2 curves that rise by 0.25 bits" in findings.fits(rows)


def test_what_the_last_cells_add_is_told_with_its_depths_and_seeds(known, tmp_path):
    rows = known.assign(mi_bits=known["mi_bits"] + (known["n_cells"] == 400) * (known["model"] == "scvi") * 0.25)
    path = str(measurements.write(rows, tmp_path / "t.csv"))
    at = known[(known["model"] == "scvi") & known["n_cells"].isin([50, 400])]
    bits = at.pivot_table(index="fraction", columns="n_cells", values="mi_bits")
    gain = (bits[400] - bits[50]).median() + 0.25
    assert "From 50 to 400 cells of" in (said := limits.last_gain(path).data)
    assert f"scVI {gain:+.2f} bits (" in said
    assert "over 5 depths, 1 seed)" in said


def test_a_finding_of_too_little_is_a_sentence(tmp_path):
    path = measurements.write(table((50,), (1.0,), ("shuffled",)).assign(status="error"), tmp_path / "t.csv")
    assert "no row of this table was measured by the protocol" in findings.finding("fits", str(path)).data


def test_what_is_drawn_is_what_was_given(known):
    figure = page.FIGURES["information"](known)
    out = drawn(figure)
    assert list(out.columns) == COLUMNS
    line = out[(out["kind"] == "line") & (out["series"] == "scVI") & out["panel"].str.startswith("1 ")]
    full = known[(known["model"] == "scvi") & (known["fraction"] == 1)].sort_values("n_cells")
    assert line["x"].astype(float).tolist() == list(N)
    np.testing.assert_allclose(line["y"].astype(float), full["mi_bits"], rtol=1e-4)
    assert out["panel"].nunique() == 2
    assert set(out["series"]) == {"scVI", "PCA", "random projection"}


def test_contours_have_their_level_and_cells_their_value_and_labels():
    figure, (left, right, last) = plt.subplots(1, 3)
    left.contour([1, 2, 4], [1, 3], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], levels=[0.5, 9], colors="black")
    left.legend(handles=[Line2D([], [], color="black", label="noise budget, bits")])
    right.imshow([[0.25, np.nan]])
    right.set_xticks([0, 1], ["CCA\n+ KSG", "MINE"])
    right.set_yticks([0], ["Gaussian"])
    mesh = last.pcolormesh(np.ma.masked_invalid([[1.0, np.nan], [np.nan, 0.5]]))
    last.set_yticks([0.5, 1.5], ["worm", "mouse"])
    figure.colorbar(mesh)
    out = drawn(figure)
    contour, cells = out[out["kind"] == "contour"], out[out["kind"] == "cell"]
    assert set(contour["series"]) == {"noise budget, bits 0.5"}
    assert sorted(contour["x"].astype(float).dropna().unique()) == [1.5, 3.0]
    assert contour["x"].eq("nan").sum() == 1  # between the two pieces
    assert cells[["panel", "series", "x", "y"]].to_numpy().tolist() == [
        ["2", "0.25", "CCA + KSG", "Gaussian"], ["3", "1", "0.5", "worm"], ["3", "0.5", "1.5", "mouse"]
    ]  # fmt: skip


def test_each_row_of_what_panels_draw_says_signal_model_and_series(known):
    two = pd.concat([known, known.assign(dataset="larry_subset", signal="clone")])
    out = drawn(page.FIGURES["fits"](two)).groupby(["panel", "series"]).size().unstack()
    signals = "mine, obs:kind", "LARRY subset, clone"
    panels = {f"{signal} (a method that the table does not name), {model}" for signal in signals
              for model in ("scVI", "PCA", "random projection")}  # fmt: skip
    assert {panel.partition(" ")[2] for panel in out.index} == panels
    assert set(out.columns) == {"one seed", "Eq. 1", "2 standard errors"}
    assert (out["one seed"] == len(FRACTIONS) * known["seed"].nunique()).all()


def test_the_name_of_a_download_says_table_and_estimator(known, tmp_path):
    path = str(measurements.write(known, tmp_path / "t.csv"))
    both = str(measurements.write(pd.concat([known, known.assign(estimator="lmi")]), tmp_path / "both.csv"))

    def fits(table: pd.DataFrame) -> HTML:
        return page.as_table(table[:1], "laws.csv")

    def level_by_estimator(table: pd.DataFrame) -> pd.DataFrame:
        return table[:1]

    assert 'download="laws_ours_default.csv"' in page.show(fits, path).data
    assert ">Download laws_ours_default.csv<" in page.show(fits, path).data
    assert 'download="laws_published_lmi.csv"' in page.show(fits, "published").data
    assert 'download="laws_published_filtered_lmi.csv"' in page.show(fits, "published-filtered").data
    assert 'download="level_by_estimator_ours.csv"' in page.show(level_by_estimator, both).data


def test_provenance_offers_the_figures_shown_above_it_once(known, tmp_path):
    path = str(measurements.write(known, tmp_path / "t.csv"))
    style.BookFigure.shown.clear()
    page.show("information", path)._repr_png_()
    assert 'download="n_information_ours_default_drawn.csv"' in page.provenance(path, notebook="n.ipynb").data
    assert "drawn.csv" not in page.provenance(path, notebook="n.ipynb").data


@pytest.mark.any_machine
def test_the_readme_says_what_the_front_page_says(root):
    said = re.findall(r"<li>(.*?)</li>", findings.take_aways("data/measurements", "published").data)
    readme = (root / "README.md").read_text()
    assert len(said) == 3
    assert [line for line in said if f"- {html.unescape(line)}\n" not in readme] == []


PIECES = {
    "abstract": findings.abstract, "take_aways": findings.take_aways, "hero": findings.hero_figure,
    "where it fails": limits.where_it_fails, "sizes": limits.sizes,
}  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("models", [("pca", "scvi"), ("pca",), ("shuffled", "known_2_bits")])
def test_the_front_page_of_a_table_without_lmi_or_proteins_is_drawn_or_told(piece, models, tmp_path):
    path = str(measurements.write(table((50, 200), (1.0, 0.4, 0.15), models), tmp_path / "t.csv"))
    shown = PIECES[piece](path, path)
    text = getattr(shown, "data", "")
    assert len(text or shown._repr_png_()) > 30
    assert "nan" not in text


def test_the_hero_names_each_curve_at_its_end_and_a_small_geneformer_so(known, tmp_path):
    rows = table(N, FRACTIONS, ("pca", "geneformer"))
    path = str(measurements.write(rows, tmp_path / "t.csv"))
    figure = findings.hero_figure(path, path)
    figure._repr_png_()
    for axes in figure.axes:
        names = {text.get_text(): text.get_window_extent() for text in axes.texts}
        assert set(names) == {"PCA", "small Geneformer"}
        assert not names["PCA"].overlaps(names["small Geneformer"])
    assert "small Geneformer +" in findings.finding("information", path).data
    style.BookFigure.shown.clear()


def test_what_lies_over_data_or_titles_is_told():
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 2.0)
        panels[0, 0].set_title("a title that is a great deal longer than its panel is wide, and runs into the next")
        panels[0, 1].set_title("another", loc="left")
        panels[0, 1].plot([0, 1], [0, 1], label="a")
        panels[0, 1].legend()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        style.as_png(figure)
    said = [str(warning.message) for warning in told]
    assert len(said) == 3
    assert said[0].startswith("a figure cuts off the title 'a title that")
    assert "is wide, and runs into the next' of panel 1 over the title 'another' of panel 2" in said[1]
    assert said[2] == "a figure has legend 1 over panel 2"
    figure, panels = style.new_figure(1, 2, 2.0)
    style.legend(figure, {"label": "a"})
    style.as_png(figure)
    assert style.overlaps(figure) == []
    figure, _ = style.new_figure(1, 1, 2.0)
    style.legend(figure, {"label": "wider than the page " * 6})
    with pytest.warns(UserWarning, match="cuts off legend 1"):
        style.as_png(figure)
