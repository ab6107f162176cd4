"""The processes of one engine: started together, ended together, nothing left."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from experiments import commands, processes
from experiments.forked import CAN_FORK, Child, ForkServer


class ProcessGroup:
    """A private folder, the processes that live in it, and who cleans up after them.

    Args:
        logs_dir: Gets one log file per process, by its name.
        app_dir: Folder of the app; also on the processes' import path.
        env: Additional environment variables of every process.

    Attributes:
        home: The private folder; gone after `stop`.
        is_stopped: Whether everything was ended.
    """

    def __init__(
        self, logs_dir: Path, *, app_dir: Path, env: Mapping[str, str]
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="unseen-")).resolve()
        self.is_stopped = False
        self._logs_dir, self._app_dir, self._env = logs_dir, app_dir, env
        self._watchdog = processes.start_watchdog(self.home)
        self._fork_server: ForkServer | None = None
        self._children: dict[str, Child] = {}
        commands.write_server_command(self._bin, log_file=self.log("server"))

    def __iter__(self) -> Iterator[tuple[str, Child]]:
        """Iterate over names and processes, in the order of their start."""
        return iter(self._children.items())

    def __getitem__(self, name: str) -> Child:
        """Return a process."""
        return self._children[name]

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self._logs_dir / f"{name}.log"

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process, or one again."""
        self._children[name] = processes.start_child(
            command, env=self._make_env(name), log_file=self.log(name)
        )

    def start_client(self, name: str, command: Sequence[str], *, app: str) -> None:
        """Start a client; if it is one of our own nodes, as a fork where possible.

        Args:
            name: Of the process.
            command: Of the client.
            app: The clients' ClientApp, as `module:name`.
        """
        arguments = commands.thin_node_arguments(command)
        if arguments is None or not CAN_FORK:
            self.start(name, command)
            return
        if self._fork_server is None:
            env, log_file = self._make_env("clients"), self.log("clients")
            self._fork_server = ForkServer(app, env=env, log_file=log_file)
        self._children[name] = self._fork_server.start(
            name, arguments, env=self._make_env(name), log_file=self.log(name)
        )

    def stop(self) -> None:
        """End every process and remove the private folder; safe to repeat."""
        if self.is_stopped:
            return
        self.is_stopped = True
        for child in self._children.values():
            child.terminate()
        processes.sweep(self.home)
        for child in self._children.values():
            try:
                child.wait(processes.GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._fork_server is not None:
            self._fork_server.stop()
        self._watchdog.communicate()  # closes its input: it cleans up and ends
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def _bin(self) -> Path:
        return self.home / "bin"

    def _make_env(self, name: str) -> dict[str, str]:
        own = self.home / name
        own.mkdir(exist_ok=True)
        return commands.child_env(
            own, commands_dir=self._bin, app_dir=self._app_dir, extra=self._env
        )
