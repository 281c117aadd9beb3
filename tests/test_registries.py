"""One file makes a new model, data set or estimator, which is measured and drawn in Figures 1 to 3, or a new figure."""

import importlib.util

import numpy as np
import pytest
import yaml

from noise_scaling import information, laws, measurements, models, paths
from noise_scaling.datasets.sources import LOADERS
from noise_scaling.laws.grids import UNIMPROVABLE
from noise_scaling.measure.run import measure
from noise_scaling.plots import figures, page, style

MODEL = '''
"""A model that learns nothing: log counts summed over a cell's two halves of genes."""

import numpy as np

from noise_scaling.models import Model, register


@register
class Halves(Model):
    name, label, colour, marker, order = "halves", "two halves", "#123456", "h", 45
    PRESETS = {"small": {"scale": 1.0}, "published": {"scale": 1.0}}
    n_parameters = 0

    def fit(self, train, validation, *, genes_from=None):
        return self

    def embed(self, counts):
        half = counts.shape[1] // 2
        sums = np.hstack([counts[:, :half].sum(axis=1), counts[:, half:].sum(axis=1)])
        return np.log1p(np.asarray(sums, dtype=np.float32))

    def state(self):
        return {}, {}

    def restore(self, tensors, facts):
        pass
'''

DATASET = '''
"""Two kinds of cells, which differ in half of their genes."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from noise_scaling.datasets.sources import Signal, assemble, register


@register("two_kinds")
def two_kinds(card, files, signal):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, card.n_cells)
    rates = np.where(np.arange(card.n_genes) < card.n_genes // 2, 1 + kind[:, None], 2 - kind[:, None])
    cells = pd.DataFrame(index=[f"cell {i}" for i in range(card.n_cells)])
    genes = np.array([f"gene {i}" for i in range(card.n_genes)])
    labels = Signal(signal, "label", np.where(kind, "one", "other"))
    return assemble(card, sp.csr_matrix(rng.poisson(rates)), cells, genes, labels)
'''

ESTIMATOR = '''
"""What the better of two guesses of a label tells, in bits: one threshold on one column."""

import numpy as np

from noise_scaling.information.core import Information, labels, register, vectors


@register("threshold", label="one threshold", version=1, takes="labels", order=90)
def threshold(x, y):
    """Plug-in information of the label and whether a cell lies above the median of the first column."""
    x, y = vectors(x, "x"), labels(y)
    joint = np.histogram2d(x[:, 0] > np.median(x[:, 0]), y, bins=2)[0] / len(y)
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    bits = float((joint * np.log2(np.where(joint > 0, joint / apart, 1))).sum())
    return Information(bits, 0.05, None, "threshold", len(y), True)
'''

FIGURE = '''
"""Bits of each model at full depth, by the default estimator."""

from noise_scaling.errors import enough
from noise_scaling.plots import style


@style.book_style()
def bars_figure(table):
    rows = enough(table.query("fraction == 1 and estimator == 'default'"), "this table has no row at full depth")
    means = rows.groupby("model")["mi_bits"].mean()[style.ordered(rows["model"])]
    figure, axes = style.one_panel(2.5, xlabel="bits")
    axes.barh([style.label(model) for model in means.index], means, color=[style.colour(m) for m in means.index])
    return figure
'''

CARD = {
    "title": "Cells of two kinds", "titles": {"kind": "two kinds, known"}, "organism": "none", "tissue": "none",
    "technology": "a draw of numbers", "n_cells": 700, "n_genes": 60, "median_umis": 90, "signal": "kind",
    "signals": {"kind": {"kind": "label", "description": "which of two kinds"}}, "licence": "none", "files": [],
    "citation": "this test", "limits": ["It is made up."], "n_test": 300, "n_validation": 50,
    "cell_numbers": [200], "fractions": [1, 0.5, 0.2, 0.1],
}  # fmt: skip


