from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random

from noise_scaling.errors import InputError
from noise_scaling.measure import ablations
from noise_scaling.measure.run import measure
from noise_scaling.signals import Aligned, Signal

LABELS = Signal("type", "label", np.array(["a", "b"] * 10))


def molecules(n_cells: int, n_genes: int = 40) -> csr_matrix:
    counts = random(n_cells, n_genes, 0.3, format="csr", rng=np.random.default_rng(1))
    counts.data = np.ceil(counts.data * 5)
    return counts.astype(np.int32)


def test_each_gene_keeps_its_total_times_the_fraction_rounded_down():
    counts = molecules(60)
    thinned = ablations.thin_per_gene(counts, 0.37, seed=3)
    before = np.asarray(counts.sum(axis=0)).ravel()
    assert np.asarray(thinned.sum(axis=0)).ravel().tolist() == [int(total * 0.37) for total in before]
    assert (thinned > counts).nnz == 0
    assert thinned.dtype == counts.dtype
    assert (thinned.data > 0).all()


def test_a_gene_of_few_molecules_vanishes_in_few_cells():
    """The published realised depth: floor(30 / 40) = 0 of a gene's molecules in few cells, 150 of 6,000 in many."""
    few, many = csr_matrix(np.full((30, 1), 1)), csr_matrix(np.full((6000, 1), 1))
    assert ablations.thin_per_gene(few, 1 / 40, seed=0).sum() == 0
    assert ablations.thin_per_gene(many, 1 / 40, seed=0).sum() == 150


def test_per_gene_draws_follow_the_seed():
    counts = molecules(60)
    one, again = (ablations.thin_per_gene(counts, 0.5, seed=1) for _ in range(2))
    other = ablations.thin_per_gene(counts, 0.5, seed=2)
    assert (one != again).nnz == 0
    assert (one != other).nnz > 0


def test_both_orders_double_the_pairs():
    x, y = np.arange(6.0).reshape(3, 2), np.arange(6.0, 12.0).reshape(3, 2)
    pair = ablations.in_both_orders(Aligned(x, y, np.array([0, 0, 1])))
    assert pair.groups is None
    np.testing.assert_array_equal(pair.x, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]])
    np.testing.assert_array_equal(pair.y, [[6, 7], [8, 9], [10, 11], [0, 1], [2, 3], [4, 5]])


def test_the_parts_of_both_orders():
    x, y = np.arange(6.0).reshape(3, 2), np.arange(6.0, 12.0).reshape(3, 2)
    pair, groups = Aligned(x, y, np.array([0, 0, 1])), [0, 0, 1, 0, 0, 1]
    together, alone = ablations.in_both_orders_together(pair), ablations.without_groups(pair)
    np.testing.assert_array_equal(together.x, ablations.in_both_orders(pair).x)
    np.testing.assert_array_equal(together.groups, groups)
    assert alone.groups is None
    np.testing.assert_array_equal(alone.x, x)


def test_dimensions_carry_their_number():
    assert ablations.named("dims_8").options == {"dims": 8}
    assert ablations.named("dims_8").suits("pca")
    assert ablations.named("dims_8").suits("scvi")
    assert not ablations.named("dims_8").suits("geneformer")


def test_blocks_carry_their_number_and_need_cells_that_have_them():
    variant = ablations.named("blocks_2")
    assert variant.n_blocks == 2
    assert not variant.suits("random_projection")
    with pytest.raises(InputError, match="'toy' has none: choose a data set with them"):
        ablations.check(
            variant, ["pca"], ["default"], SimpleNamespace(signal=LABELS, on_disk=None, blocks=None, name="toy")
        )


def test_fixed_steps_carry_their_number():
    assert ablations.named("fixed_steps_1000").options == {"fixed_steps": 1000}


def test_widths_keep_the_proportions():
    """Both presets: 64 wide, 128 between, 2 heads; 256 wide, 512 between. (The published one has 4 heads of 64.)"""
    assert ablations.named("width_64").options == {"width": 64, "feed_forward": 128, "heads": 2}
    assert ablations.named("width_16").options["heads"] == 1
    for width in (40, 112):  # of 112 its three heads have no equal share
        with pytest.raises(InputError, match="multiple of 16"):
            ablations.named(f"width_{width}")


@pytest.mark.parametrize("name", ["fixed_steps_0", "fixed_steps_N", "fixed_steps_", "published", None])
def test_unknown_names(name):
    with pytest.raises(InputError, match=r"unknown variant .*fixed_steps_N"):
        ablations.named(name)


@pytest.mark.parametrize(
    ("variant", "models", "estimators", "word"),
    [
        ("epoch_patience", ["scvi", "pca"], ["default"], "means nothing for model 'pca'"),
        ("fixed_steps_10", ["shuffled"], ["default"], "means nothing for model 'shuffled'"),
        ("stop_on_scored", ["pca"], ["lmi", "ksg"], "means nothing for estimator 'ksg'"),
        ("both_pair_orders", ["pca"], ["default"], "needs a signal of pairs and 'type' is a label"),
    ],
)
def test_a_variant_that_means_nothing_is_refused(variant, models, estimators, word):
    with pytest.raises(InputError, match=word):
        ablations.check(ablations.named(variant), models, estimators, SimpleNamespace(signal=LABELS, on_disk=None))


def test_what_only_changes_the_score_shares_its_embedding():
    shared = [name for name in ablations.VARIANTS if not ablations.named(name).of_the_embedding]
    assert shared == ["", "both_pair_orders", "both_orders_together", "pairs_ungrouped", "stop_on_scored"]


@pytest.mark.parametrize("stream", ["split", "thin", "model", "estimator"])
def test_one_stream_varies_and_the_others_stay(stream):
    """At full depth thinning draws nothing; a split moves the depth of the test cells; the rest moves bits alone."""
    settings = {"models": ["random_projection"], "cell_numbers": [50], "fractions": [1], "progress": False}
    base = measure("pbmc68k", seeds=[0], **settings).iloc[0]
    found = measure("pbmc68k", seeds=[0, 1, 2], variant=f"vary_{stream}", **settings)
    assert found.loc[0, "mi_bits"] == base["mi_bits"]
    assert found["mi_bits"].nunique() == (1 if stream == "thin" else 3)
    assert found["umis_per_cell"].nunique() == (3 if stream == "split" else 1)
