"""Messages survive the trip; whatever is not exactly a message is malformed."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.context import RoundFacts
from crypto.encoding import canon, decode
from crypto.errors import CryptoError, MalformedMessageError
from crypto.message import Message
from crypto.wire import (
    Broadcast,
    Challenge,
    Entry,
    Hello,
    OpenRequest,
    PartialProof,
    PartialReply,
    Upload,
    bulk_digest,
    pack_arrays,
)
from tests.crypto_group import make_manifest, make_params

ARRAYS: list[tuple[str, Any]] = [
    ("weight", np.arange(6, dtype="<f4").reshape(2, 3)),
    ("bias", np.array(0.5, dtype="<f8")),
    ("empty", np.zeros((0, 4), dtype="<f2")),
]
HELLO = Hello(
    client_id=1,
    protocol="unseen/2",
    code="c0de",
    keys="f00d",
    params=bytes(32),
    run_id=bytes(16),
)
BROADCAST = Broadcast(
    run_id=bytes(16),
    round=1,
    phase=1,
    metrics=["loss"],
    arrays_key="arrays",
    arrays=pack_arrays(ARRAYS),
    records={"config": {"lr": 0.1, "names": ["a"], "on": True}},
)
UPLOAD = Upload(
    client_id=1,
    context=bytes(32),
    bulk=b"bulk",
    ciphertexts=bytes(128),
    proof=bytes(40),
    signature=bytes(64),
)
ENTRY = UPLOAD.entry()
REQUEST = OpenRequest(
    run_id=bytes(16),
    round=1,
    phase=1,
    model=bytes(32),
    dim=7,
    metrics=["loss"],
    run_config=bytes(32),
    records=bytes(32),
    entries=[ENTRY.to_bytes()],
    powers=bytes(64),
)
REPLY = PartialReply(
    holder=1, set_digest=bytes(32), partials=bytes(64), signature=bytes(64)
)
PROOF = PartialProof(
    holder=1, set_digest=bytes(32), challenge=bytes(16), response=bytes(100)
)
CHALLENGE = Challenge(nonce=bytes(32))
MESSAGES: list[Message] = [
    CHALLENGE,
    HELLO,
    BROADCAST,
    UPLOAD,
    ENTRY,
    REQUEST,
    REPLY,
    PROOF,
]
ANY_MESSAGE = st.sampled_from(MESSAGES)
JUNK = (
    st.none()
    | st.booleans()
    | st.integers(-(10**19), 10**19)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=70)
    | st.lists(st.none() | st.integers(0, 10**19) | st.binary(max_size=3), max_size=4)
    | st.dictionaries(st.text(max_size=2), st.none() | st.integers(0, 3), max_size=2)
)
JUNK_ARRAYS = st.lists(
    st.lists(JUNK | st.sampled_from(["<f4", "w"]), min_size=3, max_size=5), max_size=2
)


def _parse(message: Message, data: bytes) -> Message | None:
    """Parse bytes as a type of message; None if they are malformed."""
    try:
        return type(message).from_bytes(data)
    except MalformedMessageError:
        return None


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_message_survives_the_trip(message: Message) -> None:
    assert type(message).from_bytes(message.to_bytes()) == message


@settings(max_examples=200)
@given(ANY_MESSAGE, st.data())
def test_every_truncation_is_malformed(message: Message, data: st.DataObject) -> None:
    encoded = message.to_bytes()
    size = data.draw(st.integers(0, len(encoded) - 1))

    with pytest.raises(MalformedMessageError):
        type(message).from_bytes(encoded[:size])


@settings(max_examples=500)
@given(ANY_MESSAGE, st.data())
def test_flipped_bit_gives_another_message_or_is_malformed(
    message: Message, data: st.DataObject
) -> None:
    encoded = bytearray(message.to_bytes())
    at = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[at // 8] ^= 1 << at % 8

    parsed = _parse(message, bytes(encoded))

    assert parsed is None or parsed.to_bytes() == encoded


@settings(max_examples=200)
@given(ANY_MESSAGE, st.binary(max_size=300))
def test_random_bytes_are_malformed(message: Message, data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        type(message).from_bytes(data)


@settings(max_examples=500)
@given(ANY_MESSAGE, st.data())
def test_field_of_any_content_is_read_or_malformed(
    message: Message, data: st.DataObject
) -> None:
    values: Any = decode(message.to_bytes())
    name = data.draw(st.sampled_from(sorted(values)))
    values[name] = data.draw(JUNK_ARRAYS if name == "arrays" else JUNK)

    parsed = _parse(message, canon(values))

    assert parsed is None or parsed.to_bytes() == canon(values)


@settings(max_examples=300)
@given(st.data())
def test_request_of_any_content_gives_a_context_or_a_named_error(
    data: st.DataObject,
) -> None:
    values: Any = decode(REQUEST.to_bytes())
    for name in data.draw(st.sets(st.sampled_from(sorted(values)), max_size=3)):
        values[name] = data.draw(JUNK)
    try:
        request = OpenRequest.from_bytes(canon(values))
        context = request.facts().context(make_manifest(make_params()))
    except CryptoError:
        return
    assert len(context) == 32


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_message_of_another_kind_is_malformed(message: Message) -> None:
    for other in MESSAGES:
        if type(other) is not type(message):
            with pytest.raises(MalformedMessageError):
                type(message).from_bytes(other.to_bytes())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_kind_must_be_the_name(message: Message) -> None:
    values: Any = decode(message.to_bytes())

    with pytest.raises(MalformedMessageError):
        type(message).from_bytes(canon(values | {"kind": "Other"}))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_unknown_field_is_malformed(message: Message) -> None:
    values: Any = decode(message.to_bytes())

    with pytest.raises(MalformedMessageError):
        type(message).from_bytes(canon(values | {"extra": 1}))


def test_message_must_be_a_map() -> None:
    with pytest.raises(MalformedMessageError):
        Hello.from_bytes(canon(["kind", "Hello"]))


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (HELLO, "client_id", 1 << 32),
        (HELLO, "client_id", -1),
        (HELLO, "client_id", True),
        (HELLO, "client_id", 1.0),
        (HELLO, "protocol", b"unseen/2"),
        (HELLO, "run_id", bytes(15)),
        (HELLO, "signature", bytes(63)),
        (CHALLENGE, "nonce", bytes(31)),
        (CHALLENGE, "nonce", "text"),
        (UPLOAD, "client_id", 1 << 32),
        (UPLOAD, "bulk", "text"),
        (UPLOAD, "context", bytes(31)),
        (UPLOAD, "proof", "text"),
        (UPLOAD, "signature", bytes(65)),
        (ENTRY, "client_id", 1 << 32),
        (ENTRY, "ciphertexts", None),
        (ENTRY, "proof", None),
        (REPLY, "holder", 256),
        (REPLY, "partials", []),
        (PROOF, "holder", 256),
        (PROOF, "set_digest", bytes(31)),
        (PROOF, "challenge", bytes(17)),
        (PROOF, "response", 1),
        (REQUEST, "dim", 1 << 63),
        (REQUEST, "round", 1 << 63),
        (REQUEST, "phase", 256),
        (REQUEST, "entries", b"entry"),
        (REQUEST, "entries", ["entry"]),
        (REQUEST, "powers", [1]),
        (REQUEST, "metrics", [1]),
        (REQUEST, "metrics", {"loss": 1}),
        (BROADCAST, "round", 1 << 63),
        (BROADCAST, "records", []),
        (BROADCAST, "records", {"config": 1}),
        (BROADCAST, "arrays_key", 1),
    ],
)
def test_field_out_of_its_range_is_malformed(
    message: Message, field: str, value: Any
) -> None:
    values: Any = decode(message.to_bytes())

    with pytest.raises(MalformedMessageError):
        type(message).from_bytes(canon(values | {field: value}))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_hostile_megabyte_is_refused_at_once(message: Message) -> None:
    head = canon({"kind": type(message).__name__})[5:]
    started = time.process_time()

    with pytest.raises(MalformedMessageError):
        type(message).from_bytes(b"m\xff\xff\xff\xff" + head + b"l\0\0\0\1" * 200_000)

    assert time.process_time() - started < 2


def test_request_states_the_facts_it_was_made_of() -> None:
    assert REQUEST.facts() == RoundFacts(
        run_id=bytes(16),
        round=1,
        phase=1,
        model=bytes(32),
        dim=7,
        metrics=("loss",),
        run_config=bytes(32),
        records=bytes(32),
    )


def test_digest_of_no_bulk_is_zero() -> None:
    assert bulk_digest(b"") == bytes(32)


def test_digest_of_some_bulk_is_not_zero() -> None:
    assert bulk_digest(b"\0") != bytes(32)


def test_entry_is_the_upload_without_its_bulk() -> None:
    digest = bulk_digest(b"bulk")
    expected = Entry(1, digest, UPLOAD.ciphertexts, UPLOAD.proof, UPLOAD.signature)

    assert expected == ENTRY
