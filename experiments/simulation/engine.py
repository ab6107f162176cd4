"""The Ray engine: one process with the server, and as many actors as there are cores.

It starts, submits, is watched and stops as the process engine does, and leaves as
little behind: every process of its Ray carries the engine's private folder in its
environment, by which the same sweep and watchdog find it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from experiments import processes
from experiments.commands import child_env
from experiments.engine import ProcessInfo
from experiments.processes import EngineError
from experiments.settings import PROJECT, defaults
from experiments.simulation.job import ERROR, READY, RUN, Job, put

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue

_NAME: Final = "simulation"
_START_SECONDS: Final = 180.0
_QUIET_RAY: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",  # clients say the same things, each for itself
    "RAY_COLOR_PREFIX": "0",
}
# Ray's own name for it: the loopback, and nothing that listens on another address.
_LOOPBACK: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class RayEngine:
    """Virtual clients in a Ray of their own; use as a context manager.

    Args:
        logs_dir: Gets the one log file, `simulation.log`.
        job: The clients and what they get.
    """

    def __init__(self, logs_dir: Path, job: Job) -> None:
        self._logs_dir = logs_dir.resolve()
        self._job = job
        self._home: Path | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return the engine, not yet started."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self.stop()

    def start(self) -> None:
        """Start Ray; returns when it is up.

        Call from a thread that lives as long as the engine should.

        Raises:
            EngineError: If Ray cannot start, or has no room for a client.
        """
        self._logs_dir.mkdir(parents=True, exist_ok=True)
        # Ray's sockets lie 70 characters deeper, and a socket's path has 107 at most.
        short = os.environ.get("RAY_TMPDIR", "/tmp")  # noqa: S108 - mkdtemp is private
        self._home = Path(tempfile.mkdtemp(prefix="unseen-", dir=short)).resolve()
        self._watchdog = processes.start_watchdog(self._home)
        self._job.write(self._home)
        self._child = processes.start_child(
            [sys.executable, "-P", "-m", __package__ or "", str(self._home)],
            env=self._environment(self._home),
            log_file=self._logs_dir / f"{_NAME}.log",
        )
        self._wait_until_ready(self._home, self._child)

    def submit(self, run_config: Mapping[str, "UserConfigValue"]) -> None:
        """Start the run.

        Args:
            run_config: Overrides of the defaults in `pyproject.toml`.

        Raises:
            EngineError: If the engine was not started.
        """
        if self._home is None:
            raise EngineError("the engine was not started")
        put(self._home / RUN, {**defaults(), **run_config})

    def status(self) -> str:
        """Return the run's state: `running`, `finished:completed`, `finished:failed`.

        Raises:
            EngineError: If the engine was not started.
        """
        if self._child is None:
            raise EngineError("the engine was not started")
        code = self._child.poll()
        if code is None:
            return "running"
        return "finished:failed" if code else "finished:completed"

    def check(self) -> tuple[ProcessInfo, ...]:
        """Look after the process; call about once a second.

        Returns:
            Nothing: no client is a process.

        Raises:
            EngineError: If it ended with an error.
        """
        if self._child is not None and self._child.poll():
            code = self._child.returncode
            raise EngineError(f"the simulation died (exit code {code})", hint=self._see)
        return ()

    def stop(self) -> None:
        """End every process and remove the private folder; safe to repeat."""
        if self._home is None:
            return
        if self._child is not None:
            self._child.terminate()
        processes.sweep(self._home)
        if self._child is not None:
            self._child.wait()
            self._child = None
        if self._watchdog is not None:
            self._watchdog.communicate()  # closes its input: it cleans up and ends
            self._watchdog = None
        shutil.rmtree(self._home, ignore_errors=True)
        self._home = None

    def _environment(self, home: Path) -> dict[str, str]:
        own = {} if self._job.resources.address else _LOOPBACK
        return child_env(
            home / _NAME,
            commands_dir=home,
            app_dir=PROJECT,
            extra=_QUIET_RAY | own,
        )

    def _wait_until_ready(self, home: Path, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not (home / READY).exists():
            ended = child.poll() is not None
            if (home / ERROR).exists():
                message, hint = json.loads((home / ERROR).read_text())
                raise EngineError(message, hint=hint or self._see)
            if ended:
                raise EngineError(
                    f"Ray does not start (exit code {child.returncode})", hint=self._see
                )
            if time.monotonic() > deadline:
                raise EngineError(
                    f"Ray did not start within {_START_SECONDS:.0f} s", hint=self._see
                )
            time.sleep(0.05)

    @property
    def _see(self) -> str:
        return f"see {self._logs_dir / _NAME}.log"
