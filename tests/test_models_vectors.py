"""Neighbours and analogies."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import TaskError
from models.vectors import WordVectors

_WORDS = ("man", "woman", "king", "queen", "apple", "king queen", "nothing")
_VECTORS = np.array(
    [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [2, 2, 2, 0],
        [0, 0, 0, 3],
        [1, 1, 1, 0],
        [0, 0, 0, 0],
        [9, 9, 9, 9],
    ],
    dtype=np.float32,
)


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(_WORDS, _VECTORS)


def test_neighbours_are_sorted_by_cosine_and_leave_out_the_word_and_pairs(
    vectors: WordVectors,
) -> None:
    near = vectors.neighbours("queen", count=9)
    assert {near[0].word, near[1].word} == {"woman", "king"}
    assert [n.word for n in near[2:]] == ["man", "apple", "nothing"]
    assert near[0].cosine == pytest.approx(np.sqrt(2 / 3))
    assert near[2].cosine == pytest.approx(np.sqrt(1 / 3))


def test_a_pair_can_be_asked_for(vectors: WordVectors) -> None:
    near = vectors.neighbours("king queen", count=1)
    assert near[0].word == "queen"
    assert near[0].cosine == pytest.approx(1)


def test_analogies_leave_out_the_words_of_the_question(vectors: WordVectors) -> None:
    # woman - man + king is nearest to king itself, which is no answer.
    assert vectors.analogy("man", "woman", "king", count=1)[0].word == "queen"
    assert vectors.rank("man", "woman", "king", expected="queen") == 1
    assert vectors.rank("man", "woman", "king", expected="apple") == 2


@pytest.mark.parametrize("expected", ["king", "king queen"])
def test_what_cannot_be_an_answer_has_no_rank(
    vectors: WordVectors, expected: str
) -> None:
    with pytest.raises(TaskError, match="cannot be the answer"):
        vectors.rank("man", "woman", "king", expected=expected)


def test_an_unknown_word_is_refused_with_close_ones(vectors: WordVectors) -> None:
    with pytest.raises(TaskError, match="'quen' is not among the 7 words") as caught:
        vectors.neighbours("quen", count=3)
    assert caught.value.hint == "close to it are queen"
    with pytest.raises(TaskError, match="'xyz'") as caught:
        vectors.analogy("man", "xyz", "king", count=3)
    assert caught.value.hint is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_VECTORS[:, :1], "no vectors of words to compare"),
        (_VECTORS[0], "no vectors of words to compare"),
        (_VECTORS[:6], "vectors of 6 words, the vocabulary has 7"),
        (_VECTORS * np.float32("nan"), "not all finite"),
    ],
)
def test_what_are_no_vectors_is_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        WordVectors(_WORDS, rows)
