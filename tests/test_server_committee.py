"""Wrong, late and missing partial decryptions: opened all the same, and named."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import Result
from gmpy2 import mpz, powmod

from crypto.aggregation import RoundSum
from crypto.errors import BadPartialError
from crypto.key_holder import KeyShare, WholeKey
from crypto.public_key import lagrange
from crypto.vector import IntVector
from server.committee import Answers
from server.errors import RunError
from tests.federation import Federation, make_group, make_params

Event = dict[str, Any]
Lie = Callable[[list[mpz], mpz], None]

DIM = 60  # with 512-bit keys three ciphertexts


def wrong_at(place: int) -> Lie:
    """A holder that is wrong about one ciphertext only."""

    def lie(partials: list[mpz], n: mpz) -> None:
        partials[place] = partials[place] * 2 % n

    return lie


@pytest.fixture
def liars(monkeypatch: pytest.MonkeyPatch) -> dict[int, Lie]:
    """Holders that run other code: by place in the committee, what they change."""
    found: dict[int, Lie] = {}
    for holder in (KeyShare, WholeKey):
        honest = holder.partials

        def partials(self: Any, *args: Any, honest: Any = honest) -> list[mpz]:
            values: list[mpz] = honest(self, *args)
            if self.index in found:
                found[self.index](values, self.public_key.n)
            return values

        monkeypatch.setattr(holder, "partials", partials)
    return found


def federation_of(folder: Path, **params: Any) -> Federation:
    return Federation(
        make_group(folder / "keys", make_params(**params)),
        lambda _, p: (p + 1, {"num-examples": 1, "loss": 0.0}),
    )


def run(
    federation: Federation, folder: Path, **options: Any
) -> tuple[Result, list[Event]]:
    """Run one round, evaluation included, and return its events."""
    path = folder / "events.jsonl"
    start = np.zeros(DIM, dtype=np.float32)
    result, _ = federation.run(start, events=path, **options)
    return result, events_of(folder)


def events_of(folder: Path) -> list[Event]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def named(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if event["event"] == name]


def refusals(events: list[Event]) -> list[tuple[int, str, str, str]]:
    keys = ("client", "by", "code", "error")
    return [tuple(event[key] for key in keys) for event in named(events, "refused")]


def bad(client_id: int) -> tuple[int, str, str, str]:
    return client_id, "server", "E_BAD_PARTIAL", "BadPartialError"


def assert_opened(result: Result) -> None:
    np.testing.assert_allclose(result.arrays["parameters"].numpy(), 1, atol=1e-4)


def error_record(name: bytes) -> RecordDict:
    return RecordDict({"unseen": ConfigRecord({"kind": "error", "data": name})})


def kind_of(message: Message) -> object:
    return message.content.config_records["unseen"]["kind"]


@pytest.mark.parametrize("place", [0, 1, -1])
def test_wrong_partial_is_replaced_and_its_holder_named(
    place: int, liars: dict[int, Lie], tmp_path: Path
) -> None:
    liars[2] = wrong_at(place)
    result, events = run(federation_of(tmp_path), tmp_path)
    assert_opened(result)
    assert refusals(events) == [bad(2)]
    assert not named(events, "round_failed")


def test_holder_that_was_named_is_asked_last(
    liars: dict[int, Lie], tmp_path: Path
) -> None:
    liars[2] = wrong_at(0)
    _, events = run(federation_of(tmp_path), tmp_path, rounds=2)
    asked = [event["holders"] for event in named(events, "opening")]
    assert asked[0] == [2, 3, 4, 5]
    assert asked[1] == [1]  # the stand-in
    assert asked[2:] == [[3, 4, 5, 1], [3, 4, 5, 1], [3, 4, 5, 1]]


def test_liars_at_different_places_are_all_named(
    liars: dict[int, Lie], tmp_path: Path
) -> None:
    liars.update({3: wrong_at(0), 4: wrong_at(2)})
    federation = federation_of(
        tmp_path, num_holders=7, threshold=5, max_contributors=7, min_contributors=4
    )
    result, events = run(federation, tmp_path)
    assert_opened(result)
    assert refusals(events) == [bad(3), bad(4)]


def test_two_liars_of_five_open_nothing_and_are_named_by_their_proofs(
    liars: dict[int, Lie], tmp_path: Path
) -> None:
    liars.update({1: wrong_at(0), 4: wrong_at(0)})
    with pytest.raises(RunError, match=r"OpeningError.*wrong: clients \[1, 4\]"):
        run(federation_of(tmp_path), tmp_path, max_failed_rounds=1)
    events = events_of(tmp_path)
    assert refusals(events) == [bad(1), bad(4)]
    (failed,) = named(events, "round_failed")
    assert (failed["error"], failed["code"]) == ("OpeningError", "E_BAD_PARTIAL")
    assert not named(events, "opened")


def test_liars_that_agree_cannot_have_an_honest_holder_named(
    liars: dict[int, Lie], tmp_path: Path
) -> None:
    """Together with 3 and 5 they open the sum, with 4 they do not."""
    group, delta = [1, 2, 3, 5], math.factorial(5)

    def shifted(exponent: int) -> Lie:
        def lie(partials: list[mpz], n: mpz) -> None:
            partials[0] = partials[0] * powmod(4, exponent, n) % n

        return lie

    liars[1] = shifted(int(lagrange(delta, group, 2)))
    liars[2] = shifted(-int(lagrange(delta, group, 1)))
    result, events = run(federation_of(tmp_path), tmp_path)
    assert_opened(result)
    assert not named(events, "round_failed")
    assert set(refusals(events)) == {bad(1), bad(2)}


@pytest.mark.parametrize(
    "excuse",
    [
        pytest.param(lambda kept: kept[0], id="another holder's proof"),
        pytest.param(lambda _: error_record(b"AppError"), id="an error"),
        pytest.param(lambda _: RecordDict(), id="nothing"),
    ],
)
def test_liar_without_a_proof_of_its_answer_is_named(
    excuse: Callable[[list[RecordDict]], RecordDict],
    liars: dict[int, Lie],
    tmp_path: Path,
) -> None:
    liars[3] = wrong_at(0)
    federation = federation_of(tmp_path)
    kept: list[RecordDict] = []

    def tamper(client_id: int, reply: Message) -> Message:
        if kind_of(reply) == "proof":
            kept.append(reply.content)
            if client_id == 3:
                reply.content = excuse(kept)
        return reply

    federation.tamper = tamper
    result, events = run(federation, tmp_path)
    assert_opened(result)
    assert refusals(events) == [bad(3)]


def test_liar_that_gives_no_proof_is_waited_for_once(
    liars: dict[int, Lie], tmp_path: Path
) -> None:
    liars[2] = wrong_at(0)
    federation = federation_of(tmp_path)
    federation.delay = lambda client_id, reply: (
        math.inf if client_id == 2 and kind_of(reply) == "proof" else 0.0
    )
    result, events = run(federation, tmp_path, rounds=3)
    assert result.arrays["parameters"].numpy().mean() == pytest.approx(3, abs=1e-3)
    assert refusals(events) == [bad(2)]
    (asked,) = named(events, "proving")
    opened = named(events, "opened")[0]
    assert 0.3 < opened["time"] - asked["time"] < 3.0


@pytest.mark.parametrize("seconds", [0.6, math.inf], ids=["late", "missing"])
def test_holder_that_takes_too_long_gets_a_stand_in(
    seconds: float, tmp_path: Path
) -> None:
    federation = federation_of(tmp_path)
    federation.delay = lambda client_id, reply: (
        seconds if client_id == 2 and kind_of(reply) == "partial" else 0.0
    )
    result, events = run(federation, tmp_path)
    assert_opened(result)
    assert refusals(events) == []
    late = named(events, "late")[0]
    assert (late["clients"], late["phase"]) == ([2], "train")
    train = [e["client"] for e in named(events, "partial") if e["phase"] == "train"]
    assert sorted(train) == [1, 3, 4, 5]


@pytest.mark.parametrize("seconds", [1.2, math.inf], ids=["late", "missing"])
def test_two_holders_that_take_too_long_fail_the_round_by_name(
    seconds: float, tmp_path: Path
) -> None:
    federation = federation_of(tmp_path)
    federation.delay = lambda client_id, reply: (
        seconds if client_id in (1, 5) and kind_of(reply) == "partial" else 0.0
    )
    with pytest.raises(RunError, match=r"TooFewPartialsError.*clients \[1, 5\]"):
        run(federation, tmp_path, max_failed_rounds=1)
    assert not named(events_of(tmp_path), "opened")


def test_wrong_and_missing_partials_leave_too_few_and_name_the_wrong_one(
    liars: dict[int, Lie], tmp_path: Path
) -> None:
    liars[2] = wrong_at(0)
    federation = federation_of(tmp_path)
    federation.delay = lambda client_id, reply: (
        math.inf if client_id == 5 and kind_of(reply) == "partial" else 0.0
    )
    with pytest.raises(RunError, match=r"OpeningError.*wrong: clients \[2\]"):
        run(federation, tmp_path, max_failed_rounds=1)
    assert refusals(events_of(tmp_path)) == [bad(2)]


def test_single_holder_that_is_wrong_needs_no_proof_to_be_named(
    liars: dict[int, Lie], tmp_path: Path
) -> None:
    liars[1] = wrong_at(0)
    federation = federation_of(tmp_path, num_holders=1, threshold=1, max_corrupt=0)
    with pytest.raises(RunError, match=r"OpeningError.*wrong: clients \[1\]"):
        run(federation, tmp_path, max_failed_rounds=1)
    events = events_of(tmp_path)
    assert refusals(events) == [bad(1)]
    assert not named(events, "proving")


def test_partial_that_its_holder_did_not_sign_is_refused(tmp_path: Path) -> None:
    federation = federation_of(tmp_path)
    kept: list[RecordDict] = []

    def tamper(client_id: int, reply: Message) -> Message:
        if kind_of(reply) == "partial":
            kept.append(reply.content)
            if client_id == 3:
                reply.content = kept[0]
        return reply

    federation.tamper = tamper
    result, events = run(federation, tmp_path)
    assert_opened(result)
    assert refusals(events)[0] == (3, "server", "E_SIG", "InvalidSignatureError")


class Unopenable:
    """Stands in for a sum that no set of answers opens, and counts the attempts."""

    def __init__(self) -> None:
        self.tried: list[tuple[int, ...]] = []
        self.opened: list[tuple[int, ...]] = []

    def opens(self, index: int, partials: Mapping[int, Sequence[mpz]]) -> bool:
        assert index == 0
        self.tried.append(tuple(sorted(partials)))
        return False

    def total(self, partials: Mapping[int, Sequence[mpz]]) -> IntVector:
        self.opened.append(tuple(sorted(partials)))
        raise BadPartialError("no", 0)


def test_every_set_is_tried_once_on_one_ciphertext() -> None:
    unopenable = Unopenable()
    answers = Answers(unopenable, 6)  # type: ignore[arg-type]
    assert all(answers.add(holder, []) is None for holder in range(1, 10))
    tried = unopenable.opened + unopenable.tried
    assert len(unopenable.opened) == 1
    assert len(tried) == len(set(tried)) == math.comb(9, 6)
    assert not answers.is_clean


def test_opened_event_has_the_hash_of_the_integers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[IntVector] = []
    total = RoundSum.total

    def keep(self: RoundSum, partials: Any) -> IntVector:
        opened.append(total(self, partials))
        return opened[-1]

    monkeypatch.setattr(RoundSum, "total", keep)
    _, events = run(federation_of(tmp_path), tmp_path)
    expected = [sha256(one.astype("<i8").tobytes()).hexdigest() for one in opened]
    assert [event["sum"] for event in named(events, "opened")] == expected
