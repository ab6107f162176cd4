"""Mails as sets of words, and what one step on them does to the book's spam model.

The model has one weight per word (chapter 15 of Trask, "Grokking Deep Learning", 2019;
the task `spam-book`). The word numbers of a vocabulary rise as the words get rarer in
the public mails, so the first 2,000 words are the 2,000 commonest.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.errors import SettingsError
from models.data.spam import load_spam
from models.data.words import build_vocabulary, distinct_words, word_set_shard
from models.errors import TaskError
from models.local import LocalTraining
from models.shards import Shard
from models.tasks.words import SPAM_BOOK

Vector = NDArray[np.float32]

RATE: Final = 0.01
"""The book's step size, for the sum of the squared errors of a batch."""

CLIP: Final = SPAM_BOOK.clip
"""Bound on a coordinate of an update: the task's."""

UNIT: Final = RATE / 4
"""By how much one mail moves each of its words from a model of zeros.

The derivative of ``(sigmoid(z) - y)**2`` at ``z = 0`` is 1/4 for ham, -1/4 for spam.
"""

_SHORTEST, _LONGEST = 5, 500  # words: below, nothing to find; above, not in the book
_PUBLIC_SHARE: Final = 3  # every third paragraph, where no mails are given


@dataclass(frozen=True, eq=False)
class Mails:
    """Mails that somebody wants to keep, and others that everybody has.

    Attributes:
        private: The clients' mails; no set of words twice, or among the public ones.
        public: Mails the attacker has.
        vocabulary: The words by number, chosen by the public mails alone.
        source: What they are, for people.
    """

    private: Shard
    public: Shard
    vocabulary: tuple[str, ...]
    source: str

    @property
    def num_words(self) -> int:
        """Size of the vocabulary, and of the model."""
        return len(self.vocabulary)

    def narrowed(self, num_words: int) -> "Mails":
        """Keep the commonest words only, and the mails that still have enough."""
        size = min(num_words, self.num_words)
        return Mails(
            private=_with_enough_words(_without_rare_words(self.private, size)),
            public=_without_rare_words(self.public, size),
            vocabulary=self.vocabulary[:size],
            source=self.source,
        )


def load_mails(data: Path | None) -> Mails:
    """Load the Enron mails from `data`, or Python's own reference as mails.

    Args:
        data: The folder of all data sets; None for paragraphs of the reference, which
            are labelled by whether they are set in, as examples and tables are.

    Raises:
        SettingsError: If the folder has no Enron mails.
    """
    if data is None:
        return _paragraphs()
    try:
        loaded = load_spam(data / "spam")
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from error
    return Mails(
        private=_only_new(_with_enough_words(loaded.train), loaded.test),
        public=loaded.test,
        vocabulary=loaded.vocabulary,
        source="Enron mails",
    )


def _paragraphs() -> Mails:
    from pydoc_data.topics import topics  # noqa: PLC0415 - a large module

    texts = (text for name in sorted(topics) for text in topics[name].split("\n\n"))
    # By their words, so that a paragraph of two topics is one mail.
    found = {frozenset(distinct_words(text)): text.startswith("   ") for text in texts}
    documents = [set(words) for words in found if len(words) >= _SHORTEST]
    labels = np.array([found[frozenset(words)] for words in documents], dtype=np.int64)
    is_public = np.arange(len(documents)) % _PUBLIC_SHARE == 0
    shared = [documents[i] for i in np.flatnonzero(is_public)]
    vocabulary = build_vocabulary(shared, size=len(set().union(*shared)))
    everything = word_set_shard(documents, labels, vocabulary)
    public = everything.take(np.flatnonzero(is_public))
    private = _with_enough_words(everything.take(np.flatnonzero(~is_public)))
    return Mails(
        private=_only_new(private, public),
        public=public,
        vocabulary=tuple(vocabulary),
        source="paragraphs of Python's reference",
    )


def lengths(mails: Shard) -> NDArray[np.int64]:
    """Return the number of words of every mail, shape (mails,)."""
    return np.diff(mails.arrays["offsets"], append=len(mails.arrays["tokens"]))


def contains(mails: Shard, num_words: int) -> NDArray[np.bool_]:
    """Return which words are in any of the mails, shape (num_words,)."""
    found = np.zeros(num_words, dtype=np.bool_)
    found[mails.arrays["tokens"]] = True
    return found


