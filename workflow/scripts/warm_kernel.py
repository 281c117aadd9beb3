"""Jobs and kernels forked from one process that has all they need imported: a job starts in a tenth of the time.

python workflow/scripts/warm_kernel.py serve SOCKET DATASETS  started by workflow/run.py, ends with it
python workflow/scripts/warm_kernel.py papermill ARGUMENTS    papermill and its kernel, from the server if there is one
python workflow/scripts/warm_kernel.py noise-scaling ARGUMENTS    the command line, likewise

A sweep of many short jobs would spend seconds in each on importing papermill, torch, numba and anndata, and on loading
the data. Where no server answers (on a cluster, by hand, after it was killed) papermill runs as ever, and the numbers
are the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable

VARIABLE = "NOISE_SCALING_WARM_KERNELS"
"""Environment variable that names the server's socket."""
ANSWER_SECONDS = 60
ENGINE = "warm"
FLUSH_SECONDS, ENDS_IN_SECONDS = 0.02, 0.02
"""Waits for stray messages of a new kernel, and for the end of a killed one before it is said to live."""
NOTEBOOK = "notebooks/measure.ipynb"
IMPORTED = (
    "papermill.cli", "ipykernel.debugger", "ipykernel.kernelapp", "tornado.platform.asyncio", "sqlite3",
    "IPython.core.completerlib", "IPython.core.logger", "IPython.core.oinspect", "IPython.extensions.storemagic",
    "pandas.io.formats.html", "noise_scaling.cli", "noise_scaling.measure", "noise_scaling.plots.training",
)  # fmt: skip
"""What a job, its kernel and the gathering of the rows were seen to import."""
_PR_SET_NAME = 15


def serve(path: str, *datasets: str) -> None:
    """Fork a job or a kernel for every connection, until standard input closes: who started us holds its other end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what ended leaves no zombies
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()  # jobs that come while the packages are imported wait for it
        _get_ready(datasets)
        while True:
            ready = select.select([listener, sys.stdin], [], [])[0]
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _become(connection)
            connection.close()


def _get_ready(datasets: tuple[str, ...]) -> None:
    """Import what every job and kernel imports, do once what is slow the first time, and load the data."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a kernel's debugger warns of itself on import
    for name in IMPORTED:
        importlib.import_module(name)
    import pandas as pd
    from papermill.iorw import load_notebook_node

    load_notebook_node(NOTEBOOK)  # compiles the schema
    pd.DataFrame({"a": [0.5]})._repr_html_()
    from noise_scaling import counts
    from noise_scaling import datasets as known
    from noise_scaling.errors import InputError

    for name in datasets:
        with contextlib.suppress(InputError):  # the job that needs it says so
            if data := known.preload(name):  # and read what thinning was compiled to, which takes as long
                counts.thin(data.counts[:2], 0.5, seed=0, cell_ids=data.cell_ids[:2], gene_ids=data.gene_ids)
    gc.collect()
    gc.freeze()  # what is collected in a fork is copied first: leave out what was here before


def _become(connection: socket.socket) -> None:
    """The forked process: take over what was asked for, be it, and say how it ended."""
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
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    sys.argv = asked["argv"]
    if sys.platform == "linux":  # so that a list of processes tells jobs from kernels
        ctypes.CDLL(None).prctl(_PR_SET_NAME, asked["kind"].encode())
    code = _exit_code(WORK[asked["kind"]], asked["argv"], lambda: connection.sendall(f"{os.getpid()}\n".encode()))
    with contextlib.suppress(OSError):
        connection.sendall(str(code).encode())
    os._exit(0)


def _exit_code(work: Callable[..., None], arguments: list[str], ready: Callable[[], None] = lambda: None) -> int:
    """Run `work` as a program of its own would run; it calls `ready` when it can be talked to."""
    try:
        work(arguments, ready)
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - what Python does with an error that nobody catches
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()


