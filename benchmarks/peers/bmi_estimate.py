"""The neural estimators of the public benchmark bmi (Czyz et al. 2023) on the pairs in an .npz file: one line of JSON.

    build/bmi/bin/python benchmarks/peers/bmi_estimate.py pairs.npz METHOD SEED

METHOD: mine, nwj, infonce_bmi as bmi ships them; smile, which it lacks: Song and Ermon (2020), trained on the
Jensen-Shannon bound, scored by the Donsker-Varadhan bound with the critic clipped to +-5, in bmi's own trainer.
Published settings: critic 16-8, batches of 256 (or as many as train), rate 0.1, at most 10,000 steps, half held out.
"""

import json
import os
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np
from bmi.estimators import InfoNCEEstimator, MINEEstimator, NWJEstimator
from bmi.estimators.neural import _estimators as neural
from bmi.estimators.neural._backend_quadratic_memory import get_full_scores

CLIP, SHIFTS = 5.0, 10


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


MAKE = {"mine": MINEEstimator, "nwj": NWJEstimator, "infonce_bmi": InfoNCEEstimator, "smile": smile_estimator}


def main() -> None:
    pairs, method, seed = np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    x, y = pairs["x"], pairs["y"]
    start = time.perf_counter()
    estimator = MAKE[method](batch_size=min(256, len(x) // 2), seed=seed, verbose=False)
    nats = float(estimator.estimate(x, y))
    print(json.dumps({"bits": nats / np.log(2), "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
