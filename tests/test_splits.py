import numpy as np
import pytest

from noise_scaling.errors import InputError
from noise_scaling.splits import split

pytestmark = pytest.mark.any_machine

NAMES = np.array([f"cell{i}" for i in range(500)])


def test_disjoint_and_complete():
    s = split(NAMES, seed=1, n_test=100, n_validation=50)
    assert (len(s.test), len(s.validation), len(s.train)) == (100, 50, 350)
    assert len(np.unique(np.concatenate([s.test, s.validation, s.train]))) == 500


def test_training_cells_are_nested():
    s = split(NAMES, seed=1, n_test=100, n_validation=50)
    assert set(s.training_cells(100)) < set(s.training_cells(215))
    with pytest.raises(InputError, match="351 training cells asked for, 350 left"):
        s.training_cells(351)


def test_by_name_not_by_row():
    order = np.random.default_rng(0).permutation(500)
    one, other = (split(n, seed=3, n_test=100, n_validation=50) for n in (NAMES, NAMES[order]))
    np.testing.assert_array_equal(NAMES[one.test], NAMES[order][other.test])
    np.testing.assert_array_equal(NAMES[one.train], NAMES[order][other.train])


def test_seeds_differ_and_are_even():
    picked = np.zeros(500)
    for seed in range(400):
        picked[split(NAMES, seed=seed, n_test=100, n_validation=50).test] += 1
    # binomial(400, 0.2): mean 80, sd 8; the largest of 500 stays within 4.5 sd
    assert np.abs(picked - 80).max() < 4.5 * 8
    assert picked.std() == pytest.approx(8 * np.sqrt(500 / 500), rel=0.15)


def test_groups_stay_together_and_ineligible_cells_are_not_tested():
    clones = np.repeat(np.arange(100), 5)
    eligible = clones % 2 == 0
    s = split(NAMES, seed=0, n_test=60, n_validation=20, eligible=eligible, groups=clones)
    assert eligible[s.test].all()
    pools = [set(clones[p]) for p in (s.test, s.validation, s.train)]
    assert len(pools[0] | pools[1] | pools[2]) == sum(map(len, pools))
    assert len(set(clones[s.training_cells(40)])) > 25  # of 84 clones: the first 40 are not those of 8


def test_cells_that_cannot_be_tested_do_not_come_first_in_training_and_validation():
    may_not = np.arange(500) >= 250
    s = split(NAMES, seed=5, n_test=200, n_validation=100, eligible=~may_not)
    # Of the 300 cells left 250 may not be tested: hypergeometric, sd 2.9 of 83 in a hundred.
    for pool in (s.validation, s.training_cells(100)):
        assert abs(may_not[pool].sum() - 83.3) < 4 * 2.9


def test_cells_that_may_only_train_leave_the_test_cells_as_they_are():
    eligible = np.arange(500) < 300
    alone = split(NAMES[:300], seed=2, n_test=90, n_validation=9)
    s = split(NAMES, seed=2, n_test=90, n_validation=9, eligible=eligible)
    assert s.test.tolist() == alone.test.tolist()


def test_a_block_has_test_cells_or_others():
    blocks, tiles = np.repeat(np.arange(5), 100), np.tile(np.arange(50), 10)
    met = set()
    for seed in range(20):
        s = split(NAMES, seed=seed, n_test=80, n_validation=40, groups=tiles, blocks=blocks)
        assert len(set(blocks[s.test])) == 1
        met |= set(blocks[s.test])
        assert not set(blocks[s.test]) & set(blocks[np.r_[s.validation, s.train]])
        assert len(s.test) == 80
        assert len(s.validation) + len(s.train) == 400
    assert len(met) > 3
    assert len(set(blocks[split(NAMES, seed=0, n_test=101, n_validation=9, blocks=blocks).test])) == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"n_test": 501, "n_validation": 1}, "test cells asked for"),
        ({"n_test": 100, "n_validation": 401}, "validation cells asked for"),
        ({"n_test": 100, "n_validation": 400}, "no cells are left"),
        ({"n_test": 10, "n_validation": 5, "eligible": np.zeros(500, bool)}, "10 test cells asked for, 0 found"),
    ],
)
def test_too_few_cells(arguments, word):
    with pytest.raises(InputError, match=word):
        split(NAMES, seed=0, **arguments)


def test_names_must_be_unique():
    with pytest.raises(InputError, match="names repeat"):
        split(["a", "a", "b"], seed=0, n_test=1, n_validation=1)


def test_training_cells_of_fewer_blocks_are_nested_and_whole():
    blocks = np.repeat(np.arange(5), 100)
    s = split(NAMES, seed=2, n_test=100, n_validation=50, blocks=blocks)
    one, two = s.of_blocks(blocks, 1), s.of_blocks(blocks, 2)
    assert len(set(blocks[one.train])) == 1
    assert set(one.train) < set(two.train) < set(s.train)
    np.testing.assert_array_equal(one.train, s.train[blocks[s.train] == blocks[s.train[0]]])
    np.testing.assert_array_equal(one.test, s.test)
    with pytest.raises(InputError, match="of 9 blocks asked for, they are of 4: ask for 4 at most"):
        s.of_blocks(blocks, 9)
