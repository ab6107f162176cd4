"""Attacks by one key holder: wrong, late or no partial decryptions.

Whole rounds of the real wrapper over real mods; four of five holders open a sum.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import pytest
from flwr.app import Message
from gmpy2 import mpz

import crypto.threshold
import server.committee
from crypto.errors import BadPartialError, SumRangeError
from crypto.key_holder import KeyShare
from crypto.public_key import PublicKey
from server.errors import RunError
from tests.attack_table import Attack
from tests.federation import Federation, make_group, make_params

CHEAT = 3


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    group = make_group(tmp_path / "keys", make_params())
    return Federation(group, lambda _, p: (p + 1, {"num-examples": 10, "loss": 0.5}))


def run_round(federation: Federation, events: Path) -> list[dict[str, Any]]:
    """Run one round, and return the training's events; without answers, it fails."""
    with suppress(RunError):
        federation.run(np.zeros(4, np.float32), events=events, max_failed_rounds=1)
    found = [json.loads(line) for line in events.read_text().splitlines()]
    return [event for event in found if event.get("phase") == "train"]


def named(events: Iterable[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """Return the events of one name."""
    return [one for one in events if one["event"] == event]


def lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one holder double a partial decryption, and sign it."""
    partials = KeyShare.partials

    def doubled(share: KeyShare, *args: Any) -> list[mpz]:
        right = partials(share, *args)
        if share.index != CHEAT:
            return right
        return [2 * right[0] % share.public_key.n, *right[1:]]

    monkeypatch.setattr(KeyShare, "partials", doubled)


def believe(public_key: PublicKey, ciphertext: mpz, root: mpz, scale: int) -> mpz:
    """Take a root out of a ciphertext without looking whether it is its root."""
    n, n_squared = public_key.n, public_key.n_squared
    power = gmpy2.powmod(ciphertext, scale, n_squared)
    opened = (power * gmpy2.powmod(root, -n, n_squared) % n_squared - 1) // n
    value = opened * gmpy2.invert(scale, n) % n
    return value - n if 2 * value > n else value


@pytest.mark.attack("a member returns a wrong partial")
def test_wrong_partial(
    federation: Federation,
    attack: Attack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    lie(monkeypatch)

    with monkeypatch.context() as off:
        off.setattr(crypto.threshold, "_plaintext", believe)
        events = run_round(federation, tmp_path / "off.jsonl")
    (failed,) = named(events, "round_failed")
    assert failed["error"] == SumRangeError.__name__
    assert not named(events, "refused")
    attack.leaked("no data, but the round: garbage is opened, nobody named")

    events = run_round(federation, tmp_path / "on.jsonl")
    (refused,) = named(events, "refused")
    assert (refused["client"], refused["error"]) == (CHEAT, BadPartialError.__name__)
    assert named(events, "opened")
    attack.stopped_by(BadPartialError)
    attack.stopped("(named; others open the sum)")


def is_cheats_partial(client_id: int, reply: Message) -> bool:
    """Whether this is the late holder's answer to an opening request."""
    kind = reply.content.config_records["unseen"]["kind"]
    return (client_id, kind) == (CHEAT, "partial")


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(
            1.2, marks=pytest.mark.attack("a member returns its partial too late")
        ),
        pytest.param(60, marks=pytest.mark.attack("a member returns no partial")),
    ],
)
def test_late_or_no_partial(
    seconds: float,
    federation: Federation,
    attack: Attack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    federation.delay = lambda *answer: seconds * is_cheats_partial(*answer)

    with monkeypatch.context() as off:
        off.setattr(server.committee, "_PATIENCE", 1.0)  # nobody stands in
        events = run_round(federation, tmp_path / "off.jsonl")
    (failed,) = named(events, "round_failed")
    assert failed["error"] == "TooFewPartialsError"
    attack.leaked("no data, but the round: 3 of 4 partials in time")

    events = run_round(federation, tmp_path / "on.jsonl")
    (late,) = named(events, "late")
    assert late["clients"] == [CHEAT]
    assert named(events, "opened")
    attack.stopped("no error: another one stands in, the late one is named")
