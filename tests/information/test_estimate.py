"""What every estimator promises: zero for shuffled pairs, the same bits again, one sentence for a bad input."""

import numpy as np
import pandas as pd
import pytest
import torch

from noise_scaling import information
from noise_scaling.errors import InputError
from noise_scaling.information import core, estimate, infonce, lmi, lmi_many
from noise_scaling.information.crossfit import folds, three_way

pytestmark = pytest.mark.any_machine

SMALL = {"hidden": (64, 32), "epochs": 20}
VECTOR_METHODS = ("default", "infonce", "ksg", "lmi")
LABEL_METHODS = ("default", "classifier", "mixed_ksg")


def vectors(n=400, d=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, x + rng.standard_normal((n, d))


def labelled(n=400, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, n)
    return np.eye(5)[codes] * 3 + rng.standard_normal((n, 5)), codes


def run(x, y, method, seed=0, groups=None):
    """`estimate`, with small networks for lmi: the full ones take a minute."""
    if method == "lmi":
        return lmi(x, y, seed=seed, groups=groups, **SMALL)
    return estimate(x, y, method=method, seed=seed, groups=groups)


@pytest.mark.parametrize("method", VECTOR_METHODS)
def test_shuffled_vectors_give_zero(method):
    x, y = vectors(1000)
    found = run(x, np.random.default_rng(1).permutation(y), method)
    assert abs(found.bits) <= 3 * found.stderr


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_shuffled_labels_give_zero(method):
    x, y = labelled(1000)
    found = run(x, np.random.default_rng(1).permutation(y), method)
    assert abs(found.bits) <= 3 * found.stderr


@pytest.mark.parametrize("method", VECTOR_METHODS)
def test_the_same_seed_gives_the_same_bits_and_no_global_state_is_touched(method):
    x, y = vectors()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    first, second = run(x, y, method, seed=3), run(x, y, method, seed=3)
    np.testing.assert_array_equal(first.pointwise, second.pointwise)
    assert (first.bits, first.stderr) == (second.bits, second.stderr)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == torch.get_num_threads()


def test_labels_the_same_seed_gives_the_same_bits():
    x, y = labelled(1000)
    assert estimate(x, y, seed=3).bits == estimate(x, y, seed=3).bits


def test_an_estimate_does_not_depend_on_what_else_is_in_the_batch():
    one, other = vectors(seed=1), vectors(300, 2, seed=2)
    together = lmi_many([one, other], **SMALL)
    assert together[0].bits == lmi(*one, **SMALL).bits
    assert together[1].bits == lmi(*other, **SMALL).bits
    assert lmi_many([other, one], **SMALL)[1].bits == together[0].bits


def test_default_is_infonce_for_floats_and_classifier_for_labels():
    x, y = vectors()
    assert estimate(x, y).method == "infonce"
    assert estimate(x, y).lower_bound
    x, codes = labelled()
    numbers = estimate(x, codes)
    assert numbers.method == "classifier"
    assert numbers.bits == estimate(x, pd.Series(codes).astype(pd.CategoricalDtype(ordered=True))).bits
    names = estimate(x, np.array(list("abcde"))[codes])
    assert names.bits == estimate(x, pd.Series(codes).astype("category")).bits != numbers.bits  # no order to use


def test_a_new_estimator_is_one_registered_function():
    before = dict(core.ESTIMATORS)

    @core.register("counted", label="pairs", version=7, takes="labels", order=5)
    def counted(x, y, *, seed=0):
        return core.Information(float(seed), 0.0, None, "counted", len(x), False)

    try:
        assert list(information.METHODS)[:3] == ["default", "counted", "classifier"]
        assert estimate(*labelled(), method="counted", seed=3).bits == 3.0  # groups and device are not its own
        assert information.numbers_version("counted", 10) == 7
        assert information.numbers_version("counted", information.MANY_PAIRS) == [7, 1]
        with pytest.raises(InputError, match="counted needs one label a cell"):
            estimate(*vectors(), method="counted")
    finally:
        core.ESTIMATORS.clear()
        core.ESTIMATORS.update(before)


@pytest.mark.parametrize(("n", "times"), [(280, 1.8), (1000, 1.3), (5000, 1.06)])
def test_a_learned_estimate_varies_as_much_more_as_draws_of_the_suite_did(n, times):
    """`times`: variance over draws of the suite, in units of that of the scored cells, as measured."""
    values = np.random.default_rng(0).standard_normal(n)
    plain, learned = (core.from_pointwise(values, "m", lower_bound=True, learned=how) for how in (False, True))
    assert plain.stderr == pytest.approx(values.std(ddof=1) / np.sqrt(n))
    assert (learned.stderr / plain.stderr) ** 2 == pytest.approx(times, rel=0.06)
    assert learned.bits == plain.bits == pytest.approx(values.mean())


def test_cells_of_a_group_count_once_in_the_standard_error():
    """Each of 50 values four times over, one group each: the error of 50, not of 200; a cell without a score is out."""
    values = np.random.default_rng(1).standard_normal(50)
    repeated = np.r_[np.repeat(values, 4), np.nan]
    found = core.from_pointwise(repeated, "m", lower_bound=False, groups=np.r_[np.repeat(np.arange(50), 4), 50])
    assert found.n == 200
    assert found.stderr == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_a_new_version_of_a_part_is_one_of_the_default():
    parts = [information.ESTIMATORS[name].version for name in ("infonce", "classifier")]
    assert information.ESTIMATORS["default"].version > max(parts)


def test_ksg_takes_labels_as_standardised_one_hot_vectors():
    x, codes = labelled()
    hot = np.eye(5)[codes]
    by_hand = estimate(x / x.std(0), hot / hot.std(0), method="ksg")
    assert estimate(x, codes, method="ksg").bits == by_hand.bits


@pytest.mark.parametrize("method", VECTOR_METHODS)
def test_constant_columns_change_nothing_and_a_constant_side_is_0_bits(method):
    x, y = vectors()
    padded = np.hstack([x, np.full((len(x), 2), 7.0)])
    assert run(padded, y, method).bits == run(x, y, method).bits
    found = run(np.ones_like(x), y, method)
    assert (found.bits, found.stderr) == (0.0, 0.0)
    assert "constant" in found.note


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_one_class_is_0_bits(method):
    x, _ = labelled()
    assert run(x, np.full(len(x), "only"), method).bits == 0.0


@pytest.mark.parametrize(
    ("x", "y", "options", "sentence"),
    [
        (np.ones((29, 2)), np.ones((29, 2)), {}, "29 pairs of cells are too few"),
        (np.ones((40, 2)), np.ones((41, 2)), {}, "x has 40 cells and y has 41"),
        (np.r_[[[np.nan]], np.ones((40, 1))], np.ones(41), {}, "x has NaN or infinite values in 1 of 41 cells"),
        (np.ones((40, 2, 2)), np.ones(40), {}, r"x must be \[cells, dims\]"),
        (np.full((40, 1), "a"), np.ones(40), {}, "x must be a dense numeric array"),
        (np.ones((40, 2)), np.ones(40), {"method": "magic"}, "unknown estimator 'magic'"),
        (np.ones((40, 2)), np.ones(40), {"method": "mixed_ksg"}, "mixed_ksg needs one label a cell"),
        (np.ones((40, 2)), np.arange(40), {}, "labels differ in all 40 cells"),
        (np.ones((40, 2)), np.array([None, *"a" * 39]), {}, "labels are missing for 1 of 40 cells"),
        (np.eye(40), np.ones(40), {"device": "tpu"}, "unknown device 'tpu'"),
        (np.eye(40), np.eye(40), {"groups": np.zeros(40)}, "1 groups are too few"),
        (np.eye(40), np.eye(40), {"groups": np.zeros(39)}, "groups has 39 entries for 40 cells"),
    ],
)
def test_bad_input_gets_one_sentence(x, y, options, sentence):
    with pytest.raises(InputError, match=sentence):
        estimate(x, y, **options)


@pytest.mark.parametrize("n_folds", [3, 5])
def test_folds_are_disjoint_score_every_cell_once_and_keep_groups_whole(n_folds):
    groups = np.random.default_rng(0).integers(0, 60, 500)
    parts = folds(500, n_folds, seed=0, groups=groups)
    assert (np.sort(np.concatenate([p.score for p in parts])) == np.arange(500)).all()
    for p in [*parts, three_way(500, seed=0, groups=groups)]:
        assert len(p.fit) + len(p.stop) + len(p.score) == 500
        sides = [set(groups[side]) for side in (p.fit, p.stop, p.score)]
        assert not (sides[0] & sides[1])
        assert not (sides[0] & sides[2])
        assert not (sides[1] & sides[2])


def test_folds_deal_classes_evenly():
    codes = np.repeat(np.arange(4), [100, 50, 10, 5])
    for p in folds(165, 5, seed=1, strata=codes):
        assert np.bincount(codes[p.score]).tolist() == [20, 10, 2, 1]


def test_copies_of_a_clone_do_not_pass_for_information():
    # 100 clones of 6 cells; x and y are the clone's own, independent of each other: truth 0 between clones.
    rng = np.random.default_rng(0)
    clone = np.repeat(np.arange(100), 6)
    x, y = rng.standard_normal((100, 8))[clone], rng.standard_normal((100, 8))[clone]
    x, y = x + 0.05 * rng.standard_normal(x.shape), y + 0.05 * rng.standard_normal(y.shape)
    kept = infonce(x, y, groups=clone)
    assert kept.bits < 3 * kept.stderr
    assert kept.stderr >= infonce(x, y, groups=clone).stderr
