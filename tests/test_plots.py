import re
from html import unescape

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

from noise_scaling import datasets, laws, measurements, paths
from noise_scaling.errors import InputError
from noise_scaling.plots import cells as cell_page
from noise_scaling.plots import datasets as dataset_page
from noise_scaling.plots import figures, page, style
from noise_scaling.plots.figures import FIGURES, collapse_figure, information_figure
from noise_scaling.signals import Signal


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Two models that follow Eq. 1 exactly, three cell numbers, six depths, two seeds 0.1 bits apart."""
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    rows = []
    for model, u_bar in (("pca", 400.0), ("scvi", 200.0)):
        for n in (100, 1000, 10_000):
            for fraction in np.geomspace(1, 0.01, 6):
                for seed in (0, 1):
                    bits = laws.noise_law(1000 * fraction, u_bar, 2 + 0.1 * np.log10(n)) + 0.1 * seed
                    rows.append(
                        blank
                        | {"dataset": "pbmc68k", "signal": "bulk_labels", "model": model, "preset": "small"}
                        | {"n_cells": n, "fraction": fraction, "seed": seed, "estimator": "default", "status": "ok"}
                        | {"umis_per_cell": 1000 * fraction, "mi_bits": bits}
                    )
    return measurements.sort(rows)


def texts(figure):
    return " ".join(t.get_text() for t in figure.findobj(match=lambda a: hasattr(a, "get_text")))


def curve_lines(axes):
    """The lines of models, without the one at 0 bits."""
    return [line for line in axes.lines if line.get_marker() not in ("None", "")]


def bands(axes, x):
    """Lowest and highest y of each filled band at its corners `x`."""
    for band in axes.collections:
        corners = band.get_paths()[0].vertices
        at = [corners[np.isclose(corners[:, 0], value), 1] for value in x]
        yield [y.min() for y in at], [y.max() for y in at]


def test_information_figure_shows_means_and_extremes(table):
    figure = information_figure(table)
    cells, depth = figure.axes
    assert (cells.get_xlabel(), figure.get_supylabel()) == ("training cells, at full depth", "information (bits)")
    line = next(x for x in cells.lines if x.get_color() == style.colour("pca"))
    np.testing.assert_array_equal(line.get_xdata(), [100, 1000, 10_000])
    expected = [laws.noise_law(1000, 400, 2 + 0.1 * np.log10(n)) + 0.05 for n in (100, 1000, 10_000)]
    np.testing.assert_allclose(line.get_ydata(), expected)
    for axes, x in ((cells, [100, 1000, 10_000]), (depth, 1000 * np.geomspace(0.01, 1, 6))):
        for (low, high), line in zip(bands(axes, x), curve_lines(axes), strict=True):  # the two seeds, 0.1 bits apart
            np.testing.assert_allclose(low, line.get_ydata() - 0.05)
            np.testing.assert_allclose(high, line.get_ydata() + 0.05)
    assert cells.get_xscale() == depth.get_xscale() == "log"


def test_only_the_last_row_of_panels_says_what_lies_below_it(table):
    figure = information_figure(pd.concat([table, table.assign(dataset="larry_subset", signal="clone")]))
    below = ["training cells, at full depth", "UMIs per cell, at the largest number of cells"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", *below]


def test_controls_of_several_signals_have_panels_of_their_own(table):
    shuffled = table[table["model"] == "pca"].assign(model="shuffled", mi_bits=0.0)
    both = pd.concat([table, shuffled])
    figure = information_figure(pd.concat([both, both.assign(dataset="larry_subset", signal="clone")]))
    *rows, apart = figure.axes
    assert apart.get_title(loc="left") == "controls, and the models faint"
    models, control = {style.colour("pca"), style.colour("scvi")}, {style.colour("shuffled")}
    assert [{line.get_color() for line in curve_lines(axes)} for axes in rows] == [models] * 4
    shown = {line.get_color(): line for line in apart.get_lines() if line.get_marker() not in ("None", "")}
    assert shown.keys() == models | control
    np.testing.assert_allclose(shown[style.colour("shuffled")].get_xydata(), [[0, 1]])  # 0 bits of the second signal
    assert shown[style.colour("pca")].get_alpha() < shown[style.colour("shuffled")].get_alpha()
    assert {line.get_color() for line in curve_lines(information_figure(both).axes[0])} == models | control


@pytest.mark.parametrize("letters", [4, 13, 20, 21, 40])
@pytest.mark.parametrize("count", [2, 6])
def test_a_legend_of_models_is_no_wider_than_the_figure(letters, count):
    names = ["a model of others, of a name that is long"[: letters - 1] + str(i) for i in range(count)]
    with style.book_style():
        figure, _ = style.new_figure(1, 1, 2.0)
        style.model_legend(figure, names)
    style.as_png(figure)
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
    if letters * count <= 26:
        assert legend._ncols == min(count, 5)


def test_legends_lie_outside_the_panels(table):
    for draw in FIGURES.values():
        figure = draw(table)
        style.as_png(figure)  # lays it out
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_fits_figure_prints_the_parameters(table):
    one_seed = table[table["seed"] == 0]
    found = texts(FIGURES["fits"](one_seed))
    assert "200" in found
    assert "400" in found
    assert "2.40" in found  # 2 + 0.1 log10(10,000)


@pytest.mark.parametrize("draw", [figures.fits_figure, figures.cell_fits_figure], ids=["Eq. 1", "Eq. 2"])
def test_parameters_are_written_above_the_points(draw):
    figure = draw(page.measured("data/measurements").table)
    style.as_png(figure)  # lays it out
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts if text.get_verticalalignment() == "top"]
        for line in (line for line in axes.lines if line.get_label() == "one seed"):
            at = axes.transData.transform(line.get_xydata())
            size = line.get_markersize() / 2 * figure.dpi / 72
            assert not any(box.padded(size).contains(*point) for box in boxes for point in at), axes.get_label()


def test_fits_figure_draws_bands_of_2_standard_errors(table):
    noisy = table.assign(mi_bits=table["mi_bits"] + 0.03 * np.sin(np.arange(len(table))))
    for axes, model in zip(FIGURES["fits"](noisy).axes, ("scvi", "pca"), strict=True):
        rows = noisy[(noisy["model"] == model) & (noisy["n_cells"] == 10_000)]
        fit = laws.fit_noise_law(rows["umis_per_cell"], rows["mi_bits"])
        u = np.geomspace(10, 1000, 200)
        np.testing.assert_allclose(axes.lines[-1].get_ydata(), fit.predict(u))
        ((low, high),) = bands(axes, u)
        np.testing.assert_allclose([low, high], fit.band(u, sigmas=2))
        np.testing.assert_allclose(np.subtract(high, low), 4 * (fit.predict(u) - fit.band(u, sigmas=1)[0]))
        assert sorted(curve_lines(axes)[0].get_ydata()) == sorted(rows["mi_bits"])  # every seed's point


@pytest.mark.parametrize(("most", "step"), [(10_000, 1), (1_000_000, 2)])
def test_a_narrow_panel_labels_every_power_of_ten_or_every_second(table, most, step):
    """Cells from 30 to `most`; of the labels, only those between the ends are in view."""
    cells = np.geomspace(30, most, 5).astype(int)
    parts = [table[(table["fraction"] == 1) & (table["n_cells"] == 1000)].assign(n_cells=n) for n in cells]
    rows = pd.concat([part.assign(mi_bits=1 + 0.1 * i) for i, part in enumerate(parts)])
    axes = figures.cell_fits_figure(rows).axes[0]
    ticks = [tick for tick in axes.get_xticks() if 10 <= tick <= most]
    np.testing.assert_allclose(np.diff(np.log10(ticks)), step)


def test_fits_figure_has_a_column_for_models_of_half_of_the_signals(table):
    scvi = table[table["model"] == "scvi"]
    wide = [table, scvi.assign(dataset="larry_subset", signal="clone"), scvi.assign(dataset="d", signal="s")]
    figure = FIGURES["fits"](pd.concat(wide))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["scVI", "", ""]
    assert "not shown, measured on few signals: PCA" in texts(figure)
    half = FIGURES["fits"](pd.concat(wide[:2]))
    assert [axes.get_title(loc="left") for axes in half.axes] == ["scVI", "PCA", "", ""]
    assert half.axes[1].texts[0].get_text() == "not measured"


def test_figures_show_as_many_signals_as_a_screen_holds_evidence_and_the_most_cells_first(table):
    """Three sets at three numbers of cells, six at one, and one at three that is no evidence: the last are counted."""
    whole = [table.assign(dataset=f"whole{i}") for i in range(3)]
    single = [table[table["n_cells"] == 1000].assign(dataset=f"single{i}") for i in range(6)]
    rows = pd.concat([table, *single, *whole])
    shown, (mark,) = figures.rows_of(rows)
    assert [name for name, _ in shown] == ["whole0", "whole1", "whole2", "single0", "single1", "single2"]
    for draw in (information_figure, FIGURES["fits"]):
        figure = draw(rows)
        assert len(figure.axes) == figures.MOST_SIGNALS * 2
        assert mark["label"] in texts(figure)
    assert mark["label"] == '4 more signals: page "The data sets"'
    heading = (paths.ROOT / "notebooks" / "datasets.ipynb").read_text(encoding="utf-8")
    assert '"# The data sets\\n"' in heading
    assert figures.rows_of(pd.concat([table, whole[0]])) == (
        [("whole0", "bulk_labels"), ("pbmc68k", "bulk_labels")], [],
    )  # fmt: skip


@pytest.mark.parametrize("signals", ["ab", "abcdefgh"])
def test_a_row_of_panels_has_its_title_apart_from_its_axis_label(signals):
    """Whose words are whole, also in low rows."""
    with style.book_style():
        rows = dict.fromkeys(signals, f"LARRY subset, clone\n{style.BITS}")
        figure = style.model_panels(rows, ["pca"], lambda *_: None, xlabel=style.UMIS, height=1.5)
    style.as_png(figure)
    assert style.overlaps(figure) == []
    for axes in figure.axes:
        assert axes.get_ylabel().split() == style.BITS.split()
        assert axes.texts[0].get_text().split() == ["LARRY", "subset,", "clone"]
        assert axes.get_label() == "LARRY subset, clone, PCA"
    figure.axes[0].texts[0].xyann = (60, 0)  # a title that lies over its panel is told
    assert any("of row 1 over panel 1" in sentence for sentence in style.overlaps(figure))


def test_collapse_panels_hold_every_point_and_the_curve(table):
    points = figures.collapsed(table)
    for axes, x in zip(collapse_figure(table).axes, ("x", "z"), strict=True):
        *models, curve = axes.lines
        drawn = np.concatenate([line.get_xydata() for line in models])
        expected = points.sort_values(x)[[x, "missing"]]
        np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0])][:, 0], expected[x])
        assert sorted(drawn[:, 1]) == sorted(expected["missing"])
        np.testing.assert_allclose(curve.get_ydata(), 0.5 * np.log2(1 + 1 / curve.get_xdata()))
        low, high = axes.get_ylim()
        assert low < drawn[:, 1].min() < drawn[:, 1].max() < high < low + 1.25 * np.ptp(drawn[:, 1])


def test_collapse_lies_on_the_curve(table):
    points = figures.collapsed(table[table["seed"] == 0])
    np.testing.assert_allclose(points["missing"], laws.collapse(points["z"]), atol=1e-4)
    np.testing.assert_allclose(
        points["x"], points["umis_per_cell"] / points["model"].map({"pca": 400, "scvi": 200}), rtol=1e-3
    )
    assert points.attrs == {"n_curves": 6, "n_left_out": 0}
    assert len(collapse_figure(table).axes) == 2


def test_estimators_are_never_pooled(table):
    both = pd.concat([table, table.assign(estimator="lmi", mi_bits=0.0)])
    assert set(figures.usable(both)["estimator"]) == {"default"}
    with pytest.raises(InputError, match="ksg, lmi, which are never pooled"):
        figures.usable(both.assign(estimator=both["estimator"].replace("default", "ksg")))


def test_failed_rows_are_not_drawn(table):
    failed = table.assign(status=np.where(table["model"] == "pca", "error", "ok"))
    assert set(figures.usable(failed)["model"]) == {"scvi"}


def test_truth_table_says_where_they_part(table):
    data = datasets.load("simulated")
    simulated = table[table["seed"] == 0].assign(dataset="simulated", signal="vector")
    rows = dataset_page.truth_gaps(simulated, "simulated")
    assert len(rows) == 2 * 6
    deepest = rows[(rows["model"] == "pca") & (rows["UMIs per cell"] == 1000)].iloc[0]
    measured = laws.noise_law(1000, 400, 2.4)
    assert deepest["truth - measured"] == pytest.approx(datasets.true_information(data, 1000.0) - measured, abs=0.006)
    assert deepest["measured - Eq. 1"] == pytest.approx(0, abs=0.006)


@pytest.mark.parametrize(("value", "label"), [(0.01, "0.01"), (100, "100"), (10_000, "10,000"), (1e7, "10 M")])
def test_plain_numbers(value, label):
    assert style.plain(value) == label


def test_a_figure_says_where_it_comes_from(table, tmp_path):
    path = measurements.write(table, tmp_path / "mine.csv")
    style.BookFigure.shown.clear()  # what another test drew in this process
    html = page.provenance(path, notebook="figures/figure_2.ipynb").data
    line = re.search(r"Provenance: (.+?)\.\s*</p>", html).group(1)
    assert "figures/figure_2.ipynb" in line
    assert "mine.csv (72 rows, sha256" in line
    assert "estimator default" in line
    assert str(tmp_path) not in line


def test_tables_carry_their_csv(table, tmp_path):
    import base64

    path = measurements.write(table, tmp_path / "mine.csv")
    html = page.show(page.fits, path).data
    assert "6 curves: 6 converged" in html
    data = re.search(r"base64,([\w+/=]+)", html).group(1)
    assert base64.b64decode(data).decode().count("\n") == 7


def test_committed_cells_are_those_of_the_data_sets():
    """Made again, but for the last digits of the components, which depend on the processor."""
    data = datasets.load("pbmc68k")
    made, kept = cell_page.summary(data), cell_page.read("pbmc68k")
    assert sum(kept["cells"]) == 700
    assert kept["names"][:2] == ["others", "Dendritic"]  # 240 of 700
    assert kept["x"] == pytest.approx(made.pop("x"), abs=0.01)
    assert kept["y"] == pytest.approx(made.pop("y"), abs=0.01)
    made["version"] = kept["version"]  # of the package that made it
    assert {name: value for name, value in kept.items() if name not in "xy"} == made
    figure = cell_page.cells_figure(kept)
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 700
    assert sum(len(c.get_offsets()) for c in figure.axes[1].collections) == 700


def test_every_summary_is_small_and_of_its_data_set():
    for path in paths.CELLS.iterdir():
        about, found = datasets.card(path.stem), cell_page.read(path.stem)
        assert (found["n_cells"], found["n_genes"]) == (about.n_cells, about.n_genes)
        assert sum(found["cells"]) == about.n_cells
        assert found["signal"] == about.signal
        assert path.stat().st_size < 100_000


def cells(signal: Signal, counts: np.ndarray | None = None) -> datasets.Dataset:
    """Sixty cells of two kinds, or those of the counts."""
    kind = np.arange(60) % 2
    if counts is None:
        counts = np.random.default_rng(0).poisson(1 + 3 * (kind[:, None] == np.arange(30) % 2))
    adata = anndata.AnnData(csr_matrix(counts.astype(np.int32)))
    genes, about = adata.var_names.to_numpy(str), (signal, datasets.card("pbmc68k"), "", "", "mine")
    facts = adata.X, adata.obs_names.to_numpy(str), genes, counts.sum(axis=1), counts.max()
    return datasets.Dataset("mine", *facts, *about, adata=adata)


def drawn(signal: Signal):
    return cell_page.cells_figure(cell_page.summary(cells(signal)))


def test_cells_in_space_lie_where_they_lay():
    places = np.random.default_rng(0).uniform(size=(60, 2))
    sections = np.where(np.arange(60) % 3 == 0, "b", "a")  # sections overlap: the larger is drawn
    scatter = drawn(Signal("space", "pair", places, sections=sections)).axes[1]
    (dots,) = scatter.collections
    cell = cdist(dots.get_offsets(), places).argmin(axis=1)
    assert sorted(cell) == np.flatnonzero(sections == "a").tolist()
    np.testing.assert_allclose(dots.get_offsets(), places[cell], atol=1e-4)
    assert abs(np.corrcoef(dots.get_array(), cell % 2)[0, 1]) > 0.9  # the second component
    assert (scatter.get_xlabel(), scatter.get_ylabel()) == ("x", "y")


def test_molecules_are_marked_in_ones_and_threes_as_far_as_there_are_cells():
    umis = np.geomspace(20, 5000, 60).astype(int)
    data = cells(
        Signal("space", "pair", np.zeros((60, 2))),
        np.stack([umis - 15, 10 - np.arange(60) % 3, 5 + np.arange(60) % 3], axis=1),
    )
    histogram = cell_page.cells_figure(cell_page.summary(data)).axes[0]
    marks = {
        label.get_text(): at for label, at in zip(histogram.get_xticklabels(), histogram.get_xticks(), strict=True)
    }
    assert marks == {text: pytest.approx(np.log10(n)) for text, n in (
        ("30", 30), ("100", 100), ("300", 300), ("1,000", 1000), ("3,000", 3000))}  # fmt: skip


def test_cells_of_a_quantity_lie_in_two_components():
    values = np.random.default_rng(0).normal(size=(60, 3))
    scatter = drawn(Signal("protein", "vector", values)).axes[1]
    (dots,) = scatter.collections
    cell = [int(np.abs(values[:, 0] - value).argmin()) for value in dots.get_array()]
    assert sorted(cell) == list(range(60))
    assert (scatter.get_xlabel(), scatter.get_ylabel()) == ("PC 1", "PC 2")
    one, two = np.asarray(dots.get_offsets()).T
    # the axes are not centred: along the first lies the mean of all cells, along the second the kinds lie apart
    assert abs(np.corrcoef(one, np.array(cell) % 2)[0, 1]) < 0.5
    assert abs(np.corrcoef(two, np.array(cell) % 2)[0, 1]) > 0.9


def test_cells_of_clones_have_their_clones_colours():
    clone = np.where(np.arange(60) < 40, np.arange(60) % 4, -1)
    legend = drawn(Signal("clone", "pair", clone)).axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["others", *(f"clone {i}" for i in range(4))]


def test_pages_call_signals_what_figures_call_them():
    found = [style.signal(*of) for of in (("pbmc68k", "bulk_labels"), ("merfish_poa", "space"), ("mine", "obs:kind"))]
    assert found == ["cell type", "place", "obs:kind"]
    assert "cell type (<code>bulk_labels</code>)" in dataset_page.overview("data/measurements/demo.csv").data
    assert "cell type (bulk_labels, a label): 10 cell types" in page.card("pbmc68k").data
    colours = cell_page.cells_figure(cell_page.read("simulated")).axes[2]
    assert colours.get_ylabel() == "4 values, first of 4"


def test_alt_texts_of_data_sets_state_what_is_found(table, tmp_path):
    """scVI has the smaller u_bar; its bits are those of Eq. 1 at 1,000 UMIs, means of two seeds 0.1 bits apart."""
    path = measurements.write(table, tmp_path / "mine.csv")
    html = dataset_page.gallery(path, path, notebook="datasets.ipynb", dataset="pbmc68k").data
    of_cells, of_curves = re.findall(r'alt="([^"]+)"', html)
    scvi, pca = (laws.noise_law(1000, u_bar, 2.4) + 0.05 for u_bar in (200, 400))
    assert of_curves.endswith(
        f"Of the signal cell type scVI finds most, {scvi:.2f} bits at 10,000 training cells and 1,000 UMIs per cell; "
        f"PCA finds {pca:.2f}."
    )
    umis = np.percentile(datasets.load("pbmc68k").umis, [5, 95])
    low, high = (float(x.replace(",", "")) for x in re.search(r"about ([\d,]+) to ([\d,]+) UMIs", of_cells).groups())
    assert np.abs(np.log10([low, high]) - np.log10(umis)).max() < 0.05  # a bin of the histogram
    assert of_cells.endswith("Dendritic is the most frequent cell type, with 34 % of those drawn.")  # 240 of 700
    assert "pbmc68k" not in of_cells + of_curves


def test_the_entropy_of_a_signal_is_drawn_where_the_axis_is_near_and_fits_above_it_are_told(table, tmp_path):
    """Five lines hold 2.22 bits by their card; Eq. 1 comes to 2.45 here, the mean of two seeds 0.1 bits apart."""
    table = table.assign(dataset="cell_lines5", signal="genotype")
    path = measurements.write(table, tmp_path / "mine.csv")
    html = dataset_page.gallery(path, path, notebook="n", dataset="cell_lines5").data
    assert "(its classes hold 2.22 bits: no embedding can hold more)" in html
    assert "A dashed line at 2.22 bits, an entropy." in html
    assert "Dashed: the entropy of the signal" in html
    (told,) = re.findall(r"</sub> is above the entropy of the signal genotype, 2.22 bits, for ([^:]+):", html)
    assert re.findall(r"\w+ \(2\.4\d\)", told) == ["PCA (2.43)", "scVI (2.44)"]
    assert "The highest measurement, 2.37 bits on a seed's test cells, is above" in unescape(html)
    low = measurements.write(table.assign(mi_bits=table["mi_bits"] / 2), tmp_path / "low.csv")
    html = dataset_page.gallery(low, low, notebook="n", dataset="cell_lines5").data
    assert "Dashed" not in html
    assert "is above the entropy" not in html
    assert not [x for x in information_figure(table).axes[0].lines if x.get_linestyle() == "--"]  # the paper's figure


def test_the_gallery_has_every_data_set_by_one_template(table, tmp_path):
    path = measurements.write(table, tmp_path / "mine.csv")
    html = dataset_page.gallery(path, path, notebook="n", dataset="pbmc68k").data
    assert re.findall(r'<figure id="([\w-]+)"', html) == ["fig-pbmc68k-cells", "fig-pbmc68k-curves"]
    assert html.count("Provenance: notebook n") == 2
    assert "mine.csv (72 rows" in html
    assert "python -m noise_scaling.plots.cells pbmc68k" in html
    assert "fits.csv" in html
    html = dataset_page.gallery(path, path, notebook="n", dataset="mouse_embryo").data
    assert "<code>noise-scaling fetch mouse_embryo</code>, then" in html  # neither its cells
    assert "Nothing was measured on mouse_embryo yet" in html  # nor rows
    listed = dataset_page.overview(path).data
    assert re.findall(r'href="#(\w+)"', listed) == datasets.names()
    assert "<td>72</td>" in listed


def test_truth_figure_draws_the_known_curve(table):
    data = datasets.load("simulated")
    figure = dataset_page.truth_figure(table.assign(dataset="simulated", signal="vector"), "simulated")
    dashed = next(x for x in figure.axes[0].lines if x.get_linestyle() == "--")
    expected = datasets.true_information(data, np.array([10.0, 1000.0]))
    np.testing.assert_allclose(dashed.get_ydata()[[0, -1]], expected, rtol=1e-6)


def test_card_is_escaped_and_complete():
    html = page.card("pbmc68k").data
    assert "Zheng" in html
    assert "700" in html


PAGES = {
    "information": lambda source: page.show("information", source),
    "fits": lambda source: page.show("fits", source),
    "collapse": lambda source: page.show("collapse", source),
    "datasets": lambda source: dataset_page.gallery(source, source, notebook="a page", dataset="simulated"),
    "truth": lambda source: page.show(dataset_page.truth_figure, source, "simulated"),
    "truth in words": lambda source: page.show(dataset_page.truth_finding, source, "simulated"),
    "gaps": lambda source: page.show(dataset_page.truth_gaps, source, "simulated"),
    "every fit": lambda source: page.show(page.fits, source),
    "rows": page.rows,
    "provenance": lambda source: page.provenance(source, notebook="a page"),
}


@pytest.mark.parametrize("make", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:0],
        lambda t: t[:1],
        lambda t: t.assign(status="error", mi_bits=np.nan),
        lambda t: t[t["model"] == "pca"].assign(model="shuffled"),
        lambda t: t.assign(variant="thin_per_gene"),
        lambda t: t.assign(dataset="simulated", signal="vector", model="theirs")[t["model"] == "pca"],
    ],
    ids=["empty", "one row", "failed", "controls", "a variant", "a model of others"],
)
def test_a_page_takes_any_table(make, change, table, tmp_path):
    """What is too little is said in the place of the figure."""
    path = measurements.write(change(table), tmp_path / "t.csv")
    shown = make(path)
    assert len(getattr(shown, "data", None) or shown._repr_png_()) > 20


@pytest.mark.parametrize(
    ("ends", "shown"), [((30, 800), {"50", "100", "200", "500"}), ((8, 2000), {"10", "100", "1,000"})]
)
def test_a_log_axis_of_one_power_of_ten_has_labels_between(ends, shown):
    figure, axes = style.one_panel(2.0)
    axes.plot(ends, (0, 1))
    style.log_axis(axes)
    axes.set_xlim(*ends)
    figure.canvas.draw()
    ticks = [*axes.get_xticklabels(), *axes.get_xticklabels(minor=True)]
    assert {t.get_text() for t in ticks if ends[0] <= t.get_position()[0] <= ends[1] and t.get_text()} == shown
