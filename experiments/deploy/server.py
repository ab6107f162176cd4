"""`unseen deploy run`: an enrolled run with clients elsewhere, from here to its end."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from rich.console import Console

from crypto.errors import CryptoError
from crypto.manifest import Manifest, read_json
from crypto.params import AggregationParams
from experiments.deploy import layout, records
from experiments.deploy.access import check_access
from experiments.deploy.certificates import read_node_public
from experiments.deploy.checks import check_server
from experiments.deploy.engine import RemoteEngine
from experiments.deploy.findings import stop_at_first
from experiments.deploy.link import Link, split_address
from experiments.deploy.lock import read_secret
from experiments.errors import SettingsError
from experiments.launch import Launcher
from experiments.prepare import PreparedRun
from experiments.resume import rounds_done
from experiments.run_folder import VOCABULARY
from experiments.settings import PROJECT
from experiments.sharing import SharedOut
from models.shards import load_shard
from models.tasks import Task
from server.checkpoint import MODEL


@dataclass(frozen=True)
class EnrolledRun(PreparedRun):
    """A run whose clients are elsewhere: its enrolment is not this machine's to end."""

    folder: Path

    @property
    def server_folder(self) -> Path:
        """The server's folder of this run."""
        return self.folder

    def forget(self) -> None:
        """Leave everything as it is."""


class DeployedRun(Launcher):
    """A run from an enrolment to results.

    Args:
        party: The server's own folder.
        superlink: `host:port`.
        out: The run folder; must not exist or be empty, but for a run that goes on.
        console: Where progress goes; None for silence.
        seconds: How long to wait for SuperLink and clients.
        goes_on: Whether the run goes on with what an earlier one left in the folder.

    Raises:
        SettingsError: If it cannot go on there.
    """

    def __init__(
        self,
        party: Path,
        *,
        superlink: str,
        out: Path,
        console: Console | None,
        seconds: float,
        goes_on: bool = False,
    ) -> None:
        self._party = party.resolve()
        self._link = Link(superlink, self._party / layout.CA_CERTIFICATE)
        self._seconds = seconds
        self._enrolled = records.newest_run(self._party)
        settings = records.read_run(self._enrolled)
        super().__init__(
            settings,
            out,
            console=console,
            device="own",
            resume_after=rounds_done(out, settings) if goes_on else None,
        )

    def _prepare(self, _task: Task, _params: AggregationParams) -> PreparedRun:
        """Read what the dealer prepared."""
        try:
            values = read_json(self._enrolled / layout.MANIFEST)
            manifest = Manifest.from_dict(values)
        except CryptoError as error:
            raise SettingsError(str(error)) from None
        test = load_shard(self._enrolled / layout.TEST)
        words = self._enrolled / VOCABULARY
        vocabulary = tuple(records.read_words(words)) if words.exists() else ()
        self._folder.keep(SharedOut([], test, vocabulary))
        return EnrolledRun(self._enrolled.name, self._party, manifest, self._enrolled)

    def _engine(self, prepared: PreparedRun) -> RemoteEngine:
        nodes = {}
        for client_id in sorted(prepared.manifest.keys.roster.clients):
            name = layout.client_name(client_id)
            path = self._party / layout.NODES / f"{name}.pub"
            nodes[name] = public_key_to_bytes(read_node_public(path))
        return RemoteEngine(
            self._link,
            secret=read_secret(self._party / layout.SECRET),
            enrolled=prepared.run_id,
            nodes=nodes,
            app_dir=PROJECT,
            logs_dir=self.out / "logs",
            seconds=self._seconds,
            tell=self._note,
        )

    def _way_on(self) -> str:
        again = 'start again with a fresh run, see "unseen deploy enrol"'
        if self._settings.record or not (self.out / MODEL).exists():
            return again
        return f"{again}; --resume {self.out} goes on with the last finished round"


def check_party(party: Path, superlink: str) -> list[str]:
    """Refuse a folder or an address that cannot work.

    Returns:
        What is risky about the folder.

    Raises:
        SettingsError: Names what is wrong.
    """
    split_address(superlink)
    check_access(party, ("keys.json", layout.CA_CERTIFICATE, layout.SECRET))
    return stop_at_first(check_server(party))


def new_folder(party: Path, runs: Path) -> Path:
    """Return the path of a new run folder, named for the time and the task."""
    task = records.read_run(records.newest_run(party)).task
    return runs.resolve() / f"{datetime.now():%Y-%m-%d-%H%M%S}-{task}"
