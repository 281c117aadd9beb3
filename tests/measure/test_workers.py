import multiprocessing
import os
import signal
import time

import pytest

from noise_scaling.errors import InputError
from noise_scaling.measure.workers import Outcome, outcomes


def square(task):
    return task * task


def test_every_task_is_done_once_by_several_workers():
    found = {o.task: o.result for o in outcomes(lambda task: (task * task, os.getpid()), range(20), size=3)}
    assert {task: result[0] for task, result in found.items()} == {task: task * task for task in range(20)}
    assert 1 <= len({result[1] for result in found.values()}) <= 3
    assert os.getpid() not in {result[1] for result in found.values()}


def test_a_task_that_hangs_is_stopped_and_the_others_are_done():
    def work(task):
        return time.sleep(3600) if task == 1 else square(task)

    found = {outcome.task: outcome for outcome in outcomes(work, range(5), size=2, seconds=0.5)}
    assert found.pop(1).error == "TimeLimit: stopped after 0.5 s"
    assert {task: outcome.result for task, outcome in found.items()} == {0: 0, 2: 4, 3: 9, 4: 16}


def test_a_hang_that_never_comes_back_to_python_is_stopped_too():
    """A lock taken twice, in C, with no bytecode run in between and every signal that can be blocked blocked."""

    def work(task):
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        lock = __import__("_thread").allocate_lock()
        lock.acquire()
        lock.acquire()

    (outcome,) = outcomes(work, [0], seconds=0.3)
    assert outcome.error.startswith("TimeLimit")


def test_a_task_that_kills_its_process_is_an_outcome():
    def work(task):
        return os.kill(os.getpid(), signal.SIGKILL) if task == 0 else task

    found = {outcome.task: outcome for outcome in outcomes(work, range(2))}
    assert found[0].error == "WorkerDied: its process ended with exit code -9, 3 times"
    assert found[1].result == 1


def test_a_worker_killed_by_others_costs_nothing(tmp_path):
    """Its task goes to another worker: the first of all kills itself here, as the system would for want of memory."""

    def work(task):
        if not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return square(task)

    assert sorted(outcomes(work, range(3))) == [(0, 0, ""), (1, 1, ""), (2, 4, "")]


def test_a_worker_killed_while_it_waits_costs_nothing():
    """The first outcome is in, so both workers wait or take the next task when they are killed."""
    found = [Outcome(0, 0)]
    for outcome in outcomes(square, range(1, 4), size=2):
        found.append(outcome)
        for worker in multiprocessing.active_children():
            worker.kill()
    assert sorted(found) == [(0, 0, ""), (1, 1, ""), (2, 4, ""), (3, 9, "")]


def test_workers_end_with_the_last_outcome_and_when_nobody_asks_for_more():
    pids = {outcome.result for outcome in outcomes(lambda task: os.getpid(), range(8), size=2)}
    some = outcomes(lambda task: os.getpid() if task == 0 else time.sleep(3600), range(3), size=2)
    pids.add(next(some).result)
    some.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_when_their_parent_is_killed():
    """The parent of the workers is a process of its own here, killed while both of them are at work."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        list(outcomes(lambda task: (os.write(write, f"{os.getpid()}\n".encode()), time.sleep(3600)), range(2), size=2))
        os._exit(0)
    told = b""
    while told.count(b"\n") < 2:
        told += os.read(read, 100)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 20
    left = {int(pid) for pid in told.split()}
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if os.path.exists(f"/proc/{pid}") and "Z" not in state(pid)}
        time.sleep(0.02)
    assert not left


def state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def test_a_wrong_input_comes_back_as_one_sentence():
    def work(task):
        raise InputError("no disk left")

    with pytest.raises(InputError, match=r"^no disk left$"):
        list(outcomes(work, [0]))


def test_a_mistake_comes_back_with_its_traceback():
    with pytest.raises(ZeroDivisionError) as caught:
        list(outcomes(lambda task: 1 // task, [1, 0]))
    assert "1 // task" in str(caught.value.__cause__)
