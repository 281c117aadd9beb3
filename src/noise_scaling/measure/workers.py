"""Work in processes of their own: one that hangs or dies costs its task and not the job.

Workers are forked, so that they share the data that were loaded before without a copy. CUDA does not survive a fork:
the parent must not have touched it (see `fork_safe_cuda`).
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
"""A task whose worker died is given to another: a process may be killed for what others did (no memory left, a careless
signal), and only a task that ends three workers is itself the cause."""
_work: Callable[[int], Any]
"""What this process, a worker, was started for."""


class Outcome(NamedTuple):
    """What became of one task: its result, or the sentence that says why there is none."""

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
    """Do `work(task)` for each task in one of `size` forked processes; the outcomes, as they come.

    A task that takes more than `seconds` is killed, wherever its code is; `fresh` gives each a worker that did nothing
    before. InputError where processes cannot fork, and whatever else `work` raises, with the worker's traceback.
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
                except (ProcessExpired, BrokenProcessPool) as error:  # the latter when one was killed while it waited
                    deaths[task] += 1
                    if deaths[task] < TRIES:
                        again.append(task)
                    else:
                        code = getattr(error, "exitcode", "unknown")
                        yield Outcome(task, error=f"WorkerDied: its process ended with exit code {code}, {TRIES} times")
        finally:  # whatever they do then
            pool.stop()
            pool.join()
        left = again


def _become_a_worker(work: Callable[[int], Any]) -> None:
    global _work
    _work = work
    die_with_the_parent()  # where there is no such thing it ends when it next looks for a task
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not what the parent does on it
    sys.stdout = sys.stderr = open(os.dup(2), "w", buffering=1)  # noqa: SIM115 - not the kernel's own streams


def _do(task: int) -> Any:
    return _work(task)


def fork_safe_cuda() -> None:
    """Have torch look for GPUs without starting CUDA, which a forked worker could not use any more."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
