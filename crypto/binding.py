"""An opening is bound to the set it opens: nothing of two sets can be mixed.

Every holder re-randomises the sum with a factor hashed from the set before it answers.
Without that, partials that honest holders gave for different sets combine in the
exponent and open a weighted sum of those sets. Implements PROTOCOL.md section 5.4.
"""

from collections.abc import Sequence
from hashlib import sha256, shake_256

import gmpy2
from gmpy2 import mpz

from crypto.encoding import lp, u32
from crypto.errors import DecryptionRefusedError
from crypto.memo import Memo
from crypto.multiexp import multi_exponentiation
from crypto.parallel import parallel_map
from crypto.powers import public_power
from crypto.public_key import PublicKey
from crypto.randomness import hedged_stream

_WEIGHT_BITS = 128

checked = Memo()  # sets whose powers this process has checked


def binding(public_key: PublicKey, set_digest: bytes, index: int) -> mpz:
    """Hash the set that is opened to the factor u that re-randomises its sum.

    Args:
        public_key: The committee's key.
        set_digest: Digest of the round's context and of every contribution (SD).
        index: Place of the ciphertext in the vector, from 0.

    Returns:
        u in ``[0, n)``; 1 for a single holder, who can only answer for one set.
    """
    if public_key.num_holders == 1:
        return mpz(1)
    data = b"SA/v1/bind" + set_digest + u32(index)
    size = public_key.n_bytes + 16
    return mpz(int.from_bytes(shake_256(data).digest(size), "big")) % public_key.n


def binding_powers(public_key: PublicKey, set_digest: bytes, count: int) -> list[mpz]:
    """Return ``u**n mod n`` for every ciphertext: one long power each.

    The holders extract the n-th root of ``x' = c * u**n mod n``.
    """
    n = public_key.n

    def binding_power(index: int) -> mpz:
        return public_power(binding(public_key, set_digest, index), n, n)

    return parallel_map(binding_power, range(count))


def check_binding_powers(
    public_key: PublicKey, set_digest: bytes, claimed: Sequence[mpz]
) -> None:
    """Check the powers that somebody else computed, at the price of one.

    With weights rho that nobody else knows, ``prod U_j**rho_j = (prod u_j**rho_j)**n``
    holds for wrong powers with probability 2**-128, up to factors of order 2: the small
    exponents test of Bellare, Garay and Rabin (EUROCRYPT 1998) in a group whose other
    orders are long primes. A holder's even exponent removes factors of order 2.

    Raises:
        DecryptionRefusedError: If they are not those of this set.
    """
    n = public_key.n
    parts = b"".join(lp(gmpy2.to_binary(value)) for value in claimed)
    fact = sha256(public_key.digest() + set_digest + parts).digest()
    if fact in checked:
        return
    stream = hedged_stream(set_digest, "binding")
    weights = [int(stream.integer(_WEIGHT_BITS)) for _ in claimed]
    factors = [binding(public_key, set_digest, j) for j in range(len(claimed))]
    ours, theirs = (
        multi_exponentiation(values, weights, n, exponent_bits=_WEIGHT_BITS)
        for values in (factors, claimed)
    )
    if public_power(ours, n, n) != theirs:
        raise DecryptionRefusedError("the binding powers are not those of this set")
    checked.add(fact)
