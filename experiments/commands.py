"""What the engine's child processes are started with: commands and environment."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import processes

_PROJECT_ROOT = Path(__file__).resolve().parent.parent
_THIN_NODE = (sys.executable, "-P", "-m", "clients.node")


@dataclass(frozen=True)
class ClientSpec:
    """What one client process is told by its own side."""

    client_id: int
    client_dir: Path
    run_id: str
    device: str = "cpu"


def superlink_command(*, port: int, database: Path | None) -> list[str]:
    """Return the command of a SuperLink that listens on this machine only."""
    return [
        *_script("flower-superlink"),
        "--insecure",  # plain HTTP: nothing leaves the machine
        *("--host", "127.0.0.1", "--port", str(port)),
        "--disable-runtime-dependency-installation",
        *(("--database", str(database)) if database else ()),
    ]


def thin_node_command(
    client: ClientSpec, *, superlink: str, app: str, num_clients: int
) -> list[str]:
    """Return the command of our own node."""
    return [
        *_THIN_NODE,
        *("--insecure", "--superlink", superlink),
        *("--client-dir", str(client.client_dir.resolve())),
        *("--run-id", client.run_id, "--device", client.device),
        *("--partition-id", str(client.client_id - 1)),
        *("--num-partitions", str(num_clients)),
        *("--app", app),
    ]


def thin_node_arguments(command: Sequence[str]) -> list[str] | None:
    """Return the arguments of a command of our own node; None if it is another's."""
    size = len(_THIN_NODE)
    return list(command[size:]) if tuple(command[:size]) == _THIN_NODE else None


def stock_node_command(
    client: ClientSpec, *, superlink: str, num_clients: int
) -> list[str]:
    """Return the command of Flower's node."""
    node_config = (
        f"client-dir='{client.client_dir.resolve()}' "
        f'run-id="{client.run_id}" device="{client.device}" '
        f"partition-id={client.client_id - 1} num-partitions={num_clients}"
    )
    return [
        *_script("flower-supernode"),
        *("--insecure", "--superlink", superlink),
        *("--host", "127.0.0.1", "--port", str(processes.free_port())),
        *("--node-config", node_config),
    ]


def serverapp_command(*, superlink: str, ca: Path, token: str) -> list[str]:
    """Return the command of a server whose SuperLink is on another machine."""
    return [
        *_script("flwr-serverapp"),
        *("--runtime-api-address", superlink),
        *("--root-certificates", str(ca)),
        *("--token", token),
        *("--parent-pid", str(os.getpid())),
    ]


def child_env(
    home: Path, *, commands_dir: Path, app_dir: Path, extra: Mapping[str, str]
) -> dict[str, str]:
    """Return a child's environment: of Flower's variables, only ours.

    Args:
        home: The child's private Flower home, by which a sweep finds it and the
            processes it starts.
        commands_dir: Searched first for programs.
        app_dir: On the import path after this project, whose packages have
            common names: the caller's own import path is not inherited.
        extra: More variables; they cannot replace those set here.
    """
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("FLWR_", "PYTHON"))
    }
    path = (str(commands_dir), str(_bin_dir()), inherited.get("PATH", ""))
    return {
        **inherited,
        **direct_loopback(inherited),
        **extra,
        "FLWR_HOME": str(home),
        "FLWR_LOG_LEVEL": "WARNING",  # else three lines for every request
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",  # seconds; Flower's is 1
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": os.pathsep.join((str(_PROJECT_ROOT), str(app_dir))),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


def direct_loopback(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep a proxy out of loopback connections."""
    hosts = env.get("NO_PROXY", env.get("no_proxy", ""))
    if "127.0.0.1" not in hosts:
        hosts = f"{hosts},127.0.0.1".lstrip(",")
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def write_server_command(commands_dir: Path, *, log_file: Path) -> None:
    """Write a `flwr-serverapp` that logs to a file of its own.

    Flower starts the server process by that name, found on the PATH, and would
    let it write into the SuperLink's log. It would also end it with the SuperLink;
    here it ends with the launcher, so that it waits for a SuperLink started again.
    """
    commands_dir.mkdir()
    script = commands_dir / "flwr-serverapp"
    command = shlex.join(_script("flwr-serverapp"))
    log = shlex.quote(str(log_file))
    launcher = f"--parent-pid {os.getpid()}"  # the last one given counts
    script.write_text(f'#!/bin/sh\nexec {command} "$@" {launcher} >>{log} 2>&1\n')
    script.chmod(0o700)


def _script(name: str) -> tuple[str, ...]:
    """Return the command of one of Flower's programs in this environment."""
    return (sys.executable, "-P", str(_bin_dir() / name))


def _bin_dir() -> Path:
    # Not resolved: in a virtual environment the interpreter is a link.
    return Path(sys.executable).parent
