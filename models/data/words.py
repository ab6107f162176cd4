"""Turn texts into sets of words from a fixed vocabulary."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from models.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

_WORD = re.compile("[a-z]+")


def distinct_words(text: str) -> set[str]:
    """Return the words of a text, each once.

    A word is a run of the letters a to z after lower-casing; digits,
    punctuation and all other letters separate words.

    Example:
        >>> sorted(distinct_words("Don't worry, don't!"))
        ['don', 't', 'worry']
    """
    return set(_WORD.findall(text.lower()))


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
    documents: Sequence[AbstractSet[str]],
    labels: NDArray[np.int64],
    vocabulary: Mapping[str, int],
) -> Shard:
    """Encode documents as the ascending numbers of the words they contain.

    Words outside the vocabulary are dropped, so a document may become empty.

    Args:
        documents: The distinct words of each document.
        labels: Shape ``(documents,)``.
        vocabulary: Word to number.
    """
    numbers = [
        sorted(vocabulary[word] for word in document if word in vocabulary)
        for document in documents
    ]
    lengths = np.array([len(document) for document in numbers], dtype=np.int64)
    tokens = np.fromiter(
        (number for document in numbers for number in document),
        dtype=np.int32,
        count=int(lengths.sum()),
    )
    return Shard(
        {"tokens": tokens, "offsets": np.cumsum(lengths) - lengths, "labels": labels}
    )
