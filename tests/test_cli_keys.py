"""Making and checking keys on the command line, above all for bad input."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.keysets import task_networks
from tests.unseen_command import CREATE, Unseen, expect_error, make_keys, snapshot

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
