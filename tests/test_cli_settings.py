"""Settings and data of a run that cannot be: one line, a hint, and nothing is left."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unseen_command import (
    CREATE,
    RUN,
    Unseen,
    expect_error,
    snapshot,
    write_mails,
)

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