def frequencies(mails: Shard, num_words: int) -> NDArray[np.float64]:
    """Return the share of the mails that have each word, shape (num_words,).

    Half a mail is added to every word, so that none is impossible.
    """
    counts = np.bincount(mails.arrays["tokens"], minlength=num_words)
    return (counts + 0.5) / (len(mails) + 1)


def draw(mails: Shard, counts: tuple[int, int], *, seed: int) -> list[Shard]:
    """Draw mails for clients, no mail twice.

    Args:
        mails: To draw from.
        counts: Clients, and mails of each.
        seed: The same arguments give the same mails.
    """
    clients, each = counts
    order = np.random.default_rng(seed).permutation(len(mails))[: clients * each]
    return [mails.take(np.sort(part)) for part in order.reshape(clients, each)]


def update(mails: Shard, model: Vector, *, batch: int | None = None) -> Vector:
    """Train the book's model on all mails at once, one step; return its change.

    The platform's own network and training.

    Args:
        mails: At least one.
        model: Shape (num_words,): the global model.
        batch: Mails in a step, for a pass of several steps; None for all in one.

    Returns:
        Shape (num_words,): what this client wants to send.
    """
    import torch  # noqa: PLC0415 - takes seconds

    from models.networks.words import WordSumNetwork  # noqa: PLC0415
    from models.training import train  # noqa: PLC0415

    network = WordSumNetwork(num_words=model.size)
    weights = network.words.weight
    with torch.no_grad():
        weights.copy_(torch.from_numpy(model.reshape(-1, 1)))
    size = min(batch or len(mails), len(mails))
    settings = LocalTraining(
        epochs=1,
        batch_size=size,
        learning_rate=RATE * size,  # training takes the mean over the batch
    )
    train(network, mails, SPAM_BOOK, settings, seed=0, device="cpu")
    change: Vector = weights.detach().numpy().ravel() - model
    return change


def pushes(mails: Shard, model: Vector) -> NDArray[np.float64]:
    """Return by how much each mail moves each of its words, shape (mails,).

    What `update` computes, without torch, for sweeps over thousands of clients: the
    update of one mail is its push at its words and 0 elsewhere, and that of several
    mails in one step is the sum.
    """
    tokens, offsets = mails.arrays["tokens"], mails.arrays["offsets"]
    owner = np.repeat(np.arange(len(mails)), lengths(mails))
    logits = np.bincount(owner, weights=model[tokens], minlength=len(offsets))
    scores = 1 / (1 + np.exp(-logits))
    slopes = 2 * (scores - mails.labels) * scores * (1 - scores)
    moved: NDArray[np.float64] = -RATE * slopes
    return moved


def summed(mails: Shard, model: Vector) -> NDArray[np.float64]:
    """Return the sum of the updates of all mails, shape (num_words,), unquantised."""
    each = np.repeat(pushes(mails, model), lengths(mails))
    tokens = mails.arrays["tokens"]
    return np.bincount(tokens, weights=each, minlength=model.size).astype(np.float64)


def _without_rare_words(mails: Shard, num_words: int) -> Shard:
    tokens, offsets = mails.arrays["tokens"], mails.arrays["offsets"]
    stays = tokens < num_words
    before = np.concatenate([[0], np.cumsum(stays)])
    arrays = {**mails.arrays, "tokens": tokens[stays], "offsets": before[offsets]}
    return Shard(arrays)


def _with_enough_words(mails: Shard) -> Shard:
    sizes = lengths(mails)
    return mails.take(np.flatnonzero((sizes >= _SHORTEST) & (sizes < _LONGEST)))


def _only_new(mails: Shard, known: Shard) -> Shard:
    """Leave out a mail whose words are those of an earlier or a known one."""
    seen = set(_keys(known))
    kept = []
    for number, key in enumerate(_keys(mails)):
        if key not in seen:
            seen.add(key)
            kept.append(number)
    return mails.take(np.array(kept, dtype=np.int64))


def _keys(mails: Shard) -> list[bytes]:
    """Return the words of every mail, as bytes."""
    tokens, offsets = mails.arrays["tokens"], mails.arrays["offsets"]
    return [words.tobytes() for words in np.split(tokens, offsets[1:])]
