"""Signals: who can be a test cell, who belongs together, and how cells are paired."""

import numpy as np
import pytest

from noise_scaling import signals
from noise_scaling.errors import InputError
from noise_scaling.signals import Signal, align, pairs


def brute_force_nearest(xy):
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return distance.argmin(axis=1)


@pytest.fixture
def space():
    return Signal("space", "pair", np.random.default_rng(0).uniform(0, 100, (400, 2)))


def test_a_label_or_vector_is_that_of_the_test_cells_in_their_order():
    labels = Signal("type", "label", np.array(["a", "b", "", "c"]))
    embedding = np.arange(6.0).reshape(3, 2)
    x, y, groups = align(labels, np.array([3, 0, 1]), embedding, seed=0)
    assert y.tolist() == ["c", "a", "b"]
    assert x.tolist() == embedding.tolist()
    assert groups is None
    vectors = Signal("protein", "vector", np.array([[0.0], [1.0], [2.0], [3.0]]))
    assert align(vectors, np.array([3, 0, 1]), embedding, seed=0).y.ravel().tolist() == [3, 0, 1]


def test_labels_with_an_order_are_given_as_places_in_it():
    days = np.array(["P0", "E10.5", "E8.5", "", "E8.75", "E10"])
    order = ("E8.5", "E8.75", "E10", "E10.5", "P0")
    assert signals.in_time(days) == order
    labels = Signal("day", "label", days, levels=order)
    assert align(labels, np.array([0, 1, 2, 4, 5]), np.zeros((5, 1)), seed=0).y.tolist() == [4, 3, 0, 1, 2]
    with pytest.raises(InputError, match="'late' has no number"):
        signals.in_time(np.array(["1 day", "late"]))


def test_with_a_stream_the_names_of_classes_do_not_matter():
    one, other = np.array(["a", "b", "", "c", "a"]), np.array(["z", "10", "", "2", "z"])
    test, embedding = np.array([4, 1, 0, 3]), np.zeros((4, 1))
    found = [align(Signal("t", "label", v, stream="own"), test, embedding, seed=0).y.tolist() for v in (one, other)]
    assert found[0] == found[1] == ["0", "1", "0", "2"]


def test_places_on_a_line_and_beside_one_far_cell_are_cut_into_as_many_tiles():
    xy = np.random.default_rng(7).uniform(0, 1, (300, 2))
    line = xy[:, :1]
    flat = np.c_[line, np.zeros(300)]
    far = np.r_[xy[:-1], [[1e12, 1e12]]]
    for place in (line, flat, far):
        assert set(np.bincount(signals.groups(Signal("s", "pair", place)))) <= {2, 3}  # 300 cells in 128 tiles
    one = Signal("s", "pair", np.zeros((9, 2)))
    assert set(signals.groups(one)) == {0}


def test_tiles_are_places_of_a_hundred_cells_whatever_the_order_and_the_section():
    xy = np.random.default_rng(8).uniform(0, 1, (30_000, 2))
    tile = signals.groups(Signal("s", "pair", xy, sections=np.array(["a", "b"] * 15_000)))
    assert set(np.bincount(tile)) == {117, 118}  # 256 tiles
    corner = (xy < 0.04).all(axis=1)  # a tile is about 0.06 wide
    assert set(xy[np.isin(tile, tile[corner])].max(axis=0) < 0.2) == {True}
    assert len(set(tile[corner])) <= 4
    order = np.random.default_rng(9).permutation(30_000)
    assert (signals.groups(Signal("s", "pair", xy[order])) == tile[order]).all()
    xy[5] = np.nan
    assert signals.groups(Signal("s", "pair", xy))[5] == -1


def test_cells_without_a_section_have_no_neighbour():
    place, sections = np.arange(6.0)[:, None], np.array(["a", "", "a", "", "b", "b"])
    signal = Signal("s", "pair", place, sections=sections)
    assert signals.test_eligible(signal).tolist() == [True, False, True, False, True, True]
    first, second = pairs(signal, np.arange(6), seed=0)
    assert {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)} == {
        frozenset((0, 2)),
        frozenset((4, 5)),
    }


def test_cells_without_the_signal_are_not_test_cells():
    assert signals.test_eligible(Signal("s", "label", np.array(["a", "", "b"]))).tolist() == [True, False, True]
    vector = np.array([[1.0, 2.0], [np.nan, 1.0], [3.0, np.inf]])
    assert signals.test_eligible(Signal("s", "vector", vector)).tolist() == [True, False, False]
    place = np.array([[0.0, 0.0], [np.nan, 0.0]])
    assert signals.test_eligible(Signal("s", "pair", place)).tolist() == [True, False]


def test_a_clone_needs_two_cells_and_with_times_two_times():
    clones = np.array([0, 0, 1, 2, 2, 2, -1, -1])
    assert signals.test_eligible(Signal("c", "pair", clones)).tolist() == [1, 1, 0, 1, 1, 1, 0, 0]
    times = np.array([2.0, 2.0, 4.0, 2.0, 6.0, np.nan, 2.0, 6.0])
    assert signals.test_eligible(Signal("c", "pair", clones, times=times)).tolist() == [0, 0, 0, 1, 1, 0, 0, 0]


def test_clones_stay_together_and_cells_without_one_stand_alone():
    groups = signals.groups(Signal("c", "pair", np.array([5, -1, 5, 7, -1])))
    assert groups.tolist() == [5, -1, 5, 7, -1]  # negative: alone
    assert signals.groups(Signal("s", "label", np.array(["a", "b"]))) is None


