"""The process engine: one SuperLink and one process per client, on this machine.

Starts them, submits runs, watches them, and leaves nothing behind. Nothing of
the project goes into Flower's app bundle but `pyproject.toml` and the licence:
the server runs the installed code, as the clients do.
"""

import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self
from urllib.request import ProxyHandler, build_opener

from experiments import commands, processes
from experiments.commands import ClientSpec
from experiments.process_group import ProcessGroup
from experiments.processes import EngineError

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue

    from experiments.control import ControlClient

__all__ = ["ClientSpec", "EngineError", "ProcessEngine", "ProcessInfo"]

_log = logging.getLogger("unseen.engine")

SUPERLINK_START_SECONDS = 60.0
_START_ATTEMPTS = 3
# From the moment that a dying process no longer answers to its end.
_DEATH_SECONDS = 0.5


class _PortTakenError(Exception):
    """Somebody took the port between our choice and the SuperLink's start."""


class ProcessInfo(NamedTuple):
    """A process of the engine; `returncode` is None while it runs."""

    name: str
    pid: int
    returncode: int | None


class ProcessEngine:
    """A SuperLink with its client processes; use as a context manager.

    Args:
        app_dir: Folder of the app's `pyproject.toml`; also on the children's
            import path, after this project.
        logs_dir: Gets one log file per process: `superlink.log`, `server.log`,
            `client-1.log` ...
        clients: One per client process, with ids from 1.
        node: `thin` for `clients.node`; `stock` for `flower-supernode`, which
            is slower and starts a process per message.
        app: The thin node's ClientApp, as `module:name`.
        port: The SuperLink's port; None for a free one.
        database: File in which the SuperLink keeps its state; None for memory, or
            for a file that goes with the engine if it may be started again.
        restarts: How often a SuperLink that died is started again, on its port and
            with its database: the run goes on where it was.
        env: Additional environment variables of every child.
    """

    def __init__(
        self,
        app_dir: Path,
        logs_dir: Path,
        clients: Sequence[ClientSpec],
        *,
        node: Literal["thin", "stock"] = "thin",
        app: str = "clients.app:app",
        port: int | None = None,
        database: Path | None = None,
        restarts: int = 0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._app_dir = app_dir.resolve()
        self._logs_dir = logs_dir.resolve()
        self._clients = tuple(clients)
        self._node = node
        self._app = app
        self._requested_port = port
        self._port = 0
        self._database = database
        self._restarts = self._restarts_left = restarts
        self._env = dict(env or {})
        self._group: ProcessGroup | None = None
        self._reported: set[str] = set()
        self._revived: list[ProcessInfo] = []
        self._control: ControlClient | None = None
        self._run_id: int | None = None

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

    @property
    def address(self) -> str:
        """The SuperLink's `host:port`."""
        return f"127.0.0.1:{self._port}"

    @property
    def processes(self) -> tuple[ProcessInfo, ...]:
        """The children started by this engine, SuperLink first."""
        return tuple(
            ProcessInfo(name, child.pid, child.poll())
            for name, child in self._group or ()
        )

    def start(self) -> None:
        """Start everything; returns when the SuperLink answers.

        The clients register meanwhile; who needs them all waits for them in the
        run. Call from a thread that lives as long as the engine should.

        Raises:
            EngineError: If a requested port is taken or the SuperLink dies.
        """
        self._logs_dir.mkdir(parents=True, exist_ok=True)
        if self._requested_port and not processes.is_port_free(self._requested_port):
            raise EngineError(
                f"port {self._requested_port} of this machine is taken",
                hint="choose another port, or none to get a free one",
            )
        for _ in range(_START_ATTEMPTS):
            try:
                self._start_once()
            except _PortTakenError:
                _log.warning("port %d was taken meanwhile", self._port)
                self.stop()
            except BaseException:
                self.stop()
                raise
            else:
                return
        raise EngineError(
            f"the SuperLink found its port taken {_START_ATTEMPTS} times",
            hint=self._see("superlink"),
        )

    def submit(self, run_config: Mapping[str, "UserConfigValue"]) -> int:
        """Start a run of the app.

        Args:
            run_config: Overrides of the defaults in `pyproject.toml`.

        Returns:
            Flower's number of the run.

        Raises:
            EngineError: If the SuperLink does not answer or refuses the app.
        """
        self._run_id = self._get_control().start_run(self._app_dir, run_config)
        return self._run_id

    def status(self) -> str:
        """Return the last run's state.

        Starts a dead SuperLink again, if it may.

        Returns:
            `pending`, `starting`, `running`, `finished:completed` or
            `finished:<how>:<why>`.

        Raises:
            EngineError: If there is no run or the SuperLink does not answer.
        """
        if self._run_id is None:
            raise EngineError("no run was submitted")
        try:
            return self._get_control().run_status(self._run_id)
        except EngineError:
            if not self._revive_superlink(patience=_DEATH_SECONDS):
                raise
        return self._get_control().run_status(self._run_id)

    def check(self) -> tuple[ProcessInfo, ...]:
        """Look after the processes; call about once a second.

        Returns:
            The processes that have ended since the last call: clients, and a
            SuperLink that was started again.

        Raises:
            EngineError: If the SuperLink died too often, the server process died,
                or the server ended with an error.
        """
        self._revive_superlink()
        if self._run_id is not None:
            self._check_server()
        ended = [info for info in self.processes if info.returncode is not None]
        news = [info for info in ended if info.name not in self._reported]
        self._reported |= {info.name for info in news}
        news, self._revived = self._revived + news, []
        return tuple(news)

    def stop(self) -> None:
        """End every process and remove the private folder; safe to repeat."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._group is not None:
            self._group.stop()
        self._run_id = None

    def _start_once(self) -> None:
        self._port = self._requested_port or processes.free_port()
        self._group = ProcessGroup(self._logs_dir, app_dir=self._app_dir, env=self._env)
        self._reported = set()
        self._revived, self._restarts_left = [], self._restarts
        self._start_superlink(self._group)
        for client in self._clients:
            self._group.start_client(
                f"client-{client.client_id}",
                self._node_command(client),
                app=self._app,
            )
        self._wait_for_superlink(self._group)

    def _start_superlink(self, group: ProcessGroup) -> None:
        database = self._database
        if database is None and self._restarts:
            database = group.home / "superlink.sqlite"
        command = commands.superlink_command(port=self._port, database=database)
        group.start("superlink", command)

    def _revive_superlink(self, *, patience: float = 0.0) -> bool:
        """Start a dead SuperLink again.

        Args:
            patience: Seconds to wait for its death.

        Returns:
            Whether it was dead.

        Raises:
            EngineError: If it has died too often, or does not come back.
        """
        if self._group is None or self._group.is_stopped:
            return False
        link = self._group["superlink"]
        try:
            link.wait(patience)
        except subprocess.TimeoutExpired:
            return False
        died = f"the SuperLink died (exit code {link.returncode})"
        if self._restarts_left == 0:
            raise EngineError(died, hint=self._see("superlink"))
        self._restarts_left -= 1
        self._revived.append(ProcessInfo("superlink", link.pid, link.returncode))
        self._start_superlink(self._group)
        try:
            self._wait_for_superlink(self._group)
        except _PortTakenError:
            raise EngineError(
                f"{died}, and somebody took its port", hint=self._see("superlink")
            ) from None
        return True

    def _node_command(self, client: ClientSpec) -> list[str]:
        if self._node == "stock":
            return commands.stock_node_command(
                client, superlink=self.address, num_clients=len(self._clients)
            )
        return commands.thin_node_command(
            client,
            superlink=self.address,
            app=self._app,
            num_clients=len(self._clients),
        )

    def _wait_for_superlink(self, group: ProcessGroup) -> None:
        opener = build_opener(ProxyHandler({}))
        self._get_control()  # its import takes about as long as the SuperLink
        deadline = time.monotonic() + SUPERLINK_START_SECONDS
        while time.monotonic() < deadline:
            returncode = group["superlink"].poll()
            if returncode is not None:
                if not processes.is_port_free(self._port):
                    raise _PortTakenError
                raise EngineError(
                    f"the SuperLink died at its start (exit code {returncode})",
                    hint=self._see("superlink"),
                )
            try:
                opener.open(f"http://{self.address}/health", timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise EngineError(
            f"the SuperLink did not answer within {SUPERLINK_START_SECONDS:.0f} s",
            hint=self._see("superlink"),
        )

    def _get_control(self) -> "ControlClient":
        if self._control is None:
            # Its import takes 0.7 s: done here while the SuperLink starts.
            from experiments.control import ControlClient  # noqa: PLC0415

            os.environ.update(commands.direct_loopback(os.environ))
            self._control = ControlClient(self.address)
        return self._control

    def _check_server(self) -> None:
        status = self.status()
        if status == "running" and not self._is_server_alive():
            status = self.status()  # it may have ended in between
            if status == "running":
                raise EngineError("the server process died", hint=self._see("server"))
        if status.startswith("finished") and status != "finished:completed":
            raise EngineError(
                f"the server did not complete the run ({status})",
                hint=self._see("server"),
            )

    def _is_server_alive(self) -> bool:
        if self._group is None or not processes.CAN_FIND:
            return True
        found = processes.find_processes(self._group.home)
        return any("flwr-serverapp" in command for command in found.values())

    def _see(self, name: str) -> str:
        return f"see {self._logs_dir / name}.log"
