"""The tasks on bags of words."""
# ruff: noqa: PLC0415 - the command line looks tasks up without loading torch

from __future__ import annotations

from typing import TYPE_CHECKING

from models.data.spam import SPAM_WORDS, load_spam
from models.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn


def _spam_network() -> nn.Module:
    from models.networks.words import WordSumNetwork

    return WordSumNetwork(num_words=SPAM_WORDS)


SPAM = Task(
    name="spam",
    summary="Enron mails: spam or ham? One weight per word",
    make_network=_spam_network,
    num_parameters=SPAM_WORDS,
    loss="binary-cross-entropy",
    optimizer="adam",
    learning_rate=0.05,
    batch_size=64,
    local_epochs=1,
    clip=2.0,
    w_max=65_536,
    deadline_seconds=60.0,
    default_partition="natural",
    needs_data=True,
    load=load_spam,
)
