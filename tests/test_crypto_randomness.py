"""A repeated generator never repeats where it would hurt."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from crypto import parallel
from crypto.parallel import parallel_map
from crypto.randomness import RandomStream, hedged_stream, upload_info
from crypto.wire import unpack_ciphertexts
from tests import crypto_reference as reference
from tests.crypto_group import always, make_contribution, make_facts, make_round

CONTEXT = bytes(range(32))
VALUES = np.array([1, -2, 3], dtype=np.int64)


def _stream(
    *,
    entropy: bytes = bytes(32),
    context: bytes = CONTEXT,
    client_id: int = 1,
    values: NDArray[np.int64] = VALUES,
    label: str = "alpha",
) -> bytes:
    with mock.patch.object(secrets, "token_bytes", return_value=entropy):
        return hedged_stream(upload_info(context, client_id, values), label).take(64)


def test_stream_agrees_with_the_reference() -> None:
    expected = reference.key_stream(
        bytes(32), CONTEXT, 1, values=[1, -2, 3], label="alpha", size=64
    )

    assert _stream() == expected


@pytest.mark.parametrize(
    "other",
    [
        _stream(entropy=bytes([1] * 32)),
        _stream(context=bytes(32)),
        _stream(client_id=2),
        _stream(values=np.array([1, -2, 4], dtype=np.int64)),
        _stream(values=VALUES[:2]),
        _stream(label="popk"),
    ],
    ids=["entropy", "round", "client", "message", "length", "label"],
)
def test_everything_that_differs_gives_another_stream(other: bytes) -> None:
    assert other != _stream()


def test_byte_order_of_the_values_does_not_matter() -> None:
    assert _stream(values=VALUES.astype(">i8")) == _stream()


def test_pieces_of_a_stream_are_its_whole() -> None:
    one, two = RandomStream(bytes(32)), RandomStream(bytes(32))

    assert one.take(5) + one.take(0) + one.take(27) == two.take(32)


@pytest.mark.parametrize("bits", [1, 2, 7, 8, 9, 127, 128, 1023, 1536])
def test_integer_has_at_most_its_bits_and_uses_them_all(bits: int) -> None:
    # A fixed key: the chance that 100 integers leave a bit unused is 2**-100.
    stream = RandomStream(bytes(32))

    drawn = [int(stream.integer(bits)) for _ in range(100)]

    used = 0
    for value in drawn:
        used |= value
    assert used == (1 << bits) - 1


def test_integer_of_whole_bytes_is_the_stream_itself() -> None:
    stream, again = RandomStream(bytes(32)), RandomStream(bytes(32))

    assert stream.integer(80) == int.from_bytes(again.take(10), "big")


def test_system_generator_is_asked_for_every_stream() -> None:
    one, two = (
        hedged_stream(upload_info(CONTEXT, 1, VALUES), "alpha") for _ in range(2)
    )

    assert one.take(32) != two.take(32)


@pytest.fixture
def broken_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", always(b"\7"))


def _sealed(client_id: int = 1, *, seed: int = 1, server_round: int = 1) -> set[int]:
    """Seal an update and return its ciphertexts."""
    one = make_round(facts=make_facts(round=server_round, dim=40))
    upload = one.upload(client_id, make_contribution(seed, 40))
    key = one.manifest.keys.public_key
    count = one.sum.num_ciphertexts
    return {int(c) for c in unpack_ciphertexts(upload.ciphertexts, count, key)}


def _commitment(client_id: int = 1, *, seed: int = 1, server_round: int = 1) -> bytes:
    """Seal an update and return the first part of its proof, made of both masks."""
    one = make_round(facts=make_facts(round=server_round, dim=40))
    upload = one.upload(client_id, make_contribution(seed, 40))
    return upload.proof[: 2 * one.manifest.keys.public_key.n_bytes]


@pytest.mark.usefixtures("broken_generator")
def test_broken_generator_repeats_the_whole_upload_only() -> None:
    one = make_round()

    assert one.upload(1).to_bytes() == one.upload(1).to_bytes()


@pytest.mark.usefixtures("broken_generator")
@pytest.mark.parametrize(
    "change", [{"server_round": 2}, {"client_id": 2}, {"seed": 2}], ids=str
)
def test_broken_generator_repeats_no_mask_of_a_proof(change: dict[str, int]) -> None:
    # Two proofs with the same masks would give the plaintexts away.
    assert _commitment(**change) != _commitment()


def test_blinding_and_proof_of_an_upload_have_their_own_streams() -> None:
    labels = ("s", "e", "alpha", "popk")

    assert len({_stream(label=label)[:32] for label in labels}) == 4


@pytest.mark.parametrize("label", ["s", "e", "alpha", "popk", "dleq", "binding"])
def test_hedged_stream_depends_on_all_it_is_used_with(label: str) -> None:
    with mock.patch.object(secrets, "token_bytes", return_value=bytes(32)):
        one, again, other = (
            hedged_stream(info, label).take(32) for info in (b"one", b"one", b"two")
        )

    assert one == again
    assert one != other


@pytest.mark.usefixtures("broken_generator")
def test_broken_generator_repeats_for_the_same_upload() -> None:
    # The control of the tests below: the generator really is broken.
    assert _sealed() == _sealed()


@pytest.mark.usefixtures("broken_generator")
def test_broken_generator_differs_between_rounds() -> None:
    assert not _sealed() & _sealed(server_round=2)


@pytest.mark.usefixtures("broken_generator")
def test_broken_generator_differs_between_clients() -> None:
    assert not _sealed() & _sealed(2)


@pytest.mark.usefixtures("broken_generator")
def test_broken_generator_differs_between_messages() -> None:
    assert not _sealed() & _sealed(seed=2)


def test_same_update_sealed_twice_gives_other_ciphertexts() -> None:
    assert not _sealed() & _sealed()


FORKING = """
import os, sys
from crypto import parallel
from crypto.parallel import parallel_map
from tests.crypto_group import make_round

one = make_round(mode=sys.argv[1])
one.upload(1)  # tables, pools and libraries are warm before the fork
assert parallel_map(abs, [-1] * 8) == [1] * 8
for _ in range(2):
    if os.fork() == 0:
        assert parallel_map(abs, [-1] * 8) == [1] * 8
        upload = one.upload(1)
        parts = upload.bulk[:16], upload.ciphertexts[:16], upload.proof[:16]
        os.write(1, b"".join(part.hex().encode() + b" " for part in parts))
        os._exit(0)
for _ in range(2):
    assert os.wait()[1] == 0
"""


@pytest.mark.parametrize(("mode", "parts"), [("paillier", 2), ("hybrid", 3)])
def test_forked_processes_seal_differently_and_do_not_hang(
    mode: str, parts: int
) -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, mode],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert len(set(finished.stdout.split())) == 2 * parts


def test_work_runs_on_every_core_where_the_system_cannot_say_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)

    assert parallel.usable_cores() == 3


def test_parallel_results_are_in_order() -> None:
    assert parallel_map(lambda x: x * x, range(100)) == [x * x for x in range(100)]


def test_error_in_parallel_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda x: 1 // x, [1, 0])