def test_no_cell_is_in_two_pairs_and_partners_share_a_clone():
    clones = np.random.default_rng(1).integers(-1, 60, 300)
    test = np.random.default_rng(2).permutation(300)[:200]
    first, second = pairs(Signal("c", "pair", clones), test, seed=0)
    both = np.concatenate([first, second])
    assert len(set(both.tolist())) == len(both)
    assert (clones[test[first]] == clones[test[second]]).all()
    assert (clones[test[first]] >= 0).all()
    # A clone of m test cells gives m // 2 pairs.
    sizes = np.bincount(clones[test][clones[test] >= 0])
    assert len(first) == (sizes // 2).sum()


@pytest.mark.parametrize(
    ("times", "n_pairs"),
    [([2, 6, 6, 6], 1), ([2, 2, 2, 6], 1), ([2, 2, 4, 6, 6, 6], 3), ([2, 4, 4, 4, 6], 2), ([2, 4, 6], 1), ([4, 4], 0)],
)
def test_the_partner_is_later_and_as_many_pairs_are_formed_as_can_be(times, n_pairs):
    """The numbers of pairs are the largest possible, worked by hand; a clone of two more keeps it from being empty."""
    times = np.array([*times, 2.0, 4.0])
    clones = np.array([0] * (len(times) - 2) + [1, 1])
    for seed in range(5):
        first, second = pairs(Signal("c", "pair", clones, times=times), np.arange(len(times)), seed=seed)
        assert len(first) == n_pairs + 1
        assert (times[second] > times[first]).all()


def test_neighbours_are_nearest_among_the_test_cells(space):
    test = np.random.default_rng(3).permutation(400)[:150]
    first, second = pairs(space, test, seed=0)
    nearest = brute_force_nearest(space.values[test])
    assert all(nearest[i] == j or nearest[j] == i for i, j in zip(first, second, strict=True))
    assert len(set(np.concatenate([first, second]).tolist())) == 2 * len(first)
    # Every two cells that are each other's nearest are a pair: nothing shorter can take either of them.
    mutual = {frozenset((i, j)) for i, j in enumerate(nearest) if nearest[j] == i}
    assert mutual <= {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    # In the plane 6 pi / (8 pi + 3 sqrt 3) = 62 % of random points are in such a pair (Clark & Evans 1955).
    everyone = np.arange(400)
    nearest = brute_force_nearest(space.values)
    assert np.mean(nearest[nearest] == everyone) == pytest.approx(0.6215, abs=0.06)


def test_neighbours_share_a_section():
    xy = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.2, 0.0]])
    sections = np.array(["left", "right", "left", "right"])
    first, second = pairs(Signal("s", "pair", xy, sections=sections), np.arange(4), seed=0)
    assert {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)} == {
        frozenset((0, 2)),
        frozenset((1, 3)),
    }


def test_two_cells_at_one_place_are_each_others_neighbours():
    xy = np.array([[1.0, 1.0], [1.0, 1.0], [9.0, 9.0]])
    first, second = pairs(Signal("s", "pair", xy), np.arange(3), seed=0)
    assert {*first.tolist(), *second.tolist()} == {0, 1}


@pytest.mark.parametrize("kind", ["clone", "later", "space"])
def test_pairs_depend_on_the_test_cells_and_the_seed_only(kind, space):
    rng = np.random.default_rng(4)
    clones, times = rng.integers(0, 60, 400), rng.choice([2.0, 4.0, 6.0], 400)
    signal = {
        "clone": Signal("c", "pair", clones),
        "later": Signal("c", "pair", clones, times=times),
        "space": space,
    }[kind]
    test = rng.permutation(400)[:200]
    shuffled = rng.permutation(test)
    named = {}
    for order in (test, shuffled):
        first, second = pairs(signal, order, seed=7)
        named[order.tobytes()] = list(zip(order[first].tolist(), order[second].tolist(), strict=True))
    assert named[test.tobytes()] == named[shuffled.tobytes()]
    first, second = pairs(signal, test, seed=8)
    assert list(zip(test[first].tolist(), test[second].tolist(), strict=True)) != named[test.tobytes()]


def test_pairs_are_aligned_with_the_embedding_and_grouped_by_clone(space):
    test = np.random.default_rng(5).permutation(400)[:100]
    embedding = test[:, None].astype(float)  # each cell's embedding is its own index
    clones = np.arange(400) // 4
    x, y, groups = align(Signal("c", "pair", clones), test, embedding, seed=0)
    assert (clones[x.astype(int).ravel()] == clones[y.astype(int).ravel()]).all()
    assert (groups == clones[x.astype(int).ravel()]).all()
    x, y, groups = align(space, test, embedding, seed=0)
    assert len(x) == len(y) == len(groups)
    assert (groups == signals.groups(space)[x.astype(int).ravel()]).all()


def test_what_cannot_be_aligned_is_said():
    with pytest.raises(InputError, match="2 rows for 3 test cells"):
        align(Signal("t", "label", np.array(["a"] * 3)), np.arange(3), np.zeros((2, 1)), seed=0)
    with pytest.raises(InputError, match="no pair among 2 test cells"):
        pairs(Signal("c", "pair", np.array([0, 1, 0])), np.array([0, 1]), seed=0)
    with pytest.raises(InputError, match="unknown kind of signal 'number'"):
        Signal("t", "number", np.zeros(3))
    with pytest.raises(InputError, match="3 cells but 2 times"):
        Signal("c", "pair", np.zeros(3, dtype=int), times=np.zeros(2))
