"""`unseen neighbours`, `analogy` and `analogies`, on folders that look like runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from safetensors.numpy import save_file
from typer.testing import CliRunner

from experiments.analogies import ANALOGIES, answers, summary
from experiments.errors import SettingsError
from experiments.words_cli import newest_run, read_vectors, register
from models.vectors import PARAMETER, WordVectors

_WORDS = ["man", "woman", "king", "queen", "apple"]
_VECTORS = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]]


def _run(
    folder: Path, *, task: str = "imdb-blanks", parameter: str = PARAMETER
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"settings": {"task": task}}))
    (folder / "vocabulary.json").write_text(json.dumps(_WORDS))
    save_file({parameter: np.array(_VECTORS, np.float32)}, folder / "model.safetensors")
    return folder


def _invoke(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments)


def _refusal(*arguments: str) -> SettingsError:
    error = _invoke(*arguments).exception
    assert isinstance(error, SettingsError)
    return error


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(_run(tmp_path / "runs" / "one"))


def test_neighbours_are_shown_nearest_first(run: str) -> None:
    result = _invoke("neighbours", "Queen", "--run", run, "--count", "3")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines() if "0." in line]
    assert [row[0] for row in rows] == ["woman", "king", "man"]
    assert [row[1] for row in rows] == ["0.816", "0.816", "0.577"]


def test_an_analogy_is_answered_with_the_place_of_the_expected_word(run: str) -> None:
    words = ("man", "woman", "KING")
    result = _invoke("analogy", *words, "--run", run, "--expect", "apple")
    assert "man is to woman as king is to" in result.stdout
    assert result.stdout.split("queen")[0].count("apple") == 0
    assert "apple comes at place 2" in result.stdout
    assert "place" not in _invoke("analogy", *words, "--run", run).stdout


def test_an_unknown_word_is_refused_with_close_ones(run: str) -> None:
    error = _refusal("neighbours", "quene", "--run", run)
    assert "'quene' is not among the 5 words" in str(error)
    assert error.hint == "close to it are queen"
    arguments = ("analogy", "man", "woman", "king", "--run", run, "--expect", "mna")
    assert _refusal(*arguments).hint == "close to it are man"


def test_the_newest_run_with_vectors_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no run under runs") as caught:
        newest_run()
    assert "--task imdb-blanks" in caught.value.hint
    for age, name in enumerate(("images", "new", "old")):
        parameter = "kernels.weight" if name == "images" else PARAMETER
        folder = _run(Path("runs") / name, parameter=parameter)
        os.utime(folder / "model.safetensors", (1000 - age, 1000 - age))
    assert newest_run() == Path("runs/new")
    assert "word vectors of runs/new" in _invoke("neighbours", "man").stdout


def test_a_run_without_vectors_of_words_is_refused(tmp_path: Path) -> None:
    folder = _run(tmp_path / "digits", task="digits", parameter="kernels.weight")
    error = _refusal("neighbours", "man", "--run", str(folder))
    assert "is a run of digits, which has no vectors of words" in str(error)
    flat = np.ones((5, 1), np.float32)
    save_file({PARAMETER: flat}, folder / "model.safetensors")
    error = _refusal("neighbours", "man", "--run", str(folder))
    assert "a run of digits: the network has no vectors of words" in str(error)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "is not the folder of a run"),
        ("vocabulary.json", None, "no vocabulary at"),
        ("vocabulary.json", b"{}", "vocabulary.json is not a list of words"),
        ("vocabulary.json", b"[1]", "vocabulary.json is not a list of words"),
        ("vocabulary.json", b"\xff", "vocabulary.json is not a list of words"),
        ("vocabulary.json", b'["a","b","c","d","e","f"]', "vectors of 5 words"),
        ("model.safetensors", None, "no model at"),
        ("model.safetensors", b"", "damaged or not a model"),
        ("model.safetensors", b"x" * 100, "damaged or not a model"),
    ],
)
def test_a_damaged_run_is_refused(
    run: str, file: str, content: bytes | None, message: str
) -> None:
    path = Path(run) / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        read_vectors(Path(run))


def test_there_are_twenty_different_analogies_of_four_different_words() -> None:
    assert len({*ANALOGIES}) == 20
    assert all(len({*words}) == 4 for words in ANALOGIES)


def test_a_word_without_a_vector_counts_as_a_wrong_answer(run: str) -> None:
    vectors = WordVectors(_WORDS, np.array(_VECTORS, np.float32))
    answered = answers(vectors)
    ranks = {(*a.question, a.expected): a.rank for a in answered}
    assert ranks["man", "woman", "king", "queen"] == 1
    assert list(ranks.values()).count(None) == 19
    assert summary(answered) == (
        "of 20 expected words 1 came first, 1 among the first 10; median rank inf; "
        "19 unknown"
    )
    shown = _invoke("analogies", "--run", run).stdout
    assert shown.count("unknown") == 20
    assert "of 20 expected words 1 came first" in shown
