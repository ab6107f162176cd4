"""No secret shows in what a program prints, logs or raises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from clients.state import ClientState
from crypto import packing, paillier
from crypto.errors import CryptoError
from crypto.identity import Identity, seal
from crypto.key_holder import KeyShare, WholeKey, holder_from_dict
from crypto.randomness import RandomStream
from crypto.vector import Contribution, encode
from tests.crypto_group import (
    dealt,
    identities,
    make_contribution,
    make_facts,
    make_manifest,
    make_params,
    make_round,
    safe_primes,
    shares_of,
)

ALICE = identities(6)[0]
KEY, SHARES = shares_of(5, 4)
(WHOLE,) = dealt(1, 1)[1]
P, Q = safe_primes(128)[:2]
SECRET_VALUE = 0.123456789


def _forms(number: int) -> list[str]:
    """Write a number in every way a message might."""
    return [f"{number}", f"{number:x}", f"{number:X}"]


def _secrets() -> list[str]:
    keys = ALICE.to_dict()
    numbers = [int(share.secret) for share in SHARES] + [int(P), int(Q)]
    raw = [bytes.fromhex(keys["signing_key"]), bytes.fromhex(keys["sealing_key"])]
    return [
        keys["signing_key"],
        keys["sealing_key"],
        *(repr(key)[2:-1] for key in raw),
        *(form for number in numbers for form in _forms(number)),
    ]


def _shows_a_secret(text: str) -> bool:
    return any(secret in text for secret in _secrets())


def _contribution() -> Contribution:
    update = np.full(10, SECRET_VALUE, dtype=np.float32)
    return Contribution(update, 4242, {"loss": SECRET_VALUE})


@pytest.mark.parametrize(
    "holder",
    [
        ALICE,
        SHARES[0],
        WHOLE,
        RandomStream(bytes(32)),
        make_round().opener(1),
        make_round().sum,
        paillier.blinding_table(KEY),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_printed_object_shows_no_secret(holder: Any) -> None:
    assert not _shows_a_secret(f"{holder!r} {holder} {[holder]}")


def test_printed_state_shows_no_secret(tmp_path: Path) -> None:
    assert not _shows_a_secret(repr(ClientState.create(tmp_path / "state.sqlite")))


def test_printed_share_names_its_key_and_place() -> None:
    assert "index=1" in repr(SHARES[0])


def test_printed_contribution_shows_no_data() -> None:
    text = repr(_contribution())

    assert "0.12" not in text
    assert "4242" not in text


def _wrong_share() -> None:
    KeyShare(KEY, 2, SHARES[0].secret).verify()


def _wrong_factors() -> None:
    WholeKey(KEY, P, Q + 2).verify()


def _damaged_share() -> None:
    holder_from_dict({"index": 1, "share": f"{SHARES[1].secret:x}"}, KEY)


def _share_that_is_no_number() -> None:
    holder_from_dict({"index": 1, "share": f"{SHARES[1].secret:x}?"}, KEY)


def _identity_of_half_a_key() -> None:
    keys = ALICE.to_dict()
    Identity.from_dict(keys | {"signing_key": keys["signing_key"] + "00"})


def _sealed_to_another() -> None:
    secret = bytes.fromhex(ALICE.to_dict()["signing_key"])
    ALICE.open(seal(identities(6)[1].sealing_public, secret))


FAILURES: list[Callable[[], None]] = [
    _wrong_share,
    _wrong_factors,
    _damaged_share,
    _share_that_is_no_number,
    _identity_of_half_a_key,
    _sealed_to_another,
]


@pytest.mark.parametrize("fail", FAILURES, ids=lambda fail: fail.__name__)
def test_error_about_a_secret_does_not_show_it(fail: Callable[[], None]) -> None:
    with pytest.raises(CryptoError) as caught:
        fail()

    assert not _shows_a_secret(str(caught.value))


@pytest.mark.parametrize("fail", FAILURES, ids=lambda fail: fail.__name__)
def test_error_about_a_secret_hides_what_caused_it(fail: Callable[[], None]) -> None:
    with pytest.raises(CryptoError) as caught:
        fail()

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def _nan() -> None:
    update = np.array([SECRET_VALUE, np.nan], dtype=np.float32)
    _encode(update, {"loss": 1.0})


def _nan_metric() -> None:
    _encode(np.full(2, SECRET_VALUE, dtype=np.float32), {"loss": float("nan")})


def _missing_metric() -> None:
    _encode(np.full(2, SECRET_VALUE, dtype=np.float32), {"other": SECRET_VALUE})


def _wrong_length() -> None:
    _encode(np.full(3, SECRET_VALUE, dtype=np.float32), {"loss": SECRET_VALUE})


def _encode(update: Any, metrics: dict[str, float]) -> None:
    manifest = make_manifest(make_params())
    layout = make_facts(dim=2, metrics=("loss",)).layout(manifest)
    encode(Contribution(update, 4242, metrics), manifest.params, layout)


def _slot_overflow() -> None:
    values = np.array([0, 123456789], dtype=np.int64)
    packing.pack(values, slot_bits=8, slots_per_plaintext=2)


def _plaintext_overflow() -> None:
    paillier.encrypt([123456789 * mpz(2) ** 300], [mpz(1)], KEY)


@pytest.mark.parametrize(
    "fail",
    [
        _nan,
        _nan_metric,
        _missing_metric,
        _wrong_length,
        _slot_overflow,
        _plaintext_overflow,
    ],
    ids=lambda fail: fail.__name__,
)
def test_error_about_an_update_does_not_show_it(fail: Callable[[], None]) -> None:
    with pytest.raises(CryptoError) as caught:
        fail()

    assert not any(digits in str(caught.value) for digits in ("123", "4242"))


def test_upload_shows_no_number_of_its_update() -> None:
    upload = make_round().upload(1, make_contribution(1)).to_bytes()
    update = make_contribution(1).update

    assert not any(value.tobytes() in upload for value in update)
