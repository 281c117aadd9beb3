"""The external signal of each cell, and how it is aligned with an embedding of the test cells.

Three kinds. A *label* (cell type, time point) and a *vector* (proteins) belong to the cell itself. A *pair*
has no value of its own: the signal of one cell is the embedding of its partner, a clonal relative or the
nearest neighbour in space.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import cKDTree

from .errors import InputError, choose
from .seeds import generator

KINDS = ("label", "vector", "pair")
NO_CLONE = -1
"""Clone number of cells without a clone; such cells are not treated as one large clone."""

_FEWEST_TILES = 128
_CELLS_OF_A_TILE = 100
"""Spatial data are cut into tiles of about 100 cells, and into at least 128 tiles: if a third of them are tested, each
of 5 folds holds out 8."""


@dataclass(frozen=True, eq=False)
class Signal:
    """The signal that embeddings are compared with: measured on the same cells, never seen by a model.

    Attributes
    ----------
    name
        The signal's name on the data set's card.
    kind
        "label", "vector" or "pair".
    values
        label: strings [cells], "" where missing. vector: floats [cells, d], NaN where missing.
        pair of clonal relatives: clone numbers [cells], -1 for none. pair of neighbours: coordinates [cells, d].
    times
        For clonal relatives: time of each cell [cells]; the partner is then a *later* cell.
    sections
        For neighbours: the tissue section of each cell [cells], "" where missing; neighbours share one.
    levels
        For labels with an order: all labels, first to last (`align` then returns their positions). Empty if none.
    stream
        Name of the random stream that draws pairs; if empty, the signal's name. With a stream, neither the signal's
        name nor the names of its classes affect results.

    Raises
    ------
    InputError
        If `kind` is none of KINDS, or `times` or `sections` do not have one entry for each cell.
    """

    name: str
    kind: str
    values: np.ndarray
    times: np.ndarray | None = None
    sections: np.ndarray | None = None
    stream: str = ""
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose("kind of signal", self.kind, KINDS)
        for what, array in (("times", self.times), ("sections", self.sections)):
            if array is not None and len(array) != len(self.values):
                found = f"{len(self.values)} cells but {len(array)} {what}"
                raise InputError(f"signal {self.name!r} has {found}: give one for each cell")

    @property
    def is_spatial(self) -> bool:
        """Whether partners are neighbours in space (else clonal relatives)."""
        return self.kind == "pair" and self.values.ndim == 2

    @property
    def is_relatives(self) -> bool:
        """Whether partners are clonal relatives."""
        return self.kind == "pair" and self.values.ndim == 1

    def of(self, cells: np.ndarray) -> Self:
        """Return the signal of some cells, selected by a mask or positions."""
        times, sections = (None if array is None else array[cells] for array in (self.times, self.sections))
        return replace(self, values=self.values[cells], times=times, sections=sections)


def in_time(labels: np.ndarray) -> tuple[str, ...]:
    """Return distinct labels of time, without "", sorted by the text before their number (E8.5, P0), then the number.

    InputError if a label has no number.
    """
    different = pd.Series(sorted(set(labels) - {""}), dtype=str)
    parts = different.str.extract(r"^(\D*)(\d+(?:\.\d+)?)")
    timeless = different[parts[1].isna()]
    if len(timeless):
        raise InputError(f"label {str(timeless.iloc[0])!r} has no number: times need one to be in order")
    return tuple(different.iloc[np.lexsort([parts[1].astype(float), parts[0]])])


class Aligned(NamedTuple):
    """Rows that belong together: x [n, dims], y [n, d] or labels [n], cross-fitting groups [n] or None."""

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None


def test_eligible(signal: Signal) -> np.ndarray:
    """Return a mask [cells] of possible test cells: those with the signal and, for clones, with a possible partner.

    A partner is another cell of the clone; if the signal has times, a cell at another time.
    """
    values = signal.values
    if signal.kind == "label":
        return values != ""
    if signal.kind == "vector" or signal.is_spatial:
        known = np.isfinite(values).all(axis=1)
        return known if signal.sections is None else known & (np.asarray(signal.sections) != "")
    eligible = values != NO_CLONE
    if signal.times is not None:
        eligible &= np.isfinite(signal.times)
    keys = np.stack([values, np.arange(len(values)) if signal.times is None else signal.times], axis=1)
    distinct = np.unique(keys[eligible], axis=0)[:, 0]  # one row per cell, or one row per (clone, time)
    clones, sizes = np.unique(distinct, return_counts=True)
    return eligible & np.isin(values, clones[sizes > 1])


test_eligible.__test__ = False  # type: ignore[attr-defined]  # pytest would take the name for a test


def single_clone(marks: sparse.csr_matrix) -> np.ndarray:
    """Return each cell's clone [cells], NO_CLONE if not exactly one; `marks` [cells, clones] is non-zero in a clone."""
    marks.eliminate_zeros()
    single = np.diff(marks.indptr) == 1
    found = np.full(marks.shape[0], NO_CLONE)
    found[single] = marks.indices[marks.indptr[:-1][single]]
    return found


def groups(signal: Signal) -> np.ndarray | None:
    """Return each cell's group [cells], a clone or a tile, whose cells must share a pool; -1 is a cell on its own.

    A tile spans all sections, so that neither neighbours nor cells at one place in two sections are separated. Tiles
    come from repeated halving at the median of the longer side, so that none is empty and outlying cells do no harm.
    """
    if signal.is_relatives:
        return signal.values.astype(np.int64)
    if not signal.is_spatial:
        return None
    tile = np.full(len(signal.values), -1)
    known = np.flatnonzero(np.isfinite(signal.values).all(axis=1))
    halvings = int(np.log2(max(_FEWEST_TILES, len(known) / _CELLS_OF_A_TILE)))
    parts = [known]
    for _ in range(halvings):
        parts = [half for part in parts for half in _halves(signal.values, part) if len(half)]
    for number, part in enumerate(parts):
        tile[part] = number
    return tile


