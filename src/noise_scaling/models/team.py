"""Processes that train one network together: each computes its share of every batch, and gradients are averaged.

The processes are forked here, on one machine, or a launcher (torchrun or srun) started them, on one or several.
"""

import ctypes
import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError

_PR_SET_PDEATHSIG = 1
_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(days=7)
"""Timeout of the other processes, which wait while the first measures alone; one that dies is noticed at once."""


class Team:
    """The processes that train one model: a single one, unless a Lightning `Fabric` connects several."""

    def __init__(self, fabric: Any = None) -> None:
        self.fabric = fabric
        self.rank: int = 0 if fabric is None else fabric.global_rank
        self.size: int = 1 if fabric is None else fabric.world_size

    def join(self, net: nn.Module) -> nn.Module:
        """Return the net to call in training, which averages its gradients over the team."""
        return net if self.fabric is None else self.fabric.setup_module(net)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of `loss`, averaged over the team."""
        if self.fabric is None:
            loss.backward()
        else:
            self.fabric.backward(loss)

    def sum(self, value: float) -> float:
        """Return the sum of `value` over the team, the same number in each process."""
        if self.fabric is None:
            return value
        mine = torch.tensor(value, dtype=torch.float64, device=self.fabric.device)
        return float(self.fabric.all_reduce(mine, reduce_op="sum"))

    def share(self, value: Any) -> Any:
        """Return, in each process, the value that the team's first process passed."""
        return value if self.fabric is None else self.fabric.broadcast(value)


ALONE = Team()


def check_devices(devices: int, device: str) -> None:
    """Check that there are `devices` GPUs, that so many processes can be forked, or that a launcher started so many.

    InputError if not, or if `devices` is not a whole number of at least 1.
    """
    if not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices is {devices!r}: give the number of GPUs (on a CPU, of processes), 1 or more")
    _, size = place()
    if size > 1 and devices not in (1, size):
        raise InputError(f"devices is {devices} and the launcher started {size} processes: leave devices out")
    if size > 1:
        return
    if devices > 1 and "fork" not in multiprocessing.get_all_start_methods():
        raise InputError("several devices need processes that fork and this system has none: use devices=1")
    if device == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"devices is {devices} and {torch.cuda.device_count()} GPUs are visible: ask for as many")


def place() -> tuple[int, int]:
    """Return this process's rank, and how many processes torchrun or srun started; (0, 1) without a launcher."""
    if all(name in os.environ for name in _LAUNCHER):
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return int(os.environ.get("SLURM_PROCID", 0)), int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))


@cache
def launched(device: str) -> Team:
    """Return the processes that torchrun or srun started, connected by Lightning Fabric (DDP); else `ALONE`.

    InputError if the nodes have different numbers of processes.
    """
    _, size = place()
    if size == 1:
        return ALONE
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments import TorchElasticEnvironment
    from lightning.fabric.strategies import DDPStrategy

    _quieten()
    if not all(name in os.environ for name in _LAUNCHER):
        os.environ |= _as_torchrun_says_it() | os.environ
    each = int(os.environ.get("LOCAL_WORLD_SIZE", size if device == "cpu" else torch.cuda.device_count()))
    if size % each:
        raise InputError(f"{size} processes were started, {each} on this node: start as many on every node")
    fabric = Fabric(
        accelerator=device, devices=each, num_nodes=size // each, strategy=DDPStrategy(timeout=_PATIENCE),
        plugins=[TorchElasticEnvironment()],
    )  # fmt: skip
    fabric.launch()
    return Team(fabric)


def _as_torchrun_says_it() -> dict[str, str]:
    """Return srun's environment variables under the names that torchrun uses."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    said = {name: os.environ[f"SLURM_{name}"] for name in ("PROCID", "LOCALID", "NODEID", "JOB_ID")}
    said |= {name: os.environ[f"SLURM_STEP_{name}"] for name in ("NUM_TASKS", "TASKS_PER_NODE", "NODELIST")}
    return {
        "RANK": said["PROCID"], "WORLD_SIZE": said["NUM_TASKS"], "LOCAL_RANK": said["LOCALID"],
        "GROUP_RANK": said["NODEID"], "LOCAL_WORLD_SIZE": re.split(r"\D", said["TASKS_PER_NODE"])[0],
        "MASTER_ADDR": SLURMEnvironment.resolve_root_node_address(said["NODELIST"]),
        "MASTER_PORT": str(15000 + int(said["JOB_ID"]) % 10000),
    }  # fmt: skip


def die_with_the_parent() -> None:
    """Make the kernel kill this process when its parent dies, whatever code it is running; only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _quieten() -> None:
    """Silence banners; those of "lightning.pytorch" appear if scvi-tools was imported before."""
    for name in ("lightning.fabric", "lightning.fabric.utilities.rank_zero", "lightning.fabric.utilities.distributed",
                 "lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):  # fmt: skip
        logging.getLogger(name).setLevel(logging.WARNING)


def train_together(work: Callable[[Team, str], Any], devices: int, device: str) -> Any:
    """Run `work` in several processes that step as one (Lightning Fabric, DDP); return the result of the first.

    The processes are forked, unless a launcher started them: then each returns its own result. `work` must not return
    tensors, because their shared memory ends with the process.

    Raises
    ------
    InputError, FloatingPointError
        Raised by `work`, in every process alike.
    InputError
        This process used a GPU before: CUDA does not survive a fork.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments import LightningEnvironment

    if place()[1] > 1:
        started = launched(device)
        return work(started, str(started.fabric.device))
    if device == "cuda" and torch.cuda.is_initialized():
        raise InputError("several GPUs need a process that used none before: train in a fresh one, or use devices=1")
    _quieten()
    # given explicitly, because in a Slurm job of one task Lightning would assume that Slurm launches all processes
    environment = LightningEnvironment()
    fabric = Fabric(accelerator=device, devices=devices, strategy="ddp_fork", plugins=[environment])

    with TemporaryDirectory() as folder:
        # in a file, because Lightning reads its pipe, of 64 kB, only after the processes have ended
        result = Path(folder) / "result"

        def one_of_them(fabric: Any) -> None:
            die_with_the_parent()
            torch.set_num_threads(1)  # a forked process has lost the parent's threads
            try:
                found = work(Team(fabric), str(fabric.device))
            except (InputError, FloatingPointError) as error:
                found = error
            if fabric.global_rank == 0:
                result.write_bytes(pickle.dumps(found))

        fabric.launch(one_of_them)
        found = pickle.loads(result.read_bytes())
    if isinstance(found, Exception):
        raise found
    return found
