"""What each party of a run saw and did not see, in words and with the run's numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.progress import readable_ids

if TYPE_CHECKING:
    from experiments.report.record import RunRecord


class Party(NamedTuple):
    """One row of the table.

    Attributes:
        name: Who.
        saw: What it saw or held.
        not_seen: What it did not see, and why.
    """

    name: str
    saw: str
    not_seen: str


@dataclass(frozen=True)
class Counts:
    """What went over the wire, from the run's events.

    Attributes:
        updates: Uploads that hold an update.
        results: Uploads that hold results of an evaluation.
        sums: Sums of each phase that were opened, by its name.
        models: Models that went out, by client.
        partials: Answers with partial decryptions, by key holder's client id.
    """

    updates: int
    results: int
    sums: Counter[str]
    models: Counter[int]
    partials: Counter[int]


def count(record: RunRecord) -> Counts:
    """Count what the events say was sent."""
    uploads = Counter(e["phase"] for e in record.events if e["event"] == "upload")
    models: Counter[int] = Counter()
    for event in record.events:
        if event["event"] == "round_started" and event.get("bytes_down"):
            models.update(event["clients"])
    return Counts(
        updates=uploads["train"],
        results=uploads["evaluate"],
        sums=Counter(e["phase"] for e in record.events if e["event"] == "opened"),
        models=models,
        partials=Counter(e["client"] for e in record.events if e["event"] == "partial"),
    )


def parties(record: RunRecord) -> list[Party]:
    """Describe the parties of a run; empty if the run never started."""
    facts = record.summary
    if "protocol" not in facts:
        return []
    counts = count(record)
    if facts["protocol"] == "plain":
        return [_client(facts, counts), _open_server(counts), _you()]
    return [
        _client(facts, counts),
        _key_holder(record, counts),
        _server(facts, counts),
        _you(),
    ]


def helpers(record: RunRecord) -> str:
    """Say how often each key holder helped to open a sum; empty if none did."""
    partials = count(record).partials
    seats: dict[int, list[int]] = {}
    for client, times in partials.items():
        seats.setdefault(times, []).append(client)
    return "; ".join(
        f"{_plural(len(clients), 'client')} {readable_ids(clients)}: "
        f"{times} {_plural(times, 'time')}"
        for times, clients in sorted(seats.items(), reverse=True)
    )


def _client(facts: dict[str, Any], counts: Counts) -> Party:
    times = sorted(counts.models.values())
    most = times[-1] if times else 0
    up_to = "up to " if times and times[0] != most else ""
    return Party(
        f"Each of the {facts['clients']} clients",
        f"its own examples, and the model, which went out to it {up_to}{most} "
        f"{_plural(most, 'time')}",
        "any example, update, example count, loss or accuracy of another client",
    )


def _key_holder(record: RunRecord, counts: Counts) -> Party:
    facts = record.summary
    needed = record.config.get("parameters", {}).get("min_contributors")
    sums = f"sums of at least {needed} clients" if needed else "a sum of enough clients"
    return Party(
        f"Each of the {facts['holders']} key holders, "
        f"clients {readable_ids(range(1, facts['holders'] + 1))}",
        f"who is in a sum and everybody's ciphertexts of it, which it checks and adds "
        f"itself; the committee gave {sum(counts.partials.values())} partial "
        f"decryptions for {_sums(counts)}",
        f"what is inside: one share opens nothing, {facts['threshold']} of "
        f"{facts['holders']} together open {sums}, and an honest one never helps with "
        f"two different sets of clients in one phase of a round",
    )


def _server(facts: dict[str, Any], counts: Counts) -> Party:
    what = "one-time keys" if facts["protocol"] == "hybrid" else "updates"
    total = counts.updates * facts["ciphertexts"]
    return Party(
        "The server",
        f"{counts.updates + counts.results} encrypted uploads, {counts.updates} of "
        f"them for training with {facts['ciphertexts']:,} ciphertexts of {what} each, "
        f"{total:,} in all; who sent them, when and how large; {_sums(counts)}, which "
        f"is all it could read of them",
        "any client's update, example count, loss or accuracy; any share of the key",
    )


def _open_server(counts: Counts) -> Party:
    return Party(
        "The server",
        f"everything: {counts.updates} updates and {counts.results} evaluation "
        f"results of single clients, in the clear; this run is a baseline",
        "the clients' examples",
    )


def _you() -> Party:
    return Party(
        "You, who ran it on one machine",
        "everything: the data of all clients and every secret were on your disk",
        "nothing; on machines of their own, the clients keep these for themselves",
    )


def _sums(counts: Counts) -> str:
    train, evaluate = counts.sums["train"], counts.sums["evaluate"]
    total = train + evaluate
    return (
        f"{total} opened {_plural(total, 'sum')} ({train} of updates, {evaluate} of "
        f"evaluation results)"
    )


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"
