"""The classifier on many uploads of a mode: as they are, and with nothing hidden."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from experiments.privacy.ciphertext_side_channel.classifier import (
    Judgement,
    group_of,
    judge,
    pieces,
    seal_all,
    without_blinding,
)
from experiments.privacy.sealed_round import make_params
from experiments.privacy.words.mails import CLIP, Mails, Vector, draw, update
from models.shards import Shard

CLIENTS: Final = 5
_LONG: Final = 100  # mails


@dataclass(frozen=True)
class Judged:
    """What can be told from the uploads of one mode.

    Attributes:
        real: The classifier on uploads as they are sent.
        broken: On uploads in which nothing hides the values.
        sizes: How many different sizes the uploads have: those of single mails, of
            nobody's mail, of many mails, and of the largest update there can be.
    """

    real: Judgement
    broken: Judgement
    sizes: int


def judge_mode(mails: Mails, mode: str, *, uploads: int, seed: int) -> Judged:
    """Seal, learn and judge.

    Args:
        mails: The attacker learns on the public ones, and judges private ones.
        mode: Of the uploads.
        uploads: To learn from; as many others are judged. Half have no mail.
        seed: Of mails and shuffled answers.
    """
    manifest = group_of(make_params(CLIENTS, mode=mode, clip=CLIP))
    learned = _updates(mails.public, mails.num_words, uploads, seed)
    judged = _updates(mails.private, mails.num_words, uploads, seed)
    others = [
        _update_of(draw(mails.private, (1, _LONG), seed=seed)[0], mails.num_words),
        np.full(mails.num_words, CLIP, dtype=np.float32),
    ]
    updates = [*learned, *judged]
    sealed = seal_all([*updates, *others], manifest)
    sizes = {
        (len(u.bulk), len(u.ciphertexts), len(u.proof), len(u.to_bytes()))
        for u in sealed
    }
    sealed = sealed[: len(updates)]
    bare = [
        without_blinding(*pair, manifest) for pair in zip(sealed, updates, strict=True)
    ]
    real, broken = (
        judge(
            pieces(sent[:uploads], learned, manifest),
            pieces(sent[uploads:], judged, manifest),
            seed=seed,
        )
        for sent in (sealed, bare)
    )
    return Judged(real, broken, len(sizes))


def _updates(mails: Shard, num_words: int, count: int, seed: int) -> list[Vector]:
    """Return the updates of single mails, every second one of nothing at all."""
    drawn = draw(mails, (count, 1), seed=seed)
    nothing = np.zeros(num_words, dtype=np.float32)
    return [_update_of(m, num_words) if i % 2 else nothing for i, m in enumerate(drawn)]


def _update_of(mails: Shard, num_words: int) -> Vector:
    return update(mails, np.zeros(num_words, dtype=np.float32))
