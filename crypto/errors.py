"""Everything the cryptography can refuse, as one tree.

CryptoError
├── ParameterError              E_PARAMS: parameters that cannot work together
├── NonFiniteError              E_NONFINITE: NaN or infinity in an update or metric
├── PlaintextOverflowError      a value outside the width reserved for it
├── SumRangeError               E_RANGE: an opened sum outside the possible range
├── MalformedMessageError       E_CT: bytes from outside that are not a valid message
├── ContextMismatchError        E_CTX: a pinned fact differs
├── KeyMismatchError            a public key, share or folder that belongs elsewhere
├── InvalidSignatureError       E_SIG: signed by nobody on the roster
├── ProtocolMismatchError       another version of the protocol or of the code
├── NotEnoughSharesError        fewer than `threshold` partial decryptions
├── BadPartialError             E_BAD_PARTIAL: partials that do not open the sum
└── DecryptionRefusedError      E_SET: a key holder does not open this set
    ├── SecondSetError          E_SECOND_SET: another set was opened in this round
    └── RoundClosedError        E_ROUND: the round is over for this key holder

The codes are those of the protocol (`crypto/PROTOCOL.md`, section 11). Messages name
counts, sizes, indices and fingerprints, never a plaintext, a share or a key. Bytes
that came from outside fail with one bare `MalformedMessageError`: no oracle.
"""


class CryptoError(Exception):
    """Base class of every error in this package."""


class ParameterError(CryptoError, ValueError):
    """Parameters that cannot work together (E_PARAMS)."""


class NonFiniteError(CryptoError, ValueError):
    """NaN or infinity where a number is needed (E_NONFINITE)."""


class PlaintextOverflowError(CryptoError, ValueError):
    """A value outside the width reserved for it."""


class SumRangeError(CryptoError):
    """An opened sum outside the range that honest clients can reach (E_RANGE)."""


class MalformedMessageError(CryptoError):
    """Bytes from outside that are not a valid message (E_CT)."""

    def __init__(self) -> None:
        super().__init__("malformed message")


class ContextMismatchError(CryptoError):
    """A fact of the round differs from the pinned one (E_CTX)."""


class KeyMismatchError(CryptoError):
    """A public key, share or folder that belongs to another set of keys."""


class InvalidSignatureError(CryptoError):
    """A signature that nobody on the roster made (E_SIG)."""


class ProtocolMismatchError(CryptoError):
    """Another version of the protocol or of the code."""


class NotEnoughSharesError(CryptoError):
    """Fewer partial decryptions than the threshold."""


class BadPartialError(CryptoError):
    """Partial decryptions that do not open the sum (E_BAD_PARTIAL)."""


class DecryptionRefusedError(CryptoError):
    """A key holder does not open this set (E_SET)."""


class SecondSetError(DecryptionRefusedError):
    """Another set was already opened in this round and phase (E_SECOND_SET)."""


class RoundClosedError(DecryptionRefusedError):
    """The round is over for this key holder (E_ROUND)."""
