"""What can end a round or a run at the server, and how a refusal is logged.

RoundError                    the round is given up, the run goes on
├── TooFewUpdatesError        E_SET: fewer contributors than `min-contributors`
├── TooFewPartialsError       fewer key holders than the threshold answered
└── OpeningError              E_BAD_PARTIAL: no set of answers opens the sum
RunError                      the run ends; carries a hint
ClientError                   a client answered with an error

The codes are the protocol's (`crypto.errors`).
"""

from typing import ClassVar

import crypto.errors
from crypto.errors import ERROR_NAMES
from server.events import Value


class RoundError(Exception):
    """A round that is given up; nothing of it is opened or published.

    Attributes:
        code: The protocol's code, empty where it has none.
    """

    code: ClassVar[str] = ""


class TooFewUpdatesError(RoundError):
    """Fewer contributors than `min-contributors` delivered in time."""

    code = "E_SET"


class TooFewPartialsError(RoundError):
    """Fewer key holders than the threshold answered in time."""


class OpeningError(RoundError):
    """No set of the partial decryptions that came opens the sum."""

    code = "E_BAD_PARTIAL"


class ClientError(Exception):
    """A client answered with an error; the text is its class name and no more.

    Attributes:
        code: The protocol's code of that class, empty where it has none.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        known = getattr(crypto.errors, name) if name in ERROR_NAMES else None
        self.code: str = known.code if known else ""


class RunError(Exception):
    """The run cannot go on.

    Args:
        message: What is wrong.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def refusal(client_id: int | None, error: Exception) -> dict[str, Value]:
    """Describe a refusal for the log: who refused, with which error and code.

    Args:
        client_id: Whose message is refused, or who refused ours; None if unknown.
        error: A `ClientError` if the client refused, any other if the server did.
    """
    name, by = type(error).__name__, "server"
    if isinstance(error, ClientError):
        name, by = str(error), f"client {client_id}" if client_id else "a client"
    code = str(getattr(error, "code", ""))
    return {"client": client_id, "by": by, "code": code, "error": name}
