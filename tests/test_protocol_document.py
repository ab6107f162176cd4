"""Every number and reference of crypto/PROTOCOL.md is recomputed from the code."""

import re
from dataclasses import fields
from hashlib import sha256

import pytest
from phe.paillier import PaillierPrivateKey, PaillierPublicKey

from clients import policy
from crypto import errors, wire
from crypto.encoding import decode
from crypto.layout import EVALUATE, RESERVED, TRAIN, make_layout
from crypto.manifest import FORMAT
from crypto.params import AggregationParams
from crypto.provenance import PROTOCOL
from experiments.settings import default_threshold
from tests import proof_reference
from tests.protocol_example import CONTRIBUTIONS, NONCE, Y_SEED, Example, P, Q
from tests.protocol_lines import lines
from tests.protocol_text import (
    DOCUMENT,
    ROOT,
    section,
    table,
    written_integers,
    written_values,
)

PACKAGES = ("clients", "crypto", "experiments", "server")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


def test_worked_example_is_what_the_code_computes() -> None:
    def squeezed(values: dict[str, str]) -> dict[str, str]:
        return {name: "".join(value.split()) for name, value in values.items()}

    assert squeezed(written_values()) == squeezed(dict(lines()))


def test_worked_example_opens_with_phe() -> None:
    example = Example()
    key = PaillierPublicKey(int(P * Q))
    private = PaillierPrivateKey(key, int(P), int(Q))
    values = written_values()
    pairs = zip(
        values["sum of c"][1:-1].split(","),
        values["opened M"][1:-1].split(","),
        strict=True,
    )
    for ciphertext, opened in pairs:
        assert private.raw_decrypt(int(ciphertext)) == int(opened) % key.n
    assert example.round_sum.contributors == list(CONTRIBUTIONS)


def test_width_examples_follow_from_the_parameters() -> None:
    rows = [[int(cell) for cell in row] for row in table("2.4", "key_bits")]
    assert rows
    for key_bits, clients, value_bits, *derived in rows:
        own = AggregationParams(
            mode="paillier",
            key_bits=key_bits,
            num_holders=5,
            threshold=4,
            max_corrupt=0,
            min_contributors=2,
            max_contributors=clients,
            value_bits=value_bits,
            clip=1.0,
            w_max=100,
        )
        expected = [
            own.slot_bits,
            own.slots_per_plaintext,
            own.limb_bits,
        ]
        assert derived == [*expected, own.num_ciphertexts(10_000)], key_bits


def test_parameter_table_lists_every_field() -> None:
    named = [row[0].strip("`") for row in table("2.1", "field")]
    assert sorted(named) == sorted(item.name for item in fields(AggregationParams))


def test_extras_table_lists_every_reserved_name() -> None:
    rows = {row[0].strip("`"): row for row in table("3.2", "extra")}
    assert set(RESERVED) < set(rows)
    own = Example().params
    train = make_layout(own, phase=TRAIN, dim=1, metrics=())
    evaluate = make_layout(own, phase=EVALUATE, dim=0, metrics=())
    assert {extra.name for extra in train.extras} == set(RESERVED)
    assert [extra.name for extra in evaluate.extras] == ["num-examples"]
    for extra in train.extras:
        assert int(rows[extra.name][4]) == extra.fraction_bits
        assert rows[extra.name][5] == ("yes" if extra.weighted else "no")
    powers = {
        extra.name: f"`2^{extra.largest.bit_length() - 1}`" for extra in train.extras
    }
    assert rows["clipped-share"][3] == powers["clipped-share"]
    assert rows["update-peak"][3] == powers["update-peak"]


def test_message_table_lists_every_field() -> None:
    written: dict[str, list[str]] = {}
    name = ""
    for first, field_name, _ in table("8.2", "message"):
        if field_name.startswith("`"):
            name = first.strip("`") or name
            written.setdefault(name, []).append(field_name.strip("`"))
    for message, names in written.items():
        assert names == [item.name for item in fields(getattr(wire, message))], message
    assert len(written) == 8


def test_message_sizes_are_as_written() -> None:
    example = Example()
    upload = example.upload(1)
    reply, proof = (
        bytes.fromhex(written_values()[f"{name} of holder 1"].replace(" ", ""))
        for name in ("reply", "proof")
    )
    encrypted, partials = 3 * 16 + 61, 3 * 8
    assert len(upload.ciphertexts) + len(upload.proof) == encrypted
    sizes = {
        "Challenge": len(wire.Challenge(NONCE).to_bytes()),
        "Hello": len(example.hello(1).to_bytes()) - 1,
        "Upload": len(upload.to_bytes()) - 1 - encrypted,
        "Entry": len(upload.entry().to_bytes()) - 1 - encrypted,
        "PartialReply": len(reply) - 1 - partials,
        "PartialProof": len(proof) - 1 - (64 + 257 + 7) // 8,
    }
    rows = table("8.2", "encoded message")
    assert {row[0].strip("`"): int(row[1].split()[0]) for row in rows} == sizes


