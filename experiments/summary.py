"""Sums a run up from its events: one row per round, a table, and history.json."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.filesize import decimal as readable_bytes
from rich.table import Table
from rich.text import Text

from experiments.progress import Event, follow, readable_ids

Row = dict[str, Any]

PHASES = ("collect", "open", "combine", "evaluate", "total")


def history(events: Iterable[Event]) -> list[Row]:
    """Fold events into one row per round, in order of rounds.

    Round 0 is the initial model: an accuracy and no clients. Seconds ``collect``,
    ``open`` and ``combine`` belong to training; everything spent on evaluation, by the
    clients and by the server, is ``evaluate``. A round that a run did not finish has
    no ``total``.

    Args:
        events: The events of one run.

    Returns:
        Rows with the keys ``round``, ``accuracy``, ``loss``, ``perplexity`` (None but
        for tasks that predict text), ``seconds``, ``bytes_up``,
        ``bytes_down``, ``contributors``, ``dropped``, ``refused``, ``metrics`` and
        ``failed`` (None, or ``phase``, ``code``, ``error`` and ``message``).
    """
    rows: dict[int, Row] = {}
    for event in events:
        if event["event"] == "resumed":  # later rounds were lost, or are done again
            rows = {n: row for n, row in rows.items() if n <= event["round"]}
        elif "round" in event:
            number = event["round"]
            _fold(rows.setdefault(number, _empty_row(number)), event)
    return [rows[number] for number in sorted(rows)]


def _empty_row(number: int) -> Row:
    return {
        "round": number,
        "accuracy": None,
        "loss": None,
        "perplexity": None,
        "seconds": dict.fromkeys(PHASES),
        "bytes_up": 0,
        "bytes_down": 0,
        "contributors": [],
        "dropped": [],
        "refused": [],
        "metrics": {},
        "failed": None,
    }


def _fold(row: Row, event: Event) -> None:
    """Add one event of a round to the round's row."""
    match event["event"]:
        case "opened":
            _fold_opened(row, event)
        case "evaluated":
            row["accuracy"] = event["accuracy"]
            row["loss"] = event["loss"]
            row["perplexity"] = event.get("perplexity")
            _add_evaluation(row, event["seconds"])
        case "dropped":
            row["dropped"] = sorted({*row["dropped"], *event["clients"]})
        case "refused":
            refused = ("phase", "client", "by", "code", "error")
            row["refused"].append({key: event[key] for key in refused})
        case "metrics":
            row["metrics"][event["phase"]] = event["values"]
        case "round_failed":
            failed = ("phase", "code", "error", "message")
            row["failed"] = {key: event[key] for key in failed}
        case "round_finished":
            row["seconds"]["total"] = event["seconds"]
            row["bytes_up"] = event["bytes_up"]
            row["bytes_down"] = event["bytes_down"]


def _fold_opened(row: Row, event: Event) -> None:
    if event["phase"] == "evaluate":
        _add_evaluation(row, sum(event["seconds"].values()))
        return
    row["contributors"] = event["contributors"]
    row["seconds"] |= event["seconds"]


def _add_evaluation(row: Row, seconds: float) -> None:
    row["seconds"]["evaluate"] = (row["seconds"]["evaluate"] or 0.0) + seconds


def as_json(events: Iterable[Event]) -> dict[str, Any]:
    """Sum a run up for programs: what ``--json`` prints and history.json holds.

    Args:
        events: The events of one run.

    Returns:
        The facts of ``run_started``, ``rounds_opened``, ``seconds`` and ``error`` (None
        for a run that finished), the last ``accuracy`` and ``loss``, the ``warnings``,
        and the rounds of ``history`` under ``history``.
    """
    known = list(events)
    last_start = max(
        (i for i, event in enumerate(known) if event["event"] == "resumed"), default=0
    )
    started = {event["event"]: event for event in known}
    # How an earlier part of a resumed run ended does not matter any more.
    named = {event["event"]: event for event in known[last_start:]}
    rows = history(known)
    evaluated = [row for row in rows if row["accuracy"] is not None]
    facts = dict(started.get("run_started", {}))
    finished = named.get("run_finished", {})
    failed = named.get("run_failed")
    keys = ("error", "message", "hint")
    for key in ("event", "time"):
        facts.pop(key, None)
    return facts | {
        "rounds_opened": sum(1 for row in rows if row["contributors"]),
        "seconds": finished.get("seconds"),
        "accuracy": evaluated[-1]["accuracy"] if evaluated else None,
        "loss": evaluated[-1]["loss"] if evaluated else None,
        "perplexity": evaluated[-1]["perplexity"] if evaluated else None,
        "error": {key: failed.get(key) for key in keys} if failed else None,
        "warnings": [e["message"] for e in known if e["event"] == "warning"],
        "history": rows,
    }


def results_table(rows: Iterable[Row]) -> Table:
    """Lay the rounds out for people: accuracy, seconds by phase, bytes up.

    Args:
        rows: What ``history`` returns.

    Returns:
        A table of less than 80 columns; what went wrong stands below it, by round and
        by name.
    """
    shown = list(rows)
    language = any(row["perplexity"] is not None for row in shown)
    notes = [f"round {row['round']}: {note}" for row in shown if (note := _note(row))]
    table = Table(box=box.SIMPLE)
    score, title = ("perplexity", "perpl.") if language else ("accuracy", "accuracy")
    for name in ("round", title, *PHASES, "bytes up"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown:
        value = "-" if row[score] is None else f"{row[score]:.{2 if language else 4}f}"
        parts = [row["seconds"][phase] for phase in PHASES]
        seconds = ["-" if part is None else f"{part:.1f} s" for part in parts]
        number = f"{row['round']}{'!' if row['failed'] else ''}"
        bytes_up = readable_bytes(row["bytes_up"]) if row["bytes_up"] else "-"
        table.add_row(number, value, *seconds, bytes_up)
    table.caption = Text("\n".join(notes))
    table.caption_justify = "left"
    return table


def _note(row: Row) -> str:
    """Say what went wrong in a round, by name; empty when nothing did."""
    notes = []
    if row["failed"]:
        notes.append(f"{row['failed']['phase']} failed: {row['failed']['error']}")
    if row["dropped"]:
        notes.append(f"without {readable_ids(row['dropped'])}")
    return "; ".join(notes + _refusals(row["refused"]))


def _refusals(refused: list[Row]) -> list[str]:
    """Say who refused whom and why, those of one kind together."""
    groups: dict[tuple[bool, str], set[int]] = {}
    for one in refused:
        # At a hello nobody knows yet whose node it is: 0.
        who = 0 if one["phase"] == "hello" else one["client"]
        kind = (one["by"] == "server", one["code"] or one["error"])
        groups.setdefault(kind, set()).add(who)
    return [
        f"refused {_clients(who)}: {reason}"
        if is_server
        else f"{_clients(who)} refused: {reason}"
        for (is_server, reason), who in groups.items()
    ]


def _clients(client_ids: set[int]) -> str:
    known = sorted(client_ids - {0})
    plural = "s" if len(known) > 1 else ""
    names = [f"client{plural} {readable_ids(known)}"] if known else []
    return " and ".join(names + ["a node"] * (0 in client_ids))


def write_history(run_dir: Path) -> Path:
    """Write a run's ``history.json`` from its ``events.jsonl``, whole or not at all.

    Args:
        run_dir: The run's folder.

    Returns:
        The file's path.
    """
    events = follow(run_dir / "events.jsonl", stop=lambda: True)
    path = run_dir / "history.json"
    part = run_dir / "history.json.part"
    part.write_text(json.dumps(as_json(events), indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path
