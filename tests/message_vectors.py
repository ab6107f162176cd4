"""Scenarios for tests/vectors/ about bytes: encodings, digests, streams."""

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests import crypto_reference as reference

Scenario = dict[str, Any]

Y_SEED = hashlib.sha256(b"unseen test y_seed").digest()
DIGEST = hashlib.sha256(b"unseen test set").digest()
HOLDERS, THRESHOLD = 4, 3


def scenario(
    operation: str, given: Any, output: Any = None, expect: str = "success"
) -> Scenario:
    origin = "tests/make_vectors.py: hashlib, hmac and pow of plain Python"
    return {
        "origin": origin,
        "operation": operation,
        "expect": expect,
        "input": given,
        "output": output,
    }


def decode_scenarios() -> dict[str, Scenario]:
    good = reference.canon({"b": [1, 1.0, True, None, "1"], "a": {"x": -0.0}})
    one = b"i" + reference.lp(b"1")
    bad = {
        "decode_empty": b"",
        "decode_truncated": good[:-1],
        "decode_trailing_byte": good + b"n",
        "decode_unknown_type": b"x",
        "decode_boolean_of_two": b"b\x02",
        "decode_leading_zero": b"i" + reference.lp(b"01"),
        "decode_negative_zero_integer": b"i" + reference.lp(b"-0"),
        "decode_plus_sign": b"i" + reference.lp(b"+1"),
        "decode_space_around_integer": b"i" + reference.lp(b" 1"),
        "decode_underscore_in_integer": b"i" + reference.lp(b"1_0"),
        "decode_foreign_digit": b"i"
        + reference.lp("\N{ARABIC-INDIC DIGIT ONE}".encode()),
        "decode_long_integer": b"i" + reference.lp(b"9" * 5000),
        "decode_integer_of_21_digits": b"i" + reference.lp(b"9" * 21),
        "decode_broken_text": b"s" + reference.lp(b"\xff"),
        "decode_huge_count": b"l\xff\xff\xff\xff" + b"n" * 8,
        "decode_huge_length": b"y\xff\xff\xff\xff" + b"n" * 8,
        "decode_deep_nesting": b"l\0\0\0\1" * 500 + b"n",
        "decode_unsorted_keys": b"m\0\0\0\2"
        + b"".join(reference.lp(key) + one for key in (b"b", b"a")),
        "decode_double_key": b"m\0\0\0\2" + 2 * (reference.lp(b"a") + one),
    }
    made = {
        name: scenario("decode", data.hex(), expect="MalformedMessageError")
        for name, data in bad.items()
    }
    return made | {"decode_nested_map": scenario("decode", good.hex(), good.hex())}


def digest_scenarios(p: int, q: int) -> dict[str, Scenario]:
    manifest = _manifest(p, q)
    facts: dict[str, Any] = {
        "run_id": bytes(range(16)).hex(),
        "round": 7,
        "phase": 1,
        "metrics": ["loss"],
        "run_config": {"task": "digits", "seed": 2026, "learning-rate": 0.1},
        "arrays_key": "arrays",
        "message_records": {"config": {"lr": 0.5, "epochs": 2}},
        "arrays": [["w", "<f4", [2], "0000803f000000bf"], ["b", "<f8", [], "00" * 8]],
    }
    facts["records"] = {
        "arrays": facts["arrays_key"],
        "records": facts["message_records"],
    }
    # 20 value bits give limbs of 14 bits.
    facts["layout"] = reference.layout(
        3,
        [
            ("clipped-share", 2, 16, False),  # 2**16: 17 + 2 bits
            ("loss", 3, 16, True),  # 8 * 2**10 * 2**16 = 2**29: 30 + 2 bits
            ("num-examples", 1, 0, False),  # 2**10: 11 + 2 bits
            ("update-peak", 2, 16, False),  # 16 * 2**16 = 2**20: 21 + 2 bits
        ],
    ).hex()
    digests = reference.context(manifest, facts)
    given = {"manifest": manifest, "facts": facts}
    made = {"context_of_a_training_round": scenario("context", given, digests)}
    values = [0, 1, -1, 524287, -524287]
    stream = {
        "entropy": bytes(range(32)).hex(),
        "context": DIGEST.hex(),
        "client_id": 3,
        "values": values,
        "label": "alpha",
    }
    octets = reference.key_stream(
        bytes(range(32)), DIGEST, 3, values=values, label="alpha", size=80
    )
    made["stream_of_one_upload"] = scenario("stream", stream, octets.hex())
    return made | _set_scenarios() | _signed_scenarios() | _sealed_scenarios()


def _set_scenarios() -> dict[str, Scenario]:
    return {
        "digest_of_a_set_of_two": _set_scenario("", ""),
        "digest_of_a_set_with_bulk_parts": _set_scenario("03" * 40, "04" * 40),
    }


def _set_scenario(*bulks: str) -> Scenario:
    entries = [
        {"client_id": i, "bulk": bulk, "ciphertexts": f"{i:02x}" * 64}
        for i, bulk in enumerate(bulks, start=1)
    ]
    digests = b"".join(
        i.to_bytes(4, "big")
        + (hashlib.sha256(bytes.fromhex(bulk)).digest() if bulk else bytes(32))
        + hashlib.sha256(bytes([i]) * 64).digest()
        for i, bulk in enumerate(bulks, start=1)
    )
    digest = hashlib.sha256(b"SA/v1/set" + DIGEST + digests).hexdigest()
    return scenario("set", {"context": DIGEST.hex(), "entries": entries}, digest)


