"""The process that client processes are forked from, with everything imported.

    python -P -m experiments.fork_server FD APP

Importing PyTorch and Flower takes four seconds of a core and 400 MB, and the table of
the public key's blinding base half a second at 3072 bits: forked clients share all of
it. Each is still a process of its own, with its own session, environment and log; this
one holds no secret and does nothing else. `experiments.forked` asks it over the
connection with the file descriptor FD.
"""

import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import NamedTuple

import torch
from torch.optim import SGD

from clients import node
from crypto.errors import CryptoError
from crypto.manifest import Manifest, read_json
from crypto.paillier import blinding_table
from experiments.processes import end_with, name_process


class Request(NamedTuple):
    """A client to start.

    Attributes:
        name: What the process is called.
        arguments: Of `clients.node`.
        env: The whole environment.
        log_file: Gets standard output and standard error, appended.
    """

    name: str
    arguments: list[str]
    env: dict[str, str]
    log_file: str


class _Forker:
    """Forks clients on request and tells of their ends."""

    def __init__(self, launcher: Connection) -> None:
        self._launcher = launcher
        self._running: dict[int, int] = {}  # process ids by their file descriptors
        self._is_leaving = False
        self._is_ready = False

    def serve(self) -> None:
        """Answer until the launcher is gone or, asked to end, all clients are.

        A request is answered with `(pid, None)`, a client's end with `(pid, code)`;
        the code is negative for a signal.
        """
        while not self._is_leaving or self._running:
            for ready in wait([self._launcher, *self._running]):
                if isinstance(ready, int):
                    self._tell_end(ready)
                    continue
                try:
                    request = Request(*self._launcher.recv())
                except EOFError:
                    return  # the kernel ends the clients with this process
                self._start(request)

    def leave(self, _signal: int, _frame: FrameType | None) -> None:
        """End the clients, and this process after them: it tells how they ended."""
        self._is_leaving = True
        if not self._running:
            sys.exit()
        for pid in self._running.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _start(self, request: Request) -> None:
        if not self._is_ready:
            _get_ready(request.arguments)
            self._is_ready = True
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._launcher.close()
            _run(request, server)
        self._running[os.pidfd_open(pid)] = pid
        self._launcher.send((pid, None))

    def _tell_end(self, descriptor: int) -> None:
        os.close(descriptor)
        pid, status = os.waitpid(self._running.pop(descriptor), 0)
        self._launcher.send((pid, os.waitstatus_to_exitcode(status)))


def _get_ready(arguments: Sequence[str]) -> None:
    """Do once what every client would do in its first round.

    Args:
        arguments: Of the first client; all of them have the same public key.
    """
    SGD([torch.zeros(1)])  # PyTorch's compiler: the first optimizer imports it
    with suppress(CryptoError, SystemExit):  # every client says so in its own log
        client = node.parse(arguments)
        path = client.client_dir / "runs" / client.run_id / "manifest.json"
        manifest = Manifest.from_dict(read_json(path))
        if manifest.params.mode != "plain":
            blinding_table(manifest.keys.public_key)
    gc.freeze()  # else the collector writes to what is shared, and so copies it


def _run(request: Request, server: int) -> None:
    """Be the client, and end."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with(server)
        os.setsid()
        name_process(request.name)
        os.environ.clear()
        os.environ.update(request.env)
        log = os.open(request.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = node.main(request.arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: nothing of the parent is to be run or flushed again, and a
        # training still going on in its thread is not waited for.
        os._exit(code)


def main(descriptor: int, app: str) -> None:
    """Import everything, then fork clients until told to end.

    Args:
        descriptor: Of the connection to the launcher.
        app: The clients' ClientApp, as `module:name`.
    """
    with suppress(node.NodeError):  # every client says so in its own log
        node.load_app(app)
    # NumPy's pool of threads; it stands a fork.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded")
    forker = _Forker(Connection(descriptor))
    signal.signal(signal.SIGTERM, forker.leave)
    forker.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
