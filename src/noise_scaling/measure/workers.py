"""Work done in processes of their own: one that hangs or dies costs its task and not the job; several share a card.

Workers are forked, so that they share the data that were loaded before without a copy, and cost milliseconds. CUDA
does not survive a fork: the parent must not have touched it (see `fork_safe_cuda`).
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from ..errors import InputError

_PR_SET_PDEATHSIG = 1
TRIES = 3
"""A task whose worker died is given to another: a process may be killed for what others did (no memory left, a careless
signal), and only a task that ends three workers is itself the cause."""


class Outcome(NamedTuple):
    """What became of one task: its result, or the sentence that says why there is none."""

    task: int
    result: object = None
    error: str = ""
    out_of_memory: bool = False


class Died(Exception):
    """A worker ended without an answer."""


@dataclass
class _Worker:
    """One forked process and the pipe to it."""

    process: multiprocessing.Process
    pipe: Connection
    task: int | None = None
    deadline: float = float("inf")

    def give(self, task: int, seconds: float | None) -> None:
        self.task, self.deadline = task, time.monotonic() + (seconds or float("inf"))
        self.pipe.send(task)

    def answer(self) -> Outcome:
        """What it sent; raises Died if it is gone, and whatever the task raised that is a mistake of ours."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            raise Died(f"its process ended with exit code {self.process.exitcode}") from None
        task, self.task, self.deadline = self.task, None, float("inf")
        if kind == "refused":
            raise InputError(value)
        if kind == "raised":
            raise RuntimeError(f"a worker failed at task {task}:\n{value}")
        return Outcome(task, error=value, out_of_memory=True) if kind == "memory" else Outcome(task, value)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Crew:
    """Runs `work(task)` for numbered tasks in `size` forked processes, each task within `seconds`.

    Parameters
    ----------
    work
        Called in a worker with the task's number; what it returns is pickled back.
    size
        Workers at a time; may be changed between outcomes (`resize`).
    seconds
        Wall-clock limit of one task; None for none. The worker is killed, wherever its code is.
    out_of_memory
        Errors that say so: they come back as an outcome, the worker goes on.
    prepare
        Called first in each worker (a share of the card's memory, say).
    """

    def __init__(
        self,
        work: Callable[[int], object],
        *,
        size: int = 1,
        seconds: float | None = None,
        out_of_memory: tuple[type[BaseException], ...] = (MemoryError,),
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        if "fork" not in multiprocessing.get_all_start_methods():
            raise InputError(
                "a time limit needs processes that fork and this system has none: leave unit_seconds and workers out"
            )
        self._work, self.size, self.seconds = work, size, seconds
        self._out_of_memory, self._prepare = out_of_memory, prepare
        self._workers: list[_Worker] = []
        self._deaths: Counter[int] = Counter()

    def run(self, tasks: Sequence[int]) -> Iterator[Outcome]:
        """The outcome of every task, as they come."""
        queue = deque(tasks)
        while queue or any(worker.task is not None for worker in self._workers):
            self._hand_out(queue)
            yield from self._collect(queue)

    def resize(self, size: int) -> None:
        """Fewer or more workers from now on; those at work finish their task."""
        self.size = size

    def close(self) -> None:
        """Stop all workers at once."""
        while self._workers:
            self._workers.pop().stop()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _hand_out(self, queue: deque[int]) -> None:
        for worker in [w for w in self._workers if w.task is None][: max(0, len(self._workers) - self.size)]:
            self._workers.remove(worker)
            worker.stop()
        idle = [worker for worker in self._workers if worker.task is None]
        while queue and (idle or len(self._workers) < self.size):
            worker, task = idle.pop() if idle else self._start(), queue.popleft()
            try:
                worker.give(task, self.seconds)
            except BrokenPipeError:  # it was killed while it waited
                self._lost(worker, "")
                self._deaths[task] += 1
                if self._deaths[task] >= TRIES:
                    raise RuntimeError(f"{TRIES} workers ended before they could be given task {task}") from None
                queue.appendleft(task)

    def _collect(self, queue: deque[int]) -> Iterator[Outcome]:
        busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        until = min(worker.deadline for worker in busy.values()) - time.monotonic()
        ready = wait(list(busy), timeout=None if until == float("inf") else max(0.0, until))
        for pipe in ready:
            worker = busy.pop(pipe)
            try:
                yield worker.answer()
            except Died as error:
                lost = self._lost(worker, f"WorkerDied: {error}, {TRIES} times")
                self._deaths[lost.task] += 1
                if self._deaths[lost.task] < TRIES:
                    queue.appendleft(lost.task)
                else:
                    yield lost
        for worker in [w for w in busy.values() if w.deadline <= time.monotonic()]:
            yield self._lost(worker, f"TimeLimit: stopped after {self.seconds:g} s")

    def _lost(self, worker: _Worker, error: str) -> Outcome:
        self._workers.remove(worker)
        worker.stop()
        return Outcome(worker.task, error=error)

    def _start(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe()
        others = [worker.pipe for worker in self._workers] + [ours]
        process = multiprocessing.get_context("fork").Process(target=self._serve, args=(theirs, others), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns where other threads run, as they do in a notebook's kernel: a worker uses none of theirs
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _serve(self, pipe: Connection, others: list[Connection]) -> None:
        """The worker's side: tasks in, results out, until the pipe closes."""
        for other in others:
            other.close()  # else it would hold its own pipe's other end open, and never see the parent go
        _end_with_the_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and stops us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not what the parent does on it
        sys.stdout = sys.stderr = open(os.dup(2), "w", buffering=1)  # noqa: SIM115 - not the kernel's own streams
        self._prepare()
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                task = pipe.recv()
                pipe.send(self._try(task))

    def _try(self, task: int) -> tuple[str, object]:
        try:
            return "done", self._work(task)
        except self._out_of_memory as error:
            return "memory", f"{type(error).__name__}: {error}"
        except InputError as error:
            return "refused", str(error)
        except Exception:  # noqa: BLE001 - it is raised again in the parent, with this traceback
            return "raised", traceback.format_exc()


def _end_with_the_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere it goes when it next looks at the pipe."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def fork_safe_cuda() -> None:
    """Have torch look for GPUs without starting CUDA, which a forked worker could not use any more."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
