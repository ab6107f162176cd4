"""A manifest binds keys and parameters that fit; a damaged or foreign one is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import CryptoError, KeyMismatchError, ParameterError
from crypto.manifest import DEPLOYMENT, KeySet, Manifest, read_json
from crypto.provenance import PROTOCOL, code_digest
from crypto.roster import Roster
from tests.crypto_group import dealt, identities, make_manifest, make_params

MANIFEST = make_manifest(make_params())
KEYS = MANIFEST.keys


def test_manifest_survives_the_trip_through_json() -> None:
    again = Manifest.from_dict(json.loads(json.dumps(MANIFEST.to_dict())))

    assert again == MANIFEST


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key_bits": 512}, "key-bits is 256 in the keys and 512 in the parameters"),
        (
            {"num_holders": 6, "max_corrupt": 1},
            "number of key holders is 5 in the keys and 6 in the parameters",
        ),
        ({"threshold": 5}, "threshold is 4 in the keys and 5 in the parameters"),
    ],
    ids=repr,
)
def test_parameters_of_other_keys_are_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        replace(MANIFEST, params=make_params(**change))

    assert str(caught.value) == message


def test_keys_of_an_unknown_purpose_are_refused() -> None:
    with pytest.raises(KeyMismatchError, match="unknown purpose of keys: 'fun'"):
        replace(KEYS, purpose="fun")


def test_roster_with_another_committee_is_refused() -> None:
    key, _ = dealt(5, 4)

    with pytest.raises(KeyMismatchError, match="disagree on the committee"):
        KeySet(key, Roster.of(identities(6), 4), DEPLOYMENT)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"keys": KEYS.to_dict()},
        {"params": make_params().to_dict()},
        {"keys": None, "params": make_params().to_dict()},
        {"keys": [], "params": make_params().to_dict()},
        {"keys": "keys", "params": make_params().to_dict()},
        {"keys": KEYS.to_dict(), "params": None},
        {"keys": KEYS.to_dict(), "params": []},
        {"keys": KEYS.to_dict(), "params": {}},
        {"keys": KEYS.to_dict() | {"format": "unseen-keys/2"}, "params": {}},
        {"keys": KEYS.to_dict() | {"purpose": None}, "params": {}},
        {"keys": KEYS.to_dict() | {"roster": []}, "params": {}},
        {"keys": KEYS.to_dict() | {"public_key": []}, "params": {}},
    ],
    ids=lambda values: repr(values)[:40],
)
def test_damaged_manifest_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(CryptoError):
        Manifest.from_dict(values)


@pytest.mark.parametrize("name", ["public_key", "roster", "purpose"])
def test_missing_part_of_a_key_file_is_named(name: str) -> None:
    values = KEYS.to_dict()
    del values[name]

    with pytest.raises(KeyMismatchError, match=f"the key file has no '{name}'"):
        KeySet.from_dict(values)


def test_fingerprint_of_a_key_set_covers_its_purpose() -> None:
    assert replace(KEYS, purpose=DEPLOYMENT).fingerprint != KEYS.fingerprint


def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"

    with pytest.raises(KeyMismatchError) as caught:
        read_json(path)

    assert str(caught.value) == f"cannot read {path}: No such file or directory"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"5", b"\xff\xfe"])
def test_file_that_is_no_key_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)

    with pytest.raises(KeyMismatchError) as caught:
        read_json(path)

    assert str(caught.value) == f"{path} is not a key file"


def test_key_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(KEYS.to_dict()))

    assert KeySet.from_dict(read_json(path)) == KEYS


def test_code_digest_is_sixteen_hex_digits() -> None:
    assert len(code_digest()) == 16
    assert int(code_digest(), 16) >= 0


def test_protocol_has_a_version() -> None:
    assert PROTOCOL == "unseen/2"
