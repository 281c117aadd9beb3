"""Run an estimator of the public benchmark bmi (Czyz et al. 2023) on pairs in .npz files; print a JSON line per file.

    build/bmi/bin/python benchmarks/peers/bmi_estimate.py METHOD SEED PAIRS pairs.npz ...

METHOD is an estimator that bmi ships, with its settings, or smile, which bmi lacks: Song and Ermon (2020), trained on
the Jensen-Shannon bound, scored by the Donsker-Varadhan bound with the critic clipped to +-5, in bmi's own trainer.
PAIRS is the number of pairs used of each file, from its start (0: all). Neural estimators have the published settings:
critic 16-8, batches of 256 (or all training pairs, if fewer), learning rate 0.1, at most 10,000 steps, half held out.
Times are processor seconds; an estimate is stopped after LIMIT of them.
"""

import json
import os
import signal
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np
from bmi import estimators as bmi
from bmi.estimators.neural import _estimators as neural
from bmi.estimators.neural._backend_quadratic_memory import get_full_scores

CLIP, SHIFTS = 5.0, 10
LIMIT = 180


def jensen_shannon(critic, xs, ys):
    scores = get_full_scores(critic, xs, ys)
    apart = jax.nn.softplus(scores).sum() - jax.nn.softplus(scores.diagonal()).sum()
    return -jax.nn.softplus(-scores.diagonal()).mean() - apart / (len(xs) * (len(xs) - 1))


def smile(critic, xs, ys):
    score = jax.vmap(critic)
    apart = jnp.concatenate([score(xs, jnp.roll(ys, shift, axis=0)) for shift in range(1, SHIFTS + 1)])
    return score(xs, ys).mean() - jnp.log(jnp.exp(jnp.clip(apart, -CLIP, CLIP)).mean())


def smile_estimator(**settings):
    layers = list(neural._DEFAULT_HIDDEN_LAYERS)
    return neural.NeuralEstimatorBase(
        mi_formula=jensen_shannon, mi_formula_test=smile, mi_formula_name="SMILE",
        critic_factory=neural._mlp_init(layers), critic_params=neural.MLPParams(hidden_layers=layers), **settings,
    )  # fmt: skip


NEURAL = {
    "mine": bmi.MINEEstimator, "infonce_bmi": bmi.InfoNCEEstimator, "nwj": bmi.NWJEstimator,
    "donsker_varadhan": bmi.DonskerVaradhanEstimator, "smile": smile_estimator,
}  # fmt: skip
PLAIN = {
    "cca_bmi": bmi.CCAMutualInformationEstimator, "ksg_bmi": bmi.KSGEnsembleFirstEstimator,
    "histogram": bmi.HistogramEstimator, "kde": bmi.KDEMutualInformationEstimator,
}  # fmt: skip


def stop(*_):
    raise TimeoutError(f"over {LIMIT // 60} minutes")


def estimate(method, seed, x, y):
    """Return the estimate in nats."""
    if method in PLAIN:
        return PLAIN[method]().estimate(x, y)
    return NEURAL[method](batch_size=min(256, len(x) // 2), seed=seed, verbose=False).estimate(x, y)


def main() -> None:
    method, seed, pairs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGPROF, stop)
    for path in sys.argv[4:]:
        file = np.load(path)
        x, y = (file[side][: pairs or None] for side in "xy")
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        try:
            bits, note = float(estimate(method, seed, x, y)) / np.log(2), ""
        except (ArithmeticError, MemoryError, OSError, ValueError) as error:
            bits, note = np.nan, str(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"bits": bits, "seconds": time.process_time() - start, "note": note}), flush=True)


if __name__ == "__main__":
    main()
