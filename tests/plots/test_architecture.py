"""The architecture page's table against counts worked by hand."""

import pandas as pd
import pytest

from noise_scaling import paths
from noise_scaling.plots import architecture


@pytest.fixture(scope="module")
def published() -> pd.Series:
    return architecture.parts(2000, "published").groupby("model")["parameters"].sum()


def test_geneformer_has_the_published_number_of_parameters(published):
    assert published["geneformer"] == 513 * 2002 + 1_779_712


def test_each_layer_of_geneformer_is_a_part_of_its_own():
    """256 wide, 512 between: query, key, value and output, two maps, two norms, and their biases."""
    table = architecture.parts(2000, "published").query("model == 'geneformer'").set_index("part")["parameters"]
    layer = 4 * (256 * 256 + 256) + (256 * 512 + 512) + (512 * 256 + 256) + 2 * 2 * 256
    assert table[table.index.str.startswith("layers")].to_dict() == {f"layers {i}": layer for i in range(3)}


def test_pca_has_16_axes_of_750_genes_and_a_projection_learns_nothing(published):
    assert published["pca"] == 16 * 750
    assert published["random_projection"] == 0


def test_scvi_has_two_encoders_and_a_decoder_of_three_heads(published):
    """512 wide, 16 latents: matrices, biases and batch norms (2 a unit) by hand; one dispersion a gene."""
    genes, width, latents = 2000, 512, 16
    first = genes * width + width + 2 * width
    encoder = first + 2 * (width * latents + latents)
    library = first + 2 * (width + 1)
    decoder = (latents * width + width + 2 * width) + 3 * (width * genes + genes)
    assert published["scvi"] == encoder + library + decoder + genes


def test_curves_are_of_the_small_preset_and_mark_the_lowest_loss():
    file = paths.ROOT / "data" / "curves" / "training.csv"
    figure, table = architecture.curves_figure(file), pd.read_csv(file)
    scvi = table[table["model"] == "scvi"]
    marked = figure.axes[0].lines[-1].get_xydata()[0]
    assert tuple(marked) == (scvi.loc[scvi["value"].idxmin(), "step"], scvi["value"].min())
    assert [len(axes.lines) for axes in figure.axes] == [2, 3]
