"""What the dealer's commands say, and where Docker Compose finds what they made."""

import os
from pathlib import Path
from typing import Final

from rich.console import Console

from experiments.committees import Committee
from experiments.deploy import layout
from experiments.ending import warn
from experiments.keys_cli import check_committee
from experiments.prepare import PreparedRun
from experiments.settings import RunSettings

COMPOSE: Final = "docker-compose.yml"
_CONTAINER_UID: Final = 10001
_OWNER_VARIABLES: Final = ("UNSEEN_UID=", "UNSEEN_GID=")


def check_settings(settings: RunSettings, *, trust_holders: bool) -> None:
    """Refuse what no deployment should be made with, and warn of what is risky.

    Raises:
        SettingsError: If settings cannot work, or one malicious key holder is too many.
    """
    _, params = settings.checked()
    if not trust_holders:
        check_committee(settings.clients, params.num_holders, params.threshold)
    warn(settings, params)


def describe(root: Path, prepared: PreparedRun, console: Console) -> None:
    """Say what was made and what comes next."""
    keys = prepared.manifest.keys
    committee = Committee(
        threshold=keys.public_key.threshold, num_holders=keys.public_key.num_holders
    )
    console.print(f"made {root}: keys {keys.fingerprint}", soft_wrap=True)
    console.print(f"to open a sum: {committee.explain()}")
    describe_run(root, prepared, console)
    if _hand_to_compose(root):
        console.print("start it here with: docker compose up --build")
        return
    console.print("carry each party's folder to its machine, then start there:")
    lines = [
        "unseen deploy superlink --dir superlink",
        "unseen deploy run --dir server --superlink HOST:9092",
        "unseen client --dir client-N --superlink HOST:9092",
    ]
    for line in lines:
        console.print(f"  {line}", soft_wrap=True)


def describe_run(root: Path, prepared: PreparedRun, console: Console) -> None:
    """Say which run everybody is enrolled in."""
    console.print(
        f"run {prepared.run_id}: in runs/ of server and clients under {root}",
        soft_wrap=True,
    )


def _hand_to_compose(root: Path) -> bool:
    """Let the containers own what they use, where a compose file lies beside.

    They run as whoever made the deployment, and never as root.

    Returns:
        Whether there is a compose file.
    """
    folder = root.resolve().parent
    if not (folder / COMPOSE).is_file():
        return False
    uid, gid = os.geteuid(), os.getegid()
    runs = folder / layout.RUNS
    runs.mkdir(exist_ok=True)
    if uid == 0:
        uid = gid = _CONTAINER_UID
        for party in layout.parties(root):
            os.chown(party, uid, gid)
            layout.keep_owner(party)
        os.chown(runs, uid, gid)
    env = folder / ".env"
    kept = env.read_text().splitlines() if env.exists() else []
    kept = [line for line in kept if not line.startswith(_OWNER_VARIABLES)]
    lines = [*kept, f"UNSEEN_UID={uid}", f"UNSEEN_GID={gid}"]
    env.write_text("\n".join(lines) + "\n")
    return True
