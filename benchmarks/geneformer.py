"""Geneformer's training against transformers': real tokens per second, and the loss curves on the same batches.

Both sides have the published network (V = 20,000), dropout, optimiser and clipping, and get the same batches of cells
of similar length: the reference's best case, as made by its `group_by_length`. Only training steps are timed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, both_clocks, interleave, machine, report, table
from peers.bert import Reference

from noise_scaling import datasets, models
from noise_scaling.counts.tokens import gene_medians
from noise_scaling.models.base import has_bfloat16
from noise_scaling.models.geneformer_data import Masked, Tokens, masked_batch, tokens_of
from noise_scaling.models.geneformer_net import Net, Shape
from noise_scaling.models.geneformer_training import MaskedTraining

GENES = 20_000 - 2
SIDES = {"ours, float32": False, "ours, bfloat16": True, "transformers, float32": False, "transformers, bfloat16": True}
CURVE_STEPS, CURVE_CELLS, CURVE_TOKENS = 32, 8, 96


def cells_of_lengths(lengths: np.ndarray, n_genes: int, rng: np.random.Generator) -> Tokens:
    """Return cells with tokens drawn by Zipf's law; the time depends on the number of tokens, not on which they are."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.minimum(rng.zipf(1.3, offsets[-1]) - 1, n_genes - 1).astype(np.uint16)
    return Tokens(ids, offsets, np.arange(len(lengths)), n_genes, 512)


def workloads(rng: np.random.Generator, quick: bool) -> dict[str, tuple[Tokens, list[np.ndarray]]]:
    """Return cells and batches: full depth, 16 cells of 512 tokens; low depth, 64 of similar length, mean 111."""
    if quick:
        return {"quick, 20 tokens": (cells_of_lengths(np.full(64, 20), GENES, rng), [np.arange(4)])}
    many = 50 * 64  # number of cells that the reference's sampler sorts at a time
    lengths = np.sort(np.clip(rng.lognormal(np.log(111) - 0.125, 0.5, many), 5, 512).astype(int))
    low = [np.arange(64) + 64 * at for at in (15, 35)]
    return {
        "full depth, 512 tokens x 16": (cells_of_lengths(np.full(64, 512), GENES, rng), [np.arange(16)]),
        "low depth, mean 111 tokens x 64": (cells_of_lengths(lengths, GENES, rng), low),
    }


def ours(shape: Shape, tokens: Tokens, half: bool) -> MaskedTraining:
    """Return our training with the published settings and a constant learning rate, so that no step is spared."""
    settings = models.settings("geneformer", preset="published") | {
        "precision": "bf16" if half else "32", "warmup": 1, "validation_cells": 16, "batch_size": 16,
    }  # fmt: skip
    return MaskedTraining(Net.start(shape, seed=0), tokens, tokens, settings, seed=0, device="cpu")


def speed(tokens: Tokens, batches: list[np.ndarray], repeats: int) -> tuple[dict[str, list[float]], int]:
    """Return the wall and processor seconds of each side on the batches, and the number of their tokens."""
    shape, rng = Shape(tokens.n_genes + 2), np.random.default_rng(0)
    data = [masked_batch(tokens, cells, at_most=512, rng=rng) for cells in batches]
    runs = {}
    for name, half in SIDES.items():
        if name.startswith("ours"):
            training = ours(shape, tokens, half)
            runs[name] = lambda training=training: [training.update(d) for d in data]
        else:
            peer = Reference(Net.start(shape, seed=0), learning_rate=1e-4, weight_decay=1e-3, half=half)
            grids = [peer.padded(d) for d in data]
            runs[name] = lambda peer=peer, grids=grids: [peer.step(g) for g in grids]
    return interleave(runs, repeats, both_clocks), sum(int(d.batch.lengths.sum()) for d in data)


def curves(steps: int) -> dict[str, list[float]]:
    """Return both sides' losses from the same weights and masked batches, the reference's for two draws of dropout."""
    counts = datasets.simulate(400, 1000, seed=100).counts
    tokens = tokens_of(counts, gene_medians(counts), CURVE_TOKENS)
    rng, shape = np.random.default_rng(0), Shape(1002)
    data = [
        masked_batch(tokens, rng.permutation(400)[:CURVE_CELLS], at_most=CURVE_TOKENS, rng=rng) for _ in range(steps)
    ]
    rates = [1e-3 * min(1.0, (i + 1) / 10) for i in range(steps)]
    found = {"ours": _curve_ours(shape, tokens, data, rates)}
    for seed in (1, 2):
        torch.manual_seed(seed)
        peer = Reference(Net.start(shape, seed=0), learning_rate=1e-3, weight_decay=1e-3, half=False)
        found[f"transformers, dropout {seed}"] = [
            float(peer.step(peer.padded(d), rate)) for d, rate in zip(data, rates, strict=True)
        ]
    return found


def _curve_ours(shape: Shape, tokens: Tokens, data: list[Masked], rates: list[float]) -> list[float]:
    training = ours(shape, tokens, half=False)
    training.step_scheduler, losses = None, []  # the caller gives the rates
    for d, rate in zip(data, rates, strict=True):
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        losses.append(float(training.update(d)))
    return losses


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, in seconds: to see that it runs")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on both sides (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of which medians are taken")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    given = options()
    torch.set_num_threads(given.threads)
    where = machine("torch", "transformers")
    rows, numbers = [], {}
    for name, (tokens, batches) in workloads(np.random.default_rng(0), given.quick).items():
        seconds, n = speed(tokens, batches, 1 if given.quick else given.repeats)
        slow = seconds["transformers, float32"]
        numbers[name] = {side: {"wall": n / s[0], "processor": n / s[1]} for side, s in seconds.items()}
        rows += [
            [name, side, f"{n / s[0]:,.0f}", f"{slow[0] / s[0]:.2f} x", f"{n / s[1]:,.0f}", f"{slow[1] / s[1]:.2f} x"]
            for side, s in seconds.items()
        ]
    losses = curves(4 if given.quick else CURVE_STEPS)
    report(given.results, "geneformer", "Geneformer's training", where, _parts(rows, losses, given.threads), {
        "tokens_per_second": numbers, "losses": losses, "bfloat16_in_hardware": has_bfloat16("cpu")})  # fmt: skip


def _parts(rows: list[list[object]], losses: dict[str, list[float]], threads: int) -> list[str]:
    ours_, one, two = (np.array(values) for values in losses.values())
    at = range(0, len(ours_), max(1, len(ours_) // 8))
    lines = [[i + 1, *(f"{values[i]:.4f}" for values in losses.values())] for i in at]
    return [
        f"Training steps of the published network at V = 20,000, {threads} thread(s); real tokens per second, padding "
        "not counted; medians of interleaved runs; the same batches of cells of like length for both. Ratios are to "
        "transformers in float32, on the wall and in processor seconds, which other work on the machine changes less.",
        table(["batch", "side", "tokens / s", "to float32", "tokens / processor s", "to float32"], rows),
        "The loss, nats a masked token, from the same weights on the same batches and masks (1,000 genes, "
        f"{CURVE_CELLS} cells of {CURVE_TOKENS} tokens, dropout 0.02 drawn independently):",
        table(["step", *losses], lines),
        f"Root mean square difference over {len(ours_)} steps: ours to the reference "
        f"{np.sqrt(np.mean((ours_ - one) ** 2)):.4f}, the reference to itself with another draw of dropout "
        f"{np.sqrt(np.mean((two - one) ** 2)):.4f}.",
    ]


if __name__ == "__main__":
    main()
