"""One of every type of message, and what its receiver does with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from crypto.aggregation import RoundSum
from crypto.entries import check_entry
from crypto.message import Message
from crypto.wire import (
    Broadcast,
    Challenge,
    Entry,
    Hello,
    OpenRequest,
    PartialProof,
    PartialReply,
    Upload,
    pack_arrays,
)
from tests.crypto_group import Round, added, identities, make_round

NONCE = bytes(range(32))
HOLDER = 2

BROADCAST = Broadcast(
    run_id=bytes(16),
    round=1,
    phase=1,
    metrics=["loss", "accuracy"],
    arrays_key="arrays",
    arrays=pack_arrays([("w", np.ones((2, 4), np.float32)), ("b", np.ones(2))]),
    records={"config": {"lr": 0.1, "on": True, "names": ["a"]}},
)


@dataclass(frozen=True)
class Exchange:
    """What four clients and a key holder sent in one round.

    Attributes:
        one: The round.
        total: The server's sum.
        messages: One of every type, whole and valid.
    """

    one: Round
    total: RoundSum
    messages: Mapping[type[Message], Any]

    def use(self, message: Message) -> None:
        """Do with a message what its receiver does.

        Raises:
            CryptoError: If the receiver refuses it.
        """
        receivers: dict[type[Message], Callable[[Any], object]] = {
            Challenge: lambda m: self._verify_hello(self.messages[Hello], m.nonce),
            Hello: lambda m: self._verify_hello(m, NONCE),
            Broadcast: self._follow,
            Upload: self.one.sum.add,
            Entry: lambda m: check_entry(
                m, self.total.context, self.one.manifest, self.total.layout
            ),
            OpenRequest: lambda m: self.one.opener(HOLDER).answer(m, None),
            PartialReply: lambda m: self.total.check_partial(m, HOLDER),
            PartialProof: self._check_proof,
        }
        receivers[type(message)](message)

    def _verify_hello(self, hello: Hello, nonce: bytes) -> None:
        roster, signed = self.one.manifest.keys.roster, hello.signed_bytes(nonce)
        roster.verify(hello.client_id, hello.signature, signed)

    def _follow(self, broadcast: Broadcast) -> None:
        """Take part as a client that got this, and have the server add the upload."""
        own = replace(self.one, facts=broadcast.facts({}))
        self.one.sum.add(own.upload(1))

    def _check_proof(self, proof: PartialProof) -> None:
        reply = self.messages[PartialReply]
        partials = self.total.check_partial(reply, HOLDER)
        self.total.check_partial_proof(proof, HOLDER, partials)


@cache
def exchange() -> Exchange:
    """Have a round's messages sent, once."""
    one = make_round(facts=BROADCAST.facts({}))
    total, holder = added(one, 4), one.opener(HOLDER)
    request, upload = total.open_request(), one.upload(1)
    hello = Hello(1, "unseen/2", "c0de", "f00d", bytes(32), bytes(16))
    signature = identities(6)[0].sign(hello.signed_bytes(NONCE))
    sent: list[Message] = [
        Challenge(NONCE),
        replace(hello, signature=signature),
        BROADCAST,
        upload,
        upload.entry(),
        request,
        holder.answer(request, None),
        holder.prove(request, None),
    ]
    return Exchange(one, total, {type(message): message for message in sent})


def encoded() -> list[tuple[type[Message], bytes]]:
    """Return every type of message with its bytes."""
    return [(kind, one.to_bytes()) for kind, one in exchange().messages.items()]
