"""Can I trust this number? Compares an estimate on your own pairs with estimates whose answer is known or bounded."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .. import datasets, information, models, signals
from ..errors import InputError, choose
from ..information.core import MIN_PAIRS, check_pairs, is_labels, vectors
from ..information.crossfit import one_thread
from ..seeds import derive, generator
from ..signals import Aligned, Signal
from . import check_pairs as pairs
from . import check_rules as rules
from . import request
from .slice import Grid

LEAST, MOST = 4 * MIN_PAIRS, 5000
"""Numbers of cells: a quarter of fewer than LEAST is too few for an estimate; of more than MOST, MOST are drawn."""


@dataclass(frozen=True)
class Report:
    """Result of `check`.

    Attributes
    ----------
    bits, stderr
        Mean over three seeds, and the larger of the standard error and the spread over seeds.
    n, dims, method
        Number of pairs of cells, number of dimensions of the embedding, and the estimator used.
    checks
        All checks that apply (`check_rules`).
    estimates
        One row each: setting, level, repeat, n, dims, bits, stderr, true (bits, where known), method, note.
    notes
        How the input was read, and what was left out.
    """

    bits: float
    stderr: float
    n: int
    dims: int
    method: str
    checks: tuple[rules.Check, ...]
    estimates: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> rules.Check:
        return next(check for check in self.checks if check.name == name)

    def of_status(self, status: str) -> list[rules.Check]:
        """Return the checks with a status: OK, TIE or FAILED."""
        return [check for check in self.checks if check.status == status]

    @property
    def answer(self) -> str:
        """ "yes", "lower bound" (all failed checks find too little), "nothing found" (chance, no growth) or "no"."""
        failed, null = self.of_status(rules.FAILED), self["shuffled"]
        if not all(check.too_low for check in failed):
            return "no"
        chance = max(null.value, 0) + max(rules.ZERO, rules.MARGIN * np.hypot(self.stderr, null.stderr))
        if self.bits <= chance and self["growth"] not in failed:
            return "nothing found"
        return "lower bound" if failed else "yes"

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        failed, ties = self.of_status(rules.FAILED), self.of_status(rules.TIE)
        within = f", {len(ties)} of them within the error" if ties else ""
        reasons, known = "; ".join(check.text for check in failed), self["known_signal"].text
        passed = f"all {len(self.checks)} checks pass{within}; {known}, and {self['growth'].text}"
        start, end = {
            "yes": ("Trust at least", passed),
            "lower bound": ("There is more than", reasons),
            "nothing found": ("Nothing is found in", f"{self['shuffled'].text}, and {known}"),
            "no": ("Do not trust", reasons),
        }[self.answer]
        about = f"{self.n:,} cells, {self.dims} dimensions, {information.ESTIMATORS[self.method].label}"
        return f"{start} {self.bits:z.2f} ± {self.stderr:.2f} bits ({about}): {end}."

    def __str__(self) -> str:
        return "\n".join([self.verdict, "", *(f"{check.status:6} {check.text}" for check in self.checks)])

    def as_dict(self) -> dict[str, object]:
        """Return verdict, checks and notes as values for JSON; `ok` is false for a check that failed."""
        facts = {name: getattr(self, name) for name in ("verdict", "answer", "bits", "stderr", "n", "dims", "method")}
        columns = ("name", "value", "limit", "stderr", "status", "text")
        checks = [{c: getattr(one, c) for c in columns} | {"ok": one.status != rules.FAILED} for one in self.checks]
        return facts | {"checks": checks, "notes": list(self.notes)}


def check(
    file: str | Path,
    *,
    signal: str | None = None,
    embedding: str | None = None,
    layer: str | None = None,
    round_counts: bool = False,
    estimator: str = "default",
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Say whether an estimate of the information between an embedding and a signal can be trusted.

    Parameters
    ----------
    file, signal, layer, round_counts
        As for `datasets.load`; or a table of pairs, .npz or .csv, as for `datasets.load_embedding`.
    embedding
        "obsm:KEY" of a file, or a model ("pca" by default). The model is trained and embeds the test cells as in
        `measure`, at full depth and the largest number of cells.
    estimator
        A method of `information.estimate`.
    seed
        Seed of all random choices.
    progress
        Whether to show a progress bar.

    Raises
    ------
    InputError
        If file, signal, embedding or estimator are not valid, or there are fewer than `LEAST` pairs of cells.
    """
    ask = request.read(**locals())
    choose("estimator", ask.estimator, information.METHODS)
    with one_thread(), threadpool_limits(1):
        cells, x, found, notes = _embedded(ask)
        own = derive(ask.seed, "pairs")
        rows = signals.align(found, cells, cells[:, None], seed=own).x[:, 0]
        pair = signals.align(found, cells, x, seed=own)
        return of_pair(pair, rows, notes, estimator=ask.estimator, seed=ask.seed, progress=ask.progress)


