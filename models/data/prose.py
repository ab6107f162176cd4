"""Python's own reference as a text corpus: no download, no folder."""
# ruff: noqa: PLC0415 - a client imports this module but never opens a data set

from __future__ import annotations

from typing import TYPE_CHECKING

from models.data.characters import dataset_of_texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from models.data.dataset import Dataset

MIN_TOPIC_CHARACTERS = 3_000
"""Topics of at least so much text are natural clients."""


def load_prose(_folder: Path | None = None) -> Dataset:
    """Load the topics of Python's ``help()`` as windows of characters.

    The text comes with CPython, so it differs a little between versions of Python.
    The topics of less than 3,000 characters are the public test split.

    Returns:
        Shards as in ``models.data.characters.text_shard``.
    """
    from pydoc_data.topics import topics

    return dataset_of_texts(
        _without_repetition(topics), min_characters=MIN_TOPIC_CHARACTERS
    )


def _without_repetition(topics: Mapping[str, str]) -> dict[str, str]:
    """Keep every paragraph once, in the longest topic that has it.

    Many a topic is also part of a longer one, and a test split must not repeat what
    was trained on.
    """
    seen: set[str] = set()
    kept = {}
    for topic in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        paragraphs = topics[topic].strip().split("\n\n")
        # Two copies may be indented differently.
        words = [" ".join(paragraph.split()) for paragraph in paragraphs]
        kept[topic] = "\n\n".join(
            paragraph
            for paragraph, key in zip(paragraphs, words, strict=True)
            if key not in seen
        )
        seen.update(words)
    return kept
