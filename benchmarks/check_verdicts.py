"""How often `noise-scaling check` is right: on pairs of known information, misleading pairs and broken estimators.

A verdict is right

- for sound pairs: if it is "yes" and the estimate is within 20 % of the truth, "lower bound" and the estimate is more
  than 10 % below the truth, or "nothing found" and the truth is 0;
- for faulty pairs or estimators: if it is "no" and the check that was designed for the fault is among those that fail.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import common
import numpy as np
import pandas as pd
from information.problems import pairs, problems
from information.truth import stored

from noise_scaling import information
from noise_scaling.measure.check import of_pair
from noise_scaling.measure.check_rules import FAILED, TIE
from noise_scaling.seeds import generator
from noise_scaling.signals import Aligned

SOUND = [
    *[(name, 1000) for name in ("gaussian_1", "gaussian_4", "mixture_1", "mixture_3.5", "mapped16_2", "student_2")],
    *[(name, 1000) for name in ("proteins_2", "paired_2", "sign_flip_2")],
    *[(name, 2000) for name in ("gaussian_2", "mixture_5.1")],
    *[(name, 500) for name in ("gaussian_0", "mapped16_0")],
    *[(name, 150) for name in ("mixture_1", "mixture_3.5", "gaussian_2", "paired_4")],
]
"""Sound problems of the suite, and numbers of pairs: enough pairs, no information to find, too few pairs."""
HEALTHY = {("mixture_3.5", 1000): 20, ("gaussian_2", 1000): 20}
"""Number of additional draws, by problem and number of pairs."""


class Case(NamedTuple):
    """Pairs, the estimator, and either the true bits or the name of the check that must fail."""

    name: str
    pair: Aligned
    estimator: str = "default"
    true: float = np.nan
    fails: str = ""


def sound(name: str, n: int, seed: int) -> Case:
    """Return the case of a sound problem of the suite."""
    return Case(f"{name}, {n:,} cells", Aligned(*pairs(problems()[name], n, seed), None), true=stored()[name][0])


def misleading(seed: int) -> list[Case]:
    """Return faulty pairs: with repeated cells, or with an embedding that contains the row number or the signal."""
    gauss, classes, related = (
        Aligned(*pairs(problems()[name], 600, seed), None) for name in ("gaussian_1", "mixture_1", "paired_2")
    )
    rng = generator(seed, "verdicts")
    twice, tenth = np.repeat(np.arange(600), 2), np.r_[np.arange(600), np.arange(60)]
    turned = Aligned(np.r_[related.x, related.y], np.r_[related.y, related.x], None)
    sorted_ = _rows(classes, np.argsort(classes.y))
    number, codes = np.arange(600.0)[:, None], classes.y[:, None]
    return [
        Case("mixture_1, each pair twice", _rows(classes, twice), fails="repeated_cells"),
        Case("mixture_1, each label of another cell, then each pair twice",
             _rows(classes._replace(y=rng.permutation(classes.y)), twice), fails="repeated_cells"),
        Case("mixture_1, a tenth of the pairs twice", _rows(classes, tenth), fails="repeated_cells"),
        Case("gaussian_1, each pair twice", _rows(gauss, twice), fails="repeated_cells"),
        Case("paired_2, each pair in both orders", turned, fails="repeated_cells"),
        Case("mixture_1, sorted, beside the row number", _beside(sorted_, number), fails="leak"),
        Case("the same, rotated", _turned(_beside(sorted_, number), rng), fails="leak"),
        Case("mixture_1 beside its codes, rotated", _turned(_beside(classes, codes), rng), fails="leak"),
        Case("gaussian_1 beside a number of the signal", _beside(gauss, gauss.y[:, :1]), fails="leak"),
    ]  # fmt: skip


def _rows(pair: Aligned, at: np.ndarray) -> Aligned:
    return Aligned(pair.x[at], pair.y[at], None)


def _beside(pair: Aligned, column: np.ndarray) -> Aligned:
    return pair._replace(x=np.hstack([pair.x, column]))


def _turned(pair: Aligned, rng: np.random.Generator) -> Aligned:
    return pair._replace(x=pair.x @ np.linalg.qr(rng.standard_normal((pair.x.shape[1],) * 2))[0])


def broken(seed: int) -> list[Case]:
    """Return cases of KSG broken in six ways, on Gaussians of two dimensions and one that share 1 bit."""
    rng = generator(seed, "verdicts", "broken")
    x = rng.standard_normal((500, 2))
    y = np.sqrt(0.75) * x[:, :1] + 0.5 * rng.standard_normal((500, 1))
    return [Case(f"KSG, {name}", Aligned(x, y, None), name, fails=BROKEN[name][0]) for name in BROKEN]


BROKEN: dict[str, tuple[str, Callable]] = {
    "rises with noise on x": ("noise_on_embedding", lambda x, y, seed: {"add": max(np.log2(x.var()), 0)}),
    "rises with noise on y": ("noise_on_signal", lambda x, y, seed: {"add": max(np.log2(y.var()), 0)}),
    "adds 0.2 bits": ("shuffled", lambda x, y, seed: {"add": 0.2}),
    "multiplies by 1.4": ("known_signal", lambda x, y, seed: {"times": 1.4}),
    "a tenth of its standard error": ("split_halves", lambda x, y, seed: {"error": 0.1}),
    "of sd 0.5 over draws": ("split_halves", lambda x, y, seed: {"add": generator(seed, x.sum()).normal(0, 0.5)}),
}
"""By name: the check that must fail, and how the bits and the standard error of KSG are changed."""


def register_broken() -> None:
    """Register every broken estimator."""
    for name in BROKEN:
        information.register(name, label=name, version=1, takes="vectors")(partial(_broken, name))


def _broken(name: str, x: np.ndarray, y: np.ndarray, *, seed: int = 0) -> information.Information:
    found, done = information.ksg(x, y), {"add": 0.0, "times": 1.0, "error": 1.0} | BROKEN[name][1](x, y, seed)
    return replace(found, bits=done["times"] * found.bits + done["add"], stderr=done["error"] * found.stderr)


def verdict(case: Case, seed: int) -> dict[str, object]:
    """Run the check on a case; return a table row with the answer and whether it is right."""
    start = time.process_time()
    found = of_pair(case.pair, estimator=case.estimator, seed=seed)
    seconds, failed = time.process_time() - start, [check.name for check in found.of_status(FAILED)]
    near, below = abs(found.bits - case.true) <= 0.2 * case.true, found.bits < 0.9 * case.true
    rights = {"yes": near, "lower bound": below, "nothing found": case.true == 0}
    right = found.answer == "no" and case.fails in failed if case.fails else rights.get(found.answer, False)
    ties = [check.name for check in found.of_status(TIE)]
    row = {"case": case.name, "seed": seed, "true": case.true, "bits": found.bits, "answer": found.answer}
    return (
        row
        | {"failed": ", ".join(failed), "ties": ", ".join(ties), "right": bool(right), "seconds": seconds}
        | {check.name: f"{check.value:.3g} ({check.limit:.3g}, {check.stderr:.2g})" for check in found.checks}
    )


def main() -> None:
    options = common.arguments(__doc__)
    where = common.machine("torch")
    register_broken()
    if options.quick:
        cases = [(sound("mixture_1", 300, 0), 0), *[(case, 0) for case in broken(0)[:1]]]
    else:
        cases = [(case, 0) for case in [*(sound(*about, 0) for about in SOUND), *misleading(0), *broken(0)]]
        cases += [(sound(*about, seed), seed) for about, draws in HEALTHY.items() for seed in range(1, 1 + draws)]
    rows = []
    for case, seed in cases:
        rows.append(verdict(case, seed))
        print(rows[-1], flush=True)
    _report(options, where, pd.DataFrame(rows))


def _report(options, where: dict, table: pd.DataFrame) -> None:
    once, again = table[table["seed"] == 0], table[table["seed"] > 0]
    shown = once[["case", "true", "bits", "answer", "failed", "ties", "right"]]
    rows = [["" if isinstance(v, float) and np.isnan(v) else v for v in row] for row in shown.to_numpy().tolist()]
    draws = [[name, len(g), *(int((g["answer"] == a).sum()) for a in ("yes", "lower bound", "nothing found", "no"))]
             for name, g in again.groupby("case")]  # fmt: skip
    parts = [
        "A verdict is right that says, of pairs with nothing wrong, *yes* where the estimate is within 20 % of the "
        "truth, *lower bound* where it is more than 10 % below it, *nothing found* where the truth is 0; and of "
        "anything wrong *no*, for the reason that was built in. Broken estimators are KSG with one change.",
        f"Right in {once['right'].sum()} of {len(once)} cases. Processor seconds of one check: "
        f"{table['seconds'].median():.0f} in the median, {table['seconds'].max():.0f} at most.",
        common.table(list(shown), rows),
        "Other draws of pairs with nothing wrong:",
        common.table(["pairs", "draws", "yes", "lower bound", "nothing found", "no"], draws),
    ]
    name, title = "check_verdicts", "Verdicts of `noise-scaling check`"
    common.report(options.results, name, title, where, parts, {"verdicts": json.loads(table.to_json(orient="records"))})


if __name__ == "__main__":
    main()