def _signed_scenarios() -> dict[str, Scenario]:
    """Write what a client signs for an upload or hello, a holder for its partials."""
    body, proof = bytes(range(64)), bytes(range(64, 104))
    bulk, hashed = bytes([9] * 32), hashlib.sha256(body).digest()
    given = {"context": DIGEST.hex(), "body": body.hex()}
    digests = bulk + hashed + hashlib.sha256(proof).digest()
    upload = b"SA/v1/client" + DIGEST + (3).to_bytes(4, "big") + digests
    hello = {
        "client_id": 3,
        "protocol": "unseen/2",
        "code": "0123456789abcdef",
        "keys": "fedcba9876543210",
        "params": DIGEST,
        "run_id": bytes(range(16)),
    }
    unsigned = reference.canon({"kind": "Hello", "signature": bytes(64), **hello})
    partial = b"SA/v1/partial" + DIGEST + Y_SEED + bytes([4]) + hashed
    return {
        "signed_bytes_of_an_upload": scenario(
            "sign-upload",
            given | {"client_id": 3, "bulk": bulk.hex(), "proof": proof.hex()},
            upload.hex(),
        ),
        "signed_bytes_of_a_hello": scenario(
            "sign-hello",
            {
                "nonce": Y_SEED.hex(),
                **{k: v.hex() if isinstance(v, bytes) else v for k, v in hello.items()},
            },
            (b"SA/v1/hello" + Y_SEED + unsigned).hex(),
        ),
        "signed_bytes_of_partials": scenario(
            "sign-partial", given | {"holder": 4, "set": Y_SEED.hex()}, partial.hex()
        ),
    }


def _sealed_scenarios() -> dict[str, Scenario]:
    """Seal a message with a known ephemeral key: X25519, HKDF by hmac, AES-256-GCM."""
    keys = [bytes([i] * 32) for i in (1, 2, 3)]
    identity = dict(zip(("signing_key", "sealing_key"), keys[:2], strict=True))
    sealed = reference.seal(
        X25519PrivateKey.from_private_bytes(keys[1]).public_key().public_bytes_raw(),
        keys[2],
        b"a share",
    )
    given = {
        "identity": {"client_id": 1} | {k: key.hex() for k, key in identity.items()},
        "sealed": sealed.hex(),
    }
    changed = bytes([sealed[0] ^ 1]) + sealed[1:]
    made = {
        "open_a_sealed_message": scenario("unseal", given, b"a share".hex()),
        "open_a_changed_sealed_message": scenario(
            "unseal", given | {"sealed": changed.hex()}, expect="KeyMismatchError"
        ),
    }
    for one in made.values():
        one["origin"] += "; X25519 and AES-GCM of the package cryptography"
    return made


def _manifest(p: int, q: int) -> dict[str, Any]:
    n, order = p * q, (p // 2) * (q // 2)
    coefficients = [reference.shake_integer(bytes([i]), order) for i in (1, 2)]
    _, _, v = reference.bases(n, Y_SEED)
    shares = reference.deal(p, q, HOLDERS, coefficients)
    ids = range(1, HOLDERS + 1)
    key = {
        "n": f"{n:x}",
        "num_holders": HOLDERS,
        "threshold": THRESHOLD,
        "y_seed": Y_SEED.hex(),
        "v": f"{v:x}",
        "verification": [f"{pow(v, share, n):x}" for share in shares],
    }
    roster = {
        "clients": {str(i): bytes([i] * 32).hex() for i in ids},
        "holders": [[i, bytes([i + 100] * 32).hex()] for i in ids],
    }
    params = {
        "mode": "paillier",
        "key_bits": n.bit_length(),
        "num_holders": HOLDERS,
        "threshold": THRESHOLD,
        "max_corrupt": 1,
        "min_contributors": 3,
        "max_contributors": 4,
        "value_bits": 20,
        "clip": 2.5,
        "w_max": 1024,
        "metrics": {"loss": 8.0},
        "version": 1,
    }
    keys = {
        "format": "unseen-keys/1",
        "purpose": "simulation",
        "public_key": key,
        "roster": roster,
    }
    return {"keys": keys, "params": params}


def encode_scenarios() -> dict[str, Scenario]:
    """A client with half the largest weight; clip 2, 8 value bits, limbs of 7 bits."""
    update = [0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -1e30]
    given = {
        "params": {
            "clip": 2.0,
            "value_bits": 8,
            "w_max": 100,
            "metrics": {"loss": 4.0},
        },
        "update": update,
        "num_examples": 50,
        "metrics": {"loss": -0.75},
    }
    clipped = [max(-2.0, min(2.0, u)) for u in update]
    output = [round(u * 0.5 * (127 / 2.0)) for u in clipped]
    output += _limbs(round(2 / 7 * 2**16), 7, 3)  # clipped-share: 17 + 2 bits
    output += _limbs(round(-0.75 * 50 * 2**16), 7, 4)  # loss, 400 * 2**16: 25 + 2 bits
    output += _limbs(50, 7, 2)  # num-examples: 7 + 2 bits
    output += _limbs(16 * 2**16, 7, 4)  # update-peak at its limit: 21 + 2 bits
    return {"encode_a_weighted_update": scenario("encode", given, output)}


def _limbs(value: int, width: int, count: int) -> list[int]:
    """Write balanced digits: the only ones in [-2**(width-1), 2**(width-1))."""
    limbs = []
    for _ in range(count):
        low = value & ((1 << width) - 1)
        digit = low - (1 << width) if low >> (width - 1) else low
        limbs.append(digit)
        value = (value - digit) >> width
    return limbs
