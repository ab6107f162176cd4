"""A malicious server against the real mods, with their checks off and on."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import numpy as np
from flwr.app import Message
from flwr.serverapp.strategy import FedAvg

from clients.carriage import carry, uncarry
from clients.mod import SecureMod
from crypto.layout import NUM_EXAMPLES
from crypto.wire import Broadcast, Entry, Upload, pack_arrays, unpack_ciphertexts
from experiments.keysets import write_private
from experiments.privacy.federation import Federation
from experiments.privacy.imprint.network import load_vector, to_vector, updates_of
from experiments.privacy.sealed_round import make_group, make_params
from models.fingerprint import network_digest
from server.carriage import RECORD, unwrap

if TYPE_CHECKING:
    from gmpy2 import mpz
    from torch import nn

    from crypto.layout import Layout
    from crypto.manifest import Manifest
    from experiments.privacy.images.victims import Images
    from experiments.privacy.sealed_round import Vector

ARRAY: Final = "parameters"
_DEADLINE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Attempt:
    """What a malicious server got out of one round.

    Attributes:
        total: Shape (dim,): the opened sum; None if nothing was opened.
        refusals: Reasons that clients and key holders gave, and how often.
        step: Size of one quantisation step.
    """

    total: Vector | None
    refusals: Mapping[str, int]
    step: float


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a server cheats, and what stops it.

    Attributes:
        network: What it broadcasts, parameters included.
        others: What it sends to every client but the first instead; None for the same.
        allowed: The only network that the clients' policies list; None for any.
        digests: Whether the round's context covers the model, as it does; without it
            the platform is another one, and worse.
    """

    network: nn.Module
    others: nn.Module | None = None
    allowed: nn.Module | None = None
    digests: bool = True


def attempt(server: Server, clients: Sequence[Images]) -> Attempt:
    """Run one round of real mods, wrapper and committee with a server that cheats.

    The clients train with one step whatever network they are sent, as an app does that
    came with it; their policies are all that stands in the way.
    """
    params = make_params(len(clients))
    with tempfile.TemporaryDirectory(prefix="unseen-privacy-") as folder:
        prepared, _ = make_group(Path(folder) / "keys", params)
        for client_id in range(1, len(clients) + 1):
            _allow(prepared.client_folder(client_id), server.allowed)
        federation = Federation(
            prepared,
            train=_trainer(server, clients),
            mod=SecureMod(lambda _: str(server.network)),
        )
        federation.intercept = _swap(server.others)
        model = to_vector(server.network)
        with ExitStack() as stack:
            stack.enter_context(_quiet())
            if server.others is not None:
                stack.enter_context(_careless_server(federation))
            if not server.digests:
                stack.enter_context(_no_model_digest())
            result, wrapper = federation.run(
                model,
                strategy=FedAvg(fraction_evaluate=0.0),
                train_metrics=(),
                deadline_seconds=_DEADLINE_SECONDS,
            )
    total = None
    if wrapper.rounds_opened:
        mean = result.arrays[ARRAY].numpy().astype(np.float64) - model
        total = np.asarray(mean * len(clients), dtype=np.float32)
    return Attempt(total, Counter(_refusals(federation.received)), 1 / params.scale)


def digest_of(network: nn.Module) -> str:
    """Return the digest by which a policy names a network in these rounds."""
    return network_digest(str(network), {ARRAY: to_vector(network)})


def _allow(folder: Path, allowed: nn.Module | None) -> None:
    """Write the list of networks into a client's own policy."""
    if allowed is None:
        return
    path = folder / "policy.toml"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("networks")]
    write_private(path, "\n".join([*kept, f'networks = ["{digest_of(allowed)}"]', ""]))


def _trainer(
    server: Server, clients: Sequence[Images]
) -> Callable[[int, Vector], tuple[Vector, dict[str, Any]]]:
    def train(client: int, model: Vector) -> tuple[Vector, dict[str, Any]]:
        network = load_vector(deepcopy(server.network), model)
        (update,) = updates_of(network, [clients[client - 1]])
        return model + update, {NUM_EXAMPLES: 1}

    return train


def _swap(others: nn.Module | None) -> Callable[[int, Message], Message]:
    """Return what changes the model on its way to all clients but the first."""

    def intercept(client_id: int, message: Message) -> Message:
        kind, data = uncarry(message)
        if others is not None and client_id > 1 and kind == "round":
            arrays = pack_arrays([(ARRAY, to_vector(others))])
            changed = replace(Broadcast.from_bytes(data), arrays=arrays)
            message.content = carry(kind, changed.to_bytes())
        return message

    return intercept


@contextmanager
def _careless_server(federation: Federation) -> Iterator[None]:
    """Let the server add up what was sealed for other models, too.

    It then asks the committee for the sum of all of it: an honest server would have
    stopped by itself, and that is not what protects anybody.
    """
    contexts: dict[int, bytes] = {}

    def relabel(client_id: int, reply: Message) -> Message:
        if reply.content.config_records[RECORD]["kind"] == "upload":
            upload = Upload.from_bytes(unwrap(reply, "upload"))
            contexts[client_id] = upload.context
            mine = replace(upload, context=contexts[1])  # the first client's is honest
            reply.content = carry("upload", mine.to_bytes())
        return reply

    federation.tamper = relabel
    with patch("crypto.aggregation.check_entry", _unchecked):
        yield


def _unchecked(
    entry: Entry, context: bytes, manifest: Manifest, layout: Layout
) -> list[mpz]:
    """Take a contribution as it is."""
    del context
    count = manifest.params.num_ciphertexts(layout.num_values)
    return unpack_ciphertexts(entry.ciphertexts, count, manifest.keys.public_key)


@contextmanager
def _no_model_digest() -> Iterator[None]:
    """Leave the model out of every party's context."""
    with patch("crypto.wire.model_digest", lambda _: bytes(32)):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the clients' own logs of what they refuse off the terminal."""
    log = logging.getLogger("clients.mod")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _refusals(received: Sequence[Message]) -> Iterator[str]:
    for reply in received:
        record = reply.content.config_records[RECORD]
        if record["kind"] == "error":
            data = record["data"]
            yield data.decode() if isinstance(data, bytes) else str(data)
