"""`unseen client`: checks its own folder, waits for the SuperLink, becomes the node."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from experiments.deploy import layout, records
from experiments.deploy.access import check_access
from experiments.deploy.checks import check_client
from experiments.deploy.findings import stop_at_first
from experiments.deploy.link import Link, Tell, split_address
from experiments.deploy.own_data import bring
from experiments.deploy.superlink import deployed_env
from experiments.errors import SettingsError

FILES = (
    *("keys.json", "identity.json", "policy.toml", "state.sqlite"),
    *(layout.CA_CERTIFICATE, layout.NODE_KEY),
)


def become_client(
    party: Path,
    *,
    superlink: str,
    data: Path | None,
    device: str,
    seconds: float,
    once: bool,
    tell: Tell,
) -> NoReturn:
    """Check everything, wait for the SuperLink and become the client's process.

    Args:
        party: The client's own folder.
        superlink: `host:port`.
        data: The client's own data; None for the shard in its folder.
        device: Where it trains.
        seconds: How long to wait for a SuperLink that is away.
        once: Whether to end after a run.
        tell: Takes a line for people.

    Raises:
        SettingsError: If something is missing, foreign or expired.
        RunFailedError: If the SuperLink does not answer in time.
    """
    party = party.resolve()
    split_address(superlink)
    check_access(party, FILES, write=True)
    for risk in stop_at_first(check_client(party)):
        tell(risk)
    run = records.newest_run(party)
    if data is not None:
        num_examples = bring(data, run)
        tell(f"{num_examples} examples of {data} are this run's shard")
    if not (run / layout.SHARD).is_file():
        raise SettingsError(
            f"{run} holds no shard, and no --data was given",
            "pass this client's own data with --data PATH",
        )
    Link(superlink, party / layout.CA_CERTIFICATE).wait(seconds, tell)
    command = node_command(
        party, run, superlink=superlink, device=device, seconds=seconds, once=once
    )
    env = deployed_env(party / layout.FLOWER, superlink)
    os.execve(command[0], command, dict(env))  # noqa: S606 - this project's own module


def node_command(
    party: Path, run: Path, *, superlink: str, device: str, seconds: float, once: bool
) -> list[str]:
    """Return the command of a client's process that dials another machine."""
    return [
        *(sys.executable, "-P", "-m", "clients.node"),
        *("--superlink", superlink),
        *("--root-certificates", str(party / layout.CA_CERTIFICATE)),
        *("--auth-private-key", str(party / layout.NODE_KEY)),
        *("--client-dir", str(party), "--run-id", run.name),
        *("--device", device, "--patience", str(seconds)),
        *(("--once",) if once else ()),
    ]
