"""What every message is: the canonical encoding of one map, read with suspicion.

`crypto.wire` defines the messages. A field check that fails, like anything else that is
wrong with bytes from outside, is one bare `MalformedMessageError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from typing import Any, Final, Self

from numpy.lib import format as npy

from crypto.encoding import canon, decode
from crypto.errors import MalformedMessageError

# What the fixed widths of signed and hashed bytes hold.
IDS: Final = 1 << 32
ROUNDS: Final = 1 << 63
SMALL: Final = 1 << 8


@dataclass(frozen=True)
class Message:
    """A message whose fields are its wire fields."""

    def to_bytes(self) -> bytes:
        """Encode the message."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return canon({"kind": type(self).__name__, **values})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode untrusted bytes.

        Raises:
            MalformedMessageError: If they are not exactly such a message.
        """
        values = decode(data)
        names = {item.name for item in fields(cls)} | {"kind"}
        if not isinstance(values, dict) or set(values) != names:
            raise MalformedMessageError
        if values.pop("kind") != cls.__name__:
            raise MalformedMessageError
        message = cls(**values)
        try:
            message.check()
        except (TypeError, ValueError, KeyError, AttributeError):
            raise MalformedMessageError from None
        return message

    def check(self) -> None:
        """Raise if a field has the wrong type or size."""


def below(limit: int, *values: object) -> None:
    """Check integers in ``[0, limit)``; a boolean is none."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int):
            raise MalformedMessageError
        if not 0 <= value < limit:
            raise MalformedMessageError


def texts(*values: object) -> None:
    """Check that all of these are texts."""
    if not all(isinstance(value, str) for value in values):
        raise MalformedMessageError


def byte_strings(*values: object) -> None:
    """Check that all of these are bytes."""
    if not all(isinstance(value, bytes) for value in values):
        raise MalformedMessageError


def sized(value: object, size: int) -> None:
    """Check that this is so many bytes."""
    if not isinstance(value, bytes) or len(value) != size:
        raise MalformedMessageError


def a_list(value: object) -> list[Any]:
    """Return a list as one."""
    if not isinstance(value, list):
        raise MalformedMessageError
    return value


def a_map(value: object) -> Mapping[str, Any]:
    """Return a map as one."""
    if not isinstance(value, dict):
        raise MalformedMessageError
    return value


def octets_of_array(data: bytes) -> bytes:
    """Return the items of a serialized one-dimensional array of uint8.

    Large messages travel as such an array. Its header is compared with the bytes that
    are there: numpy's own reader would make an array of whatever size it claims.

    Args:
        data: Untrusted bytes in numpy's format.

    Raises:
        MalformedMessageError: If they are anything else.
    """
    stream = BytesIO(data)
    try:
        version = npy.read_magic(stream)
        shape, _, dtype = npy.read_array_header_1_0(stream)
    except Exception:  # numpy parses the header as Python
        raise MalformedMessageError from None
    items = stream.read()
    if (version, shape, dtype.str) != ((1, 0), (len(items),), "|u1"):
        raise MalformedMessageError
    return items
