"""Open a sum from partial decryptions, and know that it is right: the public side.

Implements PROTOCOL.md section 5.4, "root mode". The n-th root of ``c mod n`` is the
randomness r of a Paillier ciphertext; the holders extract it together as threshold
RSA with exponent n (Shoup, EUROCRYPT 2000), and M follows from r. Roots mod n are
unique, so a wrong partial cannot give a wrong sum: it is found out for free.
"""

from collections.abc import Mapping, Sequence
from hashlib import shake_256

import gmpy2
from gmpy2 import mpz

from crypto.encoding import u32
from crypto.errors import BadPartialError, NotEnoughSharesError
from crypto.parallel import parallel_map
from crypto.public_key import PublicKey, lagrange

Partials = Mapping[int, Sequence[mpz]]


def binding(public_key: PublicKey, set_digest: bytes, index: int) -> mpz:
    """Hash the set that is opened to the factor u that re-randomises its sum.

    Without it, partials that honest holders gave for different sets combine in the
    exponent and open a weighted sum of those sets. A single holder needs none.

    Args:
        public_key: The committee's key.
        set_digest: Digest of the round's context and of every contribution (SD).
        index: Place of the ciphertext in the vector, from 0.

    Returns:
        u in ``[0, n)``; 1 for a single holder.
    """
    if public_key.num_holders == 1:
        return mpz(1)
    data = b"SA/v1/bind" + set_digest + u32(index)
    size = public_key.n_bytes + 16
    return mpz(int.from_bytes(shake_256(data).digest(size), "big")) % public_key.n


def bound_root(public_key: PublicKey, ciphertext: mpz, u: mpz) -> mpz:
    """Return ``x' = c * u**n mod n``, whose n-th root the holders extract."""
    n = public_key.n
    if u == 1:
        return ciphertext % n
    return ciphertext * gmpy2.powmod(u, n, n) % n


def combine(
    ciphertexts: Sequence[mpz],
    partials: Partials,
    public_key: PublicKey,
    set_digest: bytes,
) -> list[mpz]:
    """Open ciphertexts with the partials of at least `threshold` holders.

    Args:
        ciphertexts: The summed ciphertexts.
        partials: Per holder index 1..nc, one partial for every ciphertext.
        public_key: The committee's key.
        set_digest: The set the partials are bound to.

    Returns:
        Signed plaintexts in ``(-n/2, n/2)``.

    Raises:
        NotEnoughSharesError: If fewer than `threshold` holders answered.
        BadPartialError: If the partials do not open the ciphertexts.
    """
    if len(partials) < public_key.threshold:
        raise NotEnoughSharesError(
            f"{len(partials)} partial decryptions of {public_key.threshold} needed"
        )
    chosen = sorted(partials)[: public_key.threshold]
    if any(len(partials[i]) != len(ciphertexts) for i in chosen):
        raise BadPartialError("a holder answered for another number of ciphertexts")

    def open_one(index: int) -> mpz:
        u = binding(public_key, set_digest, index)
        own = {i: partials[i][index] for i in chosen}
        root = _root(public_key, bound_root(public_key, ciphertexts[index], u), own, u)
        return _plaintext(public_key, ciphertexts[index], root)

    return parallel_map(open_one, range(len(ciphertexts)))


def _root(
    public_key: PublicKey, bound: mpz, partials: Mapping[int, mpz], u: mpz
) -> mpz:
    """Combine partials ``x'**(2*delta*s_i)`` to the n-th root of c mod n.

    ``w = prod x_i**(2*lambda_i) = x'**(4*delta**2/n)``; with ``4*delta**2*a + n*b = 1``
    the root of x' is ``w**a * x'**b``, and dividing by u gives that of c.
    """
    n, delta = public_key.n, public_key.delta
    if public_key.num_holders == 1:
        return partials[1]
    indices = sorted(partials)
    w = mpz(1)
    try:
        for i in indices:
            exponent = 2 * lagrange(delta, indices, i)
            w = w * gmpy2.powmod(partials[i], exponent, n) % n
        _, a, b = gmpy2.gcdext(4 * delta * delta, n)
        root = gmpy2.powmod(w, a, n) * gmpy2.powmod(bound, b, n)
        return root * gmpy2.invert(u, n) % n
    except (ValueError, ZeroDivisionError):  # a partial that is not invertible
        raise BadPartialError("a partial decryption is not invertible") from None


def _plaintext(public_key: PublicKey, ciphertext: mpz, root: mpz) -> mpz:
    """Check the root and take it out of the ciphertext."""
    n, n_squared = public_key.n, public_key.n_squared
    blinding = gmpy2.powmod(root, n, n_squared)
    if blinding % n != ciphertext % n:
        raise BadPartialError("the partial decryptions do not open the sum")
    value = (ciphertext * gmpy2.invert(blinding, n_squared) % n_squared - 1) // n
    return value - n if 2 * value > n else value