def run(folder, name, text):
    """Write one file and run it, as an import would."""
    file = folder / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registered(tmp_path, monkeypatch):
    cards = yaml.safe_load(paths.DATASETS_YML.read_text())
    file = tmp_path / "datasets.yml"
    file.write_text(yaml.safe_dump(cards | {"two_kinds": CARD}, sort_keys=False))
    monkeypatch.setattr(paths, "DATASETS_YML", file)
    for name, text in {"two_kinds": DATASET, "halves": MODEL, "threshold": ESTIMATOR}.items():
        run(tmp_path, name, text)
    yield
    for registry, name in ((LOADERS, "two_kinds"), (models.MODELS, "halves"), (information.ESTIMATORS, "threshold")):
        del registry[name]


def legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_new_model_data_set_estimator_and_figure_are_measured_and_shown(registered, tmp_path):
    path = tmp_path / "table.csv"
    asked = {"models": ["halves", "pca", "shuffled"], "estimators": ["default", "threshold"]}
    measure("two_kinds", **asked, output=path, progress=False)
    table = measurements.read(path)
    assert (table["status"] == "ok").all()
    assert len(table) == 3 * 4 * 2  # models, fractions, estimators
    told = table[(table["estimator"] == "threshold") & (table["model"] == "halves")]
    assert (told["method"] == "threshold").all()
    assert (told["mi_bits"] > 0.05).all()
    assert style.estimator("threshold") == "one threshold"
    table = table[table["estimator"] == "default"]
    deepest = table[(table["model"] == "halves") & (table["fraction"] == 1)]
    assert (deepest["mi_bits"] > 0.5).all()  # of the one bit that two kinds hold
    assert style.ordered(table["model"]) == ["pca", "halves", "shuffled"]
    assert "halves" in set(laws.fit_curves(table)["model"])

    information, fits, collapse = (page.show(name, path) for name in page.FIGURES)
    assert information.axes[0].get_title(loc="left") == "two kinds, known (classifier)"
    assert legend(information) == ["PCA", "two halves", "shuffled (control)"]
    drawn = next(line for line in information.axes[0].lines if line.get_color() == "#123456")
    assert drawn.get_marker() == "h"
    full = table[(table["model"] == "halves") & (table["fraction"] == 1)].groupby("n_cells")["mi_bits"].mean()
    np.testing.assert_allclose(drawn.get_ydata(), full)
    assert [axes.get_title(loc="left") for axes in fits.axes] == ["PCA", "two halves"]
    assert "two kinds,\nknown\n(classifier)" in {text.get_text() for text in fits.axes[0].texts}
    assert collapse.axes[0].get_title(loc="left") == "estimated by classifier"
    assert set(legend(collapse)) <= {"PCA", "two halves", figures.ONE_CURVE}

    bars = run(tmp_path, "bars", FIGURE).bars_figure
    drawn = page.show(bars, path)
    assert drawn.get_label() == "bars"
    assert [text.get_text() for text in drawn.axes[0].get_yticklabels()] == ["PCA", "two halves", "shuffled (control)"]
    assert drawn.axes[0].patches[1].get_width() == pytest.approx(full.item())
    measurements.write(table[table["fraction"] < 1], tmp_path / "shallow.csv")
    assert "no row at full depth" in page.show(bars, tmp_path / "shallow.csv").data


def test_the_models_that_laws_leave_out_are_those_that_nothing_trains():
    assert set(UNIMPROVABLE) == {name for name, kind in models.MODELS.items() if not kind.trained}


def test_a_name_in_no_registry_is_drawn_under_itself():
    assert style.label("theirs") == "theirs"
    assert style.ordered(["theirs", "pca", "known_2_bits", "scvi"]) == ["scvi", "pca", "known_2_bits", "theirs"]
    assert style.colour("theirs") != style.colour("others'")
    assert style.marker("theirs") == style.marker("theirs")
