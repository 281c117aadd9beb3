"""Run a configuration of the workflow: one run on a folder at a time, safe to kill and to start again.

python workflow/run.py workflow/config/demo.yml [TARGETS] [--cores N] [other Snakemake options]

One line says how far it is, and all that is said goes to run.log. With other options Snakemake speaks for itself.
Snakemake's own lock outlives a killed run and would ask for --unlock; this one is the kernel's and ends with the run.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import yaml
from progress import Line, failed_rows, reasons

ROOT = Path(__file__).resolve().parents[1]
CLOCK_SKEW = 1.0
"""Seconds by which the clocks of two machines on one file system may differ."""
LOCK_SECONDS = 2.0
"""What a killed run had started is gone within this time."""
GUARD = '(cat; kill -KILL 0) <&0 >/dev/null & exec "$@" </dev/null'
"""In bash: a command that is killed, with all that it started, when standard input closes."""
DRY = {"-n", "--dry-run", "--dryrun"}
STOPPED = "Stopped: what is finished is kept, and the same command goes on from there."


def main(config: str, *options: str) -> int:
    """Run a configuration, one run on its folder at a time; the exit status."""
    os.chdir(ROOT)
    try:
        settings = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        folder = Path(settings["folder"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        print(f"{config} is not a configuration that can be run: {error!r}", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        if not _locked(lock.fileno()):
            print(f"another run is at work in {folder}: wait for it, or stop it", file=sys.stderr)
            return 2
        forget_the_future(folder)
        return _run(config, options, settings, lock.fileno())


def _run(config: str, options: tuple[str, ...], settings: dict, lock: int) -> int:
    """Have the files that pages would like, and run Snakemake: silently, unless it is asked for more than targets."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--cores", "-c")
    asked, others = parser.parse_known_args(options)
    words, log = command(config, *options), Path(settings["folder"], "run.log")
    if DRY & set(others):
        return snakemake(words, {}, lock).wait()
    if settings.get("fetch") and not asked.targets:
        try:
            print(f"Data: {provide(settings)}", flush=True)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
    with (
        log.open("w") as said,
        warm_kernels(_datasets(settings), said) as variables,
        snakemake(words, variables, lock, None if others else said) as run,
    ):
        return run.wait() if others else report(run, log, book=not asked.targets)


def provide(settings: dict) -> str:
    """Try once to have the files that pages would like; a line of what came of it. InputError if there are no such."""
    from noise_scaling.datasets import download
    from noise_scaling.measure import grid  # takes seconds, which a run that only measures does without

    grid.check_config(settings)
    return download.provide(settings["fetch"])


def _locked(lock: int) -> bool:
    """Whether this process has the lock now."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > until:
                return False
        time.sleep(0.1)


def forget_the_future(folder: Path) -> None:
    """Date what a wrong clock dated ahead as of now: Snakemake refuses a table that is older than its parts."""
    now = time.time()
    for path in [*folder.glob("*.*"), *folder.glob("slices/*/*.csv")]:
        if path.stat().st_mtime > now + CLOCK_SKEW:
            os.utime(path, (now, now))


def snakemake(
    words: list[str], variables: dict[str, str], lock: int, output: IO[str] | None = None
) -> subprocess.Popen:
    """Start Snakemake, which ends when this process does, however that ends; it holds the lock too."""
    return subprocess.Popen(
        ["bash", "-c", GUARD, "bash", *words], env=environment() | variables, start_new_session=True,
        stdin=subprocess.PIPE, stdout=output, stderr=output, pass_fds=[lock],
    )  # fmt: skip


def report(run: subprocess.Popen, log: Path, *, book: bool) -> int:
    """Show how far the run is until it ends, then what came of it and where the log is; its exit status."""
    line, page = Line(sys.stdout), log.parent / "book/_build/html/index.html"
    while run.poll() is None:
        line.show(log.read_text(encoding="utf-8", errors="replace"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=0.5)
    line.clear()
    if run.returncode == 0:
        said = [*failed_rows(log.with_name("measurements.csv")), *([f"The book: {page.resolve()}"] if book else [])]
        print(*said, f"The log: {log}", sep="\n")
        return 0
    killed = [f"Snakemake was killed by signal {-run.returncode}; the same command goes on from there"]
    text = log.read_text(encoding="utf-8", errors="replace")
    said = [*(killed if run.returncode < 0 else reasons(text)), f"The log: {log}"]
    said += [f"No new book was made: {page} is that of an earlier run."] if book and page.exists() else []
    print(*said, sep="\n", file=sys.stderr)
    return run.returncode if run.returncode > 0 else 128 - run.returncode


def _datasets(settings: dict) -> list[str]:
    """Names of the data sets; what is wrong with the configuration is said by the workflow, which checks it."""
    entries = settings.get("datasets")
    pairs = entries.items() if isinstance(entries, dict) else []
    named = [(entry if isinstance(entry, dict) else {}).get("dataset", key) for key, entry in pairs]
    return sorted({str(name) for name in named})


@contextlib.contextmanager
def warm_kernels(datasets: list[str], said: IO[str]) -> Iterator[dict[str, str]]:
    """Start the server of kernels that have package and data in memory; yields the variable by which jobs find it.

    It ends when its standard input closes, however this process ends.
    """
    with tempfile.TemporaryDirectory(prefix="noise-scaling-") as folder:
        path = str(Path(folder) / "kernels")
        server = subprocess.Popen(
            [sys.executable, "workflow/scripts/warm_kernel.py", "serve", path, *datasets],
            env=environment(), stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True,
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


def stop(number: int, _: object) -> None:
    """End with a sentence; what was started ends with this process."""
    print(f"\n{STOPPED}", file=sys.stderr)
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody reads on: end without a word, and all that was started too
    sys.exit(main(*sys.argv[1:]))
