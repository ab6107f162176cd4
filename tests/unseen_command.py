"""The command line, called in this process: what the tests of it share."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto.dealer import deal
from crypto.manifest import SIMULATION
from experiments import cli, launch
from experiments.keysets import write_keyset
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