def _embedded(ask: SimpleNamespace) -> tuple[np.ndarray, np.ndarray, Signal, tuple[str, ...]]:
    """Return the cells to score (all have the signal), their embedding, the signal of all cells, and notes."""
    if datasets.is_table(ask.file) or (ask.embedding or "").startswith("obsm:"):
        x, signal, notes = datasets.load_embedding(ask.file, embedding=ask.embedding, signal=ask.signal)
        known = np.flatnonzero(signals.test_eligible(signal))
        return known, x[known], signal, notes
    name = ask.embedding or "pca"
    choose("embedding (a model, or obsm:KEY of a file)", name, models.MODELS)
    data = datasets.load(ask.file, signal=ask.signal, layer=ask.layer, round_counts=ask.round_counts)
    card, most = data.card, max(data.card.cell_numbers)
    grid = Grid(data, (name,), (most,), (1.0,), "small", (), card.n_test, card.n_validation, "cpu")
    cells = grid.split(ask.seed)
    model = models.create(name, seed=derive(ask.seed, "model", name, most), device="cpu")
    model.fit(data.take(cells.training_cells(most)), data.take(cells.validation))
    note = f"{name} was trained on {most:,} cells and embeds {len(cells.test):,} others"
    return cells.test, np.asarray(model.embed(data.take(cells.test))), data.signal, (*data.notes, note)


def of_pair(
    pair: Aligned,
    rows: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
    *,
    estimator: str = "default",
    seed: int = 0,
    progress: bool = False,
) -> Report:
    """Run `check` on pairs in memory.

    Parameters
    ----------
    pair
        x [n, dims], y [n, d] or labels [n], groups [n] or None.
    rows
        Position [n] of each pair's cell in the input; the order of the pairs by default.
    notes, estimator, seed, progress
        As in `Report` and `check`.

    Raises
    ------
    InputError
        If there are fewer than `LEAST` pairs, the embedding does not vary, or the estimator refuses them.
    """
    n = len(pair.x)
    if n < LEAST:
        raise InputError(f"{n} pairs of cells are too few for a check: give at least {LEAST}")
    groups = check_pairs(pair.x, pair.y, pair.groups)
    x, y = vectors(pair.x, "the embedding"), pair.y if is_labels(pair.y) else vectors(pair.y, "the signal")
    if not np.ptp(x, axis=0).any():
        raise InputError("the embedding is the same in all cells: give one that varies")
    pair, rows = Aligned(x, y, groups), np.arange(n) if rows is None else rows
    if n > MOST:
        kept = np.sort(generator(seed, "check", "cells").permutation(n)[:MOST])
        pair, rows, notes = pairs.of(pair, kept), rows[kept], (*notes, f"{MOST:,} of {n:,} pairs were drawn")
    table = _estimates(pair, estimator, seed, progress)
    checks = (*rules.counted(pair, rows), *rules.estimated(table))
    whole = table[table["setting"] == pairs.ALL]
    bits, stderr = rules.mean(whole)
    notes = (*notes, *filter(None, whole["note"].unique()))
    return Report(bits, stderr, len(pair.x), pair.x.shape[1], whole["method"].iloc[0], checks, table, notes)


def _estimates(pair: Aligned, estimator: str, seed: int, progress: bool) -> pd.DataFrame:
    found = []
    with tqdm(total=28 if pair.x.shape[1] > 1 else 24, disable=not progress, unit="estimate") as bar:
        for case in pairs.cases(pair, seed):
            (x, y, groups), own = case.pair, derive(seed, "check", "estimator", case.repeat)
            one = information.estimate(x, y, method=estimator, seed=own, device="cpu", groups=groups)
            facts = one.bits, one.stderr, case.true, one.method, one.note
            found.append((case.setting, case.level, case.repeat, len(x), x.shape[1], *facts))
            bar.set_postfix_str(case.setting)
            bar.update()
    names = "setting level repeat n dims bits stderr true method note"
    return pd.DataFrame(found, columns=names.split())
