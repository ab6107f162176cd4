"""The dealer's work: make a deployment, enrol it in a run, deal again without a client.

Runs on one machine, before anything is carried anywhere.
"""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from crypto.errors import CryptoError
from crypto.manifest import DEPLOYMENT, KeySet, Manifest
from crypto.params import AggregationParams
from experiments.deploy import layout, records
from experiments.deploy.certificates import (
    OWN_NAMES,
    Authority,
    write_certificate,
    write_node_key,
)
from experiments.deploy.records import Deployment
from experiments.errors import SettingsError
from experiments.keysets import create_keyset, read_keyset, write_private
from experiments.prepare import PreparedRun
from experiments.prepare import enrol as write_enrolment
from experiments.run_folder import VOCABULARY
from experiments.sharing import SharedOut, Tell, load, share_out
from models.errors import TaskError
from models.tasks import Task

_SECRET_BYTES = 32


def create(
    root: Path,
    deployment: Deployment,
    tell: Tell,
    tick: Callable[[], None] = lambda: None,
) -> PreparedRun:
    """Make a deployment that is enrolled in a first run.

    Args:
        root: Its folder; must not exist. A failure leaves nothing behind.
        deployment: What is asked for.
        tell: Takes a line for people.
        tick: Called while primes are searched.

    Raises:
        SettingsError: If the folder exists, or settings cannot work.
    """
    if root.exists():
        raise SettingsError(f"{root} exists already", "choose another --out")
    task, params = deployment.settings.checked()
    shared = _share_out(deployment, task, tell)  # before the long search for primes
    with _draft_of(root) as draft:
        _make_keys(draft, deployment, params, tick)
        _make_certificates(draft, deployment)
        _make_nodes(draft, deployment.clients)
        deployment.write(draft)
        prepared = _write(draft, deployment, params, shared)
    return replace(prepared, keyset=root)


def enrol(root: Path, deployment: Deployment, tell: Tell) -> PreparedRun:
    """Enrol every party of a deployment in a fresh run.

    Raises:
        SettingsError: If settings cannot work, or a client's policy refuses the run.
    """
    task, params = deployment.settings.checked()
    return _write(root, deployment, params, _share_out(deployment, task, tell))


def _write(
    root: Path, deployment: Deployment, params: AggregationParams, shared: SharedOut
) -> PreparedRun:
    manifest = _manifest(read_keyset(root), params)
    prepared = write_enrolment(root, manifest, shared.shards, shared.test)
    records.write_run(prepared.server_folder, deployment.settings)
    if shared.vocabulary:
        words = list(shared.vocabulary)
        write_private(prepared.server_folder / VOCABULARY, words)
    for client_id in deployment.clients:
        own = prepared.client_folder(client_id) / layout.RUNS / prepared.run_id
        records.write_task(own, deployment.settings.task)
    for party in layout.parties(root):
        layout.keep_owner(party)
    return prepared


def without(root: Path, clients: Sequence[int]) -> Deployment:
    """Return what a deployment is without some of its clients.

    Args:
        root: The deployment; it is left as it is.
        clients: Those to leave out; none for a mere rotation.

    Raises:
        SettingsError: If one of them is not there.
    """
    before = Deployment.read(root)
    strangers = sorted(set(clients) - set(before.clients))
    if strangers:
        raise SettingsError(
            f"{root} has no client {', '.join(map(str, strangers))}",
            f"its clients are {', '.join(map(str, before.clients))}",
        )
    staying = tuple(i for i in before.clients if i not in clients)
    settings = replace(before.settings, clients=len(staying))
    if clients:
        # The old numbers were chosen for a larger group.
        settings = replace(settings, threshold=0, min_contributors=0, sample=0)
    return replace(before, settings=settings, clients=staying)


@contextmanager
def _draft_of(root: Path) -> Iterator[Path]:
    """Yield a folder that becomes `root` if all goes well, and nothing otherwise."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".deploy-", dir=root.parent))
    except OSError as error:
        raise SettingsError(
            f"cannot write {root.parent}: {error.strerror}", "choose another --out"
        ) from None
    try:
        yield scratch / "deploy"
        (scratch / "deploy").rename(root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _make_keys(
    draft: Path,
    deployment: Deployment,
    params: AggregationParams,
    tick: Callable[[], None],
) -> None:
    create_keyset(
        draft,
        num_clients=len(deployment.clients),
        num_holders=params.num_holders,
        threshold=params.threshold,
        key_bits=params.key_bits,
        purpose=DEPLOYMENT,
        client_ids=deployment.clients,
        tick=tick,
    )


def _make_certificates(draft: Path, deployment: Deployment) -> None:
    authority = Authority.create(deployment.days)
    authority.write(draft / layout.CA)
    names = dict.fromkeys((*OWN_NAMES, *deployment.names))
    superlink = draft / layout.SUPERLINK
    authority.certify_server(superlink, list(names), deployment.days)
    (superlink / layout.STATE).mkdir(mode=0o700)
    secret = secrets.token_hex(_SECRET_BYTES)
    for name in (layout.SUPERLINK, layout.SERVER):
        write_private(draft / name / layout.SECRET, secret)
    for party in layout.parties(draft):
        write_certificate(party / layout.CA_CERTIFICATE, authority.certificate)


def _make_nodes(draft: Path, clients: Sequence[int]) -> None:
    nodes = draft / layout.SERVER / layout.NODES
    for client_id in clients:
        name = layout.client_name(client_id)
        public = write_node_key(draft / name)
        write_private(nodes / f"{name}.pub", public.decode() + "\n")


def _share_out(deployment: Deployment, task: Task, tell: Tell) -> SharedOut:
    """Share the data out; nothing but its public part where clients bring their own."""
    if not deployment.own_data:
        return share_out(deployment.settings, task, tell)
    try:
        dataset = load(deployment.settings, task, tell)
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None
    return SharedOut([], dataset.test, dataset.vocabulary)


def _manifest(keys: KeySet, params: AggregationParams) -> Manifest:
    try:
        return Manifest(keys, params)
    except CryptoError as error:
        raise SettingsError(
            str(error),
            "the keys of a deployment stay; change the run, or make new keys",
        ) from None
