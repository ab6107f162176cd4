"""`unseen partition`: the table, the bars and the pictures say who holds what."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from experiments.errors import SettingsError
from experiments.holdings import Holdings, count
from experiments.partition_cli import bars, holdings_table, partition_command
from experiments.partition_plot import save_plot
from models.data.dataset import Dataset
from models.shards import Shard

_LABELS = np.array([0, 1, 1, 0, 1, 1])
_MAILS = Shard(
    {
        "tokens": np.array([4, 5, 4, 6, 7, 8, 4], np.int32),
        "offsets": np.array([0, 2, 3, 3, 5, 7]),
        "labels": _LABELS,
    }
)
_SEQUENCES = Shard({"labels": np.zeros((6, 50), np.int64)})
_OWNERS = np.array(["ann", "bob", "ann", "bob", "eve", "eve"])
_PARTS = [np.array([0, 2]), np.array([1, 3, 4])]


def _holdings(train: Shard, groups: bool = False) -> Holdings:
    owners = _OWNERS if groups else None
    return count(Dataset(train=train, test=train, groups=owners), _PARTS)


def _rows(holdings: Holdings) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=100)
    console.print(holdings_table(holdings))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [line.split() for line in lines if line.split()[:1] not in ([], ["─" * 3])]


def _call(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(partition_command)
    return CliRunner().invoke(app, arguments)


def test_examples_labels_and_words_are_counted() -> None:
    holdings = _holdings(_MAILS)
    first, second = holdings.clients
    assert (first.examples, first.labels, first.words) == (2, (1, 1), 2)
    assert (second.examples, second.labels, second.words) == (3, (1, 2), 4)
    assert (holdings.taken, holdings.available, holdings.labels) == (5, 6, (0, 1))


def test_sequences_are_counted_in_characters() -> None:
    holdings = _holdings(_SEQUENCES)
    assert [holding.characters for holding in holdings.clients] == [100, 150]
    assert holdings.unit == "characters"
    assert holdings.bar(holdings.clients[1]) == (150,)


def test_more_than_20_labels_are_not_listed() -> None:
    holdings = _holdings(Shard({"labels": np.arange(21)}))
    assert holdings.labels == ()
    assert holdings.bar(holdings.clients[1]) == (3,)


def test_owners_are_those_of_the_clients_examples() -> None:
    first, second = _holdings(_MAILS, groups=True).clients
    assert first.owners == ("ann",)
    assert second.owners == ("bob", "eve")


def test_the_table_has_a_row_for_every_client_and_their_total() -> None:
    rows = _rows(_holdings(_MAILS, groups=True))
    assert ["1", "ann", "2", "33.3%", "1", "1", "2"] in rows
    assert ["2", "2", "owners", "3", "50.0%", "1", "2", "4"] in rows
    assert ["total", "5", "83.3%", "2", "3"] in rows


def test_the_table_of_sequences_has_characters() -> None:
    assert ["total", "5", "83.3%", "250"] in _rows(_holdings(_SEQUENCES))


def test_the_table_of_ten_labels_fits_into_80_columns() -> None:
    train = Shard({"labels": np.repeat(np.arange(10), 6000)})
    dataset = Dataset(train=train, test=train)
    console = Console(file=io.StringIO(), width=80)
    console.print(holdings_table(count(dataset, [np.arange(60_000)])))
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_bars_are_as_long_as_what_they_count() -> None:
    lines = bars(_holdings(_MAILS)).plain.splitlines()
    assert lines[0] == "examples, longest bar 3"
    assert [line.count("█") for line in lines[1:]] == [33, 50]
    assert lines[2].endswith(" 3")


@pytest.mark.parametrize("train", [_MAILS, _SEQUENCES])
def test_both_pictures_are_written_and_are_the_same_again(
    train: Shard, tmp_path: Path
) -> None:
    pictures = []
    for name in ("one", "two"):
        png, svg = save_plot(_holdings(train), "a title", tmp_path / f"{name}.svg")
        assert (png, svg) == (tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
        pictures.append((png.read_bytes(), svg.read_bytes()))
    assert pictures[0] == pictures[1]
    assert pictures[0][0].startswith(b"\x89PNG")
    assert pictures[0][1].startswith(b"<?xml")


def test_names_that_look_like_formulas_are_drawn(tmp_path: Path) -> None:
    groups = np.array(["$\\bad{$"] * 6)
    dataset = Dataset(train=_MAILS, test=_MAILS, groups=groups)
    png, _ = save_plot(count(dataset, _PARTS), "title", tmp_path / "formula.png")
    assert png.stat().st_size


def test_the_command_prints_a_table_and_writes_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _call("--clients", "3", "--partition", "iid")
    assert result.exit_code == 0
    assert result.output.startswith("digits, iid, 3 clients\n")
    assert "479" in result.output
    assert "█" not in result.output
    assert "left out" not in result.output
    assert "picture: partition-digits.png" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {
        "partition-digits.png",
        "partition-digits.svg",
    }


def test_show_draws_bars_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    out = str(tmp_path / "held.png")
    result = _call("--clients=7", "--partition=shards:3", "--show", "--out", out)
    assert result.output.count("█" * 50) == 7
    assert "9 of 1,437 examples (0.6%) are left out" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "nothing"], "unknown task"),
        (["--partition", "random"], "unknown partition 'random'"),
        (["--partition", "natural"], "this data has none"),
        (["--clients", "2000", "--partition", "iid"], "among 2000 clients"),
        (["--out", "."], "takes the name of a picture"),
        (["--out", "held.pdf"], "takes the name of a picture"),
        (["--out", "away/held.png"], "cannot write away/held.png"),
    ],
)
def test_what_cannot_work_is_one_line_with_a_hint(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    error = _call(*arguments).exception
    assert isinstance(error, SettingsError)
    assert message in str(error)
    assert error.hint
    assert list(tmp_path.iterdir()) == []
