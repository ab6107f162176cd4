"""`unseen audit`: nothing is found in an honest run, and every damage in a record."""

import io
import json
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.server.superlink.linkstate import utils as linkstate
from rich.console import Console

import clients.carriage
import server.carriage
from crypto.encoding import decode
from crypto.errors import ERROR_NAMES
from experiments import cli
from experiments.audit import transcript
from experiments.audit.metadata import FLOWER_TEXTS
from experiments.audit.verdict import CHECKS, audit, show
from experiments.errors import SettingsError
from tests.audited import LEAK, first_upload, index, make, record, rewrite, texts


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    return record(make(folder), folder)


@pytest.fixture
def copied(honest: Path, tmp_path: Path) -> Path:
    """The honest run, to change what was recorded."""
    return Path(shutil.copytree(honest, tmp_path / "copied"))


# What an honest run looks like


def test_honest_run_has_no_finding(honest: Path) -> None:
    verdict = audit(honest)
    assert texts(verdict) == []
    assert verdict.line == "verdict: 46 messages, no finding"
    assert len(verdict.results) == len(CHECKS)
    looked_at = {result.title: result.looked_at for result in verdict.results}
    assert looked_at["messages have known shapes"] == "23 received, 23 sent"
    assert looked_at["ciphertexts are fresh"] == "15 different ciphertexts"
    assert looked_at["sums are of what was sent"] == "2 of 2 sums opened again"


def test_verdict_fits_a_page(honest: Path) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    show(audit(honest), console, all_findings=False)
    lines = console.export_text().splitlines()
    assert len(lines) < 25
    assert max(len(line.rstrip()) for line in lines[1:]) <= 80
    assert lines[-1] == "verdict: 46 messages, no finding"


def test_audit_loads_no_code_that_handles_private_keys() -> None:
    program = (
        "import sys, experiments.audit; "
        "print(*({'crypto.dealer', 'crypto.key_holder', 'clients'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("refusing", [{3}, {3, 4}], ids=["one client", "two clients"])
def test_refusals_and_failed_rounds_are_no_findings(
    refusing: set[int], tmp_path: Path
) -> None:
    federation = make(tmp_path)
    federation.tamper = lambda i, m: refused(m) if i in refusing else m
    run = record(federation, tmp_path)
    failed = "round_failed" in (run / "events.jsonl").read_text()
    assert failed == (len(refusing) > 1)
    assert texts(audit(run)) == []


def refused(reply: Message) -> Message:
    if reply.metadata.group_id != "hello":
        fields = ConfigRecord(
            {"kind": "error", "data": sorted(ERROR_NAMES)[0].encode()}
        )
        reply.content = RecordDict({"unseen": fields})
    return reply


def test_bulk_carriage_is_a_known_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (server.carriage, clients.carriage):
        monkeypatch.setattr(module, "_INLINE_BYTES", 1000)
    monkeypatch.setattr(transcript, "INLINE_BYTES", 1000)
    run = record(make(tmp_path), tmp_path, dim=300)
    assert texts(audit(run)) == []
    values: Any = decode((run / "record" / index(run)[20]["file"]).read_bytes())
    assert [name for name, _, _ in values["content"]] == ["unseen", "unseen-bulk"]

    def append(values: dict[str, Any]) -> None:
        value = values["content"][1][2][0][1]
        value[3] += struct.pack("<f", LEAK)

    name = rewrite(run, 21, append)
    assert [f.file for f in audit(run).findings if "array" in f.what] == [name]


def test_size_limit_is_that_of_both_carriages() -> None:
    limits = {server.carriage._INLINE_BYTES, clients.carriage._INLINE_BYTES}
    assert limits == {transcript.INLINE_BYTES}


def test_words_of_flower_are_those_of_this_release() -> None:
    assert set(FLOWER_TEXTS.values()) == {
        linkstate.MESSAGE_UNAVAILABLE_ERROR_REASON,
        linkstate.REPLY_MESSAGE_UNAVAILABLE_ERROR_REASON,
        linkstate.NODE_UNAVAILABLE_ERROR_REASON,
    }


@pytest.mark.parametrize("name", ["node_unavail", "msg_unavail", "expired", "cut off"])
def test_errors_of_the_superlink_are_no_findings(name: str, tmp_path: Path) -> None:
    federation = make(tmp_path)
    asked: dict[int, Message] = {}

    def lose(client_id: int, reply: Message) -> Message:
        if client_id != 3:
            return reply
        metadata = asked[client_id].metadata
        lost = linkstate.create_message_error_unavailable_ins_message(
            metadata.message_id, metadata.run_id
        )
        if name in ("node_unavail", "msg_unavail"):
            return linkstate.create_message_error_unavailable_res_message(
                metadata, name
            )
        if name == "cut off":
            lost.metadata.__dict__["_message_id"] = ""
            lost.error.__dict__["_reason"] = (
                "Reply message objects are unavailable. The sender may not have "
                "completed the upload before the object-push session expired. Failed "
                f"to pull object with ID '{'ab' * 32}': timeout or retry limit reached"
            )
        return lost

    def keep(client_id: int, message: Message) -> Message:
        asked[client_id] = message
        return message

    federation.intercept, federation.tamper = keep, lose
    assert texts(audit(record(federation, tmp_path))) == []


LOGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "sum": ("opened", {"sum": "00" * 32}, "another sum"),
    "no sum": ("opened", {"sum": None}, "another sum"),
    "contributors": ("opened", {"contributors": [1, 2, 3, 4]}, "other contributors"),
    "metrics": ("metrics", {"values": {"loss": 0.5}}, "other metrics"),
}


