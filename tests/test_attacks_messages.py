"""Attacks with bytes: messages cut off, or altered on their way.

What is no message is malformed; what is one, but was altered, is refused by whatever
its receiver checks next.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crypto.entries
import crypto.message
from crypto.encoding import _Reader
from crypto.errors import AppError, CryptoError, MalformedMessageError, SumRangeError
from crypto.memo import Memo
from crypto.message import Message
from crypto.roster import Roster
from crypto.wire import OpenRequest, Upload
from tests.attack_table import Attack
from tests.attacked_group import Group
from tests.cheating_server import CheatingServer, integers
from tests.message_exchange import encoded, exchange


def altered(data: bytes, *bits: int) -> bytes:
    """Flip bits; places beyond the end start at the beginning again."""
    flipped = bytearray(data)
    for place in {bit % (8 * len(data)) for bit in bits}:
        flipped[place // 8] ^= 1 << place % 8
    return bytes(flipped)


def test_whole_messages_are_accepted() -> None:
    for kind, data in encoded():
        exchange().use(kind.from_bytes(data))


@pytest.mark.attack("a message of any type, cut off")
def test_truncated_messages(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(reader: _Reader, size: int) -> bytes:  # a slice never fails
        reader._at += size
        return reader._data[reader._at - size : reader._at]

    escaped = set()
    with monkeypatch.context() as off:
        off.setattr(_Reader, "take", take)
        off.setattr(crypto.message, "decode", lambda data: _Reader(data).item(0))
        for kind, data in encoded():
            for size in range(len(data)):
                try:
                    kind.from_bytes(data[:size])
                except MalformedMessageError:
                    continue
                except Exception as error:
                    escaped.add(type(error).__name__)
    assert escaped
    attack.leaked(f"no data, but {len(escaped)} other exceptions escape")

    for kind, data in encoded():
        for size in range(len(data)):
            with attack.refused(MalformedMessageError):
                kind.from_bytes(data[:size])


@pytest.mark.attack("flipped bits in a message of any type")
def test_altered_messages(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    one, upload = exchange().one, exchange().messages[Upload]
    changed = replace(upload, ciphertexts=altered(upload.ciphertexts, 1000))
    with monkeypatch.context() as off:
        off.setattr(Roster, "verify", lambda *_: None)
        off.setattr(crypto.entries, "verify_knowledge", lambda *_: None)
        off.setattr(crypto.entries, "proven", Memo())  # nor is it remembered
        total = one.sum
        for entry in (changed, *(one.upload(i) for i in (2, 3, 4))):
            total.add(entry)
        with suppress(SumRangeError):  # most garbage is not even a packed sum
            assert (one.opened(total) != integers(one, 1, 2, 3, 4)).any()
    attack.leaked("no data, but the round: its sum is garbage")

    errors: set[type[CryptoError]] = set()

    @settings(max_examples=2000)
    @given(st.sampled_from(encoded()), st.sets(st.integers(0), min_size=1, max_size=3))
    def flip(message: tuple[type[Message], bytes], bits: set[int]) -> None:
        kind, data = message
        with pytest.raises(CryptoError) as refusal:
            exchange().use(kind.from_bytes(altered(data, *bits)))
        errors.add(refusal.type)

    flip()
    for error in sorted(errors, key=lambda one: one.code):
        attack.stopped_by(error)


def refusal_of(group: Group, kind: str, data: bytes) -> type[CryptoError] | None:
    """Return the error that client 1 names, if it refuses."""
    try:
        group.ask(1, kind, data)
    except CryptoError as error:
        return type(error)
    return None


def test_client_refuses_altered_requests_by_name(tmp_path: Path) -> None:
    # What our checks let through and then fails, the mod would call an AppError.
    group = Group.of(tmp_path / "keys")
    entries = [group.upload(i, group.broadcast()) for i in (1, 2, 3, 4)]
    request = CheatingServer(group.round(group.broadcast())).request(entries)
    data = request.to_bytes()
    group.ask(1, "open", data)

    @settings(max_examples=300)
    @given(st.sampled_from(["open", "prove"]), st.integers(0, 8 * len(data) - 1))
    def send(kind: str, at: int) -> None:
        with pytest.raises(MalformedMessageError):
            group.ask(1, kind, data[: at // 8])
        bad = altered(data, at)
        error = refusal_of(group, kind, bad)
        if error is None:  # a set that was answered: its powers are of no use now
            powers = OpenRequest.from_bytes(bad).powers
            assert bad == replace(request, powers=powers).to_bytes()
        assert error is not AppError

    send()
