"""Checks of an audit that follow the protocol: signatures, proofs and sets.

Everything is recomputed from what was recorded, with public keys only; contexts from
the broadcasts as they were sent and from the run configuration.
"""

from collections.abc import Callable, Iterator, Sequence

from crypto.binding import check_binding_powers
from crypto.entries import check_entry, set_digest
from crypto.errors import (
    BadPartialError,
    ContextMismatchError,
    CryptoError,
    DecryptionRefusedError,
    KeyMismatchError,
    MalformedMessageError,
)
from crypto.layout import TRAIN
from crypto.wire import (
    Broadcast,
    Challenge,
    Entry,
    Hello,
    OpenRequest,
    PartialReply,
    Upload,
    partial_signed_bytes,
    unpack_ciphertexts,
    unpack_integers,
)
from experiments.audit.messages import Result, chunks
from experiments.audit.record import Finding
from experiments.audit.transcript import Parsed, Place, Round, Transcript

Verify = Callable[[Transcript, Parsed], None]


def ciphertexts_are_fresh(transcript: Transcript) -> Result:
    """Check that every ciphertext is a unit below n**2 and appears once in the run."""
    key = transcript.record.manifest.keys.public_key
    seen: dict[bytes, str] = {}  # ciphertext to the message it came in first
    uploads: set[bytes] = set()
    findings = []
    for parsed in transcript.answers("upload"):
        if not isinstance(parsed.body, Upload) or parsed.data in uploads:
            continue  # the same bytes again are the same upload
        uploads.add(parsed.data)
        own = chunks(parsed.body, 2 * key.n_bytes)
        twice = {seen[c] for c in own if c in seen}
        if len(set(own)) < len(own):
            twice.add(parsed.item.file)
        if twice:
            # Which of them is a copy the proofs say; the order of arrival does not.
            what = f"has a ciphertext that is in {', '.join(sorted(twice))}, too"
            findings.append(transcript.finding(parsed, what))
        seen |= {c: parsed.item.file for c in own if c not in seen}
        try:
            unpack_ciphertexts(parsed.body.ciphertexts, len(own), key)
        except MalformedMessageError:
            what = "has a ciphertext that is out of range or no unit"
            findings.append(transcript.finding(parsed, what))
    looked_at = f"{len(seen):,} different ciphertexts"
    return Result("ciphertexts are fresh", looked_at, findings)


def signatures_hold(transcript: Transcript) -> Result:
    """Check every signature, and every proof that a client knows its plaintexts."""
    hellos, uploads = transcript.answers("hello"), transcript.answers("upload")
    partials = transcript.answers("partial")
    findings = [
        *_refused(transcript, hellos, _verify_hello),
        *_refused(transcript, uploads, _verify_upload),
        *_refused(transcript, partials, _verify_partials),
    ]
    nonces = [p.body.nonce for p in transcript.sent if isinstance(p.body, Challenge)]
    if len(set(nonces)) < len(nonces):
        findings.append(Finding("two hellos have the same nonce", who="server"))
    counts = f"{len(hellos):,} hellos, {len(uploads):,} uploads, {len(partials):,}"
    return Result("signatures and proofs hold", f"{counts} partials", findings)


def broadcasts_are_equal(transcript: Transcript) -> Result:
    """Check that all clients of a round were sent the same, as the same task."""
    findings, count = [], 0
    for place in transcript.rounds:
        count += len(place.broadcasts)
        for parsed in place.broadcasts:
            findings += [
                transcript.finding(parsed, f"{place.name}: {what}")
                for what in _broadcast_problems(transcript, place, parsed)
            ]
    rounds = sum(1 for place in transcript.rounds if place.broadcasts)
    looked_at = f"{count:,} broadcasts of {rounds:,} phases"
    return Result("clients were sent the same", looked_at, findings)


def one_set_is_opened(transcript: Transcript) -> Result:
    """Check that every opening is bound to one legal set of received uploads."""
    findings, sets = [], 0
    for place in transcript.rounds:
        requests = place.requests
        distinct = {parsed.data: parsed for parsed in reversed(requests)}
        sets += len(distinct)
        findings += [
            transcript.finding(
                parsed,
                f"{place.name}: asks for another set than {requests[0].item.file}",
            )
            for parsed in requests
            if parsed.data != requests[0].data
        ]
        for parsed in reversed(distinct.values()):
            findings += [
                transcript.finding(parsed, f"{place.name}: {what}")
                for what in _set_problems(transcript, place, parsed)
            ]
        findings += _unbound(transcript, place)
    rounds = sum(1 for place in transcript.rounds if place.requests)
    looked_at = f"{sets:,} sets in {rounds:,} openings"
    return Result("every opening has one set", looked_at, findings)


def entries_of(request: OpenRequest) -> list[Entry]:
    """Return an opening's contributions.

    Raises:
        MalformedMessageError: If one is not well formed.
    """
    return [Entry.from_bytes(data) for data in request.entries]


def _refused(
    transcript: Transcript, answers: Sequence[Parsed], verify: Verify
) -> list[Finding]:
    findings = []
    for parsed in transcript.watch(answers, "signatures and proofs"):
        try:
            verify(transcript, parsed)
        except CryptoError as error:
            what = f"{type(error).__name__}: {error}"
            findings.append(transcript.finding(parsed, what))
    return findings


