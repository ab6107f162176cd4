"""The protocol a second time, in plain Python: hashlib, hmac and `pow`.

Imports nothing of crypto/, so that vectors and tests compare two implementations.
Section numbers are those of crypto/PROTOCOL.md.
"""

import hashlib
import hmac
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SIEVE_LIMIT = 1 << 17
_WINDOW = 1 << 20


def lp(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def canon(value: Any) -> bytes:  # noqa: PLR0911 - one line a type
    match value:
        case None:
            return b"n"
        case bool():
            return b"b" + bytes([value])
        case int():
            return b"i" + lp(str(value).encode())
        case float():
            return b"f" + struct.pack(">d", value)
        case str():
            return b"s" + lp(value.encode())
        case bytes():
            return b"y" + lp(value)
        case dict():
            pairs = sorted((key.encode(), canon(item)) for key, item in value.items())
            body = b"".join(lp(key) + item for key, item in pairs)
            return b"m" + struct.pack(">I", len(pairs)) + body
        case _:
            items = [canon(item) for item in value]
            return b"l" + struct.pack(">I", len(items)) + b"".join(items)


def shake_integer(data: bytes, n: int) -> int:
    """Hash to an integer below n, with 16 bytes to spare."""
    size = (n.bit_length() + 7) // 8 + 16
    return int.from_bytes(hashlib.shake_256(data).digest(size), "big") % n


def bases(n: int, y_seed: bytes) -> tuple[int, int, int]:
    """Return y, ``h**n mod n**2`` and v of sections 5.2 and 5.3."""
    n_octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
    y = shake_integer(b"SA/v1/y" + y_seed + n_octets, n)
    v = shake_integer(b"SA/v1/v" + y_seed + n_octets, n) ** 2 % n
    return y, pow(-y * y % n, n, n * n), v


def encrypt(n: int, y_seed: bytes, plaintext: int, alpha: int) -> int:
    _, h_n, _ = bases(n, y_seed)
    return (1 + n * (plaintext % n)) * pow(h_n, alpha, n * n) % (n * n)


def deal(p: int, q: int, holders: int, coefficients: Sequence[int]) -> list[int]:
    """Return the shares of section 5.3: f(1) .. f(holders) mod p'q'."""
    order = (p // 2) * (q // 2)
    polynomial = [pow(p * q, -1, order), *coefficients]
    return [
        sum(a * i**k for k, a in enumerate(polynomial)) % order
        for i in range(1, holders + 1)
    ]


def binding_power(n: int, digest: bytes, index: int) -> int:
    """Return ``u**n mod n`` of section 5.4."""
    u = shake_integer(b"SA/v1/bind" + digest + struct.pack(">I", index), n)
    return pow(u, n, n)


def partial(
    n: int, share: int, ciphertext: int, *, holders: int, digest: bytes, index: int
) -> int:
    """Return ``x'**(2*delta*s_i)`` of section 5.4."""
    bound = ciphertext * binding_power(n, digest, index) % n
    return pow(bound, 2 * math.factorial(holders) * share, n)


def seal(recipient: bytes, ephemeral: bytes, message: bytes) -> bytes:
    """Seal to an X25519 key with a given ephemeral one."""
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    public = private.public_key().public_bytes_raw()
    shared = private.exchange(X25519PublicKey.from_public_bytes(recipient))
    key = _hkdf(b"SA/v1/share", shared, public + recipient)
    return public + AESGCM(key).encrypt(bytes(12), message, None)


def _hkdf(salt: bytes, secret: bytes, info: bytes) -> bytes:
    """Derive 32 bytes, one block of HKDF-SHA256 (RFC 5869)."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def key_stream(
    entropy: bytes,
    context: bytes,
    client_id: int,
    *,
    values: Sequence[int],
    label: str,
    size: int,
) -> bytes:
    """Return the hedged generator's bytes for one purpose of an upload."""
    return hedged(entropy, upload_info(context, client_id, values), label, size)


def upload_info(context: bytes, client_id: int, values: Sequence[int]) -> bytes:
    """Return what an upload's streams are bound to."""
    message = hashlib.sha256(struct.pack(f"<{len(values)}q", *values)).digest()
    return context + struct.pack(">I", client_id) + message


def hedged(entropy: bytes, info: bytes, label: str, size: int) -> bytes:
    """Return the hedged generator's bytes: HKDF by hmac, CTR from single AES blocks."""
    return counter_mode(hedged_key(entropy, info, label), size)


def hedged_key(entropy: bytes, info: bytes, label: str) -> bytes:
    """Return the AES key of a stream of section 6."""
    return _hkdf(b"SA/v1/prg", entropy, info + label.encode())


def counter_mode(key: bytes, size: int) -> bytes:
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    counters = b"".join(i.to_bytes(16, "big") for i in range(-(-size // 16)))
    return block.update(counters)[:size]


def context(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, str]:
    """Return every digest of section 7.4 that goes into a round's context, as hex."""
    key, roster = manifest["keys"]["public_key"], manifest["keys"]["roster"]
    parts = {
        "public_key": _key_digest(key),
        "params": _sha(b"SA/v1/params" + canon(manifest["params"])),
        "roster": _roster_digest(roster),
        "model": model_digest(facts["arrays"]),
    }
    task = _sha(
        b"SA/v1/task"
        + lp(bytes.fromhex(facts["layout"]))
        + _sha(canon(facts["run_config"]))
        + _sha(canon(facts["records"]))
    )
    parts["context"] = _sha(
        b"SA/v1/ctx"
        + lp(bytes.fromhex(facts["run_id"]))
        + struct.pack(">QB", facts["round"], facts["phase"])
        + parts["public_key"]
        + parts["params"]
        + parts["roster"]
        + parts["model"]
        + task
    )
    return {name: digest.hex() for name, digest in parts.items()}


def layout(dim: int, extras: Sequence[tuple[str, int, int, bool]]) -> bytes:
    """Write a layout: extras are (name, limbs, fraction bits, weighted)."""
    body = b"".join(
        lp(name.encode()) + bytes([limbs, fraction_bits, weighted])
        for name, limbs, fraction_bits, weighted in extras
    )
    return struct.pack(">QI", dim, len(extras)) + body


def model_digest(arrays: Sequence[tuple[str, str, Sequence[int], str]]) -> bytes:
    """Hash arrays given as name, type, shape and little-endian bytes in hex."""
    body = b""
    for name, dtype, shape, data in arrays:
        octets = bytes.fromhex(data)
        body += lp(name.encode()) + lp(dtype.encode()) + bytes([len(shape)])
        body += struct.pack(f">{len(shape)}Q", *shape)
        body += struct.pack(">Q", len(octets)) + octets
    return _sha(b"SA/v1/model" + struct.pack(">I", len(arrays)) + body)


def _key_digest(key: Mapping[str, Any]) -> bytes:
    n = int(key["n"], 16)
    size = (n.bit_length() + 7) // 8
    numbers = [key["v"], *key["verification"]]
    return _sha(
        b"SA/v1/pk"
        + struct.pack(">I", n.bit_length())
        + n.to_bytes(size, "big")
        + bytes([key["num_holders"], key["threshold"]])
        + lp(bytes.fromhex(key["y_seed"]))
        + b"".join(int(number, 16).to_bytes(size, "big") for number in numbers)
    )


def _roster_digest(roster: Mapping[str, Any]) -> bytes:
    clients = {int(i): bytes.fromhex(key) for i, key in roster["clients"].items()}
    body = struct.pack(">I", len(clients))
    for client_id in sorted(clients):
        body += struct.pack(">I", client_id) + clients[client_id]
    body += bytes([len(roster["holders"])])
    for client_id, key in roster["holders"]:
        body += struct.pack(">I", client_id) + clients[client_id] + bytes.fromhex(key)
    return _sha(b"SA/v1/roster" + body)


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def safe_prime(label: str, bits: int) -> int:
    """Find the first safe prime after a hash of the label, top two bits set."""
    octets = hashlib.shake_256(label.encode()).digest(bits // 8)
    half = int.from_bytes(octets, "big") >> 1 | 3 << (bits - 3) | 1
    while True:
        for offset in _survivors(half):
            p = 2 * (half + 2 * offset) + 1
            if _is_prime(p) and _is_prime(p // 2):
                return p
        half += 2 * _WINDOW


def _survivors(half: int) -> list[int]:
    """Return the offsets i where no small prime divides half + 2i or twice that + 1."""
    alive = bytearray(b"\x01") * _WINDOW
    for r in range(3, _SIEVE_LIMIT, 2):
        if pow(2, r - 1, r) != 1:  # a sieve may also use pseudoprimes
            continue
        inverse = (r + 1) // 2
        for residue in (0, (r - 1) // 2):  # p' = 0, or 2p' + 1 = 0 mod r
            first = (residue - half) * inverse % r
            alive[first::r] = bytes(len(range(first, _WINDOW, r)))
    return [i for i, flag in enumerate(alive) if flag]


def _is_prime(number: int) -> bool:
    """Fermat to 2, then Miller-Rabin to the first twenty primes."""
    if pow(2, number - 1, number) != 1:
        return False
    odd, shift = number - 1, 0
    while odd % 2 == 0:
        odd, shift = odd // 2, shift + 1
    witnesses = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)
    return all(_passes(number, base, odd, shift) for base in witnesses)


def _passes(number: int, base: int, odd: int, shift: int) -> bool:
    x = pow(base, odd, number)
    if x in (1, number - 1):
        return True
    for _ in range(shift - 1):
        x = x * x % number
        if x == number - 1:
            return True
    return False
