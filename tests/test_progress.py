"""A run seen from outside: the live view, the table and history.json."""

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.progress import (
    Event,
    RunView,
    follow,
    panel,
    readable_ids,
    readable_seconds,
    show,
)
from experiments.summary import as_json, history, results_table, write_history

RUN_STARTED = {
    "task": "digits",
    "protocol": "paillier",
    "clients": 5,
    "rounds": 3,
    "threshold": 4,
    "holders": 5,
    "key_bits": 3072,
    "model_parameters": 5930,
    "ciphertexts": 45,
}


def event(name: str, at: float, **facts: Any) -> Event:
    return {"time": at, "event": name, **facts}


def start(at: float = 100.0) -> Iterator[Event]:
    yield event("startup", at, step="keys", seconds=12.5)
    yield event("run_started", at + 1, **RUN_STARTED)
    yield event("clients_ready", at + 2, clients=[1, 2, 3, 4, 5], missing=[])
    yield event("evaluated", at + 3, round=0, loss=2.3, accuracy=0.1, seconds=0.5)


def good_round(number: int, at: float, accuracy: float = 0.9) -> Iterator[Event]:
    train: dict[str, Any] = {"round": number, "phase": "train"}
    clients = [1, 2, 3, 4, 5]
    yield event("round_started", at, **train, clients=clients, bytes_down=500)
    for client in clients:
        yield event("upload", at + 1, **train, client=client, bytes=1000, seconds=1.0)
    opening = {"holders": clients, "contributors": clients}
    yield event("opening", at + 1, **train, **opening)
    for client in clients:
        yield event("partial", at + 2, **train, client=client, bytes=100, seconds=0.5)
    seconds = {"collect": 2.0, "open": 1.0, "combine": 0.25}
    yield event("opened", at + 3, **train, contributors=clients, seconds=seconds)
    yield event("metrics", at + 3, **train, values={"train_loss": 0.7})
    evaluate: dict[str, Any] = {"round": number, "phase": "evaluate"}
    yield event("round_started", at + 3, **evaluate, clients=clients, bytes_down=500)
    seconds = {"collect": 0.5, "open": 0.25, "combine": 0.25}
    yield event("opened", at + 4, **evaluate, contributors=clients, seconds=seconds)
    measured = {"loss": 0.4, "accuracy": accuracy, "seconds": 0.5}
    yield event("evaluated", at + 5, round=number, **measured)
    total = {"seconds": 6.0, "bytes_up": 5500, "bytes_down": 1000}
    yield event("round_finished", at + 6, round=number, **total)


def failed_round(number: int, at: float) -> Iterator[Event]:
    train: dict[str, Any] = {"round": number, "phase": "train"}
    clients = [1, 2, 3, 4, 5]
    yield event("round_started", at, **train, clients=clients, bytes_down=500)
    yield event("upload", at + 1, **train, client=1, bytes=1000, seconds=1.0)
    refused = {"by": "server", "code": "E_SIG", "error": "InvalidSignatureError"}
    yield event("refused", at + 1, **train, client=4, **refused)
    yield event("dropped", at + 9, **train, clients=[2, 3, 5], after=30.0)
    reason = {"error": "TooFewUpdatesError", "message": "1 of 4 required updates"}
    yield event("round_failed", at + 9, **train, code="E_SET", **reason)
    total = {"seconds": 30.0, "bytes_up": 1000, "bytes_down": 500}
    yield event("round_finished", at + 10, round=number, **total)


def whole_run() -> list[Event]:
    return [
        *start(),
        *good_round(1, at=110.0, accuracy=0.8),
        *failed_round(2, at=120.0),
        *good_round(3, at=150.0, accuracy=0.9),
        event("warning", 156.0, message="clip [0.4] too small"),
        event("run_finished", 157.0, rounds_opened=2, seconds=57.0),
    ]


def plain_console() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=80)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def written(path: Path, events: list[Event]) -> Path:
    path.write_text("".join(json.dumps(e) + "\n" for e in events), encoding="utf-8")
    return path


def drawn(view: RunView, now: float) -> str:
    console = plain_console()
    console.print(panel(view, now=now))
    return printed(console)


def test_view_counts_the_clients_that_answered() -> None:
    view = RunView()
    for e in [*start(), *list(good_round(1, at=110.0))[:4]]:
        view.apply(e)
    assert (len(view.arrived), view.num_expected) == (3, 5)
    text = drawn(view, now=115.0)
    assert "training: 3/5 clients in" in text
    assert "3.0 kB" in text
    assert "15.0 s" in text
    assert "0.1000" in text


def test_refused_client_is_not_counted_and_is_shown() -> None:
    view = RunView()
    for e in [*start(), *list(failed_round(1, at=110.0))[:3]]:
        view.apply(e)
    assert view.arrived == {1}
    text = drawn(view, now=115.0)
    assert "refused client 4: E_SIG InvalidSignatureError" in text