def test_fields_of_a_reply_are_readable_from_its_bytes() -> None:
    reply = decode(bytes.fromhex(written_values()["reply of holder 3"]))
    assert isinstance(reply, dict)
    assert reply["kind"] == "PartialReply"
    assert reply["set_digest"] == bytes.fromhex(written_values()["SD"])


@pytest.mark.parametrize("client_id", CONTRIBUTIONS)
def test_proof_of_an_upload_holds_for_the_reference(client_id: int) -> None:
    values = written_values()
    packed = b"".join(
        c.to_bytes(16, "big") for c in written_integers(f"c of client {client_id}")
    )
    digests = bytes(32) + sha256(packed).digest()
    statement = bytes.fromhex(values["ctx"]) + client_id.to_bytes(4, "big") + digests
    opened = zip(
        written_integers(f"M of client {client_id}"),
        written_integers(f"alpha of client {client_id}"),
        strict=True,
    )
    x, beta = written_integers(f"x, beta of client {client_id}")

    proof = proof_reference.prove_knowledge(
        int(P * Q), Y_SEED, list(opened), statement=statement, masks=(x, beta)
    )

    assert proof.hex() == values[f"proof of client {client_id}"]


@pytest.mark.parametrize("place", [0, 2])
def test_proof_of_partials_holds_for_the_reference(place: int) -> None:
    values, name = written_values(), f"of holder {place + 1}"
    head = bytes.fromhex(values["ctx"] + values["SD"]) + bytes([place + 1])
    xt, power = proof_reference.partials_statement(
        int(P * Q),
        3,
        head=head,
        ciphertexts=written_integers("sum of c"),
        partials=written_integers(f"partials {name}"),
    )
    proof = decode(bytes.fromhex(values[f"proof {name}"]))
    assert isinstance(proof, dict)

    assert (xt, power) == (int(values[f"xt {name}"]), int(values[f"Y {name}"]))
    assert proof_reference.proves_partials(
        int(P * Q),
        head=head,
        bases=(written_integers("v")[0], xt),
        powers=(written_integers("v_1, v_2, v_3")[place], power),
        proof=(proof["challenge"], proof["response"]),
    )


def test_policy_table_lists_every_rule() -> None:
    rules = [row[0].strip("`") for row in table("8.7", "rule")]

    assert rules == list(policy._RULES)


def test_request_table_names_messages() -> None:
    rows = table("8.1", "request `kind`")
    named = re.findall(r"`([A-Z]\w+)`", " ".join(" ".join(row) for row in rows))

    assert {name for name in named if not hasattr(wire, name)} == set()
    assert len(rows) == 5


def test_committee_table_follows_the_rule() -> None:
    rows = table("10", "nc, t")
    assert rows
    for pair, *tolerated in rows:
        holders, threshold = (int(number) for number in pair.split(","))
        expected = [threshold - 1, 2 * threshold - holders - 1, holders - threshold]
        assert [int(cell) for cell in tolerated] == expected, pair


@pytest.mark.parametrize("holders", range(1, 12))
def test_default_threshold_is_as_written(holders: int) -> None:
    assert "`t = nc - floor((nc - 1) / 3)`" in section("10")
    assert default_threshold(holders) == holders - (holders - 1) // 3


def test_error_table_names_every_error_of_the_protocol() -> None:
    written = {row[1].strip("`"): row[0] for row in table("11", "code")}
    tree = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.CryptoError)
    }
    assert set(written) == set(tree) - {"CryptoError"}
    assert set(written) == set(errors.ERROR_NAMES) - {"CryptoError"}
    for name, code in written.items():
        assert code in (errors.__doc__ or "")
        assert tree[name].code == code, name


def test_sections_that_docstrings_name_exist() -> None:
    numbers: list[str] = []
    for path in SOURCES:
        text = " ".join(path.read_text(encoding="utf-8").split())
        numbers += re.findall(r"PROTOCOL\.md`?,?(?: sections?)? ([\d.]*\d)", text)
        numbers += re.findall(r"PROTOCOL\.md sections \S+ (?:and|to) ([\d.]*\d)", text)
    assert len(numbers) > 20
    for number in numbers:
        assert section(number)


def test_protocol_version_is_that_of_the_code() -> None:
    assert f"Version `{PROTOCOL}`" in DOCUMENT
    assert f"`{FORMAT}`" in DOCUMENT.replace('"', "`")