@pytest.mark.parametrize(("name", "changes", "what"), LOGS.values(), ids=LOGS)
def test_log_that_says_something_else_is_found(
    name: str, changes: dict[str, Any], what: str, copied: Path
) -> None:
    path = copied / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    event = next(event for event in events if event["event"] == name)
    event.update(changes)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    (finding,) = audit(copied).findings
    assert finding.who == "server"
    assert what in finding.what


def test_opening_that_nobody_was_asked_for_is_found(copied: Path) -> None:
    with (copied / "events.jsonl").open("a") as file:
        event = {"time": 0.0, "event": "opened", "round": 2, "phase": "train"}
        file.write(json.dumps(event | {"contributors": [1]}) + "\n")
    (finding,) = audit(copied).findings
    assert finding.what.startswith("round 2 train: a sum is opened")


# What is wrong with a run or its record


def test_plain_run_is_found(tmp_path: Path) -> None:
    verdict = audit(record(make(tmp_path, mode="plain"), tmp_path))
    (finding,) = verdict.findings
    assert finding.what == "mode plain: the update travels in the clear"
    assert re.fullmatch(r"[0-9]{6}-received\.bin", finding.file)
    assert verdict.line.endswith(" 1 finding")


def test_missing_file_is_found(copied: Path) -> None:
    number = first_upload(copied)
    name = index(copied)[number - 1]["file"]
    (copied / "record" / name).unlink()
    assert f"{name}||is missing" in texts(audit(copied))


def test_foreign_file_is_found(copied: Path) -> None:
    (copied / "record" / "000099-received.bin").write_bytes(b"")
    assert texts(audit(copied)) == ["000099-received.bin||is not in the index"]


def test_what_was_being_written_when_the_server_died_is_no_finding(
    copied: Path,
) -> None:
    (copied / "record" / "000099-received.part").write_bytes(b"half")
    assert texts(audit(copied)) == []


def test_line_that_is_cut_out_of_the_index_is_found(copied: Path) -> None:
    path = copied / "record" / "index.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:10] + lines[11:]))
    found = [finding.what for finding in audit(copied).findings]
    assert "the index is not numbered from 1 without gaps" in found
    assert "is not in the index" in found


