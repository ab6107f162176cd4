"""What lies in the clear beside ciphertexts, and the words that it gives away."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from phe.encoding import EncodedNumber
from phe.paillier import EncryptedNumber, PaillierPublicKey

from crypto.params import AggregationParams
from crypto.wire import Upload
from experiments.privacy.words.mails import Vector


@dataclass(frozen=True)
class Sent:
    """What anybody reads off a client's message without a key.

    Attributes:
        rows: Shape (rows,): the words that the message has a place for, in its order.
        clear: Shape (rows, facts): what is readable at each place.
    """

    rows: NDArray[np.int64]
    clear: NDArray[np.int64]


def sent_by_phe(
    update: Vector, key: PaillierPublicKey, precision: float | None
) -> Sent:
    """Encrypt every weight as the book does, and keep what is readable.

    Args:
        update: Shape (num_words,).
        key: Of any length: the exponent does not depend on it.
        precision: Handed to phe; None lets it choose for each number.
    """
    numbers: list[EncryptedNumber] = [
        key.encrypt(float(value), precision=precision) for value in update
    ]
    exponents = np.array([[number.exponent] for number in numbers])
    return Sent(np.arange(update.size), exponents)


def phe_exponents(update: Vector, key: PaillierPublicKey) -> Sent:
    """Return what `sent_by_phe` without precision would, without encrypting."""
    encoded = [EncodedNumber.encode(key, float(value)) for value in update]
    return Sent(np.arange(update.size), np.array([[one.exponent] for one in encoded]))


def sent_by_us(upload: Upload, params: AggregationParams, num_words: int) -> Sent:
    """Read an upload of this project: every row has its place in a fixed block.

    Readable at a row are the sizes of the whole message's parts and, in mode paillier,
    of the number that its word is in, in steps of 64 bits: a blinded ciphertext is a
    random number below n**2, so that it is a step shorter once in 2**64 times.
    """
    parts = [len(upload.bulk), len(upload.proof), len(upload.to_bytes())]
    rows = np.arange(num_words)
    clear = np.tile([*parts, 0], (num_words, 1))
    if params.mode == "paillier":
        size = params.key_bits // 4  # bytes: a ciphertext has twice the bits of n
        numbers = [
            int.from_bytes(upload.ciphertexts[at : at + size], "big")
            for at in range(0, len(upload.ciphertexts), size)
        ]
        steps = np.array([-(-number.bit_length() // 64) for number in numbers])
        clear[:, -1] = steps[rows // params.slots_per_plaintext]
    return Sent(rows, clear)


def sent_sparsely(update: Vector) -> Sent:
    """Send the rows that are not zero, and say which: how sparse updates travel.

    Whatever the encryption of the values: the row numbers have to be in the clear, or
    the server could not add the rows of several clients.
    """
    rows = np.flatnonzero(update)
    return Sent(rows, np.zeros((rows.size, 1), dtype=np.int64))


def marked_rows(sent: Sent, num_words: int) -> NDArray[np.bool_] | None:
    """Return the words that stand out in the clear, shape (num_words,), if any do.

    Most words are in no mail, so the commonest fact is that of a zero.
    """
    marked = np.zeros(num_words, dtype=np.bool_)
    if sent.rows.size < num_words:
        marked[sent.rows] = True
        return marked
    kinds, kind = np.unique(sent.clear, axis=0, return_inverse=True)
    if len(kinds) == 1:
        return None
    commonest = np.bincount(kind.ravel()).argmax()
    marked[sent.rows] = kind.ravel() != commonest
    return marked


def guess(
    sent: Sent, frequency: NDArray[np.float64], *, count: int
) -> NDArray[np.bool_]:
    """Return the attacker's best guess of the words, shape (num_words,).

    Args:
        sent: What is readable.
        frequency: Shape (num_words,): of the words in public mails.
        count: True number of words, a gift: if nothing stands out, so many of the
            commonest are guessed.
    """
    marked = marked_rows(sent, frequency.size)
    if marked is None:
        marked = np.zeros(frequency.size, dtype=np.bool_)
        marked[np.argsort(-frequency, kind="stable")[:count]] = True
    return marked
