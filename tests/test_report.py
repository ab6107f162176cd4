"""The report of a run: its folder, its page, its charts, its command."""

import fcntl
import json
import math
import os
import re
import shlex
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from experiments.cli import app
from experiments.errors import SettingsError
from experiments.options import run_settings
from experiments.progress import Event
from experiments.report import attendance, charts, parties, repeat
from experiments.report.page import FILE, render
from experiments.report.record import read_run
from experiments.report.tensorboard import write_tensorboard
from experiments.report.views import write_views
from experiments.settings import RunSettings
from tests.report_run import (
    CIPHERTEXTS,
    PARAMETERS,
    Story,
    finished_run,
    settings_of,
    write_config,
)

SECTIONS = {
    *("result", "time-and-bytes", "attendance", "parties", "samples", "failures"),
    "repeat",
}


class _Page(HTMLParser):
    """Collects what a page refers to, its ids and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.text = ""
        self.feed(html)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = {name: value or "" for name, value in attrs}
        self.ids += [named["id"]] if "id" in named else []
        sources = ("src", "href", "xlink:href", "action", "data")
        self.references += [named[name] for name in sources if name in named]

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(folder: Path) -> _Page:
    return _Page(render(read_run(folder)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "run")


# The folder of a run.


def test_a_folder_without_events_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no events\.jsonl") as caught:
        read_run(tmp_path)
    assert caught.value.hint


def test_a_half_written_last_event_is_left_out(run: Path) -> None:
    before = read_run(run)
    with (run / "events.jsonl").open("a") as file:
        file.write('{"time": 1800000')
    assert read_run(run).events == before.events


def test_an_event_of_another_version_is_refused_by_name(run: Path) -> None:
    Story(run).tell("opened", round=9)
    with pytest.raises(SettingsError, match="cannot be read: KeyError 'phase'"):
        read_run(run)


def test_rounds_that_a_resumed_run_did_again_count_once(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    story.round(1)
    story.round(2, without=[5])
    story.tell("run_failed", error="RunError", message="gone", hint="")
    story.tell("resumed", round=1)
    story.round(2)
    record = read_run(tmp_path)
    assert parties.count(record).sums == {"train": 2, "evaluate": 2}
    assert "dropped" not in {event["event"] for event in record.events}


@pytest.mark.parametrize(
    ("last", "state"),
    [
        ({"event": "run_finished", "rounds_opened": 1, "seconds": 4.0}, "finished"),
        ({"event": "run_failed", "error": "RunError"}, "failed: RunError"),
        ({"event": "run_failed", "error": "Interrupted"}, "stopped"),
        ({"event": "waiting for a minute"}, "running?"),
    ],
)
def test_a_run_says_how_it_ended(
    tmp_path: Path, last: dict[str, Any], state: str
) -> None:
    ended = {"time": time.time(), "message": "", "hint": "", **last}
    (tmp_path / "events.jsonl").write_text(json.dumps(ended) + "\n")
    assert read_run(tmp_path).state == state


def test_a_run_without_an_end_that_is_old_was_cut_off(tmp_path: Path) -> None:
    old = {"time": time.time() - 24 * 3600, "event": "startup", "step": "keys"}
    (tmp_path / "events.jsonl").write_text(json.dumps(old) + "\n")
    assert read_run(tmp_path).state == "cut off"


def test_a_run_whose_launcher_is_at_work_is_running(tmp_path: Path) -> None:
    old = {"time": 1.0, "event": "startup", "step": "keys"}
    (tmp_path / "events.jsonl").write_text(json.dumps(old) + "\n")
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert read_run(tmp_path).state == "running"
    finally:
        os.close(handle)


# The page.


def test_the_page_needs_nothing_but_itself(run: Path) -> None:
    page = _page(run)
    assert "script" not in page.tags
    assert all(link.startswith(("#", "data:")) for link in page.references)
    assert "@import" not in render(read_run(run))


def test_the_page_has_every_section_and_no_id_twice(run: Path) -> None:
    ids = Counter(_page(run).ids)
    assert set(ids) >= SECTIONS
    assert set(ids.values()) == {1}


def test_a_run_of_which_nothing_is_there_yet_has_a_page_that_says_so(
    tmp_path: Path,
) -> None:
    (tmp_path / "events.jsonl").touch()
    page = _page(tmp_path)
    for sentence in (
        "No round has been evaluated.",
        "No round ended.",
        "No client was asked to train.",
        "The run ended before its first message.",
        "the settings are not known",
    ):
        assert sentence in page.text
    assert set(page.ids) >= SECTIONS


def test_a_damaged_config_leaves_only_its_section_out(run: Path) -> None:
    (run / "config.json").write_text('{"settings": {}')
    page = _page(run)
    assert "no readable config.json" in page.text
    assert "3 of 3" in page.text


def test_text_from_other_machines_is_shown_and_never_run(run: Path) -> None:
    Story(run).tell("warning", message="<script>alert(1)</script>")
    page = _page(run)
    assert "warning: <script>alert(1)</script>" in page.text
    assert "script" not in page.tags


@pytest.mark.parametrize(
    ("protocol", "banner"),
    [
        ("paillier", "INSECURE: a trial key of 512 bits"),
        ("plain", "the server saw every client's update in the clear"),
    ],
)
def test_a_run_that_protects_nothing_is_marked(
    tmp_path: Path, protocol: str, banner: str
) -> None:
    folder = finished_run(tmp_path / "run", protocol=protocol)
    assert banner in _page(folder).text


def test_a_failed_run_names_its_error_and_what_to_do(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    story.tell(
        "round_failed",
        round=1,
        phase="train",
        code="E_SET",
        error="TooFewUpdatesError",
        message="round 1 has 3 of 4 needed updates",
    )
    story.tell("run_failed", error="RunError", message="too many", hint="see the logs")
    text = _page(tmp_path).text
    assert "E_SET TooFewUpdatesError: round 1 has 3 of 4 needed updates" in text
    assert "RunError: too many see the logs" in text


def test_bytes_are_compared_with_float32_models_of_the_clients_asked(
    run: Path,
) -> None:
    ratio = 3 * 200_000 / (3 * 5 * 4 * PARAMETERS)
    assert f"Up went {ratio:.2f} times the model as float32" in _page(run).text


def test_a_thousand_rounds_of_five_hundred_clients_stay_one_small_page(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path)
    lines = []
    for number in range(1, 1001):
        clients = [(number * 7 + i * 25) % 500 + 1 for i in range(20)]
        facts = {"time": 1.0 + number, "round": number}
        phase = facts | {"phase": "train"}
        seconds = {"collect": 1.0, "open": 1.0, "combine": 1.0}
        lines += [
            phase | {"event": "round_started", "clients": clients, "bytes_down": 1},
            phase
            | {"event": "opened", "contributors": clients[1:], "seconds": seconds},
            phase | {"event": "dropped", "clients": clients[:1], "after": 1.0},
            facts
            | {"event": "round_finished", "bytes_up": 1, "bytes_down": 1}
            | {"seconds": 4.0},
        ]
    story.start(clients=500, rounds=1000)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
    assert len(render(read_run(tmp_path))) < 2_000_000


# Charts.


def test_a_loss_that_is_not_finite_leaves_a_gap(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    story.round(1, loss=math.nan)
    story.round(2, loss=math.inf)
    rows = read_run(tmp_path).rows
    chart = charts.line_chart(rows, "loss")
    assert chart
    assert not re.search("nan|inf", chart, re.IGNORECASE)
    assert not charts.line_chart(rows[1:], "loss")


def test_a_chart_is_coloured_by_the_page_and_keeps_its_text(run: Path) -> None:
    chart = charts.seconds_chart(read_run(run).rows)
    assert "var(--blue)" in chart
    assert "#0102" not in chart
    assert ">collect</text>" in chart


# Who took part.


def test_the_squares_say_what_came_of_every_request(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    story.phase(1, "train", without=[4])
    refused = {"by": "server", "code": "E_PROOF", "error": "BadProofError"}
    story.tell("refused", round=1, phase="train", client=5, **refused)
    facts = {"round": 2, "phase": "train"}
    story.tell("round_started", clients=[1, 2], bytes_down=1, **facts)
    story.tell("upload", client=1, bytes=1, seconds=1.0, **facts)
    seen = attendance.attendance(read_run(tmp_path).events)
    states = {key: attendance.MEANINGS[state] for key, state in seen.states.items()}
    assert states == {
        (1, 1): "in the opened sum",
        (2, 1): "in the opened sum",
        (3, 1): "in the opened sum",
        (4, 1): "no answer in time",
        (5, 1): "refused",
        (1, 2): "delivered, nothing opened",
        (2, 2): "asked, nothing more is known",
    }
    title = "<title>round 1, client 5: server refused: E_PROOF BadProofError</title>"
    assert title in attendance.grid(seen)
    assert len(attendance.legend(seen)) == len(set(states.values()))


# The parties.


def test_the_parties_are_told_with_the_numbers_of_the_run(run: Path) -> None:
    told = {party.name: party for party in parties.parties(read_run(run))}
    saw = told["The server"].saw
    assert saw.startswith("30 encrypted uploads, 15 of them for training with 45")
    assert f"{15 * CIPHERTEXTS} in all" in saw
    assert "6 opened sums (3 of updates, 3 of evaluation results)" in saw
    holder = told["Each of the 5 key holders, clients 1-5"]
    assert "24 partial decryptions" in holder.saw
    assert "4 of 5 together open sums of at least 4 clients" in holder.not_seen
    assert "went out to it 6 times" in told["Each of the 5 clients"].saw


def test_the_server_of_a_plain_run_saw_every_update(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", protocol="plain", ciphertexts=0)
    told = {party.name: party for party in parties.parties(read_run(folder))}
    assert "15 updates and 15 evaluation results" in told["The server"].saw
    assert not [name for name in told if "key holder" in name]


def test_the_ciphertexts_of_a_hybrid_run_hold_one_time_keys(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", protocol="hybrid", ciphertexts=7)
    told = {party.name: party for party in parties.parties(read_run(folder))}
    assert "7 ciphertexts of one-time keys each" in told["The server"].saw


# The command.


@pytest.mark.parametrize(
    "settings",
    [
        settings_of(),
        settings_of(key_bits=3072, seed=0),
        settings_of(
            task="spam",
            data=Path("my data/spam"),
            partition="dirichlet:0.5",
            learning_rate=0.01,
            strategy="fedadam",
            local_epochs=3,
            record=True,
            mixed_precision=True,
        ),
    ],
)
def test_the_command_makes_the_same_settings_again(
    tmp_path: Path, settings: RunSettings
) -> None:
    write_config(tmp_path, settings)
    config = json.loads((tmp_path / "config.json").read_text())
    words = shlex.split(repeat.command(config))
    assert words[:2] == ["unseen", "run"]
    commands = typer.main.get_command(app)
    command = commands.get_command(typer.Context(commands), "run")  # type: ignore[attr-defined]
    params = command.make_context("run", words[2:]).params
    params["data"] = params["data"] and Path(params["data"])  # as typer hands it on
    assert run_settings(params) == settings


# Everything at once.


def test_views_are_made_whole_and_again(run: Path) -> None:
    for _ in range(2):
        assert write_views(run) == run / FILE
    assert json.loads((run / "history.json").read_text())["rounds_opened"] == 3
    assert not list(run.glob("*.part"))


def test_a_folder_that_cannot_be_written_is_one_error(run: Path) -> None:
    (run / "report.html.part").mkdir()
    with pytest.raises(SettingsError, match="cannot write"):
        write_views(run)


def test_tensorboard_reads_every_round_once(run: Path) -> None:
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    for _ in range(2):
        write_views(run)
    read = accumulators.EventAccumulator(str(run / "tensorboard")).Reload()
    accuracy = {s.step: s.value for s in read.Scalars("test/accuracy")}
    assert accuracy == pytest.approx({0: 0.1, 1: 0.5, 2: 0.75, 3: 1 - 0.5 / 3})
    assert [s.step for s in read.Scalars("clients-train/train_loss")] == [1, 2, 3]
    assert [s.value for s in read.Scalars("bytes/up")] == [200_000.0] * 3
    assert {"seconds-train/open", "seconds/round"} <= set(read.Tags()["scalars"])


def test_tensorboard_sees_a_run_while_it_goes_on(tmp_path: Path) -> None:
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    board = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))

    def seen() -> list[tuple[int, float]]:
        return [(s.step, s.value) for s in board.Reload().Scalars("test/accuracy")]

    def events() -> Iterator[Event]:
        for number in range(3):
            head = {"event": "evaluated", "time": 1e9 + number, "round": number}
            yield head | {"accuracy": number / 4}
            assert len(seen()) == max(number + 1, times_written * 3)

    times_written = 0
    write_tensorboard(tmp_path, events())
    times_written = 1  # and again, as at the end of a run: a board shows nothing twice
    write_tensorboard(tmp_path, events())
    assert seen() == [(0, 0.0), (1, 0.25), (2, 0.5)]


def test_run_without_scalars_has_no_tensorboard_folder(tmp_path: Path) -> None:
    write_tensorboard(tmp_path, [{"event": "run_failed", "time": 1.0}])

    assert not list(tmp_path.iterdir())
