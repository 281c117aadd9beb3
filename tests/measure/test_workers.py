import os
import signal
import time

import pytest
import torch

from noise_scaling.errors import InputError
from noise_scaling.measure.packing import Packing, check_workers
from noise_scaling.measure.workers import Crew, Outcome


def square(task):
    return task * task


def test_every_task_is_done_once_by_several_workers():
    with Crew(lambda task: (task * task, os.getpid()), size=3) as crew:
        found = {outcome.task: outcome.result for outcome in crew.run(range(20))}
    assert {task: result[0] for task, result in found.items()} == {task: task * task for task in range(20)}
    assert 1 <= len({result[1] for result in found.values()}) <= 3
    assert os.getpid() not in {result[1] for result in found.values()}


def test_a_task_that_hangs_is_stopped_and_the_others_are_done():
    def work(task):
        return time.sleep(3600) if task == 1 else square(task)

    with Crew(work, size=2, seconds=0.5) as crew:
        found = {outcome.task: outcome for outcome in crew.run(range(5))}
    assert found.pop(1).error == "TimeLimit: stopped after 0.5 s"
    assert {task: outcome.result for task, outcome in found.items()} == {0: 0, 2: 4, 3: 9, 4: 16}


def test_a_hang_that_never_comes_back_to_python_is_stopped_too():
    """A lock taken twice, in C, with no bytecode run in between and every signal that can be blocked blocked."""

    def work(task):
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        lock = __import__("_thread").allocate_lock()
        lock.acquire()
        lock.acquire()

    with Crew(work, seconds=0.3) as crew:
        (outcome,) = crew.run([0])
    assert outcome.error.startswith("TimeLimit")


def test_a_task_that_kills_its_process_is_an_outcome():
    with Crew(lambda task: os.kill(os.getpid(), signal.SIGKILL) if task == 0 else task) as crew:
        found = {outcome.task: outcome for outcome in crew.run(range(2))}
    assert found[0].error == "WorkerDied: its process ended with exit code -9, 3 times"
    assert found[1].result == 1


def test_a_worker_killed_by_others_costs_nothing(tmp_path):
    """Its task goes to another worker: the first of all kills itself here, as the system would for want of memory."""

    def work(task):
        if not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return square(task)

    with Crew(work) as crew:
        found = [(outcome.task, outcome.result, outcome.error) for outcome in crew.run(range(3))]
    assert found == [(0, 0, ""), (1, 1, ""), (2, 4, "")]


def test_a_worker_killed_while_it_waits_costs_nothing():
    with Crew(square, size=1) as crew:
        assert list(crew.run([2])) == [Outcome(2, 4)]
        idle = crew._workers[0].process
        os.kill(idle.pid, signal.SIGKILL)
        idle.join()
        assert list(crew.run([3])) == [Outcome(3, 9)]


def test_workers_end_with_the_crew():
    with Crew(lambda task: os.getpid(), size=2) as crew:
        pids = {outcome.result for outcome in crew.run(range(8))}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_when_their_parent_is_killed():
    """The parent of the workers is a process of its own here, killed while both of them are at work."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        with Crew(lambda task: (os.write(write, f"{os.getpid()}\n".encode()), time.sleep(3600)), size=2) as crew:
            list(crew.run(range(2)))
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

    with pytest.raises(InputError, match=r"^no disk left$"), Crew(work) as crew:
        list(crew.run([0]))


class FakeCrew:
    """Workers that cost no time but on the clock: `rate(size)` tasks a second, no memory above `room` workers."""

    def __init__(self, size, clock, rate, room):
        self.size, self.clock, self.rate, self.room = size, clock, rate, room

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, tasks):
        for i, task in enumerate(tasks):
            self.clock[0] += 1 / self.rate(self.size)
            full = self.size > self.room and i >= self.room
            yield Outcome(task, error="OutOfMemoryError" if full else "", out_of_memory=full)


def packed(n_tasks, rate, *, room=99, size="auto"):
    clock, sizes, said = [0.0], [], []

    def crew_of(size):
        sizes.append(size)
        return FakeCrew(size, clock, rate, room)

    packing = Packing(crew_of, size=size, say=said.append, clock=lambda: clock[0])
    outcomes = list(packing.run(range(n_tasks)))
    return outcomes, sizes, said


def test_workers_are_doubled_while_that_pays():
    """Throughput 1, 2, 3.2, 3.3: four workers do 1.6 times what two do, eight 1.03 times what four do."""
    rates = {1: 1.0, 2: 2.0, 4: 3.2, 8: 3.3}
    outcomes, sizes, said = packed(200, rates.get)
    assert sorted(outcome.task for outcome in outcomes) == list(range(200))
    assert sizes == [1, 2, 4, 8, 4]
    assert said == ["4 workers share the card: 8 did 1.03 times as much"]


def test_one_worker_is_kept_where_two_do_no_more():
    assert packed(50, lambda size: 1.0)[1] == [1, 2, 1]


def test_expected_work_is_what_counts():
    """Tasks that get dearer do not look like lost throughput: 3 of cost 1 in 3 s, then 6 of cost 10 in 30 s."""
    clock, sizes = [0.0], []

    class Crew(FakeCrew):
        def run(self, tasks):
            for task in tasks:
                self.clock[0] += cost(task) / self.size
                yield Outcome(task)

    def cost(task):
        return 1.0 if task < 3 else 10.0

    def crew_of(size):
        sizes.append(size)
        return Crew(size, clock, None, None)

    list(Packing(crew_of, cost=cost, clock=lambda: clock[0]).run(range(10)))
    assert sizes[:3] == [1, 2, 4]


def test_no_memory_halves_the_workers_says_so_and_loses_nothing():
    outcomes, sizes, said = packed(60, float, room=3)
    assert sorted(outcome.task for outcome in outcomes) == list(range(60))
    assert not any(outcome.error for outcome in outcomes)
    assert sizes == [1, 2, 4, 2]
    assert said == ["out of memory in 9 units: going on with 2 workers on the card"]


def test_no_memory_for_one_alone_is_its_failure():
    outcomes, sizes, _ = packed(4, float, room=0, size=2)
    assert sizes == [2, 1]
    assert [outcome.error for outcome in outcomes] == ["OutOfMemoryError"] * 4


def test_a_card_that_is_full_is_told_from_a_mistake():
    def work(task):
        if task == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return task

    with Crew(work, out_of_memory=(torch.OutOfMemoryError,)) as crew:
        found = list(crew.run(range(3)))
    assert [outcome.out_of_memory for outcome in found] == [False, True, False]
    assert found[1].error.startswith("OutOfMemoryError: CUDA out of memory")


@pytest.mark.parametrize("workers", [0, -1, 1.5, "many", None])
def test_a_wrong_number_of_workers(workers):
    with pytest.raises(InputError, match="workers must be 'auto' or a whole number"):
        check_workers(workers)