def _halves(xy: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split cells at the median along the axis on which they spread more."""
    along = xy[cells, np.ptp(xy[cells], axis=0).argmax()]
    low = along <= np.median(along)
    return cells[low], cells[~low]


def align(signal: Signal, test_index: np.ndarray, embedding: np.ndarray, *, seed: int) -> Aligned:
    """Align the embedding of the test cells, [test cells, dims] in the order of `test_index`, with their signal.

    For a pair, x and y are embeddings of two cells; no cell is in two pairs. The pairs depend only on the set of test
    cells and the seed, not on depth or the order of cells. InputError if the numbers of rows and test cells differ, or
    no pair can be formed.
    """
    test_index, embedding = np.asarray(test_index), np.asarray(embedding)
    if len(test_index) != len(embedding):
        found = f"{len(embedding)} rows for {len(test_index)} test cells"
        raise InputError(f"the embedding has {found}: give one row for each")
    if signal.kind != "pair":
        values = signal.values[test_index]
        if signal.levels:  # integers, because estimators use their order
            values = pd.Categorical(values, signal.levels).codes.astype(np.int64)
        elif signal.kind == "label" and signal.stream:
            values = pd.factorize(values)[0].astype(str)  # estimators deal cells by the order of labels
        return Aligned(embedding, values, None)
    first, second = pairs(signal, test_index, seed=seed)
    together = groups(signal)
    assert together is not None  # a pair has groups
    return Aligned(embedding[first], embedding[second], together[test_index[first]])


def pairs(signal: Signal, test_index: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return disjoint pairs of test cells: two arrays [pairs] of positions in `test_index`, ordered by the first cell.

    Clonal relatives: a clone's cells are shuffled and paired; with times, each earlier cell is paired with a later one.
    Neighbours: each cell is paired with the nearest test cell, shortest distance first, if both are still unpaired.

    The published code counts each pair in both orders and cuts folds through pairs (the variant `both_pair_orders`).
    InputError if no two test cells are partners.
    """
    test_index = np.asarray(test_index)
    order = np.argsort(test_index, kind="stable")
    cells = test_index[order]
    rng = generator(seed, "pairs", signal.stream or signal.name)
    first, second = _neighbours(signal, cells, rng) if signal.is_spatial else _relatives(signal, cells, rng)
    if not len(first):
        raise InputError(
            f"signal {signal.name!r} gives no pair among {len(cells)} test cells: ask for more test cells, "
            "or choose another signal"
        )
    by_cell = np.argsort(first, kind="stable")
    return order[first[by_cell]], order[second[by_cell]]


def _relatives(signal: Signal, cells: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pair cells within clones, as positions in `cells`: by time, i of m with i + ceil(m / 2), the most possible."""
    shuffled = rng.permutation(len(cells))
    clones = signal.values[cells[shuffled]]
    times = np.zeros(len(cells)) if signal.times is None else signal.times[cells[shuffled]]
    usable = (clones != NO_CLONE) & np.isfinite(times)
    shuffled, clones, times = shuffled[usable], clones[usable], times[usable]
    by_clone = np.lexsort((times, clones))
    shuffled, clones, times = shuffled[by_clone], clones[by_clone], times[by_clone]
    _, starts, sizes = np.unique(clones, return_index=True, return_counts=True)
    rank = np.arange(len(clones)) - np.repeat(starts, sizes)
    half = np.repeat((sizes + 1) // 2, sizes)
    early = np.flatnonzero(rank + half < np.repeat(sizes, sizes))
    late = early + half[early]
    if signal.times is not None:
        later = times[late] > times[early]
        early, late = early[later], late[later]
    return shuffled[early], shuffled[late]


def _neighbours(signal: Signal, cells: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pair nearest neighbours, as positions in `cells`: shortest distance first, each cell at most once."""
    distance, partner = _nearest(signal, cells)
    taken = ~np.isfinite(distance)
    first, second = [], []
    for i in np.argsort(distance, kind="stable"):
        j = partner[i]
        if not (taken[i] or taken[j]):
            taken[i] = taken[j] = True
            first.append(i)
            second.append(j)
    both = np.array([first, second], dtype=np.int64).reshape(2, -1)
    swap = rng.random(both.shape[1]) < 0.5
    return np.where(swap, both[1], both[0]), np.where(swap, both[0], both[1])


def _nearest(signal: Signal, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distance and position of the nearest other cell of the same section; distance inf if there is none."""
    xy = signal.values[cells]
    sections = np.zeros(len(cells)) if signal.sections is None else np.asarray(signal.sections)[cells]
    distance, partner = np.full(len(cells), np.inf), np.zeros(len(cells), dtype=np.int64)
    for section in np.unique(sections):
        members = np.flatnonzero((sections == section) & np.isfinite(xy).all(axis=1))
        if section == "" or len(members) < 2:
            continue
        d, i = cKDTree(xy[members]).query(xy[members], k=2)
        # Two cells at one place: the cell itself may come second.
        other = np.where(i[:, 0] == np.arange(len(members)), 1, 0)
        rows = np.arange(len(members))
        distance[members], partner[members] = d[rows, other], members[i[rows, other]]
    return distance, partner
