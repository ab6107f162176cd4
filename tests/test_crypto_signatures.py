"""What is signed covers everything that it is about, and serves one purpose."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.wire import Hello, partial_signed_bytes, upload_signed_bytes

HELLO = Hello(
    client_id=1,
    protocol="unseen/2",
    code="c0de",
    keys="f00d",
    params=bytes(32),
    run_id=bytes(16),
)


def test_signatures_of_two_kinds_cannot_be_confused() -> None:
    upload = upload_signed_bytes(bytes(32), 1, bytes(32), b"", b"")
    partial = partial_signed_bytes(bytes(32), bytes(32), 1, b"")
    hello = HELLO.signed_bytes(bytes(32))

    assert len({signed[:10] for signed in (upload, partial, hello)}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": 2},
        {"protocol": "unseen/3"},
        {"code": "c1de"},
        {"keys": "f11d"},
        {"params": bytes([1] * 32)},
        {"run_id": bytes([1] * 16)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_signature_of_a_hello_covers_every_field(change: dict[str, Any]) -> None:
    nonce = bytes(32)

    assert replace(HELLO, **change).signed_bytes(nonce) != HELLO.signed_bytes(nonce)


def test_signature_of_a_hello_covers_the_nonce() -> None:
    assert HELLO.signed_bytes(bytes([1] * 32)) != HELLO.signed_bytes(bytes(32))


def test_signature_of_a_hello_does_not_cover_itself() -> None:
    signed = replace(HELLO, signature=bytes([1] * 64))

    assert signed.signed_bytes(bytes(32)) == HELLO.signed_bytes(bytes(32))


@pytest.mark.parametrize(
    "change", ["context", "client", "bulk", "ciphertexts", "proof"]
)
def test_signature_of_an_upload_covers_everything(change: str) -> None:
    values = {
        "context": bytes(32),
        "client": 1,
        "bulk": bytes(32),
        "ciphertexts": b"",
        "proof": b"",
    }
    other = values | {change: 2 if change == "client" else bytes([1] * 32)}

    def signed(given: dict[str, Any]) -> bytes:
        return upload_signed_bytes(*given.values())

    assert signed(other) != signed(values)


@pytest.mark.parametrize("change", ["context", "set", "holder", "partials"])
def test_signature_of_partials_covers_everything(change: str) -> None:
    values = {"context": bytes(32), "set": bytes(32), "holder": 1, "partials": b""}
    other = values | {change: 2 if change == "holder" else bytes([1] * 32)}

    def signed(given: dict[str, Any]) -> bytes:
        return partial_signed_bytes(*given.values())

    assert signed(other) != signed(values)
