"""Progress of a training: a bar in a terminal, a line from time to time in a log."""

import multiprocessing
import sys
import time

from tqdm import tqdm

LINE_SECONDS = 30.0
"""Seconds between two lines, where there is no terminal."""


class Report:
    """Report the progress of a training on stderr: steps, speed, the last validation loss and the time left.

    In a terminal this is a bar, below the bar of the units. Elsewhere (a notebook, a log, or a worker process, because
    several bars would overwrite each other) it is a line every `LINE_SECONDS`.
    """

    def __init__(self, title: str, *, steps: int, done: int, unit: str) -> None:
        self.title, self.steps, self.first, self.done, self.unit = title, steps, done, done, unit
        self.amount, self.loss = 0, ""
        self.started = self.said = time.monotonic()
        self.at_home = multiprocessing.parent_process() is None
        self.watched = self.at_home and sys.stderr is not None and sys.stderr.isatty()
        self.bar = tqdm(
            total=steps, initial=done, desc=title, unit="step", delay=1, leave=False,
            disable=not (title and self.watched),
        )  # fmt: skip

    def checked(self, loss: float) -> None:
        """Set the validation loss to report."""
        self.loss = f"validation loss {loss:.6g}"

    def step(self, amount: int) -> None:
        """Count a step on `amount` cells or tokens, and report if it is time to."""
        self.done, self.amount = self.done + 1, self.amount + amount
        self.bar.update()
        now = time.monotonic()
        if not self.title or now - self.said < (1.0 if self.watched else LINE_SECONDS):
            return
        self.said = now
        if self.watched:
            self.bar.set_postfix_str(", ".join(filter(None, [self._speed(now), self.loss])))
        elif self.at_home:
            tqdm.write(self._line(now), file=sys.stderr)  # writes outside the units' bar
        else:
            sys.stderr.write(f"{self._line(now)}\n")
            sys.stderr.flush()

    def _speed(self, now: float) -> str:
        return f"{self.amount / (now - self.started):,.0f} {self.unit}/s"

    def _line(self, now: float) -> str:
        left = (self.steps - self.done) / (self.done - self.first) * (now - self.started)
        parts = [f"step {self.done:,} of at most {self.steps:,}", self._speed(now), self.loss, f"{span(left)} left"]
        return f"{self.title}: {', '.join(filter(None, parts))}"

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def span(seconds: float) -> str:
    """Return a duration in words: "at most 1 h 5 min", or "less than a minute"."""
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours and not minutes:
        return "less than a minute"
    return f"at most {f'{hours} h ' if hours else ''}{minutes} min"
