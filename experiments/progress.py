"""Shows a run while it happens, from its events.jsonl and from nothing else.

``follow`` tails the file, ``RunView`` folds events into what is known now, and
``show`` draws that: a live panel in a terminal, one plain line per phase elsewhere.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.filesize import decimal as readable_bytes
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

Event = dict[str, Any]

POLL_SECONDS = 0.1
LAST_EVENTS = frozenset({"run_finished", "run_failed"})
# What stays on the screen above the live panel: the rest is in the panel already.
LASTING_EVENTS = frozenset(
    {
        *("dropped", "late", "proving", "refused", "round_failed", "waiting"),
        *("warning", "note", "evaluated", "resumed", "stopped_early", *LAST_EVENTS),
    }
)
DOING = {"train": "training", "evaluate": "evaluating"}


def follow(path: Path, stop: Callable[[], bool]) -> Iterator[Event]:
    """Yield the events of a run as they are written, until its last one.

    A last line without its newline is still being written and waits for the rest. A
    complete line that cannot be read (two writers, one killed) becomes a warning.

    Args:
        path: The run's ``events.jsonl``; it may not exist yet.
        stop: Asked between reads; when true, what is written so far is the end. With
            ``lambda: True`` this reads a finished file.

    Yields:
        One event, with at least ``time`` and ``event``.
    """
    pending = b""
    offset = 0
    number = 0
    ended = False
    while True:
        # Asked before reading, so nothing written before the stop is missed.
        is_over = stop()
        if path.exists():
            with path.open("rb") as file:
                file.seek(offset)
                pending += file.read()
                offset = file.tell()
        *lines, pending = pending.split(b"\n")
        for line in lines:
            number += 1
            event = _parse(line, number=number)
            ended = event["event"] in LAST_EVENTS
            yield event
        # An end with something after it is that of a run which was resumed.
        if is_over or ended:
            return
        time.sleep(POLL_SECONDS)


def _parse(line: bytes, *, number: int) -> Event:
    """Turn one complete line into an event, or into a warning about itself."""
    try:
        event: Event = json.loads(line)
        # A line that is JSON but no event fails here.
        event = {"time": float(event["time"]), "event": str(event["event"]), **event}
    except (ValueError, TypeError, KeyError):
        message = f"line {number} of events.jsonl is unreadable and left out"
        return {"time": time.time(), "event": "warning", "message": message}
    return event


@dataclass
class RunView:
    """What is known about a run after the events applied so far.

    Times are unix seconds as written in the events, durations are seconds.
    """

    title: str = "unseen"
    started: float = 0.0
    num_clients: int = 0
    num_rounds: int = 0
    round: int = 0
    round_started: float = 0.0
    rounds_done: int = 0
    activity: str = "starting"
    num_expected: int = 0
    arrived: set[int] = field(default_factory=set)
    bytes_up: int = 0
    round_seconds: list[float] = field(default_factory=list)
    accuracy: float | None = None
    perplexity: float | None = None
    last_warning: str = ""

    def apply(self, event: Event) -> str | None:
        """Fold one event in.

        Args:
            event: One event of the run; unknown names change nothing.

        Returns:
            A line of plain text about the event, if it deserves one.
        """
        self.started = self.started or event["time"]
        handler = getattr(self, f"_on_{event['event']}", None)
        line: str | None = handler(event) if handler else None
        return _printable(line) if line else None

    def seconds_left(self, now: float) -> float | None:
        """Estimate the time to the end of the run; None before a round is done."""
        if not self.round_seconds:
            return None
        rounds_left = max(0, self.num_rounds - self.rounds_done)
        expected = statistics.median(self.round_seconds) * rounds_left
        in_this_round = now - self.round_started if self.round > self.rounds_done else 0
        return max(0.0, expected - in_this_round)

    def _label(self, event: Event) -> str:
        if event["round"] == 0:
            return "before training"
        return f"round {event['round']}/{self.num_rounds}"

    def _wait_for(self, activity: str, num_expected: int) -> None:
        self.activity = activity
        self.num_expected = num_expected
        self.arrived = set()

    def _warn(self, message: str) -> str:
        self.last_warning = _printable(message)
        return message

    def _on_startup(self, event: Event) -> str:
        if "seconds" not in event:  # the step begins
            self.activity = f"preparing {event['step']}"
            return f"{event['step']} ..."
        self.activity = "starting"
        return f"{event['step']} ready after {readable_seconds(event['seconds'])}"

    def _on_run_started(self, event: Event) -> str:
        self.num_clients = event["clients"]
        self.num_rounds = event["rounds"]
        self.title = f"{event['task']}, {event['protocol']}, {self.num_clients} clients"
        line = (
            f"{self.title}, {self.num_rounds} rounds, "
            f"{event['model_parameters']:,} parameters"
        )
        if not event["ciphertexts"]:
            return line
        # In hybrid the ciphertexts hold a client's one-time key, not its update.
        sealed = ", one-time keys" if event["protocol"] == "hybrid" else ""
        return (
            f"{line}{sealed} in {event['ciphertexts']:,} ciphertexts "
            f"under a key of {event['key_bits']} bits; "
            f"{event['threshold']} of {event['holders']} key holders open a sum"
        )

    def _on_resumed(self, event: Event) -> str:
        self.rounds_done = event["round"]
        return f"going on after round {event['round']}"

    def _on_note(self, event: Event) -> str:
        return str(event["message"])

    def _on_stopped_early(self, event: Event) -> str:
        return (
            f"no better model since round {event['best']}, which is kept in "
            f"best.safetensors: the run ends"
        )

    def _on_clients_ready(self, event: Event) -> str:
        line = f"clients {readable_ids(event['clients'])} are ready"
        if event["missing"]:
            return self._warn(f"{line}; missing: {readable_ids(event['missing'])}")
        return line

    def _on_round_started(self, event: Event) -> str:
        if event["round"] != self.round:
            self.round = event["round"]
            self.round_started = event["time"]
        doing = DOING[event["phase"]]
        self._wait_for(doing, len(event["clients"]))
        clients = readable_ids(event["clients"])
        return f"{self._label(event)}: {doing} on clients {clients}"

    def _on_upload(self, event: Event) -> None:
        self.arrived.add(event["client"])
        self.bytes_up += event["bytes"]

    _on_partial = _on_upload

    def _on_opening(self, event: Event) -> str:
        self._wait_for("opening", len(event["holders"]))
        holders = readable_ids(event["holders"])
        return (
            f"{self._label(event)}: asking key holders {holders} to open "
            f"the sum of {len(event['contributors'])} clients"
        )

    def _on_opened(self, event: Event) -> str:
        self._wait_for("working on the sum", 0)
        parts = [f"{name} {part:.1f} s" for name, part in event["seconds"].items()]
        return (
            f"{self._label(event)}: opened the {event['phase']} sum of "
            f"{len(event['contributors'])} clients ({', '.join(parts)})"
        )

    def _on_proving(self, event: Event) -> str:
        self._wait_for("checking key holders", 0)
        return self._warn(
            f"{self._label(event)}: answers do not open the sum; asking key holders "
            f"{readable_ids(event['holders'])} for proofs"
        )

    def _on_late(self, event: Event) -> str:
        return self._warn(
            f"{self._label(event)}: no partial decryption from clients "
            f"{readable_ids(event['clients'])} within {event['after']:.0f} s, "
            f"asking others"
        )

    def _on_waiting(self, event: Event) -> str:
        self._wait_for("waiting for clients", event["needed"])
        self.arrived = set(event["clients"])
        return self._warn(
            f"{self._label(event)}: {len(self.arrived)} of {event['needed']} needed "
            f"clients are there, waiting up to {event['seconds']:.0f} s for more"
        )

    def _on_refused(self, event: Event) -> str:
        if event["phase"] == "hello":  # nobody knows yet whose node it is
            return self._warn(f"{self._label(event)}: {event['message']}")
        who = f"{event['by']} refused"
        if event["by"] == "server":
            who = f"refused client {event['client']}"
        return self._warn(f"{self._label(event)}: {who}: {_named(event)}")

    def _on_dropped(self, event: Event) -> str:
        return self._warn(
            f"{self._label(event)}: no answer from clients "
            f"{readable_ids(event['clients'])} within {event['after']:.0f} s"
        )

    def _on_round_failed(self, event: Event) -> str:
        return self._warn(
            f"{self._label(event)}: {event['phase']} failed, nothing was opened: "
            f"{_named(event)}: {event['message']}"
        )

    def _on_warning(self, event: Event) -> str:
        return f"warning: {self._warn(event['message'])}"

    def _on_evaluated(self, event: Event) -> str:
        self.accuracy = event["accuracy"]
        self.perplexity = event.get("perplexity")
        perplexity = f"perplexity {self.perplexity:.2f}, " if self.perplexity else ""
        return (
            f"{self._label(event)}: test {perplexity}"
            f"accuracy {event['accuracy']:.4f}, loss {event['loss']:.4f}"
        )

    def _on_round_finished(self, event: Event) -> str:
        self.rounds_done = event["round"]
        self.round_seconds.append(event["seconds"])
        self._wait_for("between rounds", 0)
        line = (
            f"{self._label(event)}: done in {readable_seconds(event['seconds'])}, "
            f"{readable_bytes(event['bytes_up'])} up"
        )
        left = self.seconds_left(event["time"])
        return f"{line}, {readable_seconds(left)} left" if left else line

    def _on_run_finished(self, event: Event) -> str:
        self._wait_for("finished", 0)
        return (
            f"{event['rounds_opened']} of {self.num_rounds} rounds opened "
            f"in {readable_seconds(event['seconds'])}"
        )

    def _on_run_failed(self, event: Event) -> str:
        self._wait_for("failed", 0)
        return f"run failed: {event['error']}: {event['message']}"


def _named(event: Event) -> str:
    """Name an error: the protocol's code, if it has one, and the class."""
    return " ".join(part for part in (event["code"], event["error"]) if part)


