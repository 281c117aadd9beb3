"""The progress of a Snakemake run, and why it failed, read from its log."""

import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import IO

STEPS = {
    "measure": ("Measuring", 60),
    "gather": ("Gathering the rows", 5),
    "show": ("Gathering the rows", 5),
    "pages": ("Executing the pages", 60),
    "html": ("Building the book", 60),
}
"""Rules in order of execution: what they do, and an estimate of the seconds that a job takes."""


class Line:
    """One line with the step and the time left: overwritten on a terminal; elsewhere, printed at each new step."""

    def __init__(self, output: IO[str]) -> None:
        self.output, self.watched = output, output.isatty() and os.environ.get("TERM") != "dumb"
        self.started, self.step = time.monotonic(), ""

    def show(self, log: str) -> None:
        """Show the progress of the run that wrote this log; the four rules that measure count as one."""
        total, done = Counter[str](), Counter[str]()
        for name, n in re.findall(r"^(\w+?)(?:_\w+)? +(\d+)$", log, re.M):
            total[name] += int(n) * (name in STEPS)
        done.update(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+?)(?:_\w+)?\)", log, re.M))
        rule = next((name for name in STEPS if done[name] < total[name]), None)
        if rule is None:
            return self._write("Getting ready") if not total else None
        failed = f", {n} failed" if (n := len(failed_jobs(log))) else ""
        self._write(STEPS[rule][0], f" {done[rule]} of {total[rule]}, {self._left(done, total)} left{failed}")

    def _left(self, done: Counter[str], total: Counter[str]) -> str:
        """Return the approximate time left, by the estimates in STEPS and the pace so far."""
        whole, ready = (sum(jobs[name] * seconds for name, (_, seconds) in STEPS.items()) for jobs in (total, done))
        pace = (60 + time.monotonic() - self.started) / (60 + ready)
        hours, minutes = divmod(max(1, round((whole - ready) * pace / 60)), 60)
        return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"

    def _write(self, step: str, more: str = "") -> None:
        if self.watched:
            self.output.write(f"\r\x1b[K{step}{more}")
        elif step != self.step:
            self.output.write(f"{step}{more}\n")
        self.step = step
        self.output.flush()

    def clear(self) -> None:
        """Clear the line on a terminal, for the output that follows."""
        self.output.write("\r\x1b[K" if self.watched else "")


def failed_jobs(log: str) -> dict[str, list[Path]]:
    """Return the logs of each job that failed and did not succeed later, by the job's message."""
    names = dict(re.findall(r"^Job (\d+): (.*)", log, re.M))
    blocks = re.findall(r"^Error in rule \w+:\n    message: .*\n    jobid: (\d+)\n((?:    .*\n)*)", log, re.M)
    done = set(re.findall(r"^Finished jobid: (\d+) ", log, re.M))
    logs = {job: re.findall(r"^    log: (.*) \(check", more, re.M) for job, more in blocks if job not in done}
    return {names.get(job, job): [Path(p) for p in ", ".join(found).split(", ")] for job, found in logs.items()}


def reasons(log: str) -> list[str]:
    """Return a sentence on each failed job; if no job failed, the last lines that Snakemake itself wrote."""
    if failed := failed_jobs(log):
        return [f"{name} failed: {_blamed(logs)}" for name, logs in failed.items()]
    last = re.split(r"^\w+(?:Error|Exception)\b.*:\n", log, flags=re.M)[-1]
    return [line for line in last.splitlines() if line.strip() and not line.startswith("  File ")][-5:]


def _blamed(logs: list[Path]) -> str:
    """Return the last line of a job's own log that names an error or a warning, and the path of the log."""
    for path in logs:
        text = path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".txt" and path.exists() else ""
        lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
        if lines:
            speaking = [
                line for line in lines if re.search(r"(?:[Ee]rror|ERROR|Exception|[Ww]arning|WARNING): \S", line)
            ]
            return f"{(speaking or lines)[-1]} (more in {path})"
    return "it ended without a word, as when it is killed for memory"
