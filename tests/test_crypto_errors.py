"""Errors come out of another process as they went in."""

import pickle

import pytest

from crypto import errors
from crypto.errors import BadPartialError, CryptoError, MalformedMessageError

NAMES = sorted(errors.ERROR_NAMES - {MalformedMessageError.__name__})


@pytest.mark.parametrize("name", NAMES)
def test_error_keeps_its_class_and_message(name: str) -> None:
    error = getattr(errors, name)("what is wrong")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (type(again), str(again)) == (type(error), "what is wrong")


def test_malformed_message_says_nothing_more() -> None:
    again = pickle.loads(pickle.dumps(MalformedMessageError()))  # noqa: S301 - our own

    assert (type(again), again.args) == (MalformedMessageError, ("malformed message",))


def test_place_of_a_ciphertext_is_kept() -> None:
    error = BadPartialError("not opened", index=3)

    assert pickle.loads(pickle.dumps(error)).index == 3  # noqa: S301 - our own bytes


def test_noise_is_a_range_error_with_its_own_code() -> None:
    assert issubclass(errors.NoiseError, errors.SumRangeError)
    assert (errors.NoiseError.code, errors.SumRangeError.code) == ("E_NOISE", "E_RANGE")
    assert issubclass(errors.NoiseError, CryptoError)
