"""How far a run of Snakemake is, and why it failed, read from its log."""

from __future__ import annotations

import csv
import os
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import IO

STEPS = {
    "measure": ("measuring", 12),
    "measure_large": ("measuring", 12),
    "measure_gpu": ("measuring", 12),
    "measure_gpu_large": ("measuring", 12),
    "gather": ("gathering the rows", 2),
    "show": ("gathering the rows", 2),
    "page": ("executing the pages", 5),
    "html": ("building the book", 60),
}
"""Rules in the order of their turns: what they do, and a guess of how many seconds a job takes on two cores."""
GUESS_SECONDS = 60
"""The guesses count as much as what was seen in this time."""
LINE_SECONDS = 60
"""Where nobody watches, a line is printed at each new step and as often as this."""

_BLAMED = re.compile(r"(?:Error|Exception|Warning|ERROR|WARNING|CRITICAL): \S")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Line:
    """One line with the step and the time left: overwritten on a terminal, printed now and then elsewhere."""

    def __init__(self, output: IO[str]) -> None:
        self.output, self.watched = output, output.isatty() and os.environ.get("TERM") != "dumb"
        self.started = self.changed = self.printed = time.monotonic()
        self.done, self.step = 0, ""

    def show(self, log: str) -> None:
        """Say how far the run is that wrote this log."""
        total = Counter({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", log, re.M) if name in STEPS})
        done = Counter(name for name in re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", log, re.M) if name in STEPS)
        step = next((what for name, (what, _) in STEPS.items() if done[name] < total[name]), None)
        if step is None:
            return None if total else self._write("getting ready")
        if done.total() > self.done:
            self.done, self.changed = done.total(), time.monotonic()
        ready, of = (sum(n for name, n in jobs.items() if STEPS[name][0] == step) for jobs in (done, total))
        count = f" {ready} of {of}" if of > 1 else ""
        failed = f", {n} failed" if (n := len(failed_jobs(log))) else ""
        self._write(step, f"{count}, {in_words(self._left(done, total))} left{failed}")

    def _left(self, done: Counter, total: Counter) -> float:
        """Seconds: the guesses, corrected by the pace so far."""
        ready, whole = (sum(n * STEPS[name][1] for name, n in jobs.items()) for jobs in (done, total))
        pace = (GUESS_SECONDS + self.changed - self.started) / (GUESS_SECONDS + ready)
        return (whole - ready) * pace - (time.monotonic() - self.changed)

    def _write(self, step: str, more: str = "") -> None:
        now, text = time.monotonic(), step.capitalize() + more
        if self.watched:
            self.output.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
        elif step != self.step or now - self.printed > LINE_SECONDS:
            self.output.write(f"{text}\n")
            self.step, self.printed = step, now
        self.output.flush()

    def clear(self) -> None:
        """Leave the terminal's line to what comes next."""
        if self.watched:
            self.output.write("\r\x1b[K")
            self.output.flush()


def in_words(seconds: float) -> str:
    """About how long, as coarse as the estimate."""
    if seconds < 55:
        return f"about {max(round(seconds, -1), 10):.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


def failed_jobs(log: str) -> dict[str, list[Path]]:
    """By the message of each job that failed and did not succeed later: its own logs."""
    names = dict(re.findall(r"^Job (\d+): (.*)", log, re.M))
    blocks = re.findall(r"^Error in rule (\w+):\n    message: .*\n    jobid: (\d+)\n((?:    .*\n)*)", log, re.M)
    for job in re.findall(r"^Finished jobid: (\d+) ", log, re.M):
        blocks = [block for block in blocks if block[1] != job]
    logs = r"^    log: (.*) \(check"
    return {
        names.get(job, rule): [Path(p) for found in re.findall(logs, more, re.M) for p in found.split(", ")]
        for rule, job, more in blocks
    }


def reasons(log: str) -> list[str]:
    """A sentence on each job that failed; where none did, what Snakemake itself said last."""
    if failed := failed_jobs(log):
        return [f"{name} failed: {_blamed(logs)}" for name, logs in failed.items()]
    last = re.split(r"^\w+(?:Error|Exception)\b.*:\n", log, flags=re.M)[-1]
    return [line for line in last.splitlines() if line.strip() and not line.startswith("  File ")][-5:]


def failed_rows(table: Path) -> list[str]:
    """A line that counts the measurements that failed, if any did."""
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as rows:
        status = [row["status"] for row in csv.DictReader(rows)]
    n = len(status) - status.count("ok")
    return [f"Warning: {n} of {len(status)} measurements failed; the column `error` of {table} says why"] if n else []


def _blamed(logs: list[Path]) -> str:
    """The last line of a job's own log that speaks of an error or a warning, and where the rest is."""
    for path in logs:
        text = path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".txt" and path.exists() else ""
        if lines := [line.strip() for line in _COLOURS.sub("", text).splitlines() if line.strip()]:
            return f"{([line for line in lines if _BLAMED.search(line)] or lines)[-1]} (more in {path})"
    return "it ended without a word, as when it is killed for memory"
