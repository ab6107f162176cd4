"""Write tests/vectors/: every scenario computed by the references and by phe.

Run from the project's folder: python -m tests.make_vectors. It imports nothing of
crypto/ and draws no randomness, so a second run writes the same files. The primes are
searched only when their file is missing; at 1536 bits that takes minutes.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import phe

from tests import crypto_reference as reference
from tests.message_vectors import (
    DIGEST,
    HOLDERS,
    Y_SEED,
    Scenario,
    decode_scenarios,
    digest_scenarios,
    encode_scenarios,
    scenario,
)
from tests.proof_vectors import proof_scenarios
from tests.ring_vectors import ring_scenarios

FOLDER = Path(__file__).parent / "vectors"
_PRIMES = {128: 4, 256: 2, 1024: 2, 1536: 2}  # bits: how many


def safe_primes() -> dict[int, list[int]]:
    """Read the test primes; find them first if their file is missing."""
    path = FOLDER / "safe_primes.json"
    if not path.exists():
        found = {
            str(bits): [
                f"{reference.safe_prime(f'unseen test prime {bits} {i}', bits):x}"
                for i in range(count)
            ]
            for bits, count in _PRIMES.items()
        }
        origin = "crypto_reference.safe_prime, plain pow; for tests only, never a key"
        path.write_text(_json({"origin": origin, "primes": found}))
    stored = json.loads(path.read_text())["primes"]
    return {int(bits): [int(p, 16) for p in found] for bits, found in stored.items()}


def scenarios() -> dict[str, Scenario]:
    """Compute every scenario by file name, without the suffix."""
    p, q, *_ = safe_primes()[128]
    return {
        **_base_scenarios(p, q),
        **_encryption_scenarios(p, q),
        **_packing_scenarios(),
        **_sum_scenarios(p, q),
        **_binding_scenarios(p * q),
        **_opening_scenarios(p, q),
        **decode_scenarios(),
        **digest_scenarios(p, q),
        **encode_scenarios(),
        **proof_scenarios(p, q),
        **ring_scenarios(),
    }


def main() -> None:
    """Write every scenario to its file."""
    FOLDER.mkdir(exist_ok=True)
    for name, made in scenarios().items():
        (FOLDER / f"{name}.json").write_text(_json(made))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _base_scenarios(p: int, q: int) -> dict[str, Scenario]:
    _, h_n, v = reference.bases(p * q, Y_SEED)
    given = {"n": f"{p * q:x}", "y_seed": Y_SEED.hex()}
    output = {"h_n": f"{h_n:x}", "v": f"{v:x}"}
    return {"bases_from_seed": scenario("bases", given, output)}


def _encryption_scenarios(p: int, q: int) -> dict[str, Scenario]:
    n = p * q
    largest, random = (1 << 128) - 1, reference.shake_integer(b"alpha", 1 << 128)
    cases = {
        "encrypt_with_alpha_0": (1, 0),
        "encrypt_with_alpha_1": (1, 1),
        "encrypt_with_largest_alpha": (1, largest),
        "encrypt_zero": (0, random),
        "encrypt_minus_one": (-1, random),
        "encrypt_largest_plaintext": (n // 3, random),
        "encrypt_plaintext_of_a_third": (n // 3 + 1, random),
    }
    made = {}
    for name, (plaintext, alpha) in cases.items():
        given = {
            "n": f"{n:x}",
            "y_seed": Y_SEED.hex(),
            "plaintext": f"{plaintext:x}",
            "alpha": f"{alpha:x}",
        }
        output = f"{reference.encrypt(n, Y_SEED, plaintext, alpha):x}"
        made[name] = scenario("encrypt", given, output)
    refused = made["encrypt_plaintext_of_a_third"]
    refused |= {"output": None, "expect": "PlaintextOverflowError"}
    return made


def _packing_scenarios() -> dict[str, Scenario]:
    cases: dict[str, tuple[list[int], int, int]] = {
        "pack_signed_slots": ([1, -1, 3, -4], 8, 4),
        "pack_slots_at_their_limits": ([127, -128, 127, -128], 8, 4),
        "pack_unfilled_last_plaintext": ([5, -6, 7, -8, 9], 11, 2),
    }
    made = {}
    for name, (values, slot_bits, slots) in cases.items():
        given = {"slot_bits": slot_bits, "slots": slots, "values": values}
        rows = [values[at : at + slots] for at in range(0, len(values), slots)]
        packed = [sum(x << (slot_bits * i) for i, x in enumerate(row)) for row in rows]
        made[name] = scenario("pack", given, [f"{plaintext:x}" for plaintext in packed])
    made["pack_slot_overflow"] = scenario(
        "pack",
        {"slot_bits": 8, "slots": 4, "values": [0, 128]},
        expect="PlaintextOverflowError",
    )
    for name, plaintext, count in (
        ("unpack_slot_overflow", 1 << 31, 4),
        ("unpack_slot_underflow", -(1 << 32), 4),
        ("unpack_value_after_the_last_slot", 1 << 24, 3),
    ):
        given = {"slot_bits": 8, "slots": 4, "count": count}
        made[name] = scenario(
            "unpack", given | {"plaintexts": [f"{plaintext:x}"]}, expect="SumRangeError"
        )
    return made


def _sum_scenarios(p: int, q: int) -> dict[str, Scenario]:
    n = p * q
    private = phe.PaillierPrivateKey(phe.PaillierPublicKey(n), p, q)
    made = {}
    for name, plaintexts in {
        "phe_decrypts_a_negative_sum": [[-3, 1 << 200], [-4, -(1 << 201)]],
        "phe_decrypts_a_sum_of_zero": [[12345], [-12345]],
        "phe_decrypts_sums_of_plus_and_minus_one": [[2, -3], [-1, 2]],
        "phe_decrypts_the_largest_sums": [[n // 3 - 1, 1 - n // 3], [1, -1]],
    }.items():
        uploads = [
            [
                reference.encrypt(n, Y_SEED, m, 2**127 + 5 * i + j)
                for j, m in enumerate(row)
            ]
            for i, row in enumerate(plaintexts)
        ]
        total = [a * b % (n * n) for a, b in zip(*uploads, strict=True)]
        opened = [private.raw_decrypt(c) for c in total]
        signed = [m - n if 2 * m > n else m for m in opened]
        uploads_hex = [[f"{c:x}" for c in row] for row in uploads]
        given = {"p": f"{p:x}", "q": f"{q:x}", "ciphertexts": uploads_hex}
        made[name] = scenario("sum", given, [f"{m:x}" for m in signed])
        made[name]["origin"] += "; opened by phe.PaillierPrivateKey.raw_decrypt"
    return made


def _binding_scenarios(n: int) -> dict[str, Scenario]:
    """Write the powers that a server computes for the holders."""
    given = {
        "n": f"{n:x}",
        "y_seed": Y_SEED.hex(),
        "holders": HOLDERS,
        "set_digest": DIGEST.hex(),
        "count": 3,
    }
    powers = [reference.binding_power(n, DIGEST, j) for j in range(3)]
    output = b"".join(power.to_bytes(n.bit_length() // 8, "big") for power in powers)
    return {"binding_powers_of_three": scenario("powers", given, output.hex())}


def _opening_scenarios(p: int, q: int) -> dict[str, Scenario]:
    """Open one ciphertext of phe whose blinding has Jacobi symbol -1."""
    n, order = p * q, (p // 2) * (q // 2)
    coefficients = [reference.shake_integer(bytes([i]), order) for i in (1, 2)]
    shares = reference.deal(p, q, HOLDERS, coefficients)
    r = next(r for r in range(2, 100) if _jacobi(r, p, q) == -1)
    ciphertext = phe.PaillierPublicKey(n).raw_encrypt(-(1 << 90) % n, r_value=r)
    partials = {
        str(i): reference.partial(
            n, share, ciphertext, holders=HOLDERS, digest=DIGEST, index=0
        )
        for i, share in enumerate(shares, start=1)
    }
    given = {
        "p": f"{p:x}",
        "q": f"{q:x}",
        "holders": HOLDERS,
        "coefficients": [f"{a:x}" for a in coefficients],
        "y_seed": Y_SEED.hex(),
        "ciphertext": f"{ciphertext:x}",
        "set_digest": DIGEST.hex(),
        "partials": _hex(partials),
    }
    two, flipped = {"1", "3"}, partials | {"2": partials["2"] ^ 1}
    cases: dict[str, tuple[Scenario, str]] = {
        "open_a_ciphertext_of_phe": ({}, "success"),
        "open_with_three_of_four": (
            {"partials": _hex(partials, two | {"4"})},
            "success",
        ),
        "open_with_two_of_four": (
            {"partials": _hex(partials, two)},
            "NotEnoughSharesError",
        ),
        "open_with_a_flipped_partial": ({"partials": _hex(flipped)}, "BadPartialError"),
        "open_for_another_set": ({"set_digest": Y_SEED.hex()}, "BadPartialError"),
        "open_with_a_zero_partial": (
            {"partials": _hex(partials | {"1": 0})},
            "BadPartialError",
        ),
    }
    made = {}
    for name, (change, expect) in cases.items():
        output = f"{-(1 << 90):x}" if expect == "success" else None
        made[name] = scenario("open", given | change, output, expect)
        made[name]["origin"] += "; the ciphertext by phe.raw_encrypt, Jacobi symbol -1"
    return made


def _hex(partials: dict[str, int], chosen: Iterable[str] = ()) -> dict[str, str]:
    return {i: f"{partials[i]:x}" for i in sorted(chosen or partials)}


def _jacobi(r: int, p: int, q: int) -> int:
    return 1 if (pow(r, p // 2, p) == 1) == (pow(r, q // 2, q) == 1) else -1


if __name__ == "__main__":
    main()
