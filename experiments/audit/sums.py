"""The last check of an audit: add and open every sum again, and compare.

Multiplying ciphertexts and combining recorded partial decryptions needs no key. A
wrong partial could carry anything, so each of them must open its sum with others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations, islice

from gmpy2 import mpz

from crypto.aggregation import RoundSum
from crypto.errors import BadPartialError, CryptoError
from crypto.vector import IntVector
from crypto.wire import Broadcast, OpenRequest, PartialProof, PartialReply
from experiments.audit.messages import Result
from experiments.audit.record import Finding
from experiments.audit.rounds import entries_of
from experiments.audit.transcript import Parsed, Round, Transcript

_TRIES = 200  # sets of holders that are tried; there are 126 for 5 of 9

Partials = Mapping[int, Sequence[mpz]]


class _MissingError(Exception):
    """A sum that cannot be added again; the text says why."""


@dataclass(frozen=True)
class _Answer:
    """A holder's valid answer to the request to open a sum."""

    parsed: Parsed
    client_id: int
    partials: Sequence[mpz]


def sums_are_equal(transcript: Transcript) -> Result:
    """Check that the server opened what the clients sent, and says what it opened."""
    findings: list[Finding] = []
    opened = 0
    rounds = [p for p in transcript.rounds if p.requests or "opened" in p.events]
    for place in transcript.watch(rounds, "sums"):
        own = list(_findings(transcript, place))
        findings += own
        opened += "opened" in place.events and not own
    given_up = sum("opened" not in place.events for place in rounds)
    looked_at = f"{opened:,} of {len(rounds):,} sums opened again"
    if given_up:
        looked_at += f"; {given_up:,} given up by the server"
    return Result("sums are of what was sent", looked_at, findings)


def _findings(transcript: Transcript, place: Round) -> Iterator[Finding]:
    params = transcript.record.manifest.params
    try:
        round_sum = _add(transcript, place)
        answers = _answers(transcript, place, round_sum)
        yield from _unproven(transcript, place, round_sum, answers)
        partials = {holder: answer.partials for holder, answer in answers.items()}
        total, wrong = _open(round_sum, partials, params.threshold)
        for holder in wrong:
            what = f"{place.name}: partials do not open the sum that others' open"
            yield transcript.finding(answers[holder].parsed, what)
        is_enough = len(partials) >= params.threshold
        for what in _false_claims(place, round_sum, total, is_enough=is_enough):
            yield Finding(f"{place.name}: {what}", who="server")
    except (_MissingError, CryptoError) as error:
        yield Finding(f"{place.name}: {_said(error)}", who="server")


def _said(error: Exception) -> str:
    is_ours = isinstance(error, _MissingError)
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


def _add(transcript: Transcript, place: Round) -> RoundSum:
    """Add the uploads of the set that was opened.

    Raises:
        _MissingError: If something that it is made of was not recorded.
        CryptoError: If an upload does not hold.
    """
    broadcast = place.broadcasts[0].body if place.broadcasts else None
    if not isinstance(broadcast, Broadcast):
        raise _MissingError("a sum is opened of a round that no client was sent")
    facts = broadcast.facts(transcript.record.run_config)
    round_sum = RoundSum(transcript.record.manifest, facts)
    uploads = transcript.contributions(place)
    for client_id in _contributors(place):
        if client_id not in uploads:
            raise _MissingError(f"no upload of client {client_id} was received")
        round_sum.add(uploads[client_id])
    return round_sum


def _contributors(place: Round) -> list[int]:
    """Return who is in the sum: as the holders were asked, else as the server says."""
    request = place.requests[0].body if place.requests else None
    if isinstance(request, OpenRequest):
        return [entry.client_id for entry in entries_of(request)]
    said = place.events["opened"].get("contributors")
    if not isinstance(said, list):
        raise _MissingError("the server does not say whose sum it opened")
    return said


def _answers(
    transcript: Transcript, place: Round, round_sum: RoundSum
) -> dict[int, _Answer]:
    """Return valid answers by holder; the others are findings of other checks."""
    found: dict[int, _Answer] = {}
    for parsed in place.partials:
        client_id = transcript.client_id(parsed)
        if not isinstance(parsed.body, PartialReply) or client_id is None:
            continue
        try:
            partials = round_sum.check_partial(parsed.body, client_id)
        except CryptoError:
            continue
        found.setdefault(parsed.body.holder, _Answer(parsed, client_id, partials))
    return found


def _unproven(
    transcript: Transcript,
    place: Round,
    round_sum: RoundSum,
    answers: Mapping[int, _Answer],
) -> Iterator[Finding]:
    """Yield proofs of partials that do not hold."""
    for parsed in place.proofs:
        proof = parsed.body
        answer = answers.get(proof.holder) if isinstance(proof, PartialProof) else None
        if not isinstance(proof, PartialProof) or answer is None:
            yield transcript.finding(parsed, f"{place.name}: a proof of no answer")
            continue
        try:
            round_sum.check_partial_proof(proof, answer.client_id, answer.partials)
        except CryptoError as error:
            yield transcript.finding(parsed, f"{place.name}: {_said(error)}")


def _open(
    round_sum: RoundSum, partials: Partials, threshold: int
) -> tuple[IntVector | None, list[int]]:
    """Open the sum with every answer, since a wrong one could carry anything.

    Returns:
        The sum, None if no set of answers opens it; and the holders whose partials do
        not, together with some that do.
    """
    if not round_sum.needs_opening:
        return round_sum.total({}), []
    for chosen in islice(combinations(sorted(partials), threshold), _TRIES):
        try:
            total = round_sum.total({holder: partials[holder] for holder in chosen})
        except BadPartialError:
            continue
        others = [holder for holder in partials if holder not in chosen]
        wrong = [
            holder
            for holder in others
            if not _opens(round_sum, partials, [*chosen[1:], holder])
        ]
        return total, wrong
    return None, []


def _opens(round_sum: RoundSum, partials: Partials, holders: Sequence[int]) -> bool:
    chosen = {holder: partials[holder] for holder in holders}
    return all(
        round_sum.opens(place, chosen) for place in range(round_sum.num_ciphertexts)
    )


def _false_claims(
    place: Round, round_sum: RoundSum, total: IntVector | None, *, is_enough: bool
) -> Iterator[str]:
    """Compare the sum with what the server's log says about it."""
    opened, metrics = place.events.get("opened"), place.events.get("metrics")
    if opened is None:
        # A round that was given up; too few answers are no fault of anybody's.
        if total is None and is_enough:
            yield "enough answers were given, and they open nothing"
        return
    if total is None:
        yield "the log says that it was opened, and the answers do not open it"
        return
    if opened.get("contributors") != round_sum.contributors:
        yield "the log names other contributors than were asked for"
    if opened.get("sum") != sha256(total.astype("<i8").tobytes()).hexdigest():
        yield "the log has another sum than the uploads give"
    if metrics is None or metrics.get("values") != dict(round_sum.mean(total).metrics):
        yield "the log has other metrics than the uploads give"
