"""Run all benchmarks one after another; each writes its table and numbers to benchmarks/results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "thinning.py",
    "tokens.py",
    "streaming.py",
    "readers.py",
    "scvi_training.py",
    "geneformer.py",
    "geneformer_small.py",
    "memory.py",
    "fits.py",
    "law_coverage.py",
    "overhead.py",
    "faults.py",
    "information_speed.py",
    "information_suite.py",
    "check_verdicts.py",
    "bmi.py",
    "cell_like.py",
    "held_out.py",
    "estimator_map.py",
    "what_ranks_lose.py",
)


def main() -> int:
    failed = []
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        if subprocess.run([sys.executable, Path(__file__).with_name(script), *sys.argv[1:]], check=False).returncode:
            failed.append(script)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
