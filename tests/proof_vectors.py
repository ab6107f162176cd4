"""Scenarios for tests/vectors/ about proofs, by `proof_reference`."""

import hashlib
from collections.abc import Sequence
from typing import Any

from tests import crypto_reference as reference
from tests import proof_reference as proofs
from tests.message_vectors import DIGEST, HOLDERS, Y_SEED, Scenario, scenario

CLIENT, HOLDER = 3, 2
NO_BULK = bytes(32)


def proof_scenarios(p: int, q: int) -> dict[str, Scenario]:
    """Prove what was encrypted, and what was opened."""
    return {**_knowledge_scenarios(p * q), **_partial_scenarios(p, q)}


def _statement(n: int, ciphertexts: Sequence[int]) -> bytes:
    hashed = hashlib.sha256(_packed(n, ciphertexts)).digest()
    return DIGEST + CLIENT.to_bytes(4, "big") + NO_BULK + hashed


def _packed(n: int, ciphertexts: Sequence[int]) -> bytes:
    return b"".join(c.to_bytes(n.bit_length() // 4, "big") for c in ciphertexts)


def _masks(n: int, count: int, key: bytes) -> tuple[int, int]:
    """Take x and beta from the stream under a key, as section 6 says."""
    lengths = [n.bit_length() + 128, proofs.mask_bits(n, count)]
    sizes = [-(-bits // 8) for bits in lengths]
    stream = reference.counter_mode(key, sum(sizes))
    x, beta = stream[: sizes[0]], stream[sizes[0] :]
    surplus = 8 * sizes[1] - lengths[1]
    return int.from_bytes(x, "big") % n, int.from_bytes(beta, "big") >> surplus


def _knowledge_scenarios(n: int) -> dict[str, Scenario]:
    opened = [
        (m, reference.shake_integer(b"alpha %d" % i, 1 << 128))
        for i, m in enumerate((0, -1, n // 3))
    ]
    made = {
        "prove_knowledge_of_one": _proved(n, opened[1:2], bytes(32)),
        "prove_knowledge_of_three": _proved(n, opened, bytes(32)),
    }
    given = _checked(n, opened, bytes(32))
    made["proof_of_three"] = scenario("check-proof", given)
    proof, ciphertexts = bytes.fromhex(given["proof"]), given["ciphertexts"]
    octets = n.bit_length() // 8
    zb = int.from_bytes(proof[3 * octets :], "big")
    too_long = (zb | 1 << (proofs.mask_bits(n, 3) + 1)).to_bytes(len(proof) - 96, "big")
    changes: dict[str, dict[str, Any]] = {
        "for_another_client": {"client_id": CLIENT + 1},
        "for_another_round": {"context": Y_SEED.hex()},
        "with_another_bulk": {"bulk_digest": Y_SEED.hex()},
        "with_swapped_ciphertexts": {
            "ciphertexts": [ciphertexts[1], ciphertexts[0], ciphertexts[2]]
        },
        "with_a_ciphertext_less": {"ciphertexts": ciphertexts[:2]},
        "with_another_commitment": {"proof": _flipped(proof, 0)},
        "with_another_z": {"proof": _flipped(proof, 2 * octets)},
        "with_another_zb": {"proof": _flipped(proof, len(proof) - 1)},
        "without_a_commitment": {
            "proof": (bytes(2 * octets) + proof[2 * octets :]).hex()
        },
        "with_a_commitment_too_large": {
            "proof": ((n * n).to_bytes(64, "big") + proof[2 * octets :]).hex()
        },
        "with_zb_too_long": {"proof": (proof[: 3 * octets] + too_long).hex()},
        "one_byte_short": {"proof": proof[:-1].hex()},
        "one_byte_long": {"proof": (proof + b"\0").hex()},
        "empty": {"proof": ""},
    }
    for name, change in changes.items():
        made[f"proof_{name}"] = scenario(
            "check-proof", given | change, expect="InvalidProofError"
        )
    return made | {"proof_with_z_of_n_or_more": _large_z(n, opened)}


def _flipped(proof: bytes, at: int) -> str:
    return (proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]).hex()


def _encrypted(n: int, opened: Sequence[tuple[int, int]]) -> list[int]:
    return [reference.encrypt(n, Y_SEED, m, alpha) for m, alpha in opened]


def _proof(n: int, opened: Sequence[tuple[int, int]], key: bytes) -> bytes:
    masks = _masks(n, len(opened), key)
    statement = _statement(n, _encrypted(n, opened))
    return proofs.prove_knowledge(n, Y_SEED, opened, statement=statement, masks=masks)


def _proved(n: int, opened: Sequence[tuple[int, int]], key: bytes) -> Scenario:
    given = {
        "n": f"{n:x}",
        "y_seed": Y_SEED.hex(),
        "context": DIGEST.hex(),
        "client_id": CLIENT,
        "bulk_digest": NO_BULK.hex(),
        "plaintexts": [f"{m:x}" for m, _ in opened],
        "alphas": [f"{alpha:x}" for _, alpha in opened],
        "stream_key": key.hex(),
    }
    return scenario("prove", given, _proof(n, opened, key).hex())


def _checked(n: int, opened: Sequence[tuple[int, int]], key: bytes) -> dict[str, Any]:
    ciphertexts, proof = _encrypted(n, opened), _proof(n, opened, key)
    statement = _statement(n, ciphertexts)
    assert proofs.knows(n, Y_SEED, ciphertexts, statement=statement, proof=proof)
    return {
        "n": f"{n:x}",
        "y_seed": Y_SEED.hex(),
        "context": DIGEST.hex(),
        "client_id": CLIENT,
        "bulk_digest": NO_BULK.hex(),
        "ciphertexts": [f"{c:x}" for c in ciphertexts],
        "proof": proof.hex(),
    }


def _large_z(n: int, opened: Sequence[tuple[int, int]]) -> Scenario:
    """Write z + n instead of z where it fits its bytes: the equation still holds."""
    octets = n.bit_length() // 8
    for attempt in range(256):
        given = _checked(n, opened, bytes([attempt] * 32))
        proof = bytes.fromhex(given["proof"])
        z = n + int.from_bytes(proof[2 * octets : 3 * octets], "big")
        if z < 1 << 8 * octets:
            large = z.to_bytes(octets, "big")
            given["proof"] = (proof[: 2 * octets] + large + proof[3 * octets :]).hex()
            return scenario("check-proof", given, expect="InvalidProofError")
    raise AssertionError


def _partial_scenarios(p: int, q: int) -> dict[str, Scenario]:
    """Prove the partials of three ciphertexts, and change everything once."""
    n, order = p * q, (p // 2) * (q // 2)
    coefficients = [reference.shake_integer(bytes([i]), order) for i in (1, 2)]
    shares = reference.deal(p, q, HOLDERS, coefficients)
    given: dict[str, Any] = {
        "p": f"{p:x}",
        "q": f"{q:x}",
        "holders": HOLDERS,
        "coefficients": [f"{a:x}" for a in coefficients],
        "y_seed": Y_SEED.hex(),
        "context": Y_SEED.hex(),
        "set_digest": DIGEST.hex(),
        "holder": HOLDER,
    }
    ciphertexts = _encrypted(n, [(5, 1), (-6, 1 << 127), (7, (1 << 128) - 1)])
    partials = [
        reference.partial(
            n, shares[HOLDER - 1], c, holders=HOLDERS, digest=DIGEST, index=j
        )
        for j, c in enumerate(ciphertexts)
    ]
    given["ciphertexts"] = [f"{c:x}" for c in ciphertexts]
    given["partials"] = [f"{x:x}" for x in partials]
    entropy = bytes(range(32))
    challenge, response = _partial_proof(
        n, shares[HOLDER - 1], ciphertexts, partials, entropy
    )
    proof = {"challenge": challenge.hex(), "response": response.hex()}
    made = {
        "prove_partials": scenario(
            "prove-partials", given | {"entropy": entropy.hex()}, proof
        ),
        "partials_with_a_proof": scenario("check-partials", given | proof),
    }
    flipped = [given["partials"][0], f"{partials[1] ^ 1:x}", given["partials"][2]]
    changes: dict[str, dict[str, Any]] = {
        "one_wrong": {"partials": flipped},
        "swapped": {"partials": given["partials"][::-1]},
        "zero": {"partials": ["0", *given["partials"][1:]]},
        "of_another_holder": {"holder": HOLDER + 1},
        "of_another_round": {"context": bytes(32).hex()},
        "of_another_set": {"set_digest": bytes(32).hex()},
        "of_other_ciphertexts": {"ciphertexts": given["ciphertexts"][::-1]},
        "with_another_challenge": {"challenge": _flipped(challenge, 0)},
        "with_another_response": {"response": _flipped(response, 5)},
        "with_a_byte_more": {"response": (b"\0" + response).hex()},
        "with_a_byte_less": {"response": response[1:].hex()},
    }
    for name, change in changes.items():
        made[f"partials_{name}"] = scenario(
            "check-partials", given | proof | change, expect="InvalidProofError"
        )
    return made


def _partial_proof(
    n: int,
    share: int,
    ciphertexts: Sequence[int],
    partials: Sequence[int],
    entropy: bytes,
) -> tuple[bytes, bytes]:
    """Prove with the mask that a holder with this entropy draws."""
    octets = n.bit_length() // 8
    head = Y_SEED + DIGEST + bytes([HOLDER])
    xt, y = proofs.partials_statement(
        n, HOLDERS, head=head, ciphertexts=ciphertexts, partials=partials
    )
    _, _, v = reference.bases(n, Y_SEED)
    info = head + xt.to_bytes(octets, "big") + y.to_bytes(octets, "big")
    size = octets + 32
    mask = int.from_bytes(reference.hedged(entropy, info, "dleq", size), "big")
    bases, powers = (v, xt), (pow(v, share, n), pow(xt, share, n))
    proof = proofs.prove_partials(
        n, share, head=head, bases=bases, powers=powers, mask=mask
    )
    assert y == powers[1]
    assert proofs.proves_partials(n, head=head, bases=bases, powers=powers, proof=proof)
    return proof