@pytest.mark.parametrize("line", ["", "no json", "[]", "{}", '{"number": "x"}'])
def test_index_line_that_is_unreadable_is_found(line: str, copied: Path) -> None:
    with (copied / "record" / "index.jsonl").open("a") as file:
        file.write(line + "\n")
    assert texts(audit(copied)) == ["||line 47 of the index is unreadable"]


@pytest.mark.parametrize("seed", range(12))
def test_damaged_message_is_a_finding_and_no_crash(seed: int, copied: Path) -> None:
    chooser = random.Random(seed)  # noqa: S311 - no secret
    path = chooser.choice(sorted((copied / "record").glob("*.bin")))
    data = bytearray(path.read_bytes())
    if seed % 3:
        data[chooser.randrange(len(data))] ^= 1 << chooser.randrange(8)
    else:
        del data[chooser.randrange(len(data)) :]
    path.write_bytes(bytes(data))
    found = [finding for finding in audit(copied).findings if finding.file == path.name]
    assert found


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_message_holds_the_audit_ends_with_findings(
    seed: int, copied: Path
) -> None:
    chooser = random.Random(seed)  # noqa: S311 - no secret
    received = [line for line in index(copied) if line["direction"] == "received"]
    number = chooser.choice(received)["number"]
    junk: list[Any] = [None, -1, 1 << 63, 0.5, "x", b"", [], {}, [[]], {"": None}]

    def change(values: dict[str, Any]) -> None:
        place: Any = values
        while chooser.random() < 0.8:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            deeper = [k for k in keys if isinstance(place[k], dict | list) and place[k]]
            if not deeper:
                break
            place = place[chooser.choice(deeper)]
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        # The recorder's own hash is not the client's to choose.
        key = chooser.choice([each for each in keys if each != "object_id"])
        place[key] = chooser.choice([each for each in junk if each != place[key]])

    name = rewrite(copied, number, change)
    verdict = audit(copied)
    assert name in {finding.file for finding in verdict.findings}
    assert not any("broke off" in finding.what for finding in verdict.findings)
    show(verdict, Console(quiet=True), all_findings=True)


@pytest.mark.parametrize("name", ["manifest.json", "run.json"])
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}'])
def test_record_without_its_public_facts_is_one_line(
    name: str, text: str, copied: Path
) -> None:
    (copied / "record" / name).write_text(text)
    with pytest.raises(SettingsError, match="is damaged") as refused:
        audit(copied)
    assert refused.value.hint


# The command


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["unseen", "audit", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), *capsys.readouterr()


def test_command_ends_with_0_and_a_verdict(
    honest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = command(monkeypatch, capsys, str(honest))
    assert code == 0
    assert out.splitlines()[-1] == "verdict: 46 messages, no finding"


def test_command_ends_with_1_after_findings(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 25):
        rewrite(copied, number, lambda values: values["metadata"].update(ttl=0.25))
    code, out, _ = command(monkeypatch, capsys, str(copied))
    assert code == 1
    assert "more; --all shows them" in out
    code, out, _ = command(monkeypatch, capsys, str(copied), "--all")
    assert code == 1
    assert "more; --all shows them" not in out
    assert out.splitlines()[-1].startswith("verdict: 46 messages, ")


def test_folder_without_a_record_ends_with_2_and_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(monkeypatch, capsys, str(tmp_path))
    assert (code, out) == (2, "")
    assert err == (
        f"unseen: error: {tmp_path} has no record of a run's messages\n"
        f"unseen: hint: run with --record\n"
    )


@pytest.mark.integration
def test_recorded_run_of_real_processes_has_no_finding(tmp_path: Path) -> None:
    unseen = str(Path(sys.executable).with_name("unseen"))
    out = str(tmp_path / "out")
    options = ["--record", "--insecure-key-bits", "512", "--rounds", "1"]
    subprocess.run(
        [unseen, "run", *options, "--out", out],
        check=True,
        timeout=180,
        capture_output=True,
    )
    done = subprocess.run(
        [unseen, "audit", out], check=False, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].endswith(" messages, no finding")
    assert "2 of 2 sums opened again" in done.stdout
