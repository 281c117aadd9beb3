"""Run a configuration of the workflow: one run on a folder at a time, safe to kill and to start again.

python workflow/run.py workflow/config/demo.yml [TARGETS] [--cores N] [--profile FOLDER] [other Snakemake options]

One line shows the progress, and all output goes to run.log. With other options, Snakemake's own output is shown.
Snakemake's lock outlives a killed run and would need --unlock; the lock here is the kernel's and ends with the run.
"""

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import IO

import yaml
from filelock import FileLock, Timeout
from progress import Line, reasons

ROOT = Path(__file__).resolve().parents[1]
LOCK_SECONDS = 2.0
"""Within this time, everything that a killed run had started has ended."""
FULL = 1 << 16
"""Free bytes below which a disk counts as full: then even the log of what failed is cut short."""
PASSING = re.compile(r"WorkerDied|MemoryError|OutOfMemoryError|RuntimeError|InputError: .*free some")
"""Errors of a row that the machine caused and that may not recur; the configuration or the cells cause all others."""
GUARD = '(cat; kill -KILL 0) <&0 >/dev/null & exec "$@" </dev/null'
"""Bash code that runs a command, and kills it with all its subprocesses when standard input closes."""


def main(config: str, *options: str) -> int:
    """Run a configuration, one run on its folder at a time; return the exit status."""
    os.chdir(ROOT)
    try:
        settings = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        folder = Path(settings["folder"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        print(f"{config} is not a configuration that can be run: {error!r}", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
            return run(config, options, settings, folder)
    except Timeout:
        print(f"another run is at work in {folder}: wait for it, or stop it", file=sys.stderr)
        return 2


def run(config: str, options: tuple[str, ...], settings: dict, folder: Path) -> int:
    """Run Snakemake alone if given other options; else with a progress line, after trying to fetch the pages' data."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--cores", "-c")
    parser.add_argument("--profile", default="workflow/profiles/local")
    asked, others = parser.parse_known_args(options)
    words = [
        sys.executable, "-m", "snakemake", *asked.targets, "--snakefile", "workflow/Snakefile", "--configfile", config,
        "--profile", asked.profile, "--nolock", *(["--cores", asked.cores] if asked.cores else []), *others,
    ]  # fmt: skip
    forget_the_future(folder)
    if not {"--dry-run", "--dryrun", "-n"} & set(others):
        try_again(folder)
    if Path(asked.profile).name == "slurm":
        name = f"noise-scaling-{zlib.crc32(str(folder.resolve()).encode()):08x}"
        cancel(name)
        words += ["--slurm-jobname-prefix", name]
    if others:
        return snakemake(words).wait()
    if settings.get("fetch") and not asked.targets:
        from noise_scaling.datasets import download  # this import takes seconds; a run that only measures skips it

        try:
            print(f"Data: {download.provide(settings['fetch'])}", flush=True)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
    with (folder / "run.log").open("w") as log:
        return report(snakemake(words, log), Path(log.name), book=not asked.targets)


def snakemake(words: list[str], output: IO[str] | None = None) -> subprocess.Popen:
    """Start Snakemake so that it ends when this process ends, for whatever reason.

    This Python's commands (papermill, jupyter-book) come first in PATH. A job has one thread, as jobs fill the cores.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.Popen(
        ["bash", "-c", GUARD, "bash", *words], env={"OMP_NUM_THREADS": "1"} | os.environ | {"PATH": path},
        start_new_session=True, stdin=subprocess.PIPE, stdout=output, stderr=output,
    )  # fmt: skip


def cancel(name: str) -> None:
    """Cancel the Slurm jobs that a killed run on this folder left: they would write the same files as this run."""
    queue = ["squeue", "--me", "--noheader", "--format=%i %j"]
    while left := re.findall(rf"^(\S+) {name}", subprocess.check_output(queue, text=True), re.M):
        subprocess.run(["scancel", *left], check=True)
        time.sleep(1)


def forget_the_future(folder: Path) -> None:
    """Set file times in the future, from a wrong clock, to now: Snakemake refuses a table older than its parts."""
    now = time.time()
    for path in [*folder.glob("*.*"), *folder.glob("slices/*/*.csv")]:
        if path.stat().st_mtime > now + 1:
            os.utime(path, (now, now))


def try_again(folder: Path) -> None:
    """Remove the tables of jobs in which a measurement failed for a transient reason: Snakemake reruns these jobs.

    They read all other measurements from the finished units.
    """
    for path in folder.glob("slices/*/*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            failed = any(PASSING.match(row.get("error") or "") for row in csv.DictReader(file))
        if failed:
            path.unlink()


def report(running: subprocess.Popen, log: Path, *, book: bool) -> int:
    """Show the progress of a run until it ends, then its result and the path of the log; return its exit status."""
    line, page = Line(sys.stdout), log.parent / "book/_build/html/index.html"
    while running.poll() is None:
        line.show(log.read_text(encoding="utf-8", errors="replace"))
        time.sleep(0.5)
    line.clear()
    if running.returncode == 0:
        said = failed_rows(log.with_name("measurements.json")) + [f"The book: {page.resolve()}"] * book
        print(*said, f"The log: {log}", sep="\n")
        return 0
    killed = f"Snakemake was killed by signal {-running.returncode}; the same command goes on from there"
    full = (
        f"No space left on device: the disk of {log.parent} is full; free some, and the same command goes on from there"
    )
    said = [killed] if running.returncode < 0 else reasons(log.read_text(encoding="utf-8", errors="replace"))
    said = [full] if shutil.disk_usage(log.parent).free < FULL else said
    said += [f"The log: {log}"]
    said += [f"No new book was made: {page} is that of an earlier run."] * (book and page.exists())
    print(*said, sep="\n", file=sys.stderr)
    return running.returncode if running.returncode > 0 else 128 - running.returncode


def failed_rows(about: Path) -> list[str]:
    """Return a line with the number of failed measurements, if there are any, from the table's provenance."""
    found = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {"failed_rows": 0}
    if not found["failed_rows"]:
        return []
    table, n = about.with_suffix(".csv"), found["failed_rows"]
    return [f"Warning: {n} of {found['rows']} measurements failed; the column `error` of {table} says why"]


def stop(number: int, _: object) -> None:
    """Print a sentence and exit on a signal; everything that was started ends with this process."""
    print("\nStopped: what is finished is kept, and the same command goes on from there.", file=sys.stderr)
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the output has no reader: end silently, with all subprocesses
    sys.exit(main(*sys.argv[1:]))
