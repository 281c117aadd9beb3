"""The settings of one `measure` call, shared by all of its slices, and the check that enough test cells are scored."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import datasets, signals
from ..errors import InputError
from ..information.core import MIN_PAIRS
from ..seeds import derive
from ..splits import Split, split
from .ablations import Variant
from .brought import Brought


@dataclass(frozen=True)
class Grid:
    """Settings that all slices of one `measure` call share.

    Fields without a comment are as in `measure`.
    """

    data: datasets.Dataset
    models: tuple[str, ...]
    cell_numbers: tuple[int, ...]
    fractions: tuple[float, ...]
    preset: str
    estimators: tuple[str, ...]
    n_test: int
    n_validation: int
    device: str
    variant: Variant = field(default_factory=Variant)
    results: Path | None = None  # folder of finished units; None keeps nothing
    keep_embeddings: bool = False
    progress: bool = False
    devices: int = 1
    precision: str = ""
    brought: Brought | None = None
    fractions_train: tuple[float, ...] = ()  # training depths, each with all `fractions`; (): as the test cells

    def split(self, seed: int) -> Split:
        """Return one replicate's test, validation and training cells. An N with too few of them becomes a failed row.

        InputError if there are too few cells for every N, or the test cells cannot be scored (`check_scored`).
        """
        cells = split(
            self.data.cell_ids,
            seed=derive(self.variant.seed_of("split", seed), "split", self.data.stream),
            n_test=self.n_test,
            n_validation=self.n_validation,
            eligible=signals.test_eligible(self.data.signal),
            groups=signals.groups(self.data.signal),
            blocks=self.data.blocks,
        )
        if self.variant.n_blocks:
            cells = cells.of_blocks(np.asarray(self.data.blocks), self.variant.n_blocks)
        cells.training_cells(min(self.cell_numbers))  # fail before the work starts
        check_scored(self.data.signal, cells.test, seed=pairs_seed(self.variant, seed))
        return cells


def pairs_seed(variant: Variant, seed: int) -> int:
    """Return the seed that decides which cells are paired in the replicate `seed`."""
    return derive(variant.seed_of("split", seed), "pairs")


def check_scored(signal: signals.Signal, test: np.ndarray, *, seed: int) -> None:
    """Raise InputError for test cells that cannot be scored: too few, or with more classes than half their number."""
    scored = signals.align(signal, test, np.empty((len(test), 0)), seed=seed)
    what = "pairs of test cells" if signal.kind == "pair" else "test cells"
    if len(scored.x) < MIN_PAIRS:
        raise InputError(
            f"signal {signal.name!r} has {len(scored.x)} {what}, too few for an estimate: at least {MIN_PAIRS} are "
            "needed, so ask for more with --n-test (n_test in Python), or choose another signal"
        )
    classes = len(np.unique(scored.y)) if signal.kind == "label" else 0
    if classes > len(scored.x) / 2:
        raise InputError(
            f"signal {signal.name!r} has {classes} classes in {len(scored.x)} test cells: choose shared labels"
        )