def panel(view: RunView, *, now: float) -> RenderableType:
    """Draw a run's state as a panel of at most six lines.

    Args:
        view: What is known about the run.
        now: Unix seconds; passed in so that drawing is a pure function.

    Returns:
        Something rich can print.
    """
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    if view.num_rounds:
        bar = ProgressBar(total=view.num_rounds, completed=view.rounds_done, width=40)
        body.add_row(f"round {view.round}/{view.num_rounds}", bar)
    activity = view.activity
    if view.num_expected:
        activity += f": {len(view.arrived)}/{view.num_expected} clients in"
    body.add_row("phase", Spinner("dots", text=Text(activity)))
    body.add_row("bytes up", readable_bytes(view.bytes_up))
    left = view.seconds_left(now)
    elapsed = readable_seconds(now - view.started) if view.started else ""
    about = f", about {readable_seconds(left)} left" if left is not None else ""
    body.add_row("time", elapsed + about)
    if view.accuracy is not None:
        body.add_row("accuracy", f"{view.accuracy:.4f}")
    if view.perplexity is not None:
        body.add_row("perplexity", f"{view.perplexity:.2f}")
    if view.last_warning:
        body.add_row("warning", Text(view.last_warning, style="yellow"))
    return Panel(body, title=Text(view.title), title_align="left")