def test_time_left_is_the_median_round_times_the_rounds_left() -> None:
    view = RunView()
    assert view.seconds_left(now=0.0) is None
    for e in [*start(), *good_round(1, at=110.0)]:
        view.apply(e)
    assert view.seconds_left(now=120.0) == 12.0
    view.apply(next(good_round(2, at=120.0)))
    assert view.seconds_left(now=124.0) == 8.0
    assert view.seconds_left(now=999.0) == 0.0


def test_unknown_events_change_nothing() -> None:
    view = RunView(started=1.0)
    assert view.apply(event("invented", 2.0, surprise=1)) is None
    assert view == RunView(started=1.0)


def test_control_characters_from_a_client_do_not_reach_the_terminal() -> None:
    view = RunView()
    facts = {"round": 1, "phase": "train", "client": 1, "error": "\x1b[2JOops\n"}
    line = view.apply(event("refused", 1.0, **facts, by="server", code=""))
    assert line == "round 1/0: refused client 1: ?[2JOops?"
    assert "\x1b" not in view.last_warning


def test_plain_output_is_one_line_per_phase() -> None:
    console = plain_console()
    show(whole_run(), console)
    lines = printed(console).splitlines()
    assert lines[0] == "keys ready after 12.5 s"
    assert "round 1/3: training on clients 1-5" in lines
    assert "round 1/3: test accuracy 0.8000, loss 0.4000" in lines
    assert "round 2/3: no answer from clients 2-3, 5 within 30 s" in lines
    assert (
        "round 2/3: train failed, nothing was opened: "
        "E_SET TooFewUpdatesError: 1 of 4 required updates"
    ) in lines
    assert "warning: clip [0.4] too small" in lines
    assert lines[-1] == "2 of 3 rounds opened in 57.0 s"
    assert "\x1b" not in printed(console)


@pytest.mark.parametrize(
    ("protocol", "ciphertexts", "words"),
    [
        ("paillier", 45, "5,930 parameters in 45 ciphertexts under a key of 3072 bits"),
        ("hybrid", 7, "5,930 parameters, one-time keys in 7 ciphertexts under a key"),
        ("plain", 0, "digits, plain, 5 clients, 3 rounds, 5,930 parameters"),
    ],
)
def test_a_run_says_first_what_travels(
    protocol: str, ciphertexts: int, words: str
) -> None:
    changed = {"protocol": protocol, "ciphertexts": ciphertexts}
    line = RunView().apply(event("run_started", 1.0, **(RUN_STARTED | changed)))
    assert line is not None
    assert words in line


def test_startup_step_that_begins_is_announced() -> None:
    console = plain_console()
    show([event("startup", 1.0, step="keys")], console)
    assert printed(console) == "keys ...\n"


def test_missing_clients_are_a_warning() -> None:
    view = RunView()
    line = view.apply(event("clients_ready", 1.0, clients=[1, 3], missing=[2]))
    assert line == view.last_warning == "clients 1, 3 are ready; missing: 2"


def test_terminal_shows_a_panel_and_keeps_only_what_matters() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    console.is_interactive = True
    view = show(whole_run(), console)
    text = printed(console)
    assert "digits, paillier, 5 clients" in text
    assert "TooFewUpdatesError" in text
    assert "training on clients" not in text
    assert view.accuracy == 0.9


def test_follow_waits_for_the_rest_of_a_half_written_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    whole = json.dumps(event("warning", 1.0, message="whole")) + "\n"
    path.write_text(whole + whole[:12], encoding="utf-8")
    assert len(list(follow(path, stop=lambda: True))) == 1
    with path.open("a", encoding="utf-8") as file:
        file.write(whole[12:])
    assert len(list(follow(path, stop=lambda: True))) == 2


def test_follow_sees_what_is_written_later_and_ends_with_the_run(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.jsonl"
    written_events = whole_run()

    def write() -> None:
        for e in written_events:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(e) + "\n")
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    seen = list(follow(path, stop=lambda: False))
    writer.join()
    assert seen == written_events


def test_follow_ends_when_told_although_nothing_was_written(tmp_path: Path) -> None:
    assert list(follow(tmp_path / "events.jsonl", stop=lambda: True)) == []


