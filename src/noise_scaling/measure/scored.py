"""Which test cells are scored: enough of them, and in pairs that depend on the seed alone."""

import numpy as np

from .. import signals
from ..errors import InputError
from ..information.core import MIN_PAIRS
from ..seeds import derive
from .ablations import Variant


def pairs_seed(variant: Variant, seed: int) -> int:
    """The seed that decides who is paired, of a replicate's."""
    return derive(variant.seed_of("split", seed), "pairs")


def check_scored(signal: signals.Signal, test: np.ndarray, *, seed: int) -> None:
    """InputError for test cells that no estimator takes: too few, or nearly a class each."""
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
