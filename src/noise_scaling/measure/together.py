"""One call of `measure` in several processes that a launcher started: the first measures, the others train along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pandas as pd

from ..models.team import Team
from .slice import UNIT_ERRORS, Slice


@contextmanager
def leading(team: Team) -> Iterator[None]:
    """What ends the first process ends the others too."""
    try:
        yield
    except Exception as error:
        team.share(error)
        raise


def follow(slices: Sequence[Slice], team: Team) -> pd.DataFrame:
    """Train along with the first process, point by point as it says; its table, when it is done.

    Nothing is written here, and what fails there fails here too.
    """
    known = {(one.seed, one.fraction): one for one in slices}
    while isinstance(task := team.share(None), tuple):
        seed, fraction, point = task
        with suppress(*UNIT_ERRORS):
            known[seed, fraction].train_along(point)
    if isinstance(task, Exception):
        raise task
    return task
