"""Long powers modulo an odd number: by OpenSSL, which Python comes with, or by GMP.

A committee's opening is little else. OpenSSL's power takes the same time and touches
the same memory for every exponent of a length, and at the sizes of keys it is also the
faster one. It is reached as the library that this Python's own `hashlib` is linked
with; a Python without OpenSSL, or with one built in, does not offer it, and GMP does
the work. `unseen plan` and a run's ``config.json`` say which.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_void_p
from functools import cache
from typing import Final

import gmpy2
from gmpy2 import mpz

_FASTEST: Final = "BN_mod_exp_mont"
_CONSTANT_TIME: Final = "BN_mod_exp_mont_consttime"
_POWER: Final = (c_int, [c_void_p] * 6)  # result, base, exponent, modulus, 2 helpers
_FUNCTIONS: Final = {
    "OpenSSL_version": (c_char_p, [c_int]),
    "BN_new": (c_void_p, []),
    "BN_bin2bn": (c_void_p, [c_char_p, c_int, c_void_p]),
    "BN_bn2binpad": (c_int, [c_void_p, c_char_p, c_int]),
    "BN_clear_free": (None, [c_void_p]),
    "BN_CTX_new": (c_void_p, []),
    "BN_CTX_free": (None, [c_void_p]),
    _FASTEST: _POWER,
    _CONSTANT_TIME: _POWER,
}


def public_power(base: mpz, exponent: mpz, modulus: mpz) -> mpz:
    """Return ``base**exponent mod modulus`` of public numbers.

    Other threads run meanwhile.

    Args:
        base: In ``[0, modulus)``.
        exponent: Not negative.
        modulus: Odd, at least 3.

    Raises:
        ValueError: If a number is none of these.
    """
    return _power(_FASTEST, gmpy2.powmod, base, exponent, modulus)


def secret_power(base: mpz, exponent: mpz, modulus: mpz) -> mpz:
    """Return ``base**exponent mod modulus`` where the exponent is a secret.

    Neither time nor memory accesses depend on more than its length.

    Args:
        base: In ``[0, modulus)``.
        exponent: Positive.
        modulus: Odd, at least 3.

    Raises:
        ValueError: If a number is none of these.
    """
    if exponent == 0:
        raise ValueError("a secret exponent must be positive")
    return _power(_CONSTANT_TIME, gmpy2.powmod_sec, base, exponent, modulus)


def engine() -> str:
    """Return what computes the powers here, with its version."""
    library = _libcrypto()
    if library is None:
        return str(gmpy2.mp_version())
    version: bytes = library.OpenSSL_version(0)
    return version.decode()


def _power(
    name: str,
    otherwise: Callable[[mpz, mpz, mpz], mpz],
    base: mpz,
    exponent: mpz,
    modulus: mpz,
) -> mpz:
    if not (0 <= base < modulus and exponent >= 0 and modulus % 2 and modulus > 1):
        raise ValueError("a power needs an odd modulus and numbers in its range")
    library = _libcrypto()
    if library is None:
        return otherwise(base, exponent, modulus)
    return _openssl_power(library, name, base, exponent, modulus)


def _openssl_power(
    library: ctypes.CDLL, name: str, base: mpz, exponent: mpz, modulus: mpz
) -> mpz:
    """Call one of OpenSSL's two powers; what it held of the numbers is overwritten."""
    size = _size(modulus)
    numbers = [library.BN_bin2bn(*_octets(x), None) for x in (base, exponent, modulus)]
    result, scratch = library.BN_new(), library.BN_CTX_new()
    octets = ctypes.create_string_buffer(size)
    try:
        if None in (*numbers, result, scratch):
            raise MemoryError
        if getattr(library, name)(result, *numbers, scratch, None) != 1:
            raise MemoryError  # the numbers are good: nothing else can be wrong
        library.BN_bn2binpad(result, octets, size)
    finally:
        for number in (*numbers, result):
            library.BN_clear_free(number)
        library.BN_CTX_free(scratch)
    return mpz(int.from_bytes(octets.raw, "big"))


def _octets(number: mpz) -> tuple[bytes, int]:
    size = _size(number)
    return int(number).to_bytes(size, "big"), size


def _size(number: mpz) -> int:
    """Return the bytes of a number."""
    return (int(number).bit_length() + 7) // 8


def _load() -> ctypes.CDLL | None:
    """Return OpenSSL's functions for long numbers, or None if they are not offered."""
    try:
        import _hashlib  # noqa: PLC0415 - a Python may have been built without it

        library = ctypes.CDLL(_hashlib.__file__)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (AttributeError, ImportError, OSError):
        return None
    return library


_libcrypto = cache(_load)
