"""What a whole run took: its start-up, a round, all of it, and its memory."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from rich.filesize import decimal as readable_bytes

from experiments.progress import readable_seconds

Totals = dict[str, float | int | None]


def totals(events: Iterable[Mapping[str, Any]]) -> Totals:
    """Sum up what a run took, from its events.

    Returns:
        ``startup_seconds`` until the first round starts, ``round_seconds`` of the
        median round, ``seconds`` in all, ``peak_memory`` in bytes and ``processes`` at
        that moment; None for what is not known. Of a resumed run, its last part.
    """
    known = list(events)
    starts = [i for i, e in enumerate(known) if e["event"] == "resumed"]
    known = known[starts[-1] if starts else 0 :]
    named = {event["event"]: event for event in known}
    rounds = [e for e in known if e["event"] == "round_started"]
    seconds = [e["seconds"] for e in known if e["event"] == "round_finished"]
    memory = named.get("memory", {})
    return {
        "startup_seconds": rounds[0]["time"] - known[0]["time"] if rounds else None,
        "round_seconds": median(seconds) if seconds else None,
        "seconds": known[-1]["time"] - known[0]["time"] if known else None,
        "peak_memory": memory.get("bytes") or None,
        "processes": memory.get("processes") or None,
    }


def totals_line(took: Totals) -> str:
    """Say it in a line; leaves out what is not known."""
    parts = []
    for key, name in (
        ("startup_seconds", "start-up"),
        ("round_seconds", "a round"),
        ("seconds", "in all"),
    ):
        if (seconds := took[key]) is not None:
            parts.append(f"{name} {readable_seconds(seconds)}")
    memory = took["peak_memory"]
    if memory is not None:
        size = readable_bytes(int(memory))
        parts.append(f"at most {size} in {took['processes']} processes")
    return "; ".join(parts)
