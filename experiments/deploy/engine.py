"""A run on a SuperLink elsewhere: lets the clients in, submits, runs the server here.

The server runs in a process of this machine, which fetches its task from the SuperLink:
so the machine that everybody dials holds neither the run nor the model.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
from flwr.app.user_config import UserConfig, UserConfigValue
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import NodeStatus, TaskType
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from experiments import commands, processes
from experiments.control import ControlClient
from experiments.deploy.link import Link, Tell, clock_in
from experiments.deploy.lock import Key
from experiments.engine import ProcessInfo
from experiments.errors import SettingsError
from experiments.processes import EngineError

_POLL_SECONDS: Final = 0.25
_TASK_SECONDS: Final = 60.0


class RemoteEngine:
    """A SuperLink elsewhere and the server's process here; use as a context manager.

    Args:
        link: The way to the SuperLink.
        secret: What it and the server share.
        enrolled: Id of the run that everybody is enrolled in.
        nodes: Name to public key, in PEM, of everybody who is let in.
        app_dir: Folder of the app's `pyproject.toml`.
        logs_dir: Gets `server.log`.
        seconds: How long to wait for the SuperLink and the clients.
        tell: Takes a line for people.
    """

    def __init__(
        self,
        link: Link,
        *,
        secret: str,
        enrolled: str,
        nodes: Mapping[str, bytes],
        app_dir: Path,
        logs_dir: Path,
        seconds: float,
        tell: Tell,
    ) -> None:
        self._link = link
        self._secret = secret
        self._enrolled = enrolled
        self._nodes = nodes
        self._app_dir = app_dir
        self._log_file = logs_dir.resolve() / "server.log"
        self._seconds = seconds
        self._tell = tell
        self._home = Path(tempfile.mkdtemp(prefix="unseen-")).resolve()
        self._watchdog = processes.start_watchdog(self._home)
        self._control: ControlClient | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._run_id: int | None = None

    def __enter__(self) -> Self:
        """Return the engine, not yet connected."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the server's process, and the run if it is not over."""
        if self._control is not None and self._run_id is not None:
            self._end_run(self._control, self._run_id)
        processes.sweep(self._home)
        self._watchdog.communicate()  # closes its input: it cleans up and ends
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Wait for the SuperLink, let the clients in and wait for them.

        Raises:
            SettingsError: If it is not the SuperLink of these certificates, or knows
                the enrolled run already.
            EngineError: If it does not answer in time, or refuses.
        """
        self._link.probe()  # a foreign SuperLink is a mistake in the settings
        self._wait()
        self._control = ControlClient(
            self._link.address,
            root_certificates=self._link.ca.read_bytes(),
            interceptors=[Key(self._secret)],
        )
        self._check_fresh(self._control)
        self._admit(self._control)
        self._wait_for_clients(self._control)

    def submit(self, run_config: Mapping[str, UserConfigValue]) -> int:
        """Start a run of the app, and its server here.

        Raises:
            EngineError: If the SuperLink refuses.
        """
        self._run_id = self._connected().start_run(self._app_dir, run_config)
        self._start_server(self._fetch_task(self._run_id))
        return self._run_id

    def status(self) -> str:
        """Return the run's state; waits for a SuperLink that is away.

        Raises:
            EngineError: If there is no run, it is not known any more, or the SuperLink
                stays away too long.
        """
        if self._run_id is None:
            raise EngineError("no run was submitted")
        runs = self._runs()
        if self._run_id not in runs:
            raise EngineError(
                "the SuperLink does not know this run any more: it was started again "
                "without its database",
                hint="keep its state folder; enrol a fresh run and start that",
            )
        return runs[self._run_id][0]

    def check(self) -> tuple[ProcessInfo, ...]:
        """Look after the server's process; call about once a second.

        Returns:
            Nothing: the clients' processes are elsewhere.

        Raises:
            EngineError: If it died, or ended with an error.
        """
        status = self.status()
        died = self._server is not None and self._server.poll() is not None
        if status == "running" and died:
            status = self.status()  # it may have ended in between
            if status == "running":
                raise EngineError("the server process died", hint=self._see())
        if status.startswith("finished") and status != "finished:completed":
            raise EngineError(
                f"the server did not complete the run ({status})", hint=self._see()
            )
        return ()

    def _runs(self) -> dict[int, tuple[str, UserConfig]]:
        """Ask for all runs, of a SuperLink that may be away for a while."""
        control, deadline = self._connected(), time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            with suppress(EngineError):
                return control.runs()
            self._wait()
        return control.runs()

    def _wait(self) -> None:
        """Wait for the SuperLink.

        Raises:
            EngineError: If it does not answer in time.
        """
        try:
            self._link.wait(self._seconds, self._tell)
        except SettingsError as error:
            raise EngineError(str(error), hint=error.hint) from None

    def _connected(self) -> ControlClient:
        if self._control is None:
            raise EngineError("not connected to a SuperLink")
        return self._control

    def _check_fresh(self, control: ControlClient) -> None:
        for _, config in control.runs().values():
            if Path(str(config.get("server-dir", ""))).name == self._enrolled:
                raise SettingsError(
                    f"the enrolled run {self._enrolled} was started before: clients "
                    f"take part in a run once",
                    'enrol a fresh one with "unseen deploy enrol", and carry it',
                )

    def _admit(self, control: ControlClient) -> None:
        """Register the clients' nodes, and take everybody else off the list."""
        known = {node.public_key: node for node in control.nodes()}
        for public_key, node in known.items():
            if public_key not in self._nodes.values():
                control.unregister_node(node.node_id)
        for name, public_key in self._nodes.items():
            if public_key not in known:
                control.register_node(name, public_key)

    def _wait_for_clients(self, control: ControlClient) -> None:
        """Wait until all are there; the server decides whether fewer are enough."""
        names = {public_key: name for name, public_key in self._nodes.items()}
        deadline, missing = time.monotonic() + self._seconds, set(self._nodes)
        told = False
        while missing and time.monotonic() < deadline:
            online = {
                names.get(node.public_key, "")
                for node in control.nodes()
                if node.status == NodeStatus.ONLINE
            }
            missing = set(self._nodes) - online
            if missing and not told:
                until = clock_in(deadline - time.monotonic())
                self._tell(f"waiting for {_listed(missing)} until {until}")
                told = True
            time.sleep(_POLL_SECONDS if missing else 0)
        if missing:
            self._tell(f"going on without {_listed(missing)}")

    def _fetch_task(self, run_id: int) -> str:
        """Return the token of the run's task.

        Only this run's: somebody else's would be somebody else's code.

        Raises:
            EngineError: If the SuperLink does not hand it out.
        """
        client = RuntimeHttpClient.from_server_address(
            server_address=self._link.address,
            insecure=False,
            root_certificates=self._link.ca.read_bytes(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                Key(self._secret),
            ],
        )
        request = AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
        deadline = time.monotonic() + _TASK_SECONDS
        try:
            while time.monotonic() < deadline:
                response = client.AcquireTask(request)
                if response.token and response.task.run_id == run_id:
                    return response.token
                time.sleep(_POLL_SECONDS)
        except httpx.HTTPError as error:
            raise EngineError(
                f"the SuperLink does not hand out the server's task "
                f"({type(error).__name__})"
            ) from error
        finally:
            client.close()
        raise EngineError("the SuperLink did not hand out the server's task")

    def _start_server(self, token: str) -> None:
        home = self._home / "server"
        home.mkdir()
        env = commands.child_env(
            home, commands_dir=home, app_dir=self._app_dir, extra={}
        )
        host = self._link.address.rpartition(":")[0]
        hosts = ",".join((env["NO_PROXY"], host))
        self._server = processes.start_child(
            commands.serverapp_command(
                superlink=self._link.address, ca=self._link.ca, token=token
            ),
            env=env | {"NO_PROXY": hosts, "no_proxy": hosts},
            log_file=self._log_file,
        )

    def _end_run(self, control: ControlClient, run_id: int) -> None:
        try:
            if not control.run_status(run_id).startswith("finished"):
                control.stop_run(run_id)
        except (EngineError, KeyError):
            pass  # nobody there to tell, or nothing to end
        control.close()

    def _see(self) -> str:
        return f"see {self._log_file}"


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
