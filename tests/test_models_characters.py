"""The tasks on characters: their texts, and the network that reads them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import training
from models.data import characters
from models.data.characters import CHARACTERS, WINDOW, decode, encode, text_shard
from models.data.prose import load_prose
from models.data.shakespeare import SHAKESPEARE_FILE, load_shakespeare
from models.errors import TaskError
from models.networks.characters import CharacterNetwork
from models.objectives import OBJECTIVES
from models.tasks import get_task
from models.training import evaluate, initial_network

if TYPE_CHECKING:
    from models.shards import Shard

_DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / "shared/data"))
_PLAY = "".join(
    f"ROMEO:\nLine {i}, and then so much more of it.\n\nFirst  Servant:\nAy, {i}.\n\n"
    for i in range(150)
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def play(tmp_path: Path) -> Path:
    """A folder with a play in which Romeo says much and a servant little."""
    (tmp_path / SHAKESPEARE_FILE).write_text(_PLAY)
    return tmp_path


def _text(shard: Shard) -> str:
    return decode(shard.arrays["characters"].ravel())


@given(st.text())
def test_a_character_outside_of_the_set_becomes_a_question_mark(text: str) -> None:
    expected = "".join(c if c in CHARACTERS else "?" for c in text)
    assert decode(encode(text)) == expected


def test_half_a_surrogate_pair_is_a_character_outside_of_the_set() -> None:
    assert decode(encode("a\ud800\tb")) == "a??b"


def test_the_set_is_a_new_line_and_printable_ascii() -> None:
    assert len({*CHARACTERS}) == 96
    assert CHARACTERS[0] == "\n"
    assert all(" " <= character <= "~" for character in CHARACTERS[1:])


def test_windows_follow_each_other_and_labels_are_the_next_characters() -> None:
    text = "".join(CHARACTERS[i % 96] for i in range(3 * WINDOW))
    shard = text_shard(text)
    # The last window has no next character, so only two are whole.
    assert shard.arrays["characters"].shape == shard.labels.shape == (2, WINDOW)
    assert _text(shard) == text[: 2 * WINDOW]
    assert decode(shard.labels.ravel()) == text[1 : 2 * WINDOW + 1]


@pytest.mark.parametrize(("length", "windows"), [(0, 0), (WINDOW, 0), (WINDOW + 1, 1)])
def test_a_text_without_a_whole_window_gives_an_empty_shard(
    length: int, windows: int
) -> None:
    assert len(text_shard("a" * length)) == windows


def test_long_texts_are_owned_and_short_ones_are_the_test_split() -> None:
    length = 2 * WINDOW + 1
    texts = {"a": "a" * length, "b": "b" * (length - 1), "c": "c" * (length + WINDOW)}
    data = characters.dataset_of_texts(texts, min_characters=length)
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "a", "c", "c", "c"]
    assert _text(data.train) == "a" * 2 * WINDOW + "c" * 3 * WINDOW
    assert {*_text(data.test)} == {"b"}
    assert data.vocabulary == CHARACTERS


@pytest.mark.parametrize("texts", [{}, {"a": "short"}, {"a": "a" * 999}])
def test_texts_for_one_split_only_are_refused(texts: dict[str, str]) -> None:
    with pytest.raises(TaskError, match=f"of {len(texts)} texts") as caught:
        characters.dataset_of_texts(texts, min_characters=500)
    assert caught.value.hint


def test_a_role_that_says_much_is_a_client_and_the_others_are_the_test(
    play: Path,
) -> None:
    data = load_shakespeare(play)
    assert data.groups is not None
    assert {*data.groups} == {"ROMEO"}
    assert _text(data.train).startswith(
        "Line 0, and then so much more of it.\n\nLine 1"
    )
    assert _text(data.test).startswith("Ay, 0.\n\nAy, 1.\n\nAy, 2.")


def test_roles_are_told_apart_by_their_names_not_by_spaces(play: Path) -> None:
    path = play / SHAKESPEARE_FILE
    path.write_text(
        path.read_text().replace("First  Servant", "ROMEO")
        + "First  Guard:\nx\n\nFirst Guard:\ny\n\nEmpty:\n\n" * WINDOW
    )
    data = load_shakespeare(play)
    assert _text(data.train).startswith(
        "Line 0, and then so much more of it.\n\nAy, 0."
    )
    assert _text(data.test).startswith("x\n\ny\n\nx\n\ny\n\n")


def test_windows_line_ends_change_nothing(play: Path) -> None:
    before = load_shakespeare(play).train.arrays["characters"]
    (play / SHAKESPEARE_FILE).write_bytes(_PLAY.replace("\n", "\r\n").encode())
    after = load_shakespeare(play).train.arrays["characters"]
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file input.txt in the data folder"),
        (b"", "has no line NAME:"),
        (b"Just prose.\n\nWithout any heading.", "has no line NAME:"),
        (b"ROMEO:\n\n\n\nJULIET:\n", "has no line NAME:"),
        (b"ROMEO:\nAy.", "of 1 texts 0 have 5000 characters"),
        (b"\xff\xfe\x00", "is not a readable UTF-8 text"),
    ],
)
def test_a_bad_play_is_refused(play: Path, content: bytes | None, message: str) -> None:
    path = play / SHAKESPEARE_FILE
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TaskError, match=message) as caught:
        load_shakespeare(play)
    assert caught.value.hint


def test_shakespeare_without_a_data_folder_is_refused() -> None:
    with pytest.raises(TaskError, match="task shakespeare needs a data folder"):
        load_shakespeare(None)


@pytest.mark.skipif(
    not (_DATA / "shakespeare").is_dir(), reason="needs the plays in UNSEEN_DATA"
)
def test_64_roles_of_shakespeare_say_enough_to_be_clients() -> None:
    data = load_shakespeare(_DATA / "shakespeare")
    assert data.groups is not None
    roles, windows = np.unique(data.groups, return_counts=True)
    assert len(roles) == 64
    assert roles[windows.argmax()] == "GLOUCESTER"
    # Its 37,405 characters, with an empty line between two of its 211 speeches.
    assert windows.max() == (37_405 + 2 * 210 - 1) // WINDOW
    task = get_task("shakespeare")
    assert len(data.train) / task.num_clients <= task.w_max  # iid, over all roles


def test_prose_comes_with_python_and_its_test_text_is_not_trained_on() -> None:
    assert not get_task("prose").needs_data
    data = load_prose()
    assert len(data.test) > 100
    assert len(data.train) > 1_000
    trained = _text(data.train)
    assert not [w for w in data.test.arrays["characters"] if decode(w) in trained]


def _network() -> CharacterNetwork:
    torch.manual_seed(1)
    return CharacterNetwork(num_characters=len(CHARACTERS), hidden=32).eval()


def _numbers(text: str) -> torch.Tensor:
    return torch.from_numpy(encode(text).copy()).unsqueeze(0)


def test_reading_in_two_parts_is_reading_at_once() -> None:
    network = _network()
    at_once = network(_numbers("To be, or not"))
    first, state = network.read(_numbers("To be,"), None)
    second, _ = network.read(_numbers(" or not"), state)
    assert at_once.shape == (1, 13, 96)
    torch.testing.assert_close(torch.cat([first, second], dim=1), at_once)


def test_a_character_changes_no_prediction_before_it() -> None:
    network = _network()
    one, other = network(_numbers("To be")), network(_numbers("To bx"))
    assert torch.equal(one[:, :4], other[:, :4])
    assert not torch.equal(one[:, 4], other[:, 4])


def test_the_loss_is_the_mean_over_all_characters() -> None:
    objective = OBJECTIVES["next-character"]
    logits = torch.zeros(2, 3, 4)
    labels = torch.tensor([[0, 1, 2], [3, 0, 0]])
    assert objective.loss(logits, labels).item() == pytest.approx(math.log(4))
    logits[0, 0, 0] = math.log(9)  # 9 of 12 for the first character
    expected = (5 * math.log(4) + math.log(12 / 9)) / 6
    assert objective.loss(logits, labels).item() == pytest.approx(expected)
    assert objective.right(logits, labels).mean().item() == pytest.approx(3 / 6)


def test_an_evaluation_in_parts_is_the_evaluation_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = get_task("prose")
    shard = text_shard("To be, or not to be: " * 50)
    network = initial_network(task, seed=1)
    at_once = evaluate(network, shard, task, device="cpu")
    monkeypatch.setattr(training, "_EVALUATION_LABELS", 3 * WINDOW)
    in_parts = evaluate(network, shard, task, device="cpu")
    assert in_parts.loss == pytest.approx(at_once.loss)
    assert in_parts.accuracy == pytest.approx(at_once.accuracy)
