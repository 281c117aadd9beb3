"""Tasks in worker processes: a worker that hangs or dies costs its task and not the job.

Workers are forked, so that they share the data that were loaded before without a copy. CUDA does not survive a fork:
the parent must not have initialised it (see `fork_safe_cuda`).
"""

import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, TimeoutError, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from pebble import ProcessExpired, ProcessPool

from ..errors import InputError
from ..models.team import die_with_the_parent

TRIES = 3
"""Attempts at a task whose worker died. A process may be killed because of others (no memory left, a stray signal), so
only a task that ends three workers is taken to be the cause."""
_work: Callable[[int], Any]
"""The function that this process, a worker, calls for each task."""


class Outcome(NamedTuple):
    """Outcome of one task: its result, or a sentence that says why there is none."""

    task: int
    result: Any = None
    error: str = ""


def outcomes(
    work: Callable[[int], Any],
    tasks: Sequence[int],
    *,
    size: int = 1,
    seconds: float | None = None,
    fresh: bool = False,
) -> Iterator[Outcome]:
    """Run `work(task)` for each task in one of `size` forked processes; yield the outcomes as they finish.

    A task that takes more than `seconds` is killed, whatever code it runs; `fresh` gives each task a new worker.
    InputError if processes cannot be forked; any exception of `work` is raised with the worker's traceback.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        none = "a time limit needs processes that fork and this system has none"
        raise InputError(f"{none}: leave unit_seconds and workers out")
    left, deaths, fork = list(tasks), Counter[int](), multiprocessing.get_context("fork")
    while left:
        again = []
        pool = ProcessPool(size, 1 if fresh else 0, initializer=_become_a_worker, initargs=(work,), context=fork)
        try:
            futures: dict[Future, int] = {pool.schedule(_do, (task,), timeout=seconds): task for task in left}
            for future in as_completed(futures):
                task = futures[future]
                try:
                    yield Outcome(task, future.result())
                except TimeoutError:
                    yield Outcome(task, error=f"TimeLimit: stopped after {seconds:g} s")
                except (ProcessExpired, BrokenProcessPool) as error:  # the latter if a worker was killed while waiting
                    deaths[task] += 1
                    if deaths[task] < TRIES:
                        again.append(task)
                    else:
                        code = getattr(error, "exitcode", "unknown")
                        yield Outcome(task, error=f"WorkerDied: its process ended with exit code {code}, {TRIES} times")
        finally:  # stop the workers whatever they are doing
            pool.stop()
            pool.join()
        left = again


def _become_a_worker(work: Callable[[int], Any]) -> None:
    global _work
    _work = work
    die_with_the_parent()  # Linux only: elsewhere it ends when it next looks for a task
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's handler
    sys.stdout = sys.stderr = open(os.dup(2), "w", buffering=1)  # noqa: SIM115 - not the kernel's own streams


def _do(task: int) -> Any:
    return _work(task)


def fork_safe_cuda() -> None:
    """Make torch look for GPUs without initialising CUDA, which a forked worker could not use afterwards."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
