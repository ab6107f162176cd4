"""Attacks with keys: somebody else's, a dealer's bad ones, somebody else's name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from gmpy2 import mpz

import crypto.public_key
from crypto.dealer import deal
from crypto.errors import BadPartialError, InvalidSignatureError, KeyMismatchError
from crypto.key_holder import KeyShare, WholeKey
from crypto.manifest import KeySet, Manifest
from crypto.partial_proof import PartialStatement
from crypto.public_key import PublicKey
from crypto.threshold import combine
from crypto.wire import Hello
from server.cohort import Cohort
from server.events import EventLog
from server.grid import FastGrid
from tests.attack_table import Attack
from tests.attacked_group import Group
from tests.cheating_server import CheatingServer
from tests.crypto_group import phe_ciphertext, safe_primes, shares_of
from tests.federation import Federation, InProcessGrid, make_group, make_params

VICTIM = 1


def substitute_key(group: Group) -> WholeKey:
    """Enrol client 1 under a key that the server made itself, and knows."""
    pinned = group.prepared.manifest
    p, q, *_ = safe_primes(256)
    key, _ = deal(p, q, num_holders=5, threshold=4)
    keys = replace(pinned.keys, public_key=key)
    path = group.prepared.client_folder(VICTIM) / "runs" / group.prepared.run_id
    manifest = Manifest(keys, pinned.params)
    (path / "manifest.json").write_text(json.dumps(manifest.to_dict()))
    return WholeKey(key, p, q)


@pytest.mark.attack("key substitution")
def test_substituted_key(
    attack: Attack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    group = Group.of(tmp_path / "careless")
    own = substitute_key(group)

    with monkeypatch.context() as off:
        off.setattr(KeySet, "__eq__", lambda *_: True)
        entry = group.upload(VICTIM, group.broadcast())
    server = CheatingServer(group.round(group.broadcast()))
    plaintexts = [own.decrypt(c) for c in server.ciphertexts(entry)]
    leaked = server.unpacked(plaintexts)
    assert (leaked == group.integers(VICTIM, group.broadcast())).all()
    attack.leaked("client 1's update, with no key holder asked")

    group = Group.of(tmp_path / "careful")
    substitute_key(group)
    with attack.refused(KeyMismatchError):
        group.upload(VICTIM, group.broadcast())


def hollow_key() -> PublicKey:
    """Return a dealer's key whose verification values say nothing: all are 1."""
    key, _ = shares_of(5, 4)
    return replace(key, v=mpz(1), verification=(mpz(1),) * 5)


@pytest.mark.attack("v = 1 in the dealer's public values")
def test_hollow_verification_values(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, context, digest = hollow_key(), bytes(32), bytes([1] * 32)
    shares = [KeyShare(key, i, mpz(1000 + i)) for i in range(1, 6)]  # of no secret
    total = [phe_ciphertext(key, mpz(7), jacobi=1)]

    with monkeypatch.context() as off:
        off.setattr(crypto.public_key, "derive_v", lambda *_: mpz(1))
        key.verify()
        partials = {}
        for share in shares:
            share.verify()
            partials[share.index] = share.partials(total, digest)
            statement = PartialStatement(
                key, context, digest, share.index, total, partials[share.index]
            )
            statement.verify(*share.prove(statement))
        with pytest.raises(BadPartialError):
            combine(total, partials, key, digest)
    attack.leaked("no data, but made-up shares pass all checks: nobody can be named")

    with attack.refused(KeyMismatchError, "v is not the hash of its seed"):
        key.verify()


def say_client_1(client_id: int, reply: Message) -> Message:
    """Have client 5's node answer a hello in client 1's name."""
    record = reply.content.config_records["unseen"]
    data = record["data"]
    if client_id == 5 and record["kind"] == "hello" and isinstance(data, bytes):
        forged = replace(Hello.from_bytes(data), client_id=VICTIM)
        content = ConfigRecord({"kind": "hello", "data": forged.to_bytes()})
        reply.content = RecordDict({"unseen": content})
    return reply


@pytest.mark.attack("another node answers a hello in a client's name")
def test_hello_in_another_clients_name(
    attack: Attack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    group = make_group(tmp_path / "keys", make_params())
    federation = Federation(group, lambda _, p: (p, {}), tamper=say_client_1)
    federation.silent = {VICTIM}  # not there yet
    events = tmp_path / "events.jsonl"

    def gather() -> dict[int, int]:
        cohort = Cohort(
            FastGrid(InProcessGrid(federation, range(1, 6))),
            group.manifest,
            bytes.fromhex(group.run_id),
            seed=1,
            events=EventLog(events),
        )
        cohort.gather(wanted=4, needed=3, timeout=0.5)
        return cohort.nodes

    with monkeypatch.context() as off:
        off.setattr(Cohort, "_verify", lambda *_: None)
        nodes = gather()
    assert nodes[VICTIM] == 1005
    attack.leaked("no data, but client 1's place: it is shut out")

    assert sorted(gather()) == [2, 3, 4]
    (refused,) = [
        event
        for event in map(json.loads, events.read_text().splitlines())
        if event["event"] == "refused"
    ]
    assert refused["error"] == InvalidSignatureError.__name__
    attack.stopped_by(InvalidSignatureError)
