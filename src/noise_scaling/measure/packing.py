"""Several small trainings share one card: as many workers as the measured throughput rewards, fewer where memory ends.

A training at a few thousand cells leaves a large card idle most of the time: its kernels are short and the processor
that launches them is the bound. Workers are processes with a share of the card's memory each. Tested with crews that
pretend to share a card; never run on a real one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch

from ..errors import InputError
from .workers import Crew, Outcome

GAIN = 1.1
"""Twice the workers must do at least 10 % more work a second, or the smaller number is kept."""
LARGEST = 16
"""Workers at most: each holds a CUDA context of about half a gigabyte."""
MEMORY_SHARE = 0.95
"""Of the card's memory that the workers divide among them; the rest is for the contexts themselves."""
ROUNDS = 3
"""Tasks of each worker over which throughput is measured: the first has the start of the process in it."""


def check_workers(workers: int | str) -> None:
    """Raise an InputError unless this is "auto" or a number of workers."""
    if workers != "auto" and not (isinstance(workers, int) and workers >= 1):
        raise InputError(f"workers must be 'auto' or a whole number from 1 on: found {workers!r}")


def take_memory_share(size: int) -> None:
    """Bound this process to its part of the card's memory among `size` workers; nothing to do without a card."""
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(MEMORY_SHARE / size)


class Packing:
    """Runs tasks on a number of workers that it finds by trying 1, 2, 4, ... on the tasks themselves.

    Parameters
    ----------
    crew_of
        The crew of a given number of workers (a context manager with `run`).
    cost
        Expected work of a task, in any unit: throughput is cost done a second, so that cheap tasks do not flatter.
    size
        "auto", or the number of workers to start with and stay at unless memory runs out.
    say
        Told what was decided, in a sentence.
    clock
        Seconds.
    """

    def __init__(
        self,
        crew_of: Callable[[int], Crew],
        *,
        cost: Callable[[int], float] = lambda task: 1.0,
        size: int | str = "auto",
        say: Callable[[str], None] = lambda sentence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_workers(size)
        self._crew_of, self._cost, self._say, self._clock = crew_of, cost, say, clock
        self.size, self.largest = (1, LARGEST) if size == "auto" else (size, size)
        self._best_rate = 0.0
        self._searching = size == "auto"

    def run(self, tasks: Sequence[int]) -> Iterator[Outcome]:
        """The outcome of every task; one that found no memory is tried again with half the workers."""
        queue = deque(tasks)
        while queue:
            n = min(len(queue), ROUNDS * self.size) if self._searching else len(queue)
            window = [queue.popleft() for _ in range(n)]
            size, start, done, again = self.size, self._clock(), 0.0, []
            with self._crew_of(size) as crew:
                for outcome in crew.run(window):
                    if outcome.out_of_memory and size > 1:
                        again.append(outcome.task)
                        continue
                    done += self._cost(outcome.task)
                    yield outcome
            queue.extendleft(reversed(again))
            if again:
                self._shrink(len(again))
            elif self._searching:
                self._judge(done / max(self._clock() - start, 1e-9), enough=n == ROUNDS * size)

    def _shrink(self, n_failed: int) -> None:
        self.size = self.largest = self.size // 2
        self._searching = False
        self._say(f"out of memory in {n_failed} units: going on with {self.size} workers on the card")

    def _judge(self, rate: float, *, enough: bool) -> None:
        if not enough:  # the last, short window says nothing about a full crew
            return
        if rate >= GAIN * self._best_rate:
            self._best_rate = rate
            self._searching = 2 * self.size <= self.largest
            self.size = min(2 * self.size, self.largest)
            return
        self.size //= 2
        self._searching = False
        self._say(f"{self.size} workers share the card: {2 * self.size} did {rate / self._best_rate:.2f} times as much")
