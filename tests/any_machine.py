"""The tests marked any_machine, run as other machines would run them.

python tests/any_machine.py [--short] [options of pytest]

Each variation is a run of its own; --short combines them in two. What the processor lacks (another vendor's kernels)
is emulated by the switches that the libraries have for it; what they choose then is what such a machine would run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__  # public nowhere

ROOT = Path(__file__).resolve().parents[1]
NUMPY_WITHOUT = " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))
COLD = "NUMBA_CACHE_DIR"  # its value is an empty folder, made for the run
TWO_THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that spin while they wait take ten times as long where others want the cores."""
ELSEWHERE = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
LONG = [
    {"OPENBLAS_CORETYPE": "Haswell"},
    {"OPENBLAS_CORETYPE": "Nehalem"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"NPY_DISABLE_CPU_FEATURES": NUMPY_WITHOUT},
    {"NUMBA_CPU_NAME": "generic"},
    {"OMP_NUM_THREADS": "1", COLD: ""},
    TWO_THREADS,
    ELSEWHERE,
]
SHORT = [
    {"OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2", "NUMBA_CPU_NAME": "generic", COLD: ""} | ELSEWHERE,
    {"OPENBLAS_CORETYPE": "Nehalem", "ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": NUMPY_WITHOUT}
    | TWO_THREADS,
]


def marked() -> list[str]:
    """The files that hold the mark: importing the others takes longer than some of the tests."""
    return [str(file) for file in sorted(ROOT.glob("tests/*/test_*.py")) + sorted(ROOT.glob("tests/test_*.py"))
            if "mark.any_machine" in file.read_text(encoding="utf-8")]  # fmt: skip


def run(variation: dict[str, str], options: list[str]) -> int:
    """The marked tests under one variation; pytest's exit status."""
    print("==", " ".join(f"{name}={value or 'empty'!r}" for name, value in variation.items()), flush=True)
    with tempfile.TemporaryDirectory() as empty:
        variables = {name: empty if name == COLD else value for name, value in variation.items()}
        command = [sys.executable, "-m", "pytest", "-q", "-m", "any_machine", "-p", "no:cacheprovider", *options]
        return subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=False).returncode


if __name__ == "__main__":
    options = [option for option in sys.argv[1:] if option != "--short"]
    variations = LONG if options == sys.argv[1:] else SHORT
    sys.exit(next((status for variation in variations if (status := run(variation, [*marked(), *options]))), 0))
