"""What a person gets from the command line, above all for bad input."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto.dealer import deal
from crypto.manifest import SIMULATION
from experiments import cli, launch
from experiments.engine import ProcessEngine
from experiments.errors import RunFailedError
from experiments.keysets import task_networks, write_keyset
from tests.federation import P, Q


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    def lines(self, kind: str) -> list[str]:
        start = f"unseen: {kind}: "
        lines = self.err.splitlines()
        return [line.removeprefix(start) for line in lines if line.startswith(start)]


Unseen = Callable[..., Outcome]

# Small enough to be made at once; every run below names its keys and its folder.
RUN = ("run", "--insecure-key-bits", "512", "--keys", "keys", "--out", "run")
CREATE = ("keys", "create", "--simulation", "--insecure-key-bits", "128")

# Settings of a run, what the error says, what the hint says.
BAD_SETTINGS = [
    ("--task poems", "unknown task 'poems'", "digits, "),
    ("--protocol ckks", "unknown protocol 'ckks'", "hybrid, paillier, plain"),
    ("--protocol hybrid --clients 10000 --value-bits 24", "59 bits, and", "value-bits"),
    ("--clients 20000", "max-contributors must be 1 to 10000", "--clients"),
    ("--engine mpi", "unknown engine 'mpi'", "processes, ray"),
    ("--node fast", "unknown node 'fast'", "thin, stock"),
    ("--device tpu", "unknown device 'tpu'", "auto, cpu, cuda"),
    ("--strategy fedfoo", "unknown strategy 'fedfoo'", "fedavg"),
    ("--partition weird", "unknown partition 'weird'", "iid, dirichlet:ALPHA"),
    ("--partition dirichlet", "must be a number above 0", "dirichlet:ALPHA"),
    ("--partition dirichlet:-1", "must be a number above 0", "dirichlet:ALPHA"),
    ("--partition natural", "this data has none", "iid or dirichlet"),
    ("--task spam", "no data for task 'spam'", "--data"),
    ("--task spam --data none", "data folder none", "enron_train.parquet"),
    ("--data none", "task 'digits' takes no data", "--data"),
    ("--clients 1", "at least 2 clients, got 1", "that client's update"),
    ("--clients 0", "at least 2 clients, got 0", "that client's update"),
    ("--clients 2000", "1437 training examples among 2000", "clients"),
    ("--threshold 6", "threshold must be 1 to 5, got 6", "threshold"),
    ("--threshold 2", "threshold 2 of 5", "threshold"),
    ("--threshold 1", "threshold", "threshold"),
    ("--min-contributors 6", "min-contributors must be 4 to 5, got 6", "contributors"),
    ("--min-contributors 1", "min-contributors must be 2 to 5, got 1", "contributors"),
    ("--clip nan", "clip must be", "clip"),
    ("--clip inf", "clip must be", "clip"),
    ("--learning-rate nan", "learning-rate must be", "learning"),
    ("--round-deadline inf", "round-deadline must be", "seconds"),
    ("--value-bits 3", "value-bits must be 4 to 24, got 3", "value-bits"),
    ("--value-bits 40", "value-bits must be 4 to 24, got 40", "value-bits"),
    ("--insecure-key-bits 511", "multiple of 16, got 511", "key-bits"),
    ("--insecure-key-bits -512", "got -512", "key-bits"),
    ("--insecure-key-bits 0", "got 0", "key-bits"),
]

# Options that typer refuses by itself, and words that its text must have.
BAD_USAGE = [
    ("bogus", "No such command 'bogus'"),
    ("run --bogus", "No such option '--bogus'"),
    ("run extra", "unexpected extra argument"),
    ("run --task", "'--task' requires an argument"),
    ("run --rounds many", "'many' is not a valid integer"),
    ("run --rounds 0", "0 is not in the range"),
    ("run --clip -1", "-1.0 is not in the range"),
    ("run --threshold -1", "-1 is not in the range"),
    ("run --batch-size -1", "-1 is not in the range"),
    ("keys create", "Missing option '--out'"),
    ("keys create --out new --clients 1", "1 is not in the range"),
    ("keys show", "Missing argument 'FOLDER'"),
    ("keys check", "Missing argument 'FOLDER'"),
]


def refuse_to_start(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("an engine was started")


def make_keys(folder: Path, *, holders: int = 5, threshold: int = 4) -> None:
    public_key, shares = deal(P, Q, num_holders=holders, threshold=threshold)
    write_keyset(folder, public_key, shares, num_clients=holders, purpose=SIMULATION)


def write_mails(folder: Path, *, num_mails: int) -> None:
    folder.mkdir()
    numbers = range(num_mails)
    mails = pa.table(
        {
            "text": [f"hello number{i}" for i in numbers],
            "label": [i % 2 for i in numbers],
            "mailbox": [f"box{i % 5}" for i in numbers],
        }
    )
    for part in ("train", "test"):
        pq.write_table(mails, folder / f"enron_{part}.parquet")


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every path below a folder with its content; a folder has none."""
    return {
        str(path): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, a private home, and keys for five clients."""
    monkeypatch.setenv("UNSEEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    make_keys(tmp_path / "keys")
    return tmp_path


@pytest.fixture
def unseen(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Unseen:
    """Runs the command line in this process; a run that starts an engine fails."""
    monkeypatch.setattr(launch, "ProcessEngine", refuse_to_start)

    def call(*args: str) -> Outcome:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["unseen", *args])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


def expect_error(outcome: Outcome, error: str, *, code: int = 2) -> None:
    """Check for one error line, and nothing but our lines on standard error."""
    kinds = [line.split(": ")[:2] for line in outcome.err.splitlines()]
    assert all(
        kind in (["unseen", k] for k in ("warning", "error", "hint")) for kind in kinds
    ), outcome.err
    assert len(outcome.lines("error")) == 1, outcome.err
    assert error in outcome.lines("error")[0]
    assert outcome.code == code


@pytest.mark.parametrize(("args", "error", "_hint"), BAD_SETTINGS)
def test_bad_setting_is_one_line_and_leaves_nothing(
    unseen: Unseen, place: Path, args: str, error: str, _hint: str
) -> None:
    before = snapshot(place)
    expect_error(unseen(*RUN, *args.split()), error)
    assert snapshot(place) == before


@pytest.mark.parametrize(("args", "_error", "hint"), BAD_SETTINGS)
def test_bad_setting_comes_with_a_hint(
    unseen: Unseen, args: str, _error: str, hint: str
) -> None:
    hints = unseen(*RUN, *args.split()).lines("hint")
    assert len(hints) == 1
    assert hint in hints[0]


@pytest.mark.parametrize(("args", "error"), BAD_USAGE)
def test_bad_usage_is_readable_and_exits_2(
    unseen: Unseen, place: Path, args: str, error: str
) -> None:
    before = snapshot(place)
    outcome = unseen(*args.split())
    assert outcome.code == 2
    assert error in outcome.err
    assert "Traceback" not in outcome.err
    assert snapshot(place) == before


def test_refused_run_leaves_no_parent_folder(unseen: Unseen, place: Path) -> None:
    before = snapshot(place)
    outcome = unseen(*RUN[:-2], "--partition", "weird")
    expect_error(outcome, "unknown partition")
    assert snapshot(place) == before


def test_refused_run_leaves_no_parent_of_its_out(unseen: Unseen, place: Path) -> None:
    unseen(*RUN, "--partition", "weird", "--out", "a/b/c")
    assert not (place / "a").exists()


def test_refused_run_keeps_the_users_empty_folder(unseen: Unseen, place: Path) -> None:
    (place / "mine").mkdir()
    unseen(*RUN, "--partition", "weird", "--out", "mine")
    assert (place / "mine").is_dir()
    assert not list((place / "mine").iterdir())


def test_more_clients_than_samples_is_refused(unseen: Unseen, place: Path) -> None:
    write_mails(place / "mails", num_mails=3)
    outcome = unseen(*RUN, *["--task", "spam", "--data", "mails", "--partition", "iid"])
    expect_error(outcome, "3 training examples among 5 clients")
    assert outcome.lines("hint") == ["choose between 2 and 3 clients"]
    assert not (place / "run").exists()


def test_natural_partition_says_how_many_groups(unseen: Unseen, place: Path) -> None:
    write_mails(place / "mails", num_mails=20)
    outcome = unseen(*RUN, *["--task", "spam", "--data", "mails", "--clients", "6"])
    expect_error(outcome, "5 groups, got 6 clients")
    assert "5 clients" in outcome.lines("hint")[0]


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda _: b"junk" * 100, "not a readable parquet file"),
        (lambda _: b"", "not a readable parquet file"),
        (lambda raw: raw[: len(raw) // 2], "not a readable parquet file"),
    ],
    ids=["junk", "empty", "cut"],
)
def test_damaged_data_file_is_named(
    unseen: Unseen, place: Path, damage: Callable[[bytes], bytes], error: str
) -> None:
    write_mails(place / "mails", num_mails=20)
    file = place / "mails" / "enron_train.parquet"
    file.write_bytes(damage(file.read_bytes()))
    outcome = unseen(*RUN, *["--task", "spam", "--data", "mails"])
    expect_error(outcome, f"mails/enron_train.parquet is {error}")
    assert "enron_test.parquet" in outcome.lines("hint")[0]
    assert not (place / "run").exists()


def test_data_that_is_a_file_is_not_called_unreadable(
    unseen: Unseen, place: Path
) -> None:
    (place / "mails.parquet").write_bytes(b"")
    outcome = unseen(*RUN, *["--task", "spam", "--data", "mails.parquet"])
    expect_error(outcome, "mails.parquet is not a folder")


@pytest.mark.parametrize("out", ["full", "full/file", "full/file/new"])
def test_out_that_cannot_be_used_is_refused(
    unseen: Unseen, place: Path, out: str
) -> None:
    (place / "full").mkdir()
    (place / "full" / "file").write_text("mine")
    before = snapshot(place)
    outcome = unseen(*RUN, "--out", out)
    expect_error(outcome, str(place / out))
    assert "--out" in outcome.lines("hint")[0]
    assert snapshot(place) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
@pytest.mark.parametrize("args", [RUN, CREATE])
def test_out_in_a_read_only_folder_is_refused(
    unseen: Unseen, place: Path, args: tuple[str, ...]
) -> None:
    (place / "locked").mkdir(mode=0o500)
    expect_error(unseen(*args, "--out", "locked/new"), "cannot write")


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


@pytest.mark.parametrize(
    ("args", "is_told"),
    [
        ("", False),
        ("--clients 2", True),
        ("--clients 3", False),
        ("--threshold 3", True),
        ("--min-contributors 2", True),
        ("--min-contributors 2 --protocol plain", False),
    ],
)
def test_a_run_that_withstands_nobody_malicious_says_so(
    unseen: Unseen, args: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Launcher, "run", lambda _: EVENTS)
    outcome = unseen(*RUN, *args.split())
    told = [w for w in outcome.lines("warning") if "withstand nobody malicious" in w]
    assert bool(told) is is_told


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


# Options of `unseen keys create`, and what the error says.
BAD_CEREMONIES = [
    ("--holders 9", "9 key holders among 5 clients"),
    ("--threshold 9", "threshold"),
    ("--clients 300 --holders 300", "255"),
    ("--insecure-key-bits 100", "multiple of 16"),
    ("--insecure-key-bits 8", "key-bits must be"),
]


@pytest.mark.parametrize(("args", "error"), BAD_CEREMONIES)
def test_bad_ceremony_is_one_line_and_leaves_nothing(
    unseen: Unseen, place: Path, args: str, error: str
) -> None:
    before = snapshot(place)
    expect_error(unseen(*CREATE, "--out", "new", *args.split()), error)
    assert snapshot(place) == before


@pytest.mark.parametrize(("args", "_error"), BAD_CEREMONIES)
def test_bad_ceremony_comes_with_a_hint(unseen: Unseen, args: str, _error: str) -> None:
    assert unseen(*CREATE, "--out", "new", *args.split()).lines("hint")


@pytest.mark.parametrize("option", ["--holders", "--threshold"])
def test_negative_number_is_refused_by_name(unseen: Unseen, option: str) -> None:
    outcome = unseen(*CREATE, "--out", "new", option, "-2")
    assert outcome.code == 2
    assert option in outcome.err


def test_threshold_that_no_run_accepts_makes_no_keys(
    unseen: Unseen, place: Path
) -> None:
    outcome = unseen(*CREATE, "--out", "new", "--threshold", "2")
    expect_error(outcome, "threshold 2 of 5")
    assert not (place / "new").exists()


def test_small_key_needs_simulation(unseen: Unseen, place: Path) -> None:
    outcome = unseen("keys", "create", "--out", "new", "--insecure-key-bits", "128")
    expect_error(outcome, "128 bits")
    assert "--simulation" in outcome.lines("hint")[0]
    assert not (place / "new").exists()


def test_keys_are_not_made_over_a_folder(unseen: Unseen, place: Path) -> None:
    before = snapshot(place)
    outcome = unseen(*CREATE, "--out", "keys")
    expect_error(outcome, "keys exists already")
    assert outcome.lines("hint") == ["choose another --out"]
    assert snapshot(place) == before


def test_keys_are_not_made_below_a_file(unseen: Unseen, place: Path) -> None:
    (place / "file").write_text("mine")
    before = snapshot(place)
    outcome = unseen(*CREATE, "--out", "file/new")
    expect_error(outcome, "cannot write file")
    assert outcome.lines("hint") == ["choose another --out"]
    assert snapshot(place) == before


# Committees in which one malicious key holder is too many, and what the hint names.
WEAK_COMMITTEES = [
    ("--clients 3 --threshold 2", "2 of 3", ["--holders 3 --threshold 3"]),
    (
        "--threshold 3",
        "3 of 5",
        ["--holders 5 --threshold 4", "--holders 4 --threshold 3"],
    ),
    (
        "--clients 20 --holders 7 --threshold 4",
        "4 of 7",
        ["--holders 7 --threshold 5", "--holders 5 --threshold 4"],
    ),
    ("--holders 1", "1 of 1", ["--holders 3 --threshold 3"]),
    ("--clients 2 --holders 1", "1 of 1", []),
]


@pytest.mark.parametrize(("args", "committee", "better"), WEAK_COMMITTEES)
def test_a_committee_that_tolerates_nobody_malicious_needs_a_word(
    unseen: Unseen, place: Path, args: str, committee: str, better: list[str]
) -> None:
    outcome = unseen(*CREATE, "--out", "new", *args.split())
    expect_error(outcome, f"with {committee} key holders, a single malicious one")
    (hint,) = outcome.lines("hint")
    assert all(way in hint for way in better)
    assert "--trust-holders" in hint
    assert not (place / "new").exists()
    unseen(*CREATE, "--out", "new", "--trust-holders", *args.split())
    assert (place / "new").is_dir()


@pytest.mark.parametrize("clients", range(2, 13))
def test_the_default_committee_is_a_good_one(unseen: Unseen, clients: int) -> None:
    outcome = unseen(*CREATE, "--out", "new", "--clients", str(clients))
    assert outcome.code == 0
    assert "0 may cheat" not in outcome.out


def test_networks_are_shown_as_a_policy_lists_them(unseen: Unseen) -> None:
    lines = unseen("keys", "networks").out.splitlines()
    assert dict(line.split() for line in lines) == task_networks()


def test_other_key_commands_do_not_wait_for_torch() -> None:
    """It takes seconds to import; run-time facts show only in a fresh process."""
    program = "import sys, experiments.cli; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]


def test_create_explains_the_threshold(unseen: Unseen, place: Path) -> None:
    outcome = unseen(*CREATE, "--out", "new")
    assert outcome.code == 0
    assert "4 of 5: 3 may collude, 2 may cheat, 1 may be away" in outcome.out
    assert (place / "new" / "client-5" / "share.json").is_file()
    assert not list(place.glob(".keys-*"))


def test_created_keys_pass_the_check(unseen: Unseen) -> None:
    unseen(*CREATE, "--out", "new")
    outcome = unseen("keys", "check", "new")
    assert outcome.code == 0
    assert [f"client-{i}: good" in outcome.out for i in range(1, 6)] == [True] * 5


def swap_shares(keys: Path, _: Path) -> None:
    first, second = (keys / f"client-{i}" / "share.json" for i in (1, 2))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def drop_identity(keys: Path, _: Path) -> None:
    (keys / "client-1" / "identity.json").unlink()


def drop_share(keys: Path, _: Path) -> None:
    (keys / "client-1" / "share.json").unlink()


def damage_share(keys: Path, _: Path) -> None:
    (keys / "client-1" / "share.json").write_text('{"sealed": "00"}')


def damage_identity(keys: Path, _: Path) -> None:
    (keys / "client-1" / "identity.json").write_bytes(b"\xff")


def take_foreign_identity(keys: Path, other: Path) -> None:
    shutil.copy(other / "client-1" / "identity.json", keys / "client-1")


def take_foreign_keys(keys: Path, other: Path) -> None:
    shutil.copy(other / "keys.json", keys / "client-1")


def drop_policy(keys: Path, _: Path) -> None:
    (keys / "client-1" / "policy.toml").unlink()


def keep_an_old_policy(keys: Path, _: Path) -> None:
    path = keys / "client-1" / "policy.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(x for x in lines if not x.startswith("max-holders")))


def become_another_client(keys: Path, _: Path) -> None:
    for name in ("identity.json", "share.json"):
        shutil.copy(keys / "client-2" / name, keys / "client-1")


@pytest.mark.parametrize(
    "change",
    [
        swap_shares,
        drop_identity,
        drop_share,
        damage_share,
        damage_identity,
        take_foreign_identity,
        take_foreign_keys,
        become_another_client,
        drop_policy,
        keep_an_old_policy,
    ],
)
def test_check_names_the_folder_that_does_not_fit(
    unseen: Unseen, place: Path, change: Callable[[Path, Path], None]
) -> None:
    make_keys(place / "other")
    change(place / "keys", place / "other")
    before = snapshot(place)
    outcome = unseen("keys", "check", "keys")
    expect_error(outcome, "client-1")
    assert "backup" in outcome.lines("hint")[0]
    assert "client-5: good" in outcome.out
    assert snapshot(place) == before


def test_check_covers_the_servers_folder(unseen: Unseen, place: Path) -> None:
    make_keys(place / "other")
    shutil.copy(place / "other" / "keys.json", place / "keys" / "server")
    expect_error(unseen("keys", "check", "keys"), "server")


# Numbers and words that must stand in the help of a command, as its defaults.
HELP = [
    ("run", ("digits", "the task's", "2026", "20", "fedavg", "auto", "thin")),
    ("prepare", ("digits", "the task's", "2026", "20")),
    ("plan", ("digits", "the task's", "20")),
    ("keys create", ("5",)),
]


@pytest.mark.parametrize(("command", "defaults"), HELP)
def test_help_shows_the_defaults(
    unseen: Unseen, command: str, defaults: tuple[str, ...]
) -> None:
    outcome = unseen(*command.split(), "--help")
    assert outcome.code == 0
    for value in defaults:
        assert f"[default: {value}]" in outcome.out


def test_help_shows_no_default_that_only_means_unset(unseen: Unseen) -> None:
    text = "".join(
        unseen(*command, "--help").out
        for command in (["run"], ["plan"], ["keys", "create"])
    )
    assert "[default: 0]" not in text
    assert "[default: 0.0]" not in text


@pytest.mark.parametrize(
    "command", ["", "run", "plan", "prepare", "keys", "keys show", "keys check"]
)
def test_every_command_has_help(unseen: Unseen, command: str) -> None:
    outcome = unseen(*command.split(), "--help")
    assert outcome.code == 0
    assert f"unseen {command}".strip() in outcome.out


EVENTS: list[dict[str, Any]] = [
    {"event": "run_started", "time": 1.0, "task": "digits", "clients": 5},
    {"event": "run_finished", "time": 9.0, "rounds_opened": 0, "seconds": 8.0},
]


def test_json_prints_only_json(
    unseen: Unseen, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Launcher, "run", lambda _: EVENTS)
    outcome = unseen(*RUN, "--json")
    result = json.loads(outcome.out)
    assert outcome.code == 0
    assert result["task"] == "digits"
    assert Path(result["run"]).resolve() == place / "run"


def test_json_stays_silent_on_standard_output_when_settings_are_wrong(
    unseen: Unseen,
) -> None:
    assert unseen(*RUN, "--json", "--partition", "weird").out == ""


def test_run_names_its_folder_at_the_end(
    unseen: Unseen, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Launcher, "run", lambda _: EVENTS)
    assert f"run folder: {place / 'run'}" in unseen(*RUN).out


def test_failed_run_exits_1_with_its_hint(
    unseen: Unseen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: launch.Launcher) -> NoReturn:
        raise RunFailedError("TooFewUpdatesError: 3 of 4", "see logs/server.log")

    monkeypatch.setattr(launch.Launcher, "run", fail)
    outcome = unseen(*RUN)
    expect_error(outcome, "TooFewUpdatesError: 3 of 4", code=1)
    assert outcome.lines("hint") == ["see logs/server.log"]


def test_stopped_run_exits_130(unseen: Unseen, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: launch.Launcher) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch.Launcher, "run", stop)
    expect_error(unseen(*RUN), "stopped", code=130)