def _kernel(arguments: list[str], ready: Callable[[], None]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance(parent_handle=1)  # no parent to poll: the connection says when it is over
    app.initialize(arguments)
    ready()  # its sockets listen: who connected before would try again a tenth of a second later
    app.start()


def _end_with(connection: socket.socket) -> None:
    """Kill this process, and what it started, when the other end of the connection closes."""
    with contextlib.suppress(OSError):
        while connection.recv(1):
            pass
    os.killpg(0, signal.SIGKILL)


def _ask(kind: str, argv: list[str], env: dict[str, str], cwd: str) -> tuple[socket.socket, int] | None:
    """The connection to a process that the server forked, and its number; None where no server answers."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_SECONDS)
    try:
        connection.connect(path)
        asked = json.dumps({"kind": kind, "argv": argv, "env": env, "cwd": cwd})
        socket.send_fds(connection, [asked.encode()], [1, 2])
        with connection.makefile("rb", buffering=0) as answer:
            line = answer.readline()
        if not line.endswith(b"\n"):  # it ended before it was ready: what came is how, not its number
            raise ValueError(line)
        pid = int(line)
    except (OSError, ValueError):  # no server, or one that died
        connection.close()
        return None
    connection.settimeout(None)
    return connection, pid


class Forked:
    """A kernel that the server forked, in the form of a process: not a child of ours, so watched by its socket."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self.pid, self.returncode = connection, pid, None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], ENDS_IN_SECONDS)[0]:
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
    """A kernel from the server, or None where none answers or the kernel is of another language."""
    if "ipykernel_launcher" not in command:
        return None
    arguments = command[command.index("ipykernel_launcher") + 1 :]
    found = _ask("kernel", arguments, dict(env), cwd or os.getcwd())
    return Forked(*found) if found else None


def _papermill(arguments: list[str], ready: Callable[[], None]) -> None:
    """papermill's command line, with kernels from the server where there is one."""
    ready()
    from jupyter_client.provisioning import local_provisioner
    from papermill.cli import papermill as command_line

    ordinary = local_provisioner.launch_kernel

    def launch(command: list[str], **settings: object) -> object:
        kernel = forked(command, env=settings.get("env") or os.environ, cwd=settings.get("cwd"))
        return kernel or ordinary(command, **settings)

    local_provisioner.launch_kernel = launch
    _register_engine()
    command_line([*arguments, "--engine", ENGINE])


def _register_engine() -> None:
    """papermill's own engine without two waits that are as long as a short job's work.

    A new kernel's messages are waited for until none came for a fifth of a second: the client drops those of no cell of
    its own anyway. And a kernel whose cells are all done is asked to end, and looked after every tenth of a second.
    """
    from jupyter_client.asynchronous import AsyncKernelClient
    from jupyter_client.channels import AsyncZMQSocketChannel
    from jupyter_client.manager import AsyncKernelManager
    from papermill.engines import NBClientEngine, papermill_engines
    from traitlets import Type

    class Messages(AsyncZMQSocketChannel):
        async def get_msg(self, timeout: float | None = None) -> dict:
            return await super().get_msg(None if timeout is None else min(timeout, FLUSH_SECONDS))

    class Client(AsyncKernelClient):
        iopub_channel_class = Type(Messages)

    class Manager(AsyncKernelManager):
        client_factory = Type(Client)

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, *arguments: object, **settings: object) -> object:
            ours = {"kernel_manager_class": Manager, "shutdown_kernel": "immediate"}
            return super().execute_managed_notebook(*arguments, **settings, **ours)

    papermill_engines.register(ENGINE, Engine)


def _noise_scaling(arguments: list[str], ready: Callable[[], None]) -> None:
    from noise_scaling.cli import main

    ready()
    sys.exit(main(arguments))


WORK = {"kernel": _kernel, "papermill": _papermill, "noise-scaling": _noise_scaling}


def run(kind: str, arguments: list[str]) -> int:
    """papermill or noise-scaling in a process from the server, which ends with this one; where none answers, here."""
    found = _ask(kind, arguments, dict(os.environ), os.getcwd())
    if found is None:
        return _exit_code(WORK[kind], arguments)
    answer = b""
    with found[0] as connection, contextlib.suppress(OSError):
        while chunk := connection.recv(32):
            answer += chunk
    return int(answer or b"1")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        sys.exit(run(sys.argv[1], sys.argv[2:]))
