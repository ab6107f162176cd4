"""Open a sum from partial decryptions, and know that it is right: the public side.

Implements PROTOCOL.md section 5.4, "root mode". The n-th root of ``c mod n`` is the
randomness r of a Paillier ciphertext; the holders extract it together as threshold
RSA with exponent n (Shoup, EUROCRYPT 2000), and M follows from r. Roots mod n are
unique, so a wrong partial cannot give a wrong sum: it is found out for free.
"""

from collections.abc import Mapping, Sequence

import gmpy2
from gmpy2 import mpz

from crypto.binding import binding
from crypto.errors import BadPartialError, NotEnoughSharesError
from crypto.parallel import parallel_map
from crypto.powers import public_power
from crypto.public_key import PublicKey, lagrange

Partials = Mapping[int, Sequence[mpz]]


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

    def open_at(index: int) -> mpz:
        own = {i: partials[i][index] for i in chosen}
        return open_one(public_key, ciphertexts[index], index, own, set_digest)

    return parallel_map(open_at, range(len(ciphertexts)))


def open_one(
    public_key: PublicKey,
    ciphertext: mpz,
    index: int,
    partials: Mapping[int, mpz],
    set_digest: bytes,
) -> mpz:
    """Open one ciphertext of a sum with exactly these holders' partials of it.

    Args:
        public_key: The committee's key.
        ciphertext: The summed ciphertext.
        index: Its place in the vector, from 0.
        partials: Per holder index, as many as the threshold.
        set_digest: The set the partials are bound to.

    Returns:
        The signed plaintext in ``(-n/2, n/2)``.

    Raises:
        BadPartialError: If the partials do not open it.
    """
    u = binding(public_key, set_digest, index)
    # A committee gives the root of a power of c; one power more would make it c's own,
    # at a quarter of the whole price.
    scale = 1 if public_key.num_holders == 1 else 4 * public_key.delta**2
    try:
        root = _root(public_key, partials, u, scale)
        return _plaintext(public_key, ciphertext, root, scale)
    except (ValueError, ZeroDivisionError):  # not the root, or no inverse
        raise BadPartialError(
            "the partial decryptions do not open the sum", index
        ) from None


def _root(
    public_key: PublicKey, partials: Mapping[int, mpz], u: mpz, scale: int
) -> mpz:
    """Combine partials ``x'**(2*delta*s_i)`` to the n-th root of ``c**scale mod n``.

    ``prod x_i**(2*lambda_i) = x'**(4*delta**2/n)``. As ``x' = c * u**n``, a factor of
    ``u**(-4*delta**2)`` takes u out of it.
    """
    n = public_key.n
    if public_key.num_holders == 1:
        return partials[1]
    indices = sorted(partials)
    w = gmpy2.powmod(u, -scale, n)
    for i in indices:
        exponent = 2 * lagrange(public_key.delta, indices, i)
        w = w * gmpy2.powmod(partials[i], exponent, n) % n
    return w


def _plaintext(public_key: PublicKey, ciphertext: mpz, root: mpz, scale: int) -> mpz:
    """Check the root and take it out of the ciphertext's power, ``scale`` times M.

    Raises:
        ValueError: If it is not the root of that power.
    """
    n, n_squared = public_key.n, public_key.n_squared
    blinding = public_power(root, n, n_squared)
    scaled_up = gmpy2.powmod(ciphertext, scale, n_squared)
    if blinding % n != scaled_up % n:
        raise ValueError
    scaled = (scaled_up * gmpy2.invert(blinding, n_squared) % n_squared - 1) // n
    value = scaled * gmpy2.invert(scale, n) % n
    return value - n if 2 * value > n else value
