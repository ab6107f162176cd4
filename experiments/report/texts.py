"""Sample predictions on texts, with the words that moved the model most."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from experiments.report.samples import NoSamplesError, Prediction, decide
from models.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from experiments.report.samples import Trained

NUM_TEXTS: Final = 8
NUM_WORDS: Final = 12
_MAX_WORDS: Final = 400  # of one text; leaving each word out takes words squared
VOCABULARY: Final = "vocabulary.json"
_ZERO: Final = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class Word:
    """One word of a text.

    Attributes:
        text: The word.
        influence: How much the logit falls when the word is left out; above 0 it
            speaks for label 1.
    """

    text: str
    influence: float


@dataclass(frozen=True)
class Text(Prediction):
    """One text and what the model takes it for.

    Attributes:
        words: The words that moved the model most, strongest first.
        num_words: Known words of the text.
    """

    words: list[Word]
    num_words: int


@dataclass(frozen=True)
class Texts:
    """Some texts of the test split, the wrong ones first.

    Attributes:
        shown: The texts.
        num_right: Right ones among all samples, shown or not.
        num_samples: Of them.
    """

    shown: list[Text]
    num_right: int
    num_samples: int


def texts(trained: Trained) -> Texts:
    """Let the model predict the texts that a run kept.

    Raises:
        NoSamplesError: If the run's vocabulary is missing or damaged.
    """
    examples = trained.examples
    vocabulary = read_vocabulary(trained.folder)
    _check_tokens(examples, vocabulary)
    labels, probabilities = decide(trained.logits(examples), trained.task.loss)
    right = labels == examples.labels
    shown = [
        Text(
            words=_strongest(trained, int(i), vocabulary),
            num_words=len(_tokens(examples, int(i))),
            predicted=int(labels[i]),
            truth=int(examples.labels[i]),
            probability=float(probabilities[i]),
        )
        for i in np.argsort(right, kind="stable")[:NUM_TEXTS]
    ]
    return Texts(shown, int(right.sum()), len(examples))


def read_vocabulary(folder: Path) -> list[str]:
    """Read the words or characters of a run, by number.

    Raises:
        NoSamplesError: If the file is missing or is no list of texts.
    """
    try:
        words: Any = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NoSamplesError(
            f"The run's folder has no {VOCABULARY}, so its words are only numbers."
        ) from None
    except (OSError, ValueError):
        words = None
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise NoSamplesError(f"The run's {VOCABULARY} is damaged.")
    return words


def _check_tokens(examples: Shard, vocabulary: Sequence[str]) -> None:
    largest = examples.arrays["tokens"].max(initial=-1)
    if largest >= len(vocabulary):
        raise NoSamplesError(
            f"The run's {VOCABULARY} has {len(vocabulary)} words, and the samples "
            f"have word {largest}."
        )


def _tokens(examples: Shard, index: int) -> NDArray[np.int32]:
    tokens: NDArray[np.int32] = examples.take(np.array([index])).arrays["tokens"]
    return tokens


def _strongest(trained: Trained, index: int, vocabulary: Sequence[str]) -> list[Word]:
    """Leave out every word once and see how far the logit falls."""
    tokens = _tokens(trained.examples, index)[:_MAX_WORDS]
    if not len(tokens):
        return []
    whole = Shard({"tokens": tokens, "offsets": _ZERO, "labels": _ZERO})
    influences = trained.logits(whole)[0] - trained.logits(_without_each(tokens))
    words: dict[str, float] = {}
    for i in np.argsort(-np.abs(influences), kind="stable"):
        words.setdefault(vocabulary[tokens[i]], float(influences[i]))
    return [Word(*item) for item in list(words.items())[:NUM_WORDS]]


def _without_each(tokens: NDArray[np.int32]) -> Shard:
    """Return as many texts as there are words, each without one of them."""
    count = len(tokens)
    kept = ~np.eye(count, dtype=bool)
    return Shard(
        {
            "tokens": np.broadcast_to(tokens, (count, count))[kept],
            "offsets": np.arange(count, dtype=np.int64) * (count - 1),
            "labels": np.zeros(count, dtype=np.int64),
        }
    )
