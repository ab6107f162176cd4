"""Attacks that make clients do different things in one round, or something else.

The server sends each client what it likes, through the client's real mod. Every attack
isolates client 1: the others' updates are zero, so the lawful sum of four is its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

import crypto.entries
import crypto.wire
from clients.folder import Member, open_member
from clients.policy import Policy
from crypto.context import RoundFacts
from crypto.entries import check_entry
from crypto.errors import (
    ContextMismatchError,
    InvalidSignatureError,
    MalformedMessageError,
    PolicyError,
)
from crypto.layout import EVALUATE, TRAIN, Layout
from crypto.manifest import Manifest
from crypto.vector import IntVector
from crypto.wire import Broadcast, Entry, Upload
from tests.attack_table import Attack
from tests.attacked_group import HONEST, Group, RunConfig, model, moved
from tests.cheating_server import CheatingServer, integers
from tests.crypto_group import make_round

VICTIM, OTHERS = 1, (2, 3, 4)


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group.of(tmp_path / "keys")


@dataclass(frozen=True)
class Split:
    """One round in which the victim is sent something else than the others.

    Attributes:
        broadcast: What the others are sent, as a change of an honest broadcast.
        run_config: The others' run configuration.
        unhash: What is left out of the context, and how.
        leak: What the others' part of the sum is.
    """

    broadcast: Mapping[str, Any]
    run_config: RunConfig
    unhash: Callable[[pytest.MonkeyPatch], None]
    leak: str

    def open(self, group: Group, number: int) -> tuple[IntVector, IntVector]:
        """Have the round's uploads opened as if all were for the victim's context.

        Returns:
            The coordinates of the opened sum, and the victim's own.
        """
        mine, theirs = self.broadcasts(group, number)
        entries = [group.upload(VICTIM, mine)]
        entries += [group.upload(i, theirs, self.run_config) for i in OTHERS]
        opened = CheatingServer(group.round(mine)).opened(entries, group.holders())
        dim = group.round(mine).facts.dim
        return opened[:dim], group.integers(VICTIM, mine)[:dim]

    def broadcasts(self, group: Group, number: int) -> tuple[Broadcast, Broadcast]:
        """Return the victim's message and the others'."""
        mine = group.broadcast(round=number)
        return mine, replace(mine, **self.broadcast)


def no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave run configuration and records out of the context."""
    monkeypatch.setattr(crypto.wire, "records_digest", lambda _: bytes(32))


