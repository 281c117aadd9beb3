"""Pages and figures of what a first `measure` of own data writes: they draw, or say what is too little."""

import numpy as np
import pandas as pd
import pytest
from IPython.display import HTML

from noise_scaling import cli, datasets, laws, measurements
from noise_scaling.plots import cells_or_depth, curve_zoo, ledger, page, plan_page, saturation, style
from noise_scaling.plots import laws as law_page
from noise_scaling.plots.readable import readable

BLANK = {str: "", int: 0, float: 0.0}


def table(n: tuple[int, ...], fractions: tuple[float, ...], models: tuple[str, ...] = ("pca", "scvi")) -> pd.DataFrame:
    rows = []
    for model in models:
        for cells in n:
            for q in fractions:
                bits = float(laws.noise_law(230 * q, 20 * (1 + 100 / cells), 1.5))
                key = {"dataset": "mine", "signal": "obs:kind", "model": model, "preset": "small", "n_cells": cells}
                key |= {"fraction": q, "estimator": "default", "status": "ok", "umis_per_cell": 230 * q}
                rows.append(
                    {name: BLANK[kind] for name, kind in measurements.COLUMNS.items()} | key | {"mi_bits": bits}
                )
    return pd.DataFrame(rows)


SMALL = {
    "two N, three depths": table((50, 200), (1.0, 0.4, 0.15)),
    "three N, four depths": table((50, 100, 200), (1.0, 0.4, 0.2, 0.1)),
    "one row": table((50,), (1.0,), ("pca",)),
    "controls": table((50, 200), (1.0, 0.4, 0.15), ("shuffled", "known_2_bits")),
}
DRAWN = {
    **{f"figure {name}": lambda source, name=name: page.show(name, source) for name in page.FIGURES},
    **{f"laws.{f.__name__}": lambda source, f=f: page.show(f, source) for f in (
        law_page.verdict, law_page.scores, law_page.errors_figure, law_page.residuals_figure, law_page.kinds_table)},
    **{f"cells_or_depth.{f.__name__}": lambda source, f=f: page.show(f, source) for f in (
        cells_or_depth.goals, cells_or_depth.scores, cells_or_depth.growth, cells_or_depth.forecasts_figure,
        cells_or_depth.contours_figure,
        cells_or_depth.verdict, cells_or_depth.rates, cells_or_depth.rates_figure)},
    "between seeds": cells_or_depth.between_seeds,
    "saturation": lambda source: page.show(saturation.saturation, source),
    "fits": lambda source: page.show(page.fits, source),
    "claims": lambda source: ledger.ledger(source, source),
    "zoo": lambda source: curve_zoo.zoo(source, source),
    "plan": lambda source: plan_page.planner(source, source),
    "provenance": lambda source: page.provenance(source, notebook="n.ipynb"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return {name: str(measurements.write(rows, folder / f"{name}.csv")) for name, rows in SMALL.items()}


@pytest.mark.parametrize("piece", DRAWN)
@pytest.mark.parametrize("name", SMALL)
def test_a_small_table_is_drawn_or_told(name, piece, files):
    shown = DRAWN[piece](files[name])
    assert len(getattr(shown, "data", None) or shown._repr_png_()) > 30


@pytest.mark.parametrize(
    ("piece", "name", "sentence"),
    [
        ("laws.errors_figure", "three N, four depths", "No curve here has 5 depths or more."),
        ("laws.residuals_figure", "three N, four depths", "No curve here has 5 depths or more."),
        ("cells_or_depth.contours_figure", "two N, three depths", "at three depths and three numbers of cells"),
        ("cells_or_depth.verdict", "two N, three depths", "at three depths and three numbers of cells"),
        ("cells_or_depth.forecasts_figure", "three N, four depths", "five depths, five cell numbers"),
        ("plan", "two N, three depths", "nothing to plan from"),
        ("saturation", "two N, three depths", "at four depths and four numbers of cells"),
        ("figure fits", "controls", "no model was measured here but controls"),
        ("figure collapse", "one row", "could be fitted to no curve here"),
    ],
)
def test_what_is_too_little(piece, name, sentence, files):
    shown = DRAWN[piece](files[name])
    assert isinstance(shown, HTML)
    assert sentence in shown.data


def test_on_the_command_line_it_is_status_2(files, tmp_path, capsys):
    assert cli.main(["figure", "collapse", files["one row"], "--output", str(tmp_path / "f.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "f.png").exists()


def test_a_table_of_failures_says_so(tmp_path, capsys):
    rows = SMALL["two N, three depths"].assign(status="error", error="E: x", mi_bits=np.nan)
    path = measurements.write(rows, tmp_path / "failed.csv")
    assert cli.main(["fit", str(path)]) == 2
    assert "no row of this table was measured by the protocol" in capsys.readouterr().err


def test_fits_have_their_columns_where_nothing_could_be_fitted():
    empty, short = (laws.fit_curves(SMALL[name]) for name in ("controls", "one row"))
    whole = laws.fit_curves(SMALL["two N, three depths"])
    assert list(empty.columns) == list(short.columns) == list(whole.columns)
    assert (len(empty), len(short)) == (0, 1)
    assert short["u_bar"].isna().all()


def test_a_fits_intervals_are_both_shown():
    row = {
        "u_bar": 300.0,
        "u_bar_low": 200.0,
        "u_bar_high": np.inf,
        "u_bar_if_eq1_low": 280.0,
        "u_bar_if_eq1_high": 320.0,
    }
    shown = readable(pd.DataFrame([row])).iloc[0].to_dict()
    assert shown == {"ū (95 %)": "300 (over 200)"}  # the narrower interval is in the download


def test_a_parameter_that_its_fit_does_not_determine_is_no_number():
    ends = [(14.31, 5.01, 8.56), (3.94, -32.58, np.inf), (9.7, 0.41, np.inf), (2.1, 2.0, 2.3)]
    found = pd.DataFrame(ends, columns=["i_max", "i_max_low", "i_max_high"])
    shown = readable(found.assign(status=[laws.AT_BOUND, laws.NOT_IDENTIFIED, laws.AT_BOUND, laws.CONVERGED]))
    assert shown["I_max (95 %)"].tolist() == [
        "not determined (5.01 to 8.56)", "not determined", "not determined (over 0.41)", "2.10 (2.00 to 2.30)",
    ]  # fmt: skip


def test_a_fit_that_failed_has_a_reason_in_place_of_numbers():
    found = laws.fit_curves(SMALL["two N, three depths"])[:2]
    found = found.assign(status=[laws.FAILED, laws.CONVERGED], note=["no minimum found", ""])
    shown = readable(page.brief(found))
    assert shown["status"].tolist() == ["failed: no minimum found", "converged"]
    assert shown.loc[0, ["ū (95 %)", "I_max (95 %)"]].tolist() == ["–", "–"]
    assert shown["R²"].isna().tolist() == [True, False]
    assert shown.loc[1, "ū (95 %)"] != "–"


def test_tables_name_data_sets_models_and_estimators_as_figures_do():
    row = {"dataset": "pbmc10k", "signal": "protein", "model": "pca", "estimator": "lmi", "n_cells": 1000}
    assert readable(pd.DataFrame([row])).iloc[0].to_dict() == {
        "data": "PBMC 10k, 14 proteins", "model": "PCA", "estimator": "LMI", "training cells": "1,000",
    }  # fmt: skip
    assert readable(pd.DataFrame([{"dataset": "pbmc10k"}])).iloc[0].to_dict() == {"data": "PBMC 10k"}


def test_no_two_data_sets_have_one_name():
    names = [style.dataset(name) for name in datasets.names()]
    assert len(set(names)) == len(names)


def test_a_small_geneformer_is_called_small(tmp_path):
    def names(preset):
        rows = table((50, 100, 200), (1.0, 0.4, 0.2, 0.1), ("pca", "geneformer")).assign(preset=preset)
        figure = page.show("information", measurements.write(rows, tmp_path / f"{preset}.csv"))
        return [text.get_text() for text in figure.legends[0].get_texts()]

    assert names("small") == ["small Geneformer", "PCA"]
    assert names("published") == ["Geneformer", "PCA"]
    assert style.label("geneformer") == "Geneformer"  # outside of a page
    assert style.label("geneformer", "small") == "small Geneformer"


def test_a_small_geneformer_is_called_small_by_the_page_of_measurements_and_by_the_command(tmp_path, monkeypatch):
    rows = table((50, 100), (1.0, 0.4), ("geneformer",))
    path = measurements.write(rows, tmp_path / "t.csv")
    assert "<td>small Geneformer</td>" in page.rows(path).data
    drawn = []
    monkeypatch.setattr(style, "as_png", lambda figure: drawn.append(figure) or b"")
    assert cli.main(["figure", "information", str(path), "--output", str(tmp_path / "t.png")]) == 0
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["small Geneformer"]


def test_ratios_are_rounded_as_such_and_an_interval_may_have_no_upper_end():
    """A file of JSON has null for infinity: the interval reads "over", never "to nan"."""
    row = {"u_bar": 123.4, "u_bar / true": 1.234, "i_max": 2.0, "i_max_low": 1.5, "i_max_high": np.nan}
    shown = readable(pd.DataFrame([row])).iloc[0].to_dict()
    assert (shown["ū / true"], shown["ū"], shown["I_max (95 %)"]) == (1.234, 123, "2.00 (over 1.50)")
