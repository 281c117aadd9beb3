"""Run a configuration of the workflow: one run on a folder at a time, safe to kill and to start again.

python workflow/run.py workflow/config/demo.yml [Snakemake options]

Snakemake's own lock outlives a killed run and would ask for --unlock; this one is the kernel's and ends with the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CLOCK_SKEW = 1.0
"""Seconds by which the clocks of two machines on one file system may differ."""
DRY = {"-n", "--dry-run", "--dryrun"}


def main(config: str, *options: str) -> int:
    """Hold the folder's lock and run Snakemake on it; its exit status."""
    settings = yaml.safe_load((ROOT / config).read_text(encoding="utf-8"))
    folder = ROOT / settings["folder"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"another run is at work in {folder}: wait for it, or stop it", file=sys.stderr)
            return 2
        forget_the_future(folder)
        with warm_kernels(_datasets(settings), wanted=not DRY & set(options)) as variables:
            # Snakemake holds the lock too: if this process alone is killed, no second run starts beside the first
            return subprocess.run(
                command(config, *options), cwd=ROOT, env=environment() | variables, check=False,
                pass_fds=[lock.fileno()],
            ).returncode  # fmt: skip


def forget_the_future(folder: Path) -> None:
    """Date what a wrong clock dated ahead as of now: Snakemake refuses a table that is older than its parts."""
    now = time.time()
    for path in [*folder.glob("*.*"), *folder.glob("slices/*/*.csv")]:
        if path.stat().st_mtime > now + CLOCK_SKEW:
            os.utime(path, (now, now))


def _datasets(settings: dict) -> list[str]:
    """Names of the data sets; what is wrong with the configuration is said by the workflow, which checks it."""
    entries = settings.get("datasets")
    pairs = entries.items() if isinstance(entries, dict) else []
    named = [(entry if isinstance(entry, dict) else {}).get("dataset", key) for key, entry in pairs]
    return sorted({str(name) for name in named})


@contextlib.contextmanager
def warm_kernels(datasets: list[str], *, wanted: bool) -> Iterator[dict[str, str]]:
    """Start the server of kernels that have package and data in memory; yields the variable by which jobs find it.

    It ends when its standard input closes, however this process ends.
    """
    if not wanted:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="noise-scaling-") as folder:
        path = str(Path(folder) / "kernels")
        server = subprocess.Popen(
            [sys.executable, "workflow/scripts/warm_kernel.py", "serve", path, *datasets],
            cwd=ROOT, env=environment(), stdin=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield {"NOISE_SCALING_WARM_KERNELS": path}
        finally:
            server.stdin.close()
            server.kill()
            server.wait()


def environment() -> dict[str, str]:
    """This Python's own commands (papermill, jupyter-book) first, and one thread a job: jobs fill the cores."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {"OMP_NUM_THREADS": "1"} | os.environ | {"PATH": path}


def command(config: str, *options: str) -> list[str]:
    """Snakemake with the local profile; its own lock is left out, ours is held."""
    cores = [] if any(o.startswith(("-c", "--cores")) for o in options) else ["--cores", str(os.cpu_count() or 1)]
    return [
        sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--configfile", config,
        "--profile", "workflow/profiles/local", "--nolock", *cores, *options,
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
