"""Time our KSG, LMI and default estimator against the published estimators, in turn, on one thread each.

latentmi takes minutes per estimate, so it is timed for one and for four epochs, which gives the seconds of an epoch and
of all other work. Its number of epochs is taken from the suite's rows of the same problem and number of pairs
(benchmarks/results/information/latentmi.csv), else from rows of other problems, and without any row from its patience:
at least 31.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pandas as pd
from common import RESULTS, arguments, interleave, machine, report, table
from information.peers import latentmi, python
from information.problems import pairs, problems
from information.run import read

from noise_scaling.information import estimate, ksg, lmi

FEWEST_EPOCHS = 31


def published_ksg() -> ModuleType:
    """Load latentmi's nearest-neighbour module into this environment, which has all that the module needs."""
    (path,) = Path(python("latentmi")).parents[1].glob("lib/python*/site-packages/latentmi/ksg.py")
    spec = importlib.util.spec_from_file_location("published_ksg", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def time_ksg(cells: int, repeats: int) -> tuple[dict[str, float], float]:
    """Return median seconds of both KSGs and their largest pointwise difference in bits (8 + 8 dimensions, 2 bits)."""
    rng, rho = np.random.default_rng(0), np.sqrt(1 - 2**-0.5)
    x = rng.standard_normal((cells, 8))
    y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((cells, 8))
    theirs = published_ksg()
    apart = np.abs(ksg(x, y).pointwise - theirs.mi(x, y)).max()
    return interleave({"ours": lambda: ksg(x, y), "published": lambda: theirs.mi(x, y)}, repeats), float(apart)


FLAT, CURVED = "gaussian_2", "paired_2"
"""Latents among noise; two maps of related latents, where our default first describes both sides, its slowest case."""


def time_lmi(cells: int, repeats: int) -> dict[str, float]:
    """Return median seconds of our LMI and default, of one latentmi epoch, and of latentmi's one-time work."""
    flat, curved = (pairs(problems()[name], cells, 0) for name in (FLAT, CURVED))
    ours, default, curved_default, one, four = [], [], [], [], []
    for seed in range(repeats):
        ours.append(seconds_of(lmi, *flat, seed=seed, device="cpu"))
        default.append(seconds_of(estimate, *flat, seed=seed))
        curved_default.append(seconds_of(estimate, *curved, seed=seed))
        one.append(latentmi(*flat, seed, epochs=1).seconds)
        four.append(latentmi(*flat, seed, epochs=4).seconds)
    epoch = (np.median(four) - np.median(one)) / 3
    once = float(np.median(one) - epoch)
    medians = {"ours": ours, "default": default, "curved": curved_default}
    return {name: float(np.median(values)) for name, values in medians.items()} | {"epoch": float(epoch), "once": once}


def seconds_of(work: Callable[..., object], *values: object, **options: object) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    work(*values, **options)
    return time.perf_counter() - start


def epochs_run(problem: str, cells: int) -> tuple[int, str]:
    """Return latentmi's median epochs on `problem` in the suite's rows at `cells`, and the source of the number."""
    path = RESULTS / "information" / "latentmi.csv"
    rows = read(path).query("cells == @cells") if path.exists() else pd.DataFrame({"problem": [], "note": []})
    for what, some in ((f"of {problem}", rows[rows.problem == problem]), ("of other problems", rows)):
        found = [int(note.split()[0]) for note in some.note if note.endswith("epochs")]
        if found:
            return int(np.median(found)), f"median of {len(found)} runs {what}" if found[1:] else f"one run {what}"
    return FEWEST_EPOCHS, "at least"


def main() -> None:
    options = arguments(__doc__)
    numba.config.NUMBA_NUM_THREADS = 1
    where = machine("torch", "scikit-learn")
    lmi(*pairs(problems()["gaussian_2"], 100, 0), epochs=1)
    estimate(*pairs(problems()["gaussian_2"], 100, 0))
    cells = 1000 if options.quick else 9000
    seconds, apart = time_ksg(cells, 1 if options.quick else 5)
    rows = [[f"KSG, {cells:,} pairs, 8 + 8 dimensions", seconds["ours"], seconds["published"], "",
             seconds["published"] / seconds["ours"]]]  # fmt: skip
    numbers = {"ksg": seconds | {"cells": cells, "largest_difference_bits": apart}}
    for cells in [280] if options.quick else [1000, 5000, 30_000]:
        timed = time_lmi(cells, 1 if cells > 5000 or options.quick else 2)
        of = {}
        for side, problem, name in (("ours", FLAT, "LMI"), ("default", FLAT, "default"),
                                    ("curved", CURVED, "default, both sides mapped")):  # fmt: skip
            epochs, source = epochs_run(problem, cells)
            theirs = timed["once"] + epochs * timed["epoch"]
            what = f"{name}, {cells:,} pairs, 16 + 16 dimensions"
            of_which = f"{epochs} epochs ({source}) of {timed['epoch']:.2f} s"
            rows.append([what, timed[side], theirs, of_which, theirs / timed[side]])
            of[problem] = {"epochs": epochs, "epochs_from": source, "published": theirs}
        numbers[f"lmi_{cells}"] = timed | of
    header = ["", "ours, s", "published, s", "of which", "ratio"]
    notes = f"One thread each, in turn. KSG's pointwise values differ by at most {apart:.1g} bits."
    report(options.results, "information_speed", "KSG, LMI and our default beside latentmi 0.1.3", where,
           [notes, table(header, rows)], numbers)  # fmt: skip


if __name__ == "__main__":
    main()
