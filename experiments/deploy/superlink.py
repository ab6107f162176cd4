"""Starts a deployment's SuperLink: checks its folder, then becomes its process."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from experiments import commands
from experiments.deploy import layout
from experiments.deploy.access import check_access
from experiments.errors import SettingsError

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
FILES = (
    layout.TLS_CERTIFICATE,
    layout.TLS_KEY,
    layout.CA_CERTIFICATE,
    layout.SECRET,
)


def superlink_command(
    folder: Path, *, host: str, port: int, database: Path, once: bool
) -> list[str]:
    """Return the command of a SuperLink with TLS and registered nodes.

    Args:
        folder: The SuperLink's own folder.
        host: Address to listen on; 0.0.0.0 for all of this machine's.
        port: The one port that everybody dials.
        database: Where it keeps its state over a restart.
        once: Whether it ends after a run.
    """
    ca = folder / layout.CA_CERTIFICATE
    own = f"{'localhost' if host in _EVERYWHERE else host}:{port}"
    return [
        *(sys.executable, "-P", "-m", "experiments.deploy.superlink_process"),
        str(folder / layout.SECRET),
        f"{own},{ca}" if once else "",
        *("--ssl-ca-certfile", str(ca)),
        *("--ssl-certfile", str(folder / layout.TLS_CERTIFICATE)),
        *("--ssl-keyfile", str(folder / layout.TLS_KEY)),
        "--enable-supernode-auth",
        # The server runs in a process of `unseen deploy run`, not on this machine.
        *("--isolation", "process"),
        *("--host", host, "--port", str(port)),
        *("--database", str(database)),
        "--disable-runtime-dependency-installation",
    ]


def deployed_env(home: Path, address: str) -> Mapping[str, str]:
    """Return the environment of a deployment's process.

    Args:
        home: A private folder, where Flower may keep what it likes.
        address: What it dials: no proxy comes between.
    """
    env = commands.child_env(home, commands_dir=home, app_dir=home, extra={})
    hosts = ",".join((env["NO_PROXY"], address.rpartition(":")[0]))
    return env | {"NO_PROXY": hosts, "no_proxy": hosts}


def become_superlink(
    folder: Path, *, host: str, port: int, database: Path | None, once: bool
) -> NoReturn:
    """Check the folder and become the SuperLink.

    Raises:
        SettingsError: If something is missing, unreadable or expired.
    """
    # Imported here: what it needs takes longer than --help.
    from experiments.deploy.checks import check_superlink  # noqa: PLC0415
    from experiments.deploy.findings import stop_at_first  # noqa: PLC0415

    folder = folder.resolve()
    check_access(folder, FILES)
    stop_at_first(check_superlink(folder))
    database = (database or folder / layout.STATE / layout.DATABASE).resolve()
    if not os.access(database.parent, os.W_OK | os.X_OK):
        raise SettingsError(
            f"cannot write {database.parent}, where the SuperLink keeps its state",
            f"make it, owned by the user with uid {os.geteuid()}, or pass --database",
        )
    command = superlink_command(
        folder, host=host, port=port, database=database, once=once
    )
    env = deployed_env(database.parent / layout.FLOWER, f"localhost:{port}")
    os.execve(command[0], command, dict(env))  # noqa: S606 - this project's own module
