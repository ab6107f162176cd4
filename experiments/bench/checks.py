"""What all checks cost: a default round of `unseen run`, with them and without.

The round is the real one, less processes and network: every client trains and seals,
the server adds, the threshold's number of key holders open, and the same again for the
evaluation. The checks are proofs, signatures, contexts, ranges and the state on disk.
Binding an opening to its set is counted apart: it is part of what is computed, not a
check. The switches are here, not in the product.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final
from unittest import mock

import numpy as np
import torch
from gmpy2 import mpz

from clients.folder import Member, open_member
from clients.state import ClientState
from crypto import (
    aggregation,
    entries,
    key_holder,
    memo,
    roster,
    sealing,
    threshold,
    wire,
)
from crypto.aggregation import RoundSum
from crypto.context import RoundFacts
from crypto.dealer import deal
from crypto.identity import Identity
from crypto.layout import EVALUATE, TRAIN
from crypto.manifest import SIMULATION, Manifest
from crypto.public_key import PublicKey
from crypto.sealing import seal
from crypto.vector import Contribution
from crypto.wire import Broadcast, OpenRequest, PartialReply, Upload, pack_arrays
from experiments.bench.scene import PRIMES
from experiments.keysets import write_keyset
from experiments.prepare import enrol
from experiments.settings import default_run
from experiments.sharing import share_out
from experiments.timing import Measurement, alternate, middle, saved_share
from models import training
from models.local import LocalTraining
from models.networks.state import load_arrays, state_arrays
from models.parameters import layout_of, to_vector
from models.shards import Shard, load_shard
from server.run import EVALUATE_METRICS, TRAIN_METRICS

Defence = tuple[object, str, Callable[..., object]]


class DefaultRound:
    """A group that can play one round after the other, in this process.

    Args:
        folder: An empty folder for the group's keys, shards and state.
        key_bits: Size of the Paillier modulus.
    """

    def __init__(self, folder: Path, key_bits: int) -> None:
        settings = replace(default_run(), key_bits=key_bits)
        self._task, params = settings.checked()
        primes = json.loads(PRIMES.read_text())["safe_primes"][str(params.key_bits)]
        p, q = (mpz(prime, 16) for prime in primes)
        public_key, holders = deal(
            p, q, num_holders=params.num_holders, threshold=params.threshold
        )
        keys = write_keyset(
            folder / "keys",
            public_key,
            holders,
            num_clients=settings.clients,
            purpose=SIMULATION,
        )
        shared = share_out(settings, self._task)
        self._manifest = Manifest(keys, params)
        prepared = enrol(folder / "keys", self._manifest, shared.shards, shared.test)
        self._members = [
            open_member(
                {
                    "client-dir": str(prepared.client_folder(client_id)),
                    "run-id": prepared.run_id,
                }
            )
            for client_id in sorted(keys.roster.clients)
        ]
        self._shards = [load_shard(member.shard) for member in self._members]
        self._run_config = settings.run_config(params)
        self._network = training.initial_network(self._task, seed=settings.seed)
        self._round = 0

    def play(self) -> None:
        """Play a round: training, then evaluation."""
        self._round += 1
        self._phase(TRAIN, TRAIN_METRICS)
        self._phase(EVALUATE, EVALUATE_METRICS)

    def _phase(self, phase: int, metrics: tuple[str, ...]) -> None:
        broadcast = Broadcast(
            run_id=self._members[0].run_id,
            round=self._round,
            phase=phase,
            metrics=list(metrics),
            arrays_key="arrays",
            arrays=pack_arrays(list(state_arrays(self._network).items())),
            records={"config": {"server-round": self._round}},
        )
        data = broadcast.to_bytes()
        round_sum = RoundSum(self._manifest, broadcast.facts(self._run_config))
        for member, shard in zip(self._members, self._shards, strict=True):
            upload = self._upload(data, member, shard)
            memo.forget()  # everybody here is a process of its own
            round_sum.add(Upload.from_bytes(upload))
        request = round_sum.open_request().to_bytes()
        partials = {}
        for member in self._members[: self._manifest.params.threshold]:
            memo.forget()
            reply = PartialReply.from_bytes(_open(request, member))
            client_id = member.identity.client_id
            partials[reply.holder] = round_sum.check_partial(reply, client_id)
        round_sum.mean(round_sum.total(partials))

    def _upload(self, data: bytes, member: Member, shard: Shard) -> bytes:
        """Do what a client does for a broadcast."""
        broadcast = Broadcast.from_bytes(data)
        facts = broadcast.facts(self._run_config)
        context = facts.context(self._manifest)
        key = (facts.run_id, facts.round, facts.phase)
        member.state.begin_upload(*key, context)
        upload = seal(
            self._contribution(broadcast, shard),
            manifest=self._manifest,
            layout=facts.layout(self._manifest),
            context=context,
            identity=member.identity,
        ).to_bytes()
        member.state.finish_upload(*key, upload)
        return upload

    def _contribution(self, broadcast: Broadcast, shard: Shard) -> Contribution:
        network, task = self._task.make_network(), self._task
        before = dict(broadcast.named_arrays())
        load_arrays(network, before)
        if broadcast.phase == EVALUATE:
            seen = training.evaluate(network, shard, task, device="cpu")
            metrics = {"accuracy": seen.accuracy, "loss": seen.loss}
            return Contribution(np.zeros(0, np.float32), seen.num_examples, metrics)
        report = training.train(
            network,
            shard,
            task,
            LocalTraining.of(task),
            seed=self._round,
            device="cpu",
        )
        layout = layout_of(before)
        update = to_vector(state_arrays(network), layout) - to_vector(before, layout)
        return Contribution(
            update.astype(np.float32),
            report.num_examples,
            {"train_loss": report.train_loss},
        )


def _open(data: bytes, member: Member) -> bytes:
    """Do what a key holder does for a request."""
    request = OpenRequest.from_bytes(data)
    own = member.state.upload_context(request.run_id, request.round, request.phase)
    return member.opener().answer(request, own).to_bytes()


def measure(
    folder: Path,
    *,
    key_bits: int,
    repetitions: int,
    tick: Callable[[], object],
) -> dict[str, float]:
    """Time the round as it is, without checks, and without binding either, in turn.

    Returns:
        Wall and CPU seconds of the round, and the shares of its CPU time that go into
        checks, and into binding openings to their set.
    """
    torch.set_num_threads(1)  # as a client has it
    one = DefaultRound(folder, key_bits)
    ways = [
        Measurement("whole", one.play),
        Measurement("no checks", _without(one.play, CHECKS)),
        Measurement("bare", _without(one.play, [*CHECKS, *BINDING])),
    ]
    samples = alternate(ways, repetitions=repetitions, tick=tick)
    whole = middle(samples["whole"])
    checks = saved_share(samples["whole"], samples["no checks"])
    return {
        "wall_seconds": whole.wall_seconds,
        "cpu_seconds": whole.cpu_seconds,
        "checks_share": checks,
        "binding_share": saved_share(samples["whole"], samples["bare"]) - checks,
    }


def _without(
    play: Callable[[], None], defences: Sequence[Defence]
) -> Callable[[], None]:
    """Play with these defences replaced by nothing."""

    def call() -> None:
        with ExitStack() as stack:
            for owner, name, nothing in defences:
                stack.enter_context(mock.patch.object(owner, name, nothing))
            play()

    return call


def _parse(data: bytes, count: int, public_key: PublicKey) -> list[mpz]:
    size = len(data) // count
    del public_key
    return [
        mpz(int.from_bytes(data[at : at + size], "big"))
        for at in range(0, len(data), size)
    ]


# Owner, name, and what stands in its place.
CHECKS: Final[Sequence[Defence]] = [
    (sealing, "prove", lambda *_: b""),
    (entries, "verify_knowledge", lambda *_: None),
    (entries, "unpack_ciphertexts", _parse),
    (roster, "verify_signature", lambda *_: None),
    (Identity, "sign", lambda *_: bytes(64)),
    (RoundFacts, "context", lambda *_: bytes(32)),
    (wire, "model_digest", lambda _: bytes(32)),
    (ClientState, "begin_upload", lambda *_: None),
    (ClientState, "finish_upload", lambda *_: None),
    (ClientState, "upload_context", lambda *_: None),
    (ClientState, "served", lambda *_: None),
    (ClientState, "high_water", lambda *_: 0),
    (ClientState, "record", lambda *_, **__: None),
]
BINDING: Final[Sequence[Defence]] = [
    (aggregation, "binding_powers", lambda _, __, count: [mpz(1)] * count),
    (key_holder, "check_binding_powers", lambda *_: None),
    (threshold, "binding", lambda *_: mpz(1)),
]
