"""The thinned counts of a slice: in memory, or with the training cells in a folder if the data are on disk."""

import numpy as np
from scipy.sparse import csr_matrix

from .. import paths
from ..counts import umis_per_cell
from ..counts.count_store import CountStore
from ..counts.thinned_store import Pool, Thinned, ThinnedStore, thin_to_disk
from ..seeds import derive
from ..splits import Split
from .asked import Grid
from .unit import digest


class Pools:
    """Test, validation and training cells of a slice, thinned on first use.

    If data are on disk, training cells are written to a folder below `results` or in the cache: as many as the largest
    N asked for. Jobs with other N have their own folders: 100,000 cells instead of 1,000 took 1.5 times the CPU seconds
    at a depth of 0.1 and 2.5 to 3 times at full depth, since reading dominates, but 34 times the disk. `tests` are the
    shares of molecules that test cells keep, several if they are embedded at several depths.
    """

    def __init__(self, grid: Grid, cells: Split, seed: int, fraction: float, tests: tuple[float, ...]) -> None:
        self.grid, self.cells, self.fraction, self.tests = grid, cells, fraction, tests
        self.data, self.variant = grid.data, grid.variant
        self.seed = derive(self.variant.seed_of("thin", seed), "thin", self.data.stream)
        self.largest = max(n for n in grid.cell_numbers if n <= len(cells.train))
        facts = (self.data.counts_sha256, fraction, self.seed, self.variant.full_depth, self.largest, *self._apart)
        self.folder = (grid.results or paths.cache()) / "thinned" / digest(cells, *facts)
        self._alone: dict[int, csr_matrix] = {}
        self._made: Thinned | None = None

    @property
    def _apart(self) -> tuple[float, ...]:
        """Depths of the test cells if they differ from the training depth, else empty."""
        return () if self.tests == (self.fraction,) else self.tests

    def test(self, fraction: float) -> csr_matrix:
        """Counts of the test cells with this share of their molecules."""
        held = self._counts.held["test"]
        if not self._apart or fraction == 1:
            return held
        ids = {"cell_ids": self.data.cell_ids[self.cells.test], "gene_ids": self.data.gene_ids}
        return self.variant.thin(held, fraction, seed=self.seed, **ids)

    @property
    def validation(self) -> csr_matrix:
        """Counts of the validation cells."""
        return self._counts.held["validation"]

    def train(self, n_cells: int) -> csr_matrix | CountStore:
        """Counts of the N training cells: the first rows of the largest set, or thinned on their own."""
        at, largest = self.cells.training_cells(n_cells), self._counts.train
        if isinstance(largest, ThinnedStore):
            return largest.take(slice(n_cells)).held()
        if self.variant.prefix:
            return largest[:n_cells]
        if n_cells not in self._alone:
            self._alone[n_cells] = self._thin("train", at)
        return self._alone[n_cells]

    def umis_of_train(self, n_cells: int) -> float:
        """Mean number of molecules of the N training cells; raises the same errors as `train`."""
        largest = self._counts.train
        if isinstance(largest, ThinnedStore):
            return float(largest.take(slice(len(self.cells.training_cells(n_cells)))).umis.mean())
        return umis_per_cell(self.train(n_cells))

    @property
    def _counts(self) -> Thinned:
        """Thinned once. Not a `cached_property`: before Python 3.12 its lock may be held when a worker is forked."""
        if self._made is None:
            self._made = self._thinned()
        return self._made

    def _thinned(self) -> Thinned:
        pools = {"test": self.cells.test, "validation": self.cells.validation}
        train = self.cells.training_cells(self.largest)
        if not isinstance(self.data.counts, CountStore):
            held = {pool: self._thin(pool, at) for pool, at in pools.items()}
            return Thinned(self._thin("train", train), held)
        shares = {name: 1.0 if name in self._whole else self.fraction for name in (*pools, "train")}
        return thin_to_disk(
            self.data.counts, Pool(train, shares["train"]),
            {name: Pool(at, shares[name]) for name, at in pools.items()}, self.folder, seed=self.seed,
            cell_ids=self.data.cell_ids, gene_ids=self.data.gene_ids, largest=self.data.largest,
            umis=self.data.umis, progress=self.grid.progress,
        )  # fmt: skip

    @property
    def _whole(self) -> tuple[str, ...]:
        """Pools that are kept at full depth."""
        return (*self.variant.full_depth, "test") if self._apart else self.variant.full_depth

    def _thin(self, pool: str, at: np.ndarray) -> csr_matrix:
        counts = self.data.take(at)
        if pool in self._whole:
            return counts
        ids = {"cell_ids": self.data.cell_ids[at], "gene_ids": self.data.gene_ids}
        return self.variant.thin(counts, self.fraction, seed=self.seed, **ids)
