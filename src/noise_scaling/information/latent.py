"""Latent mutual information: the published estimator, with its protocol kept and errors in its details corrected."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from ..errors import InputError, choose
from ..models.base import resolve_device
from .core import Information, from_pointwise, is_constant, prepare, register, zero
from .crossfit import Fold, fold_repeats, one_thread, three_way
from .latent_training import Settings, train
from .neighbours import ksg

CLIP = 10.0
PUBLISHED = {"learning_rate": 1e-4, "batch_size": 512, "epochs": 300, "patience": 30, "average": 0.0}
"""The published schedule, as settings of `lmi`: two to three times the work. Because the best weights are kept and the
stop loss has no dropout, it ends early if that loss rises for a while: 2.98 bits of 45 classes; latentmi finds 3.27."""


@register("lmi", label="LMI", version=5, many_pairs_version=3, takes="vectors", order=30)
def lmi(
    x: object,
    y: object,
    *,
    seed: int = 0,
    device: str = "auto",
    groups: object = None,
    stop_on_scored: bool = False,
    **settings: Any,
) -> Information:
    """Latent mutual information after Gowri et al. (2024): KSG between two trained 8-d representations.

    Both variables are standardised and clipped to +-10. Two encoders (1024-512-256-8, leaky rectifiers) are trained so
    that each latent reconstructs its own variable and, through a decoder with dropout, the other one: Adam minimises
    the sum of the four mean squared errors. The answer is the KSG estimate (k = 3) of the held-out latents.

    Corrections of the published code: of the half of the cells that train, a fifth is set apart to choose the weights
    (without dropout); the other half is scored, as many cells as published, because KSG's bias depends on their number.
    The best weights are copied, not referenced. Constant columns are dropped. The default has fewer steps than the
    published schedule, at a higher rate (unless both sides have heavy tails), in smaller batches, and bfloat16 where
    the hardware has it. From 3,000 pairs on it finds what latentmi finds, within the spread of the draws; with fewer
    pairs it trains less and finds less. The book's page on calibration computes by how much, from
    benchmarks/results/information_suite.md.

    LMI is known to be biased low where noise dimensions fill the latents, and to miss dependence without correlation.

    Parameters
    ----------
    x, y
        [cells, dims] floats; row i of both is the same cell. Labels become one-hot vectors, as published.
    seed
        Seed of split, starting weights, batches and dropout; the same seed gives the same bits.
    device
        "auto" (a GPU if there is one), "cpu" or "cuda".
    groups
        [cells] cells of one group stay on one side of the split.
    stop_on_scored
        As published, to measure the effect: the half that is scored also chooses the weights.
    **settings
        Fields of `latent_training.Settings`, by name: the schedule, the networks, k, the precision.

    Returns
    -------
    Information
        Pointwise values of the scored cells (NaN: not scored); not a bound. 0 bits where one side is constant.

    Raises
    ------
    InputError
        Lengths that differ, NaN, fewer than 30 pairs, too few groups, no GPU for "cuda", an unknown setting.
    """
    for name in settings:
        choose("setting of lmi", name, [field.name for field in fields(Settings)])
    chosen, where = Settings(**settings), torch.device(resolve_device(device))
    x, y, groups = prepare(x, y, discrete=False, groups=groups)
    if is_constant(x, y):
        return zero(len(x), "lmi", lower_bound=False)
    groups, note = fold_repeats(x, y, groups)
    part = three_way(len(x), seed=seed, groups=groups)
    if stop_on_scored:
        part = Fold(np.sort(np.concatenate([part.fit, part.stop])), part.score, part.score)
    clipped = (np.clip((side - side.mean(0)) / side.std(0), -CLIP, CLIP) for side in (x, y))
    tx, ty = (torch.from_numpy(side.astype(np.float32)).to(where) for side in clipped)
    with one_thread():
        net = train(tx, ty, part, chosen, seed=seed)
        with torch.no_grad():
            latents = [net.encoders[0](tx[part.score]), net.encoders[1](ty[part.score])]
    pointwise = np.full(len(x), np.nan)
    pointwise[part.score] = ksg(*(latent.cpu().numpy() for latent in latents), k=chosen.k).pointwise
    return from_pointwise(pointwise, "lmi", lower_bound=False, groups=groups, note=note)


def lmi_many(
    problems: Iterable[tuple[object, object]], *, groups: Sequence[object] | None = None, **options: Any
) -> list[Information]:
    """Estimate each `(x, y)` by `lmi`, in order.

    Parameters
    ----------
    problems
        Pairs (x, y), each as for `lmi`.
    groups
        One entry per problem: None, or groups as for `lmi`.
    **options
        All other arguments of `lmi`, the same for each problem.

    Raises
    ------
    InputError
        As `lmi`; or `groups` does not have one entry per problem.
    """
    pairs = list(problems)
    groups = [None] * len(pairs) if groups is None else list(groups)
    if len(groups) != len(pairs):
        raise InputError(f"groups has {len(groups)} entries for {len(pairs)} problems: give one a problem, or None")
    return [lmi(x, y, groups=group, **options) for (x, y), group in zip(pairs, groups, strict=True)]
