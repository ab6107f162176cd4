"""Turn texts into words from a fixed vocabulary: sets, or in their order."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from models.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

_WORD = re.compile("[a-z]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in their order.

    A word is a run of the letters a to z after lower-casing; digits,
    punctuation and all other letters separate words.

    Example:
        >>> words_of("Don't worry, don't!")
        ['don', 't', 'worry', 'don', 't']
    """
    return _WORD.findall(text.lower())


def distinct_words(text: str) -> set[str]:
    """Return the words of a text, each once."""
    return set(words_of(text))


def words_and_pairs(text: str) -> set[str]:
    """Return the words of a text and its pairs of neighbouring words, each once.

    Example:
        >>> sorted(words_and_pairs("not good"))
        ['good', 'not', 'not good']
    """
    words = words_of(text)
    return {*words, *map(" ".join, pairwise(words))}


def build_vocabulary(
    documents: Iterable[AbstractSet[str]], *, size: int
) -> dict[str, int]:
    """Number the words that occur in the most documents, the commonest first.

    Whoever knows the vocabulary learns which words the documents contain, so
    it may only be built from public documents.

    Args:
        documents: The distinct words of each document.
        size: Largest number of words; the rest is left out.

    Returns:
        Word to number in ``[0, size)``; equally common words in alphabetical
        order.
    """
    counts = Counter(word for document in documents for word in document)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate(ranked[:size])}


def word_set_shard(
    documents: Iterable[AbstractSet[str]],
    labels: NDArray[np.int64],
    vocabulary: Mapping[str, int],
) -> Shard:
    """Encode documents as the ascending numbers of the words they contain.

    Words outside the vocabulary are dropped, so a document may become empty.

    Args:
        documents: The distinct words of each document.
        labels: One for each document.
        vocabulary: Word to number.
    """
    known = vocabulary.keys()
    return _shard(
        (
            sorted(vocabulary[word] for word in document & known)
            for document in documents
        ),
        labels,
    )


def word_list_shard(
    documents: Iterable[Iterable[str]],
    labels: NDArray[np.int64],
    vocabulary: Mapping[str, int],
) -> Shard:
    """Encode documents as the numbers of their words, in their order.

    Words outside the vocabulary are dropped, and their neighbours move together.

    Args:
        documents: The words of each document.
        labels: One for each document.
        vocabulary: Word to number.
    """
    return _shard(
        (
            [vocabulary[word] for word in document if word in vocabulary]
            for document in documents
        ),
        labels,
    )


def thinned(shard: Shard, kept: NDArray[np.float64], *, seed: int) -> Shard:
    """Drop words at random, then the documents that have no two words left.

    Args:
        shard: Texts as "tokens" and "offsets".
        kept: For each word the probability that it stays, shape ``(words,)``.
        seed: The same arguments give the same shard.
    """
    tokens, offsets = shard.arrays["tokens"], shard.arrays["offsets"]
    stays = np.random.default_rng(seed).random(len(tokens)) < kept[tokens]
    num_before = np.concatenate([[0], np.cumsum(stays)])
    starts = num_before[offsets]
    lengths = np.diff(starts, append=num_before[-1])
    fewer = Shard({**shard.arrays, "tokens": tokens[stays], "offsets": starts})
    return fewer.take(np.flatnonzero(lengths > 1))


def _shard(documents: Iterable[list[int]], labels: NDArray[np.int64]) -> Shard:
    """Lay the numbers of all documents end to end."""
    # An array each at once: as Python's numbers, long texts would fill the memory.
    numbers = [np.array(document, dtype=np.int32) for document in documents]
    lengths = np.array([len(document) for document in numbers], dtype=np.int64)
    return Shard(
        {
            "tokens": np.concatenate([*numbers, np.empty(0, np.int32)]),
            "offsets": np.cumsum(lengths) - lengths,
            "labels": labels,
        }
    )
