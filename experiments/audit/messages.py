"""Checks of an audit that look at one message at a time: could it carry anything else?

What no audit can see: a client that wants to leak can choose *when* it answers, and can
hide bits in what must be random (blinding, the nonces of proofs and signatures), also
in whether it fails and with which error. Neither is the SuperLink's own view recorded,
such as the run times that nodes report to it. And a record is as honest as the server
that made it.
"""

import builtins
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import ERROR_NAMES
from crypto.knowledge import proof_size
from crypto.message import Message
from crypto.partial_proof import PartialStatement
from crypto.sealing import bulk_size
from crypto.wire import (
    CHALLENGE_BYTES,
    DIGEST_BYTES,
    SIGNATURE_BYTES,
    Hello,
    PartialProof,
    PartialReply,
    Upload,
)
from experiments.audit.metadata import is_flowers_own, metadata_problems
from experiments.audit.record import Finding, Record
from experiments.audit.transcript import ERROR, Place, Transcript

_CLASS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_FLOWER_CODES: Final = range(9)  # flwr.common.constant.ErrorCode
_BUILTIN_NAMES: Final = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)


@dataclass(frozen=True)
class Result:
    """What one check found.

    Attributes:
        title: What had to hold.
        looked_at: What was looked at, with counts.
        findings: Where it does not hold.
    """

    title: str
    looked_at: str
    findings: list[Finding] = field(default_factory=list)


Check = Callable[[Transcript], Result]


def record_is_whole(transcript: Transcript) -> Result:
    """Check that every message is there, as it was written, and a run at all."""
    record = transcript.record
    findings = list(record.damage)
    if not record.events:
        findings.append(Finding("the run has no events.jsonl"))
    if not any(parsed.kind == "upload" for parsed in transcript.received):
        findings.append(Finding("no client uploaded anything: nothing is shown"))
    looked_at = f"{record.num_files:,} messages, {len(record.events):,} events"
    return Result("the record is whole", looked_at, findings)


def shapes_are_known(transcript: Transcript) -> Result:
    """Check that every message has one of the protocol's shapes and no more."""
    findings = [
        transcript.finding(parsed, parsed.problem)
        for parsed in (*transcript.sent, *transcript.received)
        if parsed.problem
    ]
    answered: set[object] = set()
    for parsed in transcript.received:
        asked = parsed.item.metadata["reply_to_message_id"]
        if asked in answered:
            findings.append(transcript.finding(parsed, "answers what was answered"))
        answered.add(asked)
        findings += [transcript.finding(parsed, p) for p in metadata_problems(parsed)]
    looked_at = f"{len(transcript.received):,} received, {len(transcript.sent):,} sent"
    return Result("messages have known shapes", looked_at, findings)


def nothing_is_readable(transcript: Transcript) -> Result:
    """Check that no tensor, count, metric or foreign text travels readable."""
    record, uploads = transcript.record, transcript.answers("upload")
    mode, findings = record.manifest.params.mode, []
    if mode == "plain":
        findings += [
            transcript.finding(parsed, "mode plain: the update travels in the clear")
            for parsed in uploads[:1]  # one for all of them, to keep the rest in sight
        ]
    n, width = record.manifest.keys.public_key.n, _ciphertext_bytes(record)
    for parsed in uploads:
        upload = parsed.body
        if not isinstance(upload, Upload):
            continue
        if upload.bulk and mode == "paillier":
            findings.append(
                transcript.finding(parsed, "has bytes beside its ciphertexts")
            )
        # 1 + n*M: without blinding everybody reads M.
        if any(int.from_bytes(c, "big") % n == 1 for c in chunks(upload, width)):
            findings.append(
                transcript.finding(parsed, "has a ciphertext of no blinding")
            )
    hellos = transcript.answers("hello")
    for parsed in hellos:
        if not _is_ours(parsed.body, record):
            findings.append(transcript.finding(parsed, "says what is not of this run"))
    looked_at = f"{len(uploads):,} uploads, {len(hellos):,} hellos"
    return Result("nothing is readable", looked_at, findings)


