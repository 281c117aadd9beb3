"""The processes that train one network together: each steps on its share of a batch, and gradients are averaged."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ..errors import InputError

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Team:
    """The processes that train one model; alone unless there is a `fabric` that joins them."""

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.rank, self.size = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)

    def join(self, net: nn.Module) -> nn.Module:
        """The net as it is called in training: its gradients are averaged over the team."""
        return net if self.fabric is None else self.fabric.setup_module(net)

    def backward(self, loss: Tensor) -> None:
        """Gradients of `loss`, averaged over the team."""
        if self.fabric is None:
            loss.backward()
        else:
            self.fabric.backward(loss)

    def sum(self, value: float) -> float:
        """Over the team; the same number in each of its processes."""
        if self.fabric is None:
            return value
        mine = torch.tensor(value, dtype=torch.float64, device=self.fabric.device)
        return float(cast(Tensor, self.fabric.all_reduce(mine, reduce_op="sum")))

    def share(self, value: Any) -> Any:
        """What the first of the team gives, in each of its processes."""
        return value if self.fabric is None else self.fabric.broadcast(value)


ALONE = Team()


def check_devices(devices: int, device: str) -> None:
    """Check that the machine has so many GPUs, or that processes can be forked.

    Raises
    ------
    InputError
        If it has not, or `devices` is no whole number of at least 1.
    """
    if not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices is {devices!r}: give the number of GPUs (on a CPU, of processes), 1 or more")
    if devices > 1 and "fork" not in multiprocessing.get_all_start_methods():
        raise InputError("several devices need processes that fork and this system has none: use devices=1")
    if device == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"devices is {devices} and {torch.cuda.device_count()} GPUs are visible: ask for as many")


def train_together(work: Callable[[Team, str], Any], devices: int, device: str) -> Any:
    """What `work` returns in the first of several forked processes that step as one (Lightning Fabric, DDP).

    Parameters
    ----------
    work
        Called with the team and its device; returns no tensors: their shared memory ends with the process.
    devices, device
        How many processes; "cuda": one on each GPU, or "cpu".

    Raises
    ------
    InputError, FloatingPointError
        As `work` does, in every process alike.
    InputError
        This process used a GPU before: CUDA does not survive a fork.
    """
    from lightning.fabric import Fabric

    if device == "cuda" and torch.cuda.is_initialized():
        raise InputError("several GPUs need a process that used none before: train in a fresh one, or use devices=1")
    for name in ("lightning.fabric.utilities.rank_zero", "lightning.fabric.utilities.distributed", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    fabric = Fabric(accelerator=device, devices=devices, strategy="ddp_fork")

    def one_of_them(fabric: Fabric) -> Any:
        torch.set_num_threads(1)  # a fork has lost the parent's threads
        try:
            return work(Team(fabric), str(fabric.device))
        except (InputError, FloatingPointError) as error:
            return error

    found = fabric.launch(one_of_them)
    if isinstance(found, Exception):
        raise found
    return found
