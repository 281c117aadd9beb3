"""Simulated cells whose signal shares 3 bits with their latent state."""

from dataclasses import replace

from ..simulator import simulate
from . import Card, Dataset, Files, register


@register("simulated")
def simulated(card: Card, files: Files, signal: str) -> Dataset:
    """Simulate 3,000 cells, which are the same for each kind of signal except "pair"."""
    made = simulate(n_cells=3000, n_genes=1000, n_latent=4, bits=3.0, mean_umis=2000.0, signal=signal, seed=0)
    return replace(made, card=card)
