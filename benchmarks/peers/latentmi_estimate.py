"""Run latentmi as its authors do, in its own environment, on the pairs in an .npz file; print one line of JSON.

build/latentmi/bin/python benchmarks/peers/latentmi_estimate.py SEED EPOCHS pairs.npz

EPOCHS is the largest number of epochs (0: as published).
"""

import contextlib
import io
import json
import re
import sys
import time
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore", category=Warning, message=".*(IProgress|jupyter).*")
from latentmi import lmi  # noqa: E402


def main() -> None:
    seed, epochs, pairs = int(sys.argv[1]), int(sys.argv[2]), np.load(sys.argv[3])
    limit = {"epochs": epochs} if epochs else {}
    torch.set_num_threads(1)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    progress, start = io.StringIO(), time.perf_counter()
    with contextlib.redirect_stdout(progress):
        pointwise = lmi.estimate(pairs["x"], pairs["y"], **limit)[0]
    seconds = time.perf_counter() - start
    epochs = 1 + int(re.findall(r"epoch (\d+) ", progress.getvalue())[-1])
    scored = pointwise[np.isfinite(pointwise)]
    stderr = scored.std(ddof=1) / np.sqrt(len(scored))
    print(json.dumps({"bits": scored.mean(), "stderr": stderr, "seconds": seconds, "epochs": epochs}))


if __name__ == "__main__":
    main()