def sizes_are_public(transcript: Transcript) -> Result:
    """Check that every size follows from parameters, layout and ids, to the byte."""
    findings, sizes, count = [], set(), 0
    for parsed in transcript.received:
        if parsed.body is None or parsed.request is None:
            continue
        expected = _expected(parsed.body, transcript.place(parsed.request), transcript)
        count += 1
        if isinstance(parsed.body, Upload):
            sizes.add(len(parsed.data))
        if expected is not None and len(parsed.data) != len(expected.to_bytes()):
            size = len(expected.to_bytes())
            what = f"is {len(parsed.data):,} bytes, and public facts give {size:,}"
            findings.append(transcript.finding(parsed, what))
    looked_at = f"{count:,} answers; uploads of {len(sizes)} sizes"
    return Result("sizes are public", looked_at, findings)


def no_client_text(transcript: Transcript) -> Result:
    """Check that failed clients said no more than which known error it was."""
    findings, count = [], 0
    for parsed in transcript.received:
        if parsed.kind == ERROR:
            count += 1
            if parsed.data.decode(errors="replace") not in ERROR_NAMES:
                what = f"{len(parsed.data):,} bytes of text that name no known error"
                findings.append(transcript.finding(parsed, what))
        elif parsed.item.error is not None:
            count += 1
            code, reason = parsed.item.error
            if not (_is_class_name(reason) or is_flowers_own(parsed)):
                what = "an error text that names no known class"
                findings.append(transcript.finding(parsed, what))
            if code not in _FLOWER_CODES:
                what = "an error code that Flower does not have"
                findings.append(transcript.finding(parsed, what))
    return Result("no text of clients", f"{count:,} errors", findings)


def chunks(upload: Upload, size: int) -> list[bytes]:
    """Return an upload's ciphertexts as bytes."""
    data = upload.ciphertexts
    return [data[at : at + size] for at in range(0, len(data), size)]


def _is_class_name(reason: object) -> bool:
    if reason in (None, ""):
        return True
    if not isinstance(reason, str) or not _CLASS_NAME.fullmatch(reason):
        return False
    return reason in ERROR_NAMES | _BUILTIN_NAMES


def _is_ours(body: Message | None, record: Record) -> bool:
    """Whether a hello's texts are those of the run: others could say anything."""
    if not isinstance(body, Hello):
        return False
    keys, params = record.manifest.keys, record.manifest.params
    said = (body.protocol, body.code, body.keys, body.params, body.run_id)
    ours = (record.protocol, record.code, keys.fingerprint, params.digest())
    return said == (*ours, record.run_id) and body.client_id in keys.roster.clients


def _ciphertext_bytes(record: Record) -> int:
    return 2 * record.manifest.keys.public_key.n_bytes


def _expected(
    body: Message, place: Place | None, transcript: Transcript
) -> Message | None:
    """Return an answer of the size that public facts alone give, filled with zeros."""
    record = transcript.record
    params, keys = record.manifest.params, record.manifest.keys
    signature = bytes(SIGNATURE_BYTES)
    if isinstance(body, Hello):
        facts = (record.protocol, record.code, keys.fingerprint, params.digest())
        return Hello(body.client_id, *facts, record.run_id, signature)
    if place is None:
        return None
    key, digest = keys.public_key, bytes(DIGEST_BYTES)
    encrypted = params.mode != "plain"
    count = params.num_ciphertexts(place.layout.num_values) if encrypted else 0
    if isinstance(body, Upload):
        return Upload(
            body.client_id,
            digest,
            bytes(bulk_size(params, place.layout)),
            bytes(count * 2 * key.n_bytes),
            bytes(proof_size(key, count) if encrypted else 0),
            signature,
        )
    if isinstance(body, PartialReply):
        return PartialReply(body.holder, digest, bytes(count * key.n_bytes), signature)
    if isinstance(body, PartialProof):
        size = PartialStatement(key, b"", b"", body.holder, [], []).response_bytes
        return PartialProof(body.holder, digest, bytes(CHALLENGE_BYTES), bytes(size))
    return None