def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the model out of the context."""
    monkeypatch.setattr(crypto.wire, "model_digest", lambda _: bytes(32))


SPLITS = {
    "learning rate zero for all but one (run configuration)": Split(
        {}, {**HONEST, "learning-rate": 0.0}, no_records, "others learn nothing"
    ),
    "learning rate zero for all but one (message records)": Split(
        {"records": {"config": {"lr": 0.0}}}, HONEST, no_records, "others learn nothing"
    ),
    "a different model per client": Split(
        {"arrays": model(0)}, HONEST, no_model, "others have no gradient"
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.attack(n)) for n in SPLITS]
)
def test_one_client_is_sent_something_else(
    name: str, group: Group, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = SPLITS[name]
    with monkeypatch.context() as off:
        split.unhash(off)
        leaked, wanted = split.open(group, number=1)
    assert wanted.any()
    assert (leaked == wanted).all()
    attack.leaked(f"client 1's {leaked.size} coordinates: {split.leak}")

    mine, theirs = split.broadcasts(group, number=2)
    entries = [group.upload(VICTIM, mine)]
    entries += [group.upload(i, theirs, split.run_config) for i in OTHERS]
    request = CheatingServer(group.round(mine)).request(entries)
    for i in OTHERS:
        with attack.refused(ContextMismatchError):
            group.holder(i)(request)
    for i in (VICTIM, 5):  # in the same context, and in none
        with attack.refused(InvalidSignatureError):
            group.holder(i)(request)


@pytest.mark.attack("one client told to train, the others to evaluate")
def test_phases_are_not_mixed(
    group: Group, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = group.broadcast()
    evaluate = replace(train, phase=EVALUATE)
    real = RoundFacts.context

    def of_any_phase(facts: RoundFacts, manifest: Manifest) -> bytes:
        return real(replace(facts, phase=TRAIN, dim=5), manifest)

    def open_mixed(number: int) -> IntVector:
        entries = [group.upload(VICTIM, replace(train, round=number))]
        evaluation = replace(evaluate, round=number)
        entries += [group.upload(i, evaluation) for i in OTHERS]
        server = CheatingServer(group.round(replace(train, round=number)))
        return server.opened(entries, group.holders())

    with monkeypatch.context() as off:
        off.setattr(RoundFacts, "context", of_any_phase)
        leaked = open_mixed(1)
    wanted = group.integers(VICTIM, train)
    assert wanted[1:5].all()
    assert (leaked[1:] == wanted[1:]).all()  # the others' one integer is in the first
    attack.leaked("client 1's coordinates, all but the first")

    with attack.refused(InvalidSignatureError):
        open_mixed(2)


# Modes beside `paillier`, whose uploads have no place in its sums.
@pytest.mark.attack("two protocol modes mixed in one round")
@pytest.mark.parametrize("mode", ["plain", "hybrid"])
def test_modes_are_not_mixed(
    mode: str, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_round(), make_round(mode=mode)
    server = CheatingServer(one)
    entries = [one.upload(VICTIM).entry()]
    entries += [other.upload(i).entry() for i in OTHERS]
    holders = [one.opener(i) for i in (1, 2, 3, 4)]

    def of_any_mode(
        entry: Entry, context: bytes, manifest: Manifest, layout: Layout
    ) -> list[mpz]:
        if entry.client_id in OTHERS:  # nothing to add: they are not encrypted this way
            return [mpz(1)] * manifest.params.num_ciphertexts(layout.num_values)
        return check_entry(entry, context, manifest, layout)

    with monkeypatch.context() as off:
        off.setattr(crypto.entries, "check_entry", of_any_mode)
        others = [replace(entry, ciphertexts=b"") for entry in entries[1:]]
        leaked = server.open([entries[0], *others], holders)
    assert (leaked == integers(one, VICTIM)).all()
    attack.leaked(f"client 1's update, beside uploads in {mode}")

    holders = [one.opener(i) for i in (1, 2, 3, 4)]
    with attack.refused(MalformedMessageError):
        server.open(entries, holders)
    hidden = [replace(entry, bulk_digest=bytes(32)) for entry in entries]
    with attack.refused(InvalidSignatureError):  # the mode is in the context, too
        server.open(hidden, holders)


@pytest.mark.attack("a second run on the same clients")
def test_a_second_run(
    group: Group, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Clients that train alike give the same updates: the runs' sums differ by one.

    def open_sum(run_id: bytes, *client_ids: int) -> IntVector:
        broadcast = group.broadcast(run_id=run_id)
        entries = [group.upload(i, broadcast) for i in client_ids]
        server = CheatingServer(group.round(broadcast))
        return server.opened(entries, group.holders())

    def in_any_run(node_config: Any) -> Member:
        return replace(open_member(node_config), run_id=bytes(16))

    first = open_sum(bytes.fromhex(group.prepared.run_id), 1, 2, 3, 4, 5)
    with monkeypatch.context() as off:
        off.setattr("clients.mod.open_member", in_any_run)
        leaked = first - open_sum(bytes(16), 2, 3, 4, 5)
    assert (leaked == group.integers(VICTIM, group.broadcast())).all()
    attack.leaked("client 1's update, as the difference of two runs")

    with attack.refused(ContextMismatchError):
        open_sum(bytes([1] * 16), 2, 3, 4, 5)


def allow_paillier_only(group: Group) -> None:
    """Give client 1 the policy of a deployment's client."""
    path = group.prepared.client_folder(VICTIM) / "policy.toml"
    lines = path.read_text().splitlines()
    rules = ['protocols = ["paillier"]', "min-contributors = 4"]
    others = [x for x in lines if not x.startswith(("protocols", "min-contributors"))]
    path.write_text("\n".join([*others, *rules]))


@pytest.mark.attack("the server asks for protocol plain")
def test_protocol_plain(
    tmp_path: Path, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group.of(tmp_path / "plain", mode="plain")
    allow_paillier_only(group)
    broadcast = group.broadcast()

    with monkeypatch.context() as off:
        off.setattr(Policy, "check", lambda *_: None)
        data = group.ask(VICTIM, "round", broadcast.to_bytes())
    before = np.ones(5, dtype=np.float32)
    update = moved(VICTIM, before, 1.0) - before
    assert Upload.from_bytes(data).bulk.endswith(update.tobytes())
    attack.leaked("client 1's update: float32, in the clear")

    with attack.refused(PolicyError):
        group.upload(VICTIM, group.broadcast(round=2))
    encrypted = Group.of(tmp_path / "paillier")
    with attack.refused(ContextMismatchError):  # its run configuration alone
        encrypted.upload(VICTIM, broadcast, {**HONEST, "protocol": "plain"})


@pytest.mark.attack("an enrolment that lowers the smallest set to two")
def test_lowered_minimum(
    tmp_path: Path, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Client 2 colludes; the clients' owner was sent a manifest with a lower minimum.
    lowered = {"min_contributors": 2, "max_corrupt": 0}
    group = Group.of(tmp_path / "keys", **lowered)
    allow_paillier_only(group)

    def open_pair(number: int) -> IntVector:
        broadcast = group.broadcast(round=number)
        entries = [group.upload(i, broadcast) for i in (VICTIM, 2)]
        server = CheatingServer(group.round(broadcast))
        opened = server.opened(entries, group.holders())
        return opened - group.integers(2, broadcast)

    with monkeypatch.context() as off:
        off.setattr(Policy, "check", lambda *_: None)
        leaked = open_pair(1)
    assert (leaked == group.integers(VICTIM, group.broadcast())).all()
    attack.leaked("client 1's update, less that of a colluding client")

    with attack.refused(PolicyError):
        open_pair(2)