def _verify_hello(transcript: Transcript, parsed: Parsed) -> None:
    hello, challenge = parsed.body, parsed.request and parsed.request.body
    if isinstance(hello, Hello) and isinstance(challenge, Challenge):
        signed = hello.signed_bytes(challenge.nonce)
        roster = transcript.record.manifest.keys.roster
        roster.verify(hello.client_id, hello.signature, signed)


def _verify_upload(transcript: Transcript, parsed: Parsed) -> None:
    upload, place = parsed.body, _place_of(transcript, parsed)
    if not isinstance(upload, Upload):
        return
    if upload.context != place.context:
        raise ContextMismatchError("it was made for another context than was sent")
    if upload.client_id != transcript.client_id(parsed):
        raise KeyMismatchError(f"it names client {upload.client_id}")
    manifest = transcript.record.manifest
    check_entry(upload.entry(), place.context, manifest, place.layout)


def _verify_partials(transcript: Transcript, parsed: Parsed) -> None:
    reply, place = parsed.body, _place_of(transcript, parsed)
    client_id = transcript.client_id(parsed)
    if not isinstance(reply, PartialReply):
        return
    manifest = transcript.record.manifest
    roster, key = manifest.keys.roster, manifest.keys.public_key
    if client_id is None or roster.holder_index(client_id) != reply.holder:
        raise BadPartialError(f"it names holder {reply.holder}")
    signed = partial_signed_bytes(
        place.context, reply.set_digest, reply.holder, reply.partials
    )
    roster.verify(client_id, reply.signature, signed)
    count = manifest.params.num_ciphertexts(place.layout.num_values)
    unpack_integers(reply.partials, count, key)


def _place_of(transcript: Transcript, parsed: Parsed) -> Place:
    """Return where an answer belongs.

    Raises:
        ContextMismatchError: If its request is of no possible round.
    """
    place = transcript.place(parsed.request) if parsed.request else None
    if place is None:
        raise ContextMismatchError("it answers a request of no possible round")
    return place


def _broadcast_problems(
    transcript: Transcript, place: Round, parsed: Parsed
) -> Iterator[str]:
    broadcast, metadata = parsed.body, parsed.item.metadata
    if not isinstance(broadcast, Broadcast):
        return
    if parsed.data != place.broadcasts[0].data:
        yield f"client is sent something else than in {place.broadcasts[0].item.file}"
    expected = "train" if place.phase == TRAIN else "evaluate"
    if metadata["message_type"] != expected:
        yield "client is told another phase than the broadcast names"
    if broadcast.run_id != transcript.record.run_id:
        yield "is of another run"
    if transcript.place(parsed) is None:
        yield "is of no possible round"


def _set_problems(
    transcript: Transcript, place: Round, parsed: Parsed
) -> Iterator[str]:
    """Yield why a set may not be opened, as a key holder sees it."""
    if not isinstance(parsed.body, OpenRequest):
        return
    own = transcript.place(parsed)
    sent = [transcript.place(broadcast) for broadcast in place.broadcasts[:1]]
    if own is None or [own] != sent:
        yield "asks for another context than the round's"
    try:
        ids = [entry.client_id for entry in entries_of(parsed.body)]
    except MalformedMessageError:
        yield "asks for a contribution that is malformed"
        return
    params = transcript.record.manifest.params
    if ids != sorted(set(ids)):
        yield "asks for contributors that are not sorted and distinct"
    if not params.min_contributors <= len(ids) <= params.max_contributors:
        yield (
            f"asks for a sum of {len(ids)}, and {params.min_contributors} to "
            f"{params.max_contributors} are allowed"
        )
    uploaded = {
        upload.body.entry().to_bytes()
        for upload in place.uploads
        if isinstance(upload.body, Upload)
    }
    for client_id, data in zip(ids, parsed.body.entries, strict=True):
        if data not in uploaded:
            yield f"asks for a contribution that client {client_id} did not upload"
    if own is not None and not _has_own_powers(transcript, own, parsed.body):
        yield "asks holders to bind their answers to something else than its set"


def _has_own_powers(transcript: Transcript, own: Place, request: OpenRequest) -> bool:
    """Whether the powers that holders are given are those of the request's set."""
    manifest = transcript.record.manifest
    key = manifest.keys.public_key
    count = manifest.params.num_ciphertexts(own.layout.num_values)
    digest = set_digest(own.context, entries_of(request))
    try:
        powers = unpack_integers(request.powers, count, key)
        check_binding_powers(key, digest, powers)
    except (MalformedMessageError, DecryptionRefusedError):
        return False
    return True


def _unbound(transcript: Transcript, place: Round) -> Iterator[Finding]:
    """Yield answers that are bound to another set than they were asked for."""
    for parsed in (*place.partials, *place.proofs):
        request = parsed.request.body if parsed.request else None
        own = transcript.place(parsed.request) if parsed.request else None
        if own is None or not isinstance(request, OpenRequest):
            continue
        try:
            digest = set_digest(own.context, entries_of(request))
        except MalformedMessageError:
            continue  # a finding of its request
        if getattr(parsed.body, "set_digest", None) != digest:
            what = f"{place.name}: answers for another set than it was asked for"
            yield transcript.finding(parsed, what)
