"""Long powers are Python's own powers, whichever library computes them."""

import ctypes
import sys
from collections.abc import Iterator

import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from crypto import powers
from crypto.powers import public_power, secret_power

ENGINES = ["openssl", "gmp"]


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Compute with OpenSSL, and as on a Python that does not offer it."""
    name: str = request.param
    if name == "openssl" and powers._libcrypto() is None:
        pytest.skip("this Python's hashlib is not linked with a libcrypto")
    with pytest.MonkeyPatch.context() as patch:
        if name == "gmp":
            patch.setattr(powers, "_libcrypto", lambda: None)
        yield name


@given(st.data())
def test_powers_agree_with_python(data: st.DataObject) -> None:
    modulus = data.draw(st.integers(1, 1 << 1024)) * 2 + 1
    base = data.draw(st.integers(0, modulus - 1))
    exponent = data.draw(st.integers(1, 1 << 1100))
    expected = pow(base, exponent, modulus)
    numbers = mpz(base), mpz(exponent), mpz(modulus)
    assert public_power(*numbers) == secret_power(*numbers) == expected


def test_power_of_zero_is_one() -> None:
    assert public_power(mpz(2), mpz(0), mpz(15)) == 1


@pytest.mark.parametrize("function", [public_power, secret_power])
@pytest.mark.parametrize(
    "numbers",
    [(2, 3, 8), (2, 3, 1), (2, 3, -7), (7, 3, 7), (-1, 3, 7), (2, -1, 7)],
    ids=["even", "one", "negative", "base too large", "base below 0", "exponent"],
)
def test_numbers_out_of_range_are_refused(
    function: type[mpz], numbers: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match="odd modulus"):
        function(*map(mpz, numbers))


def test_secret_exponent_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        secret_power(mpz(2), mpz(0), mpz(15))


def test_engine_has_a_name_and_a_version(engine: str) -> None:
    name, version = powers.engine().split()[:2]
    assert name.lower().endswith(engine.removeprefix("open"))  # LibreSSL is one, too
    assert version[0].isdigit()


def test_python_without_openssl_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_hashlib", None)
    assert powers._load() is None


def test_python_without_a_libcrypto_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> ctypes.CDLL:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert powers._load() is None
