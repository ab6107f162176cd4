"""The canonical encoding is injective, and reading it back accepts nothing else."""

import math
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto.encoding import canon, decode, lp, u8, u32, u64
from crypto.errors import MalformedMessageError
from tests import crypto_reference as reference

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda items: (
        st.lists(items, max_size=4) | st.dictionaries(st.text(), items, max_size=4)
    ),
    max_leaves=8,
)


def _same(left: Any, right: Any) -> bool:
    """Compare values and types, and floats bit by bit."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            _same(left[key], right[key]) for key in left
        )
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float):
        return struct.pack(">d", left) == struct.pack(">d", right)
    return bool(left == right)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "6e"),
        (True, "6201"),
        (False, "6200"),
        (1, "690000000131"),
        (-12, "69000000032d3132"),
        (1.0, "663ff0000000000000"),
        (0.0, "660000000000000000"),
        (-0.0, "668000000000000000"),
        (1e-05, "663ee4f8b588e368f1"),
        ("1", "730000000131"),
        ("é", "7300000002c3a9"),
        (b"1", "790000000131"),
        ([], "6c00000000"),
        ([None], "6c000000016e"),
        ((None,), "6c000000016e"),
        ({}, "6d00000000"),
        ({"b": None, "a": True}, "6d0000000200000001616201" + "00000001626e"),
    ],
    ids=repr,
)
def test_value_has_its_written_encoding(value: Any, encoded: str) -> None:
    assert canon(value).hex() == encoded


def test_maps_in_any_order_encode_alike() -> None:
    one: Any = {"é": {"b": [1], "a": 2}, "z": 1.5, "": None}
    two: Any = {"": None, "z": 1.5, "é": {"a": 2, "b": [1]}}

    assert canon(one) == canon(two)


def test_map_keys_are_sorted_by_their_bytes() -> None:
    # U+FF61 sorts before U+10000 as UTF-8; as UTF-16 it would not.
    encoded = canon({"\U00010000": 2, "\uff61": 1})

    assert encoded.index("\uff61".encode()) < encoded.index("\U00010000".encode())


@given(VALUES, VALUES)
@example(1, True)
@example(1, 1.0)
@example(0.0, -0.0)
@example("1", b"1")
@example([["a"], []], [[], ["a"]])
@example(["ab"], ["a", "b"])
def test_different_values_never_share_their_bytes(left: Any, right: Any) -> None:
    assert (canon(left) == canon(right)) == _same(left, right)


@given(VALUES)
def test_decode_is_the_inverse(value: Any) -> None:
    assert _same(decode(canon(value)), value)


@given(VALUES)
def test_encoding_agrees_with_the_reference(value: Any) -> None:
    assert canon(value) == reference.canon(value)


def test_decode_keeps_the_bits_of_nan() -> None:
    data = b"f" + bytes.fromhex("7ff8000000000123")

    decoded = decode(data)

    assert isinstance(decoded, float)
    assert math.isnan(decoded)
    assert canon(decoded) == data


@pytest.mark.parametrize(
    "value",
    [np.int64(1), {1}, object(), bytearray(b"a"), memoryview(b"a"), {1: "one"}, [{2}]],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no canonical encoding"):
        canon(value)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_decode_or_are_malformed(data: bytes) -> None:
    try:
        value = decode(data)
    except MalformedMessageError:
        return
    assert canon(value) == data


@settings(max_examples=300)
@given(VALUES, st.data())
def test_changed_byte_decodes_to_another_value_or_is_malformed(
    value: Any, data: st.DataObject
) -> None:
    encoded = bytearray(canon(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(encoded))
    except MalformedMessageError:
        return
    assert canon(decoded) == encoded


@given(VALUES, st.data())
def test_every_truncation_is_malformed(value: Any, data: st.DataObject) -> None:
    encoded = canon(value)
    size = data.draw(st.integers(0, len(encoded) - 1))

    with pytest.raises(MalformedMessageError):
        decode(encoded[:size])


@pytest.mark.parametrize(
    "data",
    [
        b"l" + b"\xff" * 4 + b"n" * 10**6,
        b"l" + u32(10**6) + (b"l" + u32(10**6)) * 10**5,
        b"m" + u32(10**6) + b"\0" * 10**6,
        b"l\0\0\0\1" * 10**6,
        b"i" + lp(b"9" * 10**6),
        b"y" + b"\xff" * 4 + b"n" * 10**6,
    ],
    ids=["count", "nested counts", "empty keys", "depth", "digits", "length"],
)
def test_hostile_megabyte_is_refused_at_once(data: bytes) -> None:
    started = time.process_time()

    with pytest.raises(MalformedMessageError):
        decode(data)

    assert time.process_time() - started < 2


def test_error_of_malformed_bytes_says_nothing_about_them() -> None:
    with pytest.raises(MalformedMessageError) as caught:
        decode(b"s" + lp(b"confidential\xff"))

    assert str(caught.value) == "malformed message"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_deepest_message_of_the_protocol_decodes() -> None:
    value: Any = 1
    for _ in range(8):
        value = [value]

    assert decode(canon(value)) == value


def test_fixed_widths_are_big_endian() -> None:
    assert (u8(1), u32(1), u64(1)) == (b"\1", b"\0\0\0\1", b"\0" * 7 + b"\1")


def test_message_of_too_many_items_is_refused_before_they_are_read() -> None:
    half = [None] * (1 << 16)
    assert decode(canon([half])) == [half]
    with pytest.raises(MalformedMessageError):
        decode(canon([half, half]))
