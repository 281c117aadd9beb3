"""Kernels forked from one process that has the package imported already: a job starts in a tenth of the time.

python workflow/scripts/warm_kernel.py serve SOCKET           started by workflow/run.py, ends with it
python workflow/scripts/warm_kernel.py papermill ARGUMENTS    papermill, its kernel from the server if there is one

A sweep of many short jobs would spend seconds in each on importing torch, numba and anndata. Where no server answers
(on a cluster, by hand, after it was killed) papermill starts its kernel as ever, and the numbers are the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading

VARIABLE = "NOISE_SCALING_WARM_KERNELS"
"""Environment variable that names the server's socket."""
ANSWER_SECONDS = 60


def serve(path: str) -> None:
    """Fork a kernel for every connection, until standard input closes: who started the server holds its other end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # kernels that ended leave no zombies
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()  # jobs that come while the package is imported wait for it

        import ipykernel.kernelapp  # noqa: F401 - what every kernel needs

        import noise_scaling.measure
        import noise_scaling.plots.training  # noqa: F401

        while True:
            ready = select.select([listener, sys.stdin], [], [])[0]
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _be_a_kernel(connection)
            connection.close()


def _be_a_kernel(connection: socket.socket) -> None:
    """The forked process: take over what papermill asked for, and become an ordinary IPython kernel."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 2)
    asked = json.loads(text)
    for source, target in zip(descriptors, (1, 2), strict=True):
        os.dup2(source, target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    connection.sendall(str(os.getpid()).encode())
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    sys.argv = asked["argv"]

    from ipykernel.kernelapp import IPKernelApp

    try:
        app = IPKernelApp.instance(parent_handle=1)  # no parent to poll: the connection says when it is over
        app.initialize(asked["argv"])
        app.start()
    finally:
        os._exit(0)


def _end_with(connection: socket.socket) -> None:
    """Kill this kernel, and what it started, when papermill's end of the connection closes."""
    with contextlib.suppress(OSError):
        while connection.recv(1):
            pass
    os.killpg(0, signal.SIGKILL)


class Forked:
    """A kernel that the server forked, in the form of a process: not a child of ours, so watched by its socket."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self.pid, self.returncode = connection, pid, None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        select.select([self._connection], [], [], timeout)
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def forked(command: list[str], *, env: dict[str, str], cwd: str | None) -> Forked | None:
    """A kernel from the server, or None where none answers."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_SECONDS)
    try:
        connection.connect(path)
        arguments = command[command.index("ipykernel_launcher") + 1 :]
        asked = {"argv": arguments, "env": dict(env), "cwd": cwd or os.getcwd()}
        socket.send_fds(connection, [json.dumps(asked).encode()], [1, 2])
        pid = int(connection.recv(32))
    except (OSError, ValueError):  # no server, one that died, or a kernel of another language
        connection.close()
        return None
    connection.settimeout(None)
    return Forked(connection, pid)


def papermill(arguments: list[str]) -> None:
    """papermill's command line, with kernels from the server where there is one."""
    from jupyter_client.provisioning import local_provisioner
    from papermill.cli import papermill as command_line

    ordinary = local_provisioner.launch_kernel

    def launch(command: list[str], **settings: object) -> object:
        kernel = forked(command, env=settings.get("env") or os.environ, cwd=settings.get("cwd"))
        return kernel or ordinary(command, **settings)

    local_provisioner.launch_kernel = launch
    command_line(arguments)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        papermill(sys.argv[2:])
