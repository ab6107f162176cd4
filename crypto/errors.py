"""Everything that can be refused, as one tree with the protocol's codes.

CryptoError
├── ParameterError              E_PARAMS: parameters that cannot work together
│   └── PolicyError             E_PARAMS: a client's own policy refuses the run
├── NonFiniteError              E_NONFINITE: NaN or infinity in an update or metric
├── PlaintextOverflowError      a value outside the width reserved for it
├── SumRangeError               E_RANGE: an opened sum outside the possible range
│   └── NoiseError              E_NOISE: keys and bulk parts that do not belong together
├── MalformedMessageError       E_CT: bytes from outside that are not a valid message
├── ContextMismatchError        E_CTX: a pinned fact differs
├── KeyMismatchError            a public key, share or folder that belongs elsewhere
├── InvalidSignatureError       E_SIG: signed by nobody on the roster
├── InvalidProofError           E_POPK: no proof that the sender knows its plaintexts
├── ProtocolMismatchError       another version of the protocol or of the code
├── NotEnoughSharesError        fewer than `threshold` partial decryptions
├── BadPartialError             E_BAD_PARTIAL: partials that do not open the sum
├── AppError                    the ClientApp failed; only its own log says how
└── DecryptionRefusedError      E_SET: a key holder does not open this set
    ├── SecondSetError          E_SECOND_SET: another set was opened in this round
    └── RoundClosedError        E_ROUND: the round is over for this client

The codes are those of the protocol (`crypto/PROTOCOL.md`, section 11); an error without
one has its class's name there. Messages name counts, sizes, indices and fingerprints,
never a plaintext, a share or a key. Bytes that came from outside fail with one bare
`MalformedMessageError`: no oracle.
"""

from collections.abc import Iterator
from typing import ClassVar, Final


class CryptoError(Exception):
    """Base class of every error in this package.

    Attributes:
        code: The protocol's code, empty where it has none.
    """

    code: ClassVar[str] = ""


class ParameterError(CryptoError, ValueError):
    """Parameters that cannot work together."""

    code = "E_PARAMS"


class PolicyError(ParameterError):
    """A client's own policy refuses; the message names the rule."""


class NonFiniteError(CryptoError, ValueError):
    """NaN or infinity where a number is needed."""

    code = "E_NONFINITE"


class PlaintextOverflowError(CryptoError, ValueError):
    """A value outside the width reserved for it."""


class SumRangeError(CryptoError):
    """An opened sum outside the range that honest clients can reach."""

    code = "E_RANGE"


class NoiseError(SumRangeError):
    """A sum whose one-time keys do not open its bulk part."""

    code = "E_NOISE"


class MalformedMessageError(CryptoError):
    """Bytes from outside that are not a valid message."""

    code = "E_CT"

    def __init__(self) -> None:
        super().__init__("malformed message")

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Say how to make it again in another process: it takes no text."""
        return type(self), ()


class ContextMismatchError(CryptoError):
    """A fact of the round differs from the pinned one."""

    code = "E_CTX"


class KeyMismatchError(CryptoError):
    """A public key, share or folder that belongs to another set of keys."""


class InvalidSignatureError(CryptoError):
    """A signature that nobody on the roster made."""

    code = "E_SIG"


class InvalidProofError(CryptoError):
    """A proof that does not hold: of what was encrypted, or of what was opened."""

    code = "E_POPK"


class ProtocolMismatchError(CryptoError):
    """Another version of the protocol or of the code."""


class NotEnoughSharesError(CryptoError):
    """Fewer partial decryptions than the threshold."""


class BadPartialError(CryptoError):
    """Partial decryptions that do not open the sum.

    Args:
        message: What is wrong.
        index: Place of a ciphertext that they do not open; None if that is not it.
    """

    code = "E_BAD_PARTIAL"

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class AppError(CryptoError):
    """The ClientApp failed; how is nobody's business but its own client's."""


class DecryptionRefusedError(CryptoError):
    """A key holder does not open this set."""

    code = "E_SET"


class SecondSetError(DecryptionRefusedError):
    """Another set was already opened in this round and phase."""

    code = "E_SECOND_SET"


class RoundClosedError(DecryptionRefusedError):
    """The round is over for this client."""

    code = "E_ROUND"


def _names(root: type[CryptoError]) -> Iterator[str]:
    yield root.__name__
    for child in root.__subclasses__():
        yield from _names(child)


# What a client may answer instead of an upload: nothing else leaves when it fails.
ERROR_NAMES: Final = frozenset(_names(CryptoError))
