"""Clients forked from one process: the launcher's side.

`ForkServer` starts `experiments.fork_server`, and that the clients. Only for Linux:
elsewhere, a fork after such imports is not safe.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Protocol

from experiments import processes

CAN_FORK = hasattr(os, "pidfd_open")


class Child(Protocol):
    """What the engine asks of a child process: `Popen`, or a forked client."""

    returncode: int | None

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class ForkedChild:
    """A client process, with the parts of `Popen` that the engine uses.

    Attributes:
        returncode: As of `Popen`; None while it runs.
    """

    def __init__(self) -> None:
        self.returncode: int | None = None
        self._pid = 0
        self._started, self._ended = threading.Event(), threading.Event()

    @property
    def pid(self) -> int:
        """Its process id; waits until it has started."""
        self._started.wait()
        return self._pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: If it still runs.
        """
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired("clients.node", timeout or 0.0)
        return self.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid and self.returncode is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return  # it ended, and the news is on its way

    def start(self, pid: int) -> None:
        """Take the process id."""
        self._pid = pid
        self._started.set()

    def end(self, returncode: int) -> None:
        """Take the exit code."""
        self.returncode = returncode
        self._started.set()
        self._ended.set()


class ForkServer:
    """The process that clients are forked from.

    Args:
        app: The clients' ClientApp, as `module:name`.
        env: Its environment.
        log_file: Gets what it prints.
    """

    def __init__(self, app: str, *, env: Mapping[str, str], log_file: Path) -> None:
        self._connection, theirs = Pipe()
        module = (sys.executable, "-P", "-m", "experiments.fork_server")
        self._process = processes.start_child(
            [*module, str(theirs.fileno()), app],
            env=env,
            log_file=log_file,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._asked: deque[ForkedChild] = deque()
        self._running: dict[int, ForkedChild] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        log_file: Path,
    ) -> ForkedChild:
        """Ask for a client; it starts as soon as everything is imported.

        Args:
            name: What the process is called, at most 15 bytes.
            arguments: Of `clients.node`.
            env: The whole environment.
            log_file: Gets standard output and standard error, appended.
        """
        child = ForkedChild()
        self._asked.append(child)
        try:
            self._connection.send((name, [*arguments], dict(env), str(log_file)))
        except OSError:
            child.end(-signal.SIGTERM)  # the server is gone, and everybody with it
        return child

    def stop(self) -> None:
        """End it, with what clients it has left."""
        self._process.terminate()
        try:
            self._process.wait(processes.GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._connection.close()

    def _listen(self) -> None:
        """Take news until the server is gone; its clients go with it."""
        try:
            while True:
                pid, returncode = self._connection.recv()
                if returncode is None:
                    child = self._running[pid] = self._asked.popleft()
                    child.start(pid)
                else:
                    self._running.pop(pid).end(returncode)
        except (EOFError, OSError):
            for child in (*self._asked, *self._running.values()):
                child.end(-signal.SIGTERM)
