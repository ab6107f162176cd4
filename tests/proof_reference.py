"""The proofs of crypto/PROTOCOL.md a second time, in plain Python.

Like `crypto_reference`, it imports nothing of crypto/ and knows no shortcut: one `pow`
for every power.
"""

import hashlib
import math
from collections.abc import Sequence

from tests.crypto_reference import binding_power, encrypt


def multi_power(bases: Sequence[int], exponents: Sequence[int], modulus: int) -> int:
    """Return the product of the powers, one power each."""
    powers = [pow(b, e, modulus) for b, e in zip(bases, exponents, strict=True)]
    return math.prod(powers) % modulus


def _exponents(data: bytes, count: int) -> list[int]:
    """Hash to so many exponents of 128 bits."""
    stream = hashlib.shake_256(data).digest(16 * count)
    return [int.from_bytes(stream[16 * i :][:16], "big") for i in range(count)]


def mask_bits(n: int, count: int) -> int:
    """Length of beta in section 5.6."""
    return n.bit_length() // 2 + 128 + math.ceil(math.log2(count)) + 128


def prove_knowledge(
    n: int,
    y_seed: bytes,
    opened: Sequence[tuple[int, int]],
    *,
    statement: bytes,
    masks: tuple[int, int],
) -> bytes:
    """Return the proof of section 5.6.

    Args:
        n: The modulus.
        y_seed: Seed of the bases.
        opened: Plaintext and alpha of every ciphertext.
        statement: ``ctx || u32 client_id || D_c || D_p``.
        masks: x and beta.
    """
    x, beta = masks
    commitment = encrypt(n, y_seed, x, beta).to_bytes(n.bit_length() // 4, "big")
    e = _exponents(b"SA/v1/popk" + statement + commitment, len(opened))
    z = (x + sum(a * m for a, (m, _) in zip(e, opened, strict=True))) % n
    zb = beta + sum(a * alpha for a, (_, alpha) in zip(e, opened, strict=True))
    size = math.ceil((mask_bits(n, len(opened)) + 1) / 8)
    return (
        commitment + z.to_bytes(n.bit_length() // 8, "big") + zb.to_bytes(size, "big")
    )


def knows(
    n: int, y_seed: bytes, ciphertexts: Sequence[int], *, statement: bytes, proof: bytes
) -> bool:
    """Whether the proof of section 5.6 holds."""
    octets, bits = n.bit_length() // 8, mask_bits(n, len(ciphertexts)) + 1
    if len(proof) != 3 * octets + math.ceil(bits / 8):
        return False
    commitment, z, zb = (
        int.from_bytes(part, "big")
        for part in (
            proof[: 2 * octets],
            proof[2 * octets : 3 * octets],
            proof[3 * octets :],
        )
    )
    if not (0 < commitment < n * n and z < n and zb < 1 << bits):
        return False
    data = b"SA/v1/popk" + statement + proof[: 2 * octets]
    e = _exponents(data, len(ciphertexts))
    claimed = commitment * multi_power(ciphertexts, e, n * n)
    return encrypt(n, y_seed, z, zb) == claimed % (n * n)


def partials_statement(
    n: int,
    holders: int,
    *,
    head: bytes,
    ciphertexts: Sequence[int],
    partials: Sequence[int],
) -> tuple[int, int]:
    """Return xt and y of section 5.7; head is ``ctx || SD || u8 holder``."""
    octets, digest = n.bit_length() // 8, head[32:64]
    bound = [c * binding_power(n, digest, j) % n for j, c in enumerate(ciphertexts)]
    hashed = b"".join(x.to_bytes(octets, "big") for x in (*bound, *partials))
    rho = _exponents(b"SA/v1/batch" + head + hashed, len(bound))
    xt = pow(multi_power(bound, rho, n), 4 * math.factorial(holders), n)
    return xt, multi_power(partials, [2 * r for r in rho], n)


def prove_partials(
    n: int,
    share: int,
    *,
    head: bytes,
    bases: tuple[int, int],
    powers: tuple[int, int],
    mask: int,
) -> tuple[bytes, bytes]:
    """Return challenge and response of section 5.7.

    Args:
        n: The modulus.
        share: The holder's secret.
        head: ``ctx || SD || u8 holder``.
        bases: v and xt.
        powers: v_i and y, the bases to the power of the share.
        mask: r.
    """
    (v, xt), (v_i, y) = bases, powers
    values = [v, xt, v_i, y, pow(v, mask, n), pow(xt, mask, n)]
    hashed = b"".join(value.to_bytes(n.bit_length() // 8, "big") for value in values)
    challenge = hashlib.sha256(b"SA/v1/dleq" + head + hashed).digest()[:16]
    response = mask + int.from_bytes(challenge, "big") * share
    size = math.ceil((n.bit_length() + 257) / 8)
    return challenge, response.to_bytes(size, "big")


def proves_partials(
    n: int,
    *,
    head: bytes,
    bases: tuple[int, int],
    powers: tuple[int, int],
    proof: tuple[bytes, bytes],
) -> bool:
    """Whether a proof of section 5.7 holds; as `prove_partials`."""
    (v, xt), (v_i, y) = bases, powers
    e, z = (int.from_bytes(part, "big") for part in proof)
    if z >= 1 << (n.bit_length() + 257):
        return False
    commitments = (pow(v, z, n) * pow(v_i, -e, n), pow(xt, z, n) * pow(y, -e, n))
    values = [v, xt, v_i, y, *(a % n for a in commitments)]
    hashed = b"".join(value.to_bytes(n.bit_length() // 8, "big") for value in values)
    return hashlib.sha256(b"SA/v1/dleq" + head + hashed).digest()[:16] == proof[0]
