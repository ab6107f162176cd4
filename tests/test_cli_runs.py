"""Runs that cannot start with these keys, policies or ports, and how people hear it."""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments import launch
from experiments.engine import ProcessEngine
from tests.unseen_command import (
    RUN,
    Unseen,
    expect_error,
    make_keys,
    snapshot,
)


def replace_key_file(folder: Path, **changes: Any) -> str:
    return json.dumps(json.loads((folder / "keys.json").read_text()) | changes)


# How the public half of a key set is damaged, and what the error says.
DAMAGES: list[tuple[Callable[[Path], bytes | str], str]] = [
    (lambda _: b"{not json", "not a key file"),
    (lambda _: b"", "not a key file"),
    (lambda _: b"\xff\xfe\x00", "not a key file"),
    (lambda _: b"[1]", "not a key file"),
    (lambda folder: replace_key_file(folder, format="other/1"), "unseen-keys/1"),
    (lambda folder: replace_key_file(folder, purpose="x"), "purpose"),
    (lambda folder: replace_key_file(folder, public_key=3), "public key"),
    (lambda folder: replace_key_file(folder, roster=4), "roster"),
]


@pytest.mark.parametrize("command", [RUN[:3], ("keys", "show"), ("keys", "check")])
@pytest.mark.parametrize(("damage", "error"), DAMAGES)
def test_damaged_keys_are_refused(
    unseen: Unseen,
    place: Path,
    damage: Callable[[Path], bytes | str],
    error: str,
    command: tuple[str, ...],
) -> None:
    content = damage(place / "keys")
    raw = content if isinstance(content, bytes) else content.encode()
    (place / "keys" / "keys.json").write_bytes(raw)
    before = snapshot(place)
    rest = ("--keys", "keys", "--out", "run") if command[0] == "run" else ("keys",)
    outcome = unseen(*command, *rest)
    expect_error(outcome, error)
    assert "keys" in outcome.lines("hint")[0]
    assert snapshot(place) == before


@pytest.mark.parametrize(
    "change", [{"format": "other/1"}, {"public_key": 3}, {"roster": 4}]
)
def test_error_about_damaged_keys_names_the_file(
    unseen: Unseen, place: Path, change: dict[str, Any]
) -> None:
    file = place / "keys" / "keys.json"
    file.write_text(replace_key_file(place / "keys", **change))
    assert "keys/keys.json" in unseen("keys", "show", "keys").lines("error")[0]


@pytest.mark.parametrize("command", [RUN[:3], ("keys", "show"), ("keys", "check")])
def test_missing_keys_are_refused(
    unseen: Unseen, place: Path, command: tuple[str, ...]
) -> None:
    rest = ("--keys", "none", "--out", "run") if command[0] == "run" else ("none",)
    outcome = unseen(*command, *rest)
    expect_error(outcome, "no keys at none/keys.json")
    assert "unseen keys create" in outcome.lines("hint")[0]
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ("--threshold 5", "threshold 4"),
        ("--clients 4", "5 clients"),
        ("--insecure-key-bits 1024", "512 bits"),
        ("--keys small", "3 clients"),
    ],
)
def test_keys_that_do_not_fit_the_run_are_refused(
    unseen: Unseen, place: Path, args: str, error: str
) -> None:
    make_keys(place / "small", holders=3, threshold=2)
    before = snapshot(place)
    outcome = unseen(*RUN, *args.split())
    expect_error(outcome, error)
    assert "create new keys" in outcome.lines("hint")[0]
    assert snapshot(place) == before


def test_run_with_a_missing_client_folder_is_refused(
    unseen: Unseen, place: Path
) -> None:
    shutil.rmtree(place / "keys" / "client-3")
    before = snapshot(place)
    expect_error(unseen(*RUN), "client-3")
    assert snapshot(place) == before


def test_run_that_a_clients_policy_refuses_is_not_started(
    unseen: Unseen, place: Path
) -> None:
    path = place / "keys" / "client-3" / "policy.toml"
    path.write_text(path.read_text().replace(', "plain"]', "]"))
    before = snapshot(place)
    outcome = unseen(*RUN, "--protocol", "plain")
    expect_error(outcome, "client 3 would refuse this run: protocols: this client")
    assert "client-3/policy.toml" in outcome.lines("hint")[0]
    assert snapshot(place) == before


def test_a_client_that_does_not_know_hybrid_refuses_it_by_name(
    unseen: Unseen, place: Path
) -> None:
    path = place / "keys" / "client-2" / "policy.toml"
    path.write_text(path.read_text().replace('"hybrid", ', ""))
    outcome = unseen(*RUN, "--protocol", "hybrid")
    expect_error(outcome, "client 2 would refuse this run: protocols: this client")
    assert "the run has 'hybrid'" in outcome.lines("error")[0]


@pytest.mark.parametrize(
    ("args", "used"), [("", "paillier"), ("--protocol hybrid", "hybrid")]
)
def test_the_protocol_that_is_used_is_written_down(
    unseen: Unseen, place: Path, args: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Launcher, "_drive", lambda *_: None)
    unseen(*RUN, *args.split())
    config = json.loads((place / "run" / "config.json").read_text())
    assert config["settings"]["protocol"] == used
    assert config["parameters"]["mode"] == used


@pytest.mark.parametrize(
    ("args", "used"), [("", "paillier"), ("--protocol hybrid", "hybrid")]
)
def test_the_prepared_command_names_the_protocol(
    unseen: Unseen, place: Path, args: str, used: str
) -> None:
    (place / "home").mkdir()
    keys = ("--insecure-key-bits", "512", "--keys", "keys")
    outcome = unseen("prepare", *keys, *args.split())
    assert outcome.code == 0
    assert f"protocol='{used}'" in outcome.out


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_port_that_cannot_be_is_refused_by_name(
    unseen: Unseen, place: Path, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ProcessEngine", ProcessEngine)
    before = snapshot(place)
    outcome = unseen(*RUN, "--port", port)
    assert outcome.code == 2
    assert "port" in outcome.err
    assert snapshot(place) == before


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another socket listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_port_that_is_taken_is_named(
    unseen: Unseen, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ProcessEngine", ProcessEngine)
    outcome = unseen(*RUN, "--port", str(taken_port))
    assert outcome.code in (1, 2)
    assert f"port {taken_port}" in outcome.lines("error")[0]
    assert "port" in outcome.lines("hint")[0]
    assert "Traceback" not in outcome.err


def test_port_that_is_taken_leaves_no_run_folder(
    unseen: Unseen, place: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ProcessEngine", ProcessEngine)
    assert unseen(*RUN, "--port", str(taken_port)).code == 2
    assert not (place / "run").exists()
