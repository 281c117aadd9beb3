"""Check all that needs a GPU in one run of under nine minutes: agreement with the CPU, and speed against the peers.

Trains each model on simulated cells on the CPU and, if torch finds CUDA, on the GPU, and embeds with the same weights
on both. Times Geneformer against transformers and scVI against scvi-tools, and the GPU against one CPU core. Measures
the GPU memory while scVI trains. Without CUDA, only the CPU half runs and the report says so. `--short` leaves out the
CPU timings against the peers and takes two minutes. Writes gpu_check.json and gpu_check.md.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from common import arguments, interleave, machine, report, simulate_counts, table
from geneformer import cells_of_lengths
from peers.bert import Reference
from scipy.sparse import csr_matrix

from noise_scaling import datasets, information, models
from noise_scaling.models.base import has_bfloat16
from noise_scaling.models.geneformer_data import masked_batch
from noise_scaling.models.geneformer_net import Net, Shape
from noise_scaling.models.geneformer_training import MaskedTraining

STEPS = {"cpu": 1, "cuda": 10}  # training steps in one timing
LIMIT = 540.0  # seconds for everything
SHORT = {"scvi": {"fixed_steps": 400}, "geneformer": {"max_steps": 200}}
UMIS = 300
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "T4": 65e12, "V100": 125e12}
"""Peak dense bfloat16 (T4, V100: float16) operations a second in the data sheets, of the SXM form if there are two."""


def devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def simulated(quick: bool) -> datasets.Dataset:
    """Simulate cells in which every gene is informative about the signal."""
    return datasets.simulate(
        600 if quick else 2000, 500, bits=3.0, mean_umis=UMIS, loading=1.0, informative=1.0, seed=100
    )


def trainings() -> list[tuple[str, str, str]]:
    """Return the model, device and precision of each training; the GPU trains networks in both precisions."""
    networks = ("scvi", "geneformer")
    return [
        (name, device, precision)
        for name in models.MODELS
        for device in devices()
        for precision in (("32", "bf16") if name in networks and device == "cuda" else ("",))
    ]


def agreement(quick: bool) -> list[dict]:
    """Train each model on each device; return bits, seconds, and how much its embeddings differ between devices."""
    data = simulated(quick)
    half = data.counts.shape[0] // 2
    train, validation, test = data.counts[: half - 100], data.counts[half - 100 : half], data.counts[half:]
    rows = []
    for name, device, precision in trainings():
        options = SHORT.get(name, {}) | ({"precision": precision} if precision else {})
        start = time.perf_counter()
        model = models.create(name, seed=1, device=device, **options).fit(train, validation)
        seconds = time.perf_counter() - start
        embedding = model.embed(test)
        found = information.estimate(embedding, data.signal.values[half:], device="cpu")
        rows.append({
            "model": name, "trained on": f"{device} {precision}".strip(), "seconds": seconds, "bits": found.bits,
            "stderr": found.stderr, "apart": {other: apart(model, other, test, embedding) for other in devices()},
        })  # fmt: skip
    return rows


def apart(model: models.Model, device: str, cells: csr_matrix, embedding: np.ndarray) -> float:
    """Embed with the same weights on `device`; return the largest difference, in standard deviations of a dimension."""
    with tempfile.TemporaryDirectory() as folder:
        other = models.load(model.save(Path(folder) / "model.safetensors"), device=device)
    return float(np.abs(other.embed(cells) - embedding).max() / embedding.std(0).mean())


def operations(shape: Shape, lengths: np.ndarray, masked: int) -> float:
    """Return the floating-point operations of our training step: products only, 2 each, three times the forward pass.

    In the last layer, keys and values are computed for all tokens, all else only for the masked tokens.
    """
    w, f, tokens, share = shape.width, shape.feed_forward, float(lengths.sum()), masked / lengths.sum()
    pairs = float((lengths.astype(float) ** 2).sum())
    whole = tokens * (4 * w * w + 2 * w * f) + 2 * w * pairs
    last = tokens * 2 * w * w + share * (tokens * (2 * w * w + 2 * w * f) + 2 * w * pairs)
    return 3 * 2 * ((shape.layers - 1) * whole + last + masked * (w * w + w * shape.vocabulary))


def geneformer_speed(device: str, quick: bool) -> list[dict]:
    """Time the published network (V = 20,000) against transformers in real tokens a second; GPU batches of 64 cells."""
    rng, shape, rows = np.random.default_rng(0), Shape(20_000), []
    n = 4 if quick else 64 if device == "cuda" else 8
    many = np.sort(np.clip(rng.lognormal(np.log(98), 0.5, 50 * n), 5, 512).astype(int))
    low = many[30 * n : 31 * n]  # cells of similar length, as in the batches of the reference's sampler
    for depth, lengths in (
        ("full, 512 tokens", np.full(n, 64 if quick else 512)),
        ("low, some 110 tokens, of like length", low),
    ):
        tokens = cells_of_lengths(lengths, shape.vocabulary - 2, rng)
        data = masked_batch(tokens, np.arange(n), at_most=512, rng=rng, device=device)
        work = operations(shape, np.asarray(lengths), len(data.targets))
        seconds = interleave(_sides(shape, tokens, data, device), 1 if quick else 3)
        for side in seconds:
            taken = seconds[side] / STEPS[device]
            rows.append({
                "device": device, "depth": depth, "side": side, "tokens_per_second": lengths.sum() / taken,
                "operations_per_second": work / taken,
                "to_transformers": seconds["transformers, float32"] / seconds[side],
            })  # fmt: skip
    return rows


def _sides(shape: Shape, tokens, data, device: str) -> dict:
    runs = {}
    for half in (False, True) if has_bfloat16(device) else (False,):
        kind = "bfloat16" if half else "float32"
        settings = models.settings(
            "geneformer", preset="published", precision="bf16" if half else "32", validation_cells=1
        )
        net = Net.start(shape, seed=0).to(device)
        training = MaskedTraining(net, tokens, tokens, settings, seed=0, device=device)
        peer = Reference(
            Net.start(shape, seed=0), learning_rate=1e-4, weight_decay=1e-3, half=half, device=device
        )  # fmt: skip
        grid = {name: values.to(device) for name, values in peer.padded(data).items()}
        runs[f"ours, {kind}"] = _finished(device, lambda t=training: t.update(data))
        runs[f"transformers, {kind}"] = _finished(device, lambda p=peer, g=grid: p.step(g))
    return runs


def _finished(device: str, step):
    """Return a function that runs STEPS steps and waits until the device has finished them."""

    def run() -> None:
        for _ in range(STEPS[device]):
            step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def scvi_speed(device: str, quick: bool) -> list[dict]:
    """Time an epoch of the published scVI: our training, and scvi-tools' own training with its default loader."""
    n_cells, n_genes = (2_000, 500) if quick or device == "cpu" else (50_000, 2_000)
    counts = simulate_counts(n_cells + 1000, n_genes, umis=1000)
    train, validation = counts[:n_cells], counts[n_cells:]
    epoch = -(-n_cells // 512)
    many = 1 if device == "cpu" else 5
    rows = []
    for side, run in (("ours", _scvi_ours), ("scvi-tools", _scvi_library)):
        _timed(run, train, validation, device, epoch, 1)  # imports, starts CUDA
        first = _timed(run, train, validation, device, epoch, 1)
        rows.append({
            "device": device, "side": side,
            "seconds_an_epoch": (_timed(run, train, validation, device, epoch, 1 + many) - first) / many,
        })  # fmt: skip
    return rows


def _timed(run, train: csr_matrix, validation: csr_matrix, device: str, epoch: int, epochs: int) -> float:
    start = time.perf_counter()
    run(train, validation, device, epoch, epochs)
    return time.perf_counter() - start


def _scvi_ours(train: csr_matrix, validation: csr_matrix, device: str, epoch: int, epochs: int) -> None:
    model = models.create("scvi", preset="published", device=device, fixed_steps=epoch * epochs)
    model.fit(train, validation)


def _scvi_library(train: csr_matrix, validation: csr_matrix, device: str, epoch: int, epochs: int) -> None:
    import scvi
    from anndata import AnnData

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = AnnData(train.astype(np.float32))
        scvi.model.SCVI.setup_anndata(data)
        model = scvi.model.SCVI(data, n_hidden=512, n_latent=16, gene_likelihood="zinb", dispersion="gene")
        model.train(
            max_epochs=epochs, accelerator="gpu" if device == "cuda" else "cpu", devices=1, batch_size=512,
            train_size=1.0, enable_progress_bar=False, plan_kwargs={"lr": 1e-3, "eps": 0.01},
        )  # fmt: skip


def speedups(quick: bool) -> list[dict]:
    """Time a training step on one core and on the GPU, including making the batches, as in any training."""
    counts = simulate_counts(600 if quick else 2_600, 4_000, umis=400)
    train, validation = counts[:-100], counts[-100:]
    rows = []
    for name, preset, steps in (
        ("geneformer", "published", {"cpu": 3, "cuda": 60}), ("geneformer", "small", {"cpu": 30, "cuda": 60}),
        ("scvi", "published", {"cpu": 10, "cuda": 200}), ("scvi", "small", {"cpu": 50, "cuda": 200}),
    ):  # fmt: skip
        rows.append({"model": name, "preset": preset} | {
            device: _step_seconds(name, preset, device, train, validation, 2 if quick else steps[device])
            for device in devices()
        })  # fmt: skip
    return rows


def _step_seconds(name: str, preset: str, device: str, train: csr_matrix, validation: csr_matrix, steps: int) -> float:
    """Return the seconds per step: the time of `1 + steps` steps less the time of one step, over `steps`."""
    seconds = []
    for many in (1, 1, 1 + steps):  # the first run warms up
        start = time.perf_counter()
        models.create(name, preset=preset, device=device, fixed_steps=many).fit(train, validation)
        seconds.append(time.perf_counter() - start)
    return (seconds[2] - seconds[1]) / steps


def card_memory(quick: bool) -> list[dict]:
    """Measure the peak GPU memory while scVI trains on more and more counts, which stay in the host's memory."""
    rows = []
    for n_cells in (10_000, 100_000) if torch.cuda.is_available() and not quick else ():
        counts = simulate_counts(n_cells + 1000, 4_000, umis=1500)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        models.create("scvi", preset="published", device="cuda", fixed_steps=20).fit(counts[:-1000], counts[-1000:])
        rows.append({
            "cells": n_cells, "counts_gb": 8 * counts.nnz / 1e9, "card_gb": torch.cuda.max_memory_allocated() / 1e9
        })  # fmt: skip
    return rows


def main() -> None:
    options = arguments(__doc__.splitlines()[0], short="leave out the CPU's part of the timings beside the peers")
    started, numbers, parts = time.monotonic(), {"devices": {"cpu": True, "cuda": _gpu()}}, []
    where = machine("torch", "transformers", "scvi-tools")
    torch.set_num_threads(1)  # many small products: two threads wait for each other
    parts.append(
        f"GPU: {_gpu()['name']}, {_gpu()['memory_gb']:.0f} GB, torch's CUDA {torch.version.cuda}."
        if _gpu() else "No CUDA device: the CPU half alone was run; whatever says cuda was never run here."
    )  # fmt: skip
    sections = [("speedups", lambda: speedups(options.quick), _speedup_table)]
    for device in devices()[1 if options.short else 0 :]:
        sections += [
            (f"geneformer_{device}", lambda d=device: geneformer_speed(d, options.quick), _speed_table),
            (f"scvi_{device}", lambda d=device: scvi_speed(d, options.quick), _scvi_table),
        ]
    sections += [  # not timed: other work on the machine does not matter
        ("card_memory", lambda: card_memory(options.quick), _memory_table),
        ("agreement", lambda: agreement(options.quick), _agreement_table),
    ]
    for name, run, show in sections:
        if time.monotonic() - started > LIMIT * 0.75:
            parts.append(f"{name}: left out, the time was up.")
            continue
        print(f"{name} ...", flush=True)
        try:
            numbers[name] = run()
        except (RuntimeError, ArithmeticError, ValueError) as error:
            numbers[name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
            parts.append(f"{name} FAILED: {numbers[name]['failed']}")
            continue
        parts += show(numbers[name])
        numbers["seconds"] = round(time.monotonic() - started)
        report(options.results, "gpu_check", "GPU check", where, parts, numbers)  # saves the finished sections


def _gpu() -> dict | None:
    if not torch.cuda.is_available():
        return None
    facts = torch.cuda.get_device_properties(0)
    return {"name": facts.name, "memory_gb": facts.total_memory / 1e9}


def _agreement_table(rows: list[dict]) -> list[str]:
    lines = [[
        r["model"], r["trained on"], round(r["seconds"], 1), f"{r['bits']:.2f} ± {r['stderr']:.2f}",
        ", ".join(f"{device} {value:.1e}" for device, value in r["apart"].items()),
    ] for r in rows]  # fmt: skip
    header = ["model", "trained on", "seconds", "bits", "saved, loaded and embedded on: largest difference in sd"]
    data = simulated(quick=False)
    truth = datasets.true_information(data, UMIS)
    text = (
        f"Simulated cells, {UMIS} UMIs each, 900 to train and 1,000 to test; information about a signal of which the "
        f"cell's state tells 3 bits and its counts, read as well as can be, {truth:.2f}:"
    )
    return [text, table(header, lines)]


def _speedup_table(rows: list[dict]) -> list[str]:
    lines = [[
        r["model"], r["preset"], *(f"{1e3 * r[device]:.1f}" for device in devices()),
        *([f"{r['cpu'] / r['cuda']:.0f} x"] if "cuda" in r else []),
    ] for r in rows]  # fmt: skip
    header = ["model", "preset", *(f"{device}, ms a step" for device in devices()), "card to core"][: len(lines[0])]
    return ["A training step on one core and on the card, 2,500 cells, 4,000 genes:", table(header, lines)]


def _memory_table(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    lines = [[f"{r['cells']:,}", f"{r['counts_gb']:.2f}", f"{r['card_gb']:.2f}"] for r in rows]
    header = ["cells", "their counts, GB", "most memory of the card, GB"]
    return ["The published scVI on 4,000 genes, counts in the machine's memory:", table(header, lines)]


def _speed_table(rows: list[dict]) -> list[str]:
    name = (_gpu() or {"name": ""})["name"]
    peak = next((value for key, value in PEAKS.items() if key in name), None)
    lines = [[
        r["device"], r["depth"], r["side"], f"{r['tokens_per_second']:,.0f}",
        f"{r['to_transformers']:.2f} x", f"{r['operations_per_second'] / 1e12:.3g}",
        f"{r['operations_per_second'] / peak:.1%}" if peak and r["device"] == "cuda" else "-",
    ] for r in rows]  # fmt: skip
    header = ["device", "depth", "side", "tokens / s", "to transformers, float32", "10^12 operations / s", "of peak"]
    return ["Geneformer, published network, V = 20,000:", table(header, lines)]


def _scvi_table(rows: list[dict]) -> list[str]:
    lines = [[r["device"], r["side"], f"{r['seconds_an_epoch']:.3f}"] for r in rows]
    ratio = rows[1]["seconds_an_epoch"] / rows[0]["seconds_an_epoch"]
    return [
        f"scVI, published network; ours is {ratio:.2f} times as fast:",
        table(["device", "side", "s / epoch"], lines),
    ]


if __name__ == "__main__":
    main()