def show(events: Iterable[Event], console: Console) -> RunView:
    """Show a run until its events end.

    Args:
        events: The run's events in order, usually ``follow(...)``.
        console: Where to; a live panel when it is interactive, plain lines when not.

    Returns:
        What is known about the run at its end.
    """
    view = RunView()
    if not console.is_interactive:
        for event in events:
            _print_line(view.apply(event), console)
        return view
    with Live(
        console=console,
        get_renderable=lambda: panel(view, now=time.time()),
        transient=True,
    ):
        for event in events:
            line = view.apply(event)
            if event["event"] in LASTING_EVENTS:
                _print_line(line, console)
    return view


def _print_line(line: str | None, console: Console) -> None:
    if line:
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Replace control characters: parts of an event come from other machines."""
    return "".join(char if char.isprintable() else "?" for char in text)


def readable_seconds(seconds: float) -> str:
    """Write a duration for people: ``4.2 s``, ``2 min 05 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def readable_ids(client_ids: Sequence[int]) -> str:
    """Write client ids for people, runs of them shortened: ``1-4, 7``."""
    ranges: list[list[int]] = []
    for client_id in sorted(client_ids):
        if ranges and client_id == ranges[-1][1] + 1:
            ranges[-1][1] = client_id
        else:
            ranges.append([client_id, client_id])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges) or "none"
