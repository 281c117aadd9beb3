"""The true information of each problem of `cells`, in bits: an average, given with its standard error."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

from noise_scaling.seeds import generator

from .cells import Channel, Labels, Source, of, problems, shuffled
from .truth import Truth

STORED = Path(__file__).with_name("cell_truths.json")
"""Stored results of `truth` for every problem, because computing all takes half an hour."""


@lru_cache
def stored() -> dict[str, Truth]:
    """Return the committed `truth` of every problem, and 0 for the shuffled problems."""
    found = {name: tuple(value) for name, value in json.loads(STORED.read_text()).items()}
    return found | {name: (0.0, 0.0, "shuffled") for name in shuffled()}


def compute() -> None:
    """Compute and store `truth` for every problem."""
    found = {}
    for name in problems():
        found[name] = truth(name)
        STORED.write_text(json.dumps(found, indent=1) + "\n")


def truth(name: str, draws: int = 40_000, references: int = 20_000) -> Truth:
    """Return bits, their standard error, and how they were computed: averages over `draws` cells.

    Labels: the mean divergence of p(y | x) from its mean. Vectors: p(y) is the mean of p(y | x) over `references` more
    cells; a jackknife of two halves corrects the bias of its logarithm. At a depth: the sums are over all real cells.
    """
    here, channel, depth = of(name)
    rng = generator(0, "cells", "truth", name)
    if depth:
        values = np.concatenate([_at_depth(here, channel, depth, 500, rng) for _ in range(draws // 200)])
        how = f"average over {len(values):,} cells of sums over {len(here.embedding):,}"
    elif isinstance(channel, Labels):
        log_p = channel.log_p(here.read(here.draw(10 * draws, rng)))
        values = (np.exp(log_p) * (log_p - np.log(np.exp(log_p).mean(0)))).sum(1)
        how = f"average over {10 * draws:,} cells"
    else:
        others = here.read(here.draw(references, rng))
        values = np.concatenate([_vectors(here, channel, others, 500, rng) for _ in range(draws // 500)])
        how = f"average over {draws:,} cells, p(y) over {references:,}"
    values = values / np.log(2)
    return float(values.mean()), float(values.std() / np.sqrt(len(values))), how


def _vectors(here: Source, channel: Channel, others: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return log p(y | x) - log p(y) of `n` new pairs."""
    z = here.read(here.draw(n, rng))
    y = channel.draw(z, rng)
    own = np.diagonal(channel.log_likelihood(y, z))
    log_p = channel.log_likelihood(y, others)
    halves = [logsumexp(half, axis=1) - np.log(half.shape[1]) for half in np.array_split(log_p, 2, axis=1)]
    both = logsumexp(log_p, axis=1) - np.log(log_p.shape[1])
    return own - (2 * both - 0.5 * (halves[0] + halves[1]))


def _at_depth(here: Source, channel: Channel, depth: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return log p(x, y) - log p(x) - log p(y) of `n` new pairs, where each p is a sum over all real cells."""
    which = rng.integers(0, len(here.embedding), n)
    z = here.read(here.embedding)
    counts = rng.poisson(depth * here.profile[which])
    y = channel.draw(z[which], rng)
    of_x, of_y = counts @ np.log(here.profile).T, channel.log_likelihood(y, z)
    return logsumexp(of_x + of_y, axis=1) - logsumexp(of_x, axis=1) - logsumexp(of_y, axis=1) + np.log(len(z))