@pytest.mark.parametrize("line", ['{"time": 1.0, {"time"', '"text"', '{"time": 1.0}'])
def test_unreadable_line_becomes_a_warning(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    (seen,) = follow(path, stop=lambda: True)
    assert seen["event"] == "warning"
    assert seen["message"] == "line 1 of events.jsonl is unreadable and left out"


def test_history_has_a_row_per_round() -> None:
    rows = history(whole_run())
    assert [row["round"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["accuracy"] == 0.1
    assert rows[1]["seconds"] == {
        "collect": 2.0,
        "open": 1.0,
        "combine": 0.25,
        "evaluate": 1.5,  # 1.0 by the clients, 0.5 by the server
        "total": 6.0,
    }
    assert (rows[1]["bytes_up"], rows[1]["bytes_down"]) == (5500, 1000)
    assert rows[1]["contributors"] == [1, 2, 3, 4, 5]
    assert rows[1]["metrics"] == {"train": {"train_loss": 0.7}}
    assert rows[1]["failed"] is None


def test_history_names_why_a_round_failed() -> None:
    row = history(whole_run())[2]
    assert row["failed"] == {
        "phase": "train",
        "code": "E_SET",
        "error": "TooFewUpdatesError",
        "message": "1 of 4 required updates",
    }
    assert row["contributors"] == []
    assert row["dropped"] == [2, 3, 5]
    assert row["refused"] == [
        {
            "phase": "train",
            "client": 4,
            "by": "server",
            "code": "E_SIG",
            "error": "InvalidSignatureError",
        }
    ]


def test_table_shows_failed_rounds_by_name() -> None:
    console = plain_console()
    console.print(results_table(history(whole_run())))
    text = printed(console)
    assert (
        "round 2: train failed: TooFewUpdatesError; without 2-3, 5; "
        "refused client 4: E_SIG"
    ) in " ".join(text.split())
    assert "0.9000" in text
    assert "5.5 kB" in text


def test_table_of_a_clean_run_has_no_notes() -> None:
    table = results_table(history([*start(), *good_round(1, at=110.0)]))
    assert str(table.caption) == ""


def refusal_of(client: int | None, *, by: str, phase: str = "train") -> Event:
    reason = {"code": "E_SET", "error": "DecryptionRefusedError", "message": "a node"}
    return event("refused", 1.0, round=1, phase=phase, client=client, by=by, **reason)


def test_table_says_who_refused_whom_and_why() -> None:
    refusals = [refusal_of(i, by=f"client {i}") for i in (1, 2, 3)]
    refusals.append(refusal_of(5, by="server"))
    refusals.append(refusal_of(None, by="server", phase="hello"))
    caption = str(results_table(history(refusals)).caption)
    assert caption == (
        "round 1: clients 1-3 refused: E_SET; refused client 5 and a node: E_SET"
    )


def test_lines_say_who_refused_whom_and_why() -> None:
    view = RunView(num_rounds=3)
    lines = [
        view.apply(refusal_of(2, by="client 2")),
        view.apply(refusal_of(2, by="server")),
        view.apply(refusal_of(2, by="server", phase="hello")),
    ]
    assert lines == [
        "round 1/3: client 2 refused: E_SET DecryptionRefusedError",
        "round 1/3: refused client 2: E_SET DecryptionRefusedError",
        "round 1/3: a node",
    ]


def test_waiting_for_clients_is_shown_before_the_round_starts() -> None:
    view = RunView(num_rounds=3)
    facts: dict[str, Any] = {"clients": [1, 2], "needed": 4, "seconds": 30.0}
    line = view.apply(event("waiting", 1.0, round=2, **facts))
    assert line == view.last_warning
    assert line == (
        "round 2/3: 2 of 4 needed clients are there, waiting up to 30 s for more"
    )
    assert "waiting for clients: 2/4" in drawn(view, now=2.0)


def test_late_and_doubted_key_holders_are_shown() -> None:
    view = RunView(num_rounds=3)
    train: dict[str, Any] = {"round": 1, "phase": "train"}
    lines = [
        view.apply(event("late", 1.0, **train, clients=[3], after=10.0)),
        view.apply(event("proving", 1.0, **train, holders=[1, 2, 3, 4])),
    ]
    assert lines == [
        "round 1/3: no partial decryption from clients 3 within 10 s, asking others",
        "round 1/3: answers do not open the sum; asking key holders 1-4 for proofs",
    ]


def test_json_of_a_finished_run() -> None:
    summary = as_json(whole_run())
    assert summary["task"] == "digits"
    assert summary["rounds_opened"] == 2
    assert summary["accuracy"] == 0.9
    assert summary["error"] is None
    assert summary["warnings"] == ["clip [0.4] too small"]
    assert len(summary["history"]) == 4


def test_json_of_a_failed_run_says_why() -> None:
    reason = {"error": "ClientsMissingError", "message": "1 of 5", "hint": "see logs/"}
    summary = as_json([*start(), event("run_failed", 130.0, **reason)])
    assert summary["error"] == reason
    assert summary["seconds"] is None


def test_history_file_is_written_whole(tmp_path: Path) -> None:
    written(tmp_path / "events.jsonl", whole_run())
    path = write_history(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content == as_json(whole_run())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "events.jsonl",
        "history.json",
    ]


@pytest.mark.parametrize(
    ("client_ids", "text"),
    [([], "none"), ([3], "3"), ([1, 2], "1-2"), ([7, 1, 2, 3, 4], "1-4, 7")],
)
def test_readable_ids(client_ids: list[int], text: str) -> None:
    assert readable_ids(client_ids) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.16, "4.2 s"), (59.4, "59.4 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s")],
)
def test_readable_seconds(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text
