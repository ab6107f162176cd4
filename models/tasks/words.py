"""The tasks on words."""
# ruff: noqa: PLC0415 - the command line looks tasks up without loading torch

from __future__ import annotations

from typing import TYPE_CHECKING

from models.data.imdb import BLANKS_WORDS, IMDB_TERMS, load_imdb, load_imdb_blanks
from models.data.spam import SPAM_WORDS, load_spam, load_spam_book
from models.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn


def _spam_network() -> nn.Module:
    from models.networks.words import WordBagNetwork

    return WordBagNetwork(num_words=SPAM_WORDS, dropout=0.3)


def _spam_book_network() -> nn.Module:
    from models.networks.words import WordSumNetwork

    return WordSumNetwork(num_words=SPAM_WORDS)


def _imdb_network() -> nn.Module:
    from models.networks.words import WordBagNetwork

    return WordBagNetwork(num_words=IMDB_TERMS, dropout=0.7)


def _blanks_network() -> nn.Module:
    from models.networks.words import BlanksNetwork

    return BlanksNetwork(num_words=BLANKS_WORDS)


SPAM = Task(
    name="spam",
    summary="Enron mails: spam or ham? A vector per word",
    make_network=_spam_network,
    num_parameters=160_009,
    loss="binary-cross-entropy",
    optimizer="adam",
    learning_rate=0.01,
    batch_size=64,
    local_epochs=1,
    clip=2.0,
    w_max=32_768,
    deadline_seconds=60.0,
    default_partition="natural",
    needs_data=True,
    load=load_spam,
    num_rounds=8,
)

SPAM_BOOK = Task(
    name="spam-book",
    summary="the same mails as in the book: one weight per word, three clients",
    make_network=_spam_book_network,
    num_parameters=20_000,
    loss="squared-error",
    optimizer="sgd",
    learning_rate=5.0,  # the book's 0.01 for the sum over its batch of 500
    batch_size=500,
    local_epochs=1,
    clip=2.0,
    w_max=32_768,
    deadline_seconds=60.0,
    default_partition="sizes:1000,1000,rest",
    needs_data=True,
    load=load_spam_book,
    num_clients=3,
    num_rounds=3,
    equal_weights=True,
)

IMDB = Task(
    name="imdb",
    summary="film reviews: liked or not? A vector per word and pair of words",
    make_network=_imdb_network,
    num_parameters=240_009,
    loss="binary-cross-entropy",
    optimizer="adam",
    learning_rate=0.005,
    batch_size=64,
    local_epochs=1,
    clip=1.5,
    w_max=32_768,
    deadline_seconds=60.0,
    default_partition="dirichlet:0.5",
    needs_data=True,
    load=load_imdb,
    num_clients=10,
    num_rounds=8,
)

IMDB_BLANKS = Task(
    name="imdb-blanks",
    summary="film reviews: guess a word from four around it, for analogies",
    make_network=_blanks_network,
    num_parameters=1_000_000,
    loss="one-of-six",
    optimizer="adam",
    learning_rate=0.02,
    batch_size=16,
    local_epochs=1,
    clip=4.0,
    w_max=32_768,
    deadline_seconds=120.0,
    default_partition="iid",
    needs_data=True,
    load=load_imdb_blanks,
    num_clients=10,
    num_rounds=8,
)
