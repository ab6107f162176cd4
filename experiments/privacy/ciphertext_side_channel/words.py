"""The words of single mails, by what lies in the clear in every way of sending them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from phe import generate_paillier_keypair
from phe.paillier import PaillierPublicKey

from experiments.bench.scene import fixed_primes
from experiments.privacy.ciphertext_side_channel.metadata import (
    Sent,
    guess,
    phe_exponents,
    sent_by_phe,
    sent_by_us,
    sent_sparsely,
)
from experiments.privacy.numbers import auc
from experiments.privacy.sealed_round import SealedRound, seal_round
from experiments.privacy.words.attack import Knowledge, rankings, touched
from experiments.privacy.words.mails import CLIP, Mails, Vector, contains, draw, update
from experiments.privacy.words.scoring import SetScore, score_set

PHE_BITS: Final = 512
KEY_BITS: Final = 3072
BATCH: Final = 500  # the book's, for clients with many mails
PLAIN: Final = "plain update"
SPARSE: Final = "only non-zero rows, encrypted"
PHE: Final = "phe, floats"
PHE_FIXED: Final = "phe, fixed precision"
PAILLIER: Final = "Unseen, paillier"
HYBRID: Final = "Unseen, hybrid"
OPENED: Final = "Unseen, opened sum of 5"
NULL: Final = "commonest words"
COLLUSION: Final = "server with members"
_PRECISION: Final = 1e-6
_CLIENTS: Final = 5
_MODES: Final = {"paillier": PAILLIER, "hybrid": HYBRID}


@dataclass
class Leaks:
    """What was found; lists have an entry per victim.

    Attributes:
        words: By way of sending, how well the guessed words are the mail's.
        exponents: By use of phe, the AUC of telling zeros from words by the exponent.
        other_exponents: Rows whose exponent is another one under a key of 3,072 bits.
        fixed_exponents: Different exponents in a message of fixed precision.
    """

    words: dict[str, list[SetScore]] = field(default_factory=dict)
    exponents: dict[str, list[float]] = field(default_factory=dict)
    other_exponents: list[int] = field(default_factory=list)
    fixed_exponents: list[int] = field(default_factory=list)

    def add(
        self, name: str, found: NDArray[np.bool_], truth: NDArray[np.bool_]
    ) -> None:
        """Score a guess."""
        self.words.setdefault(name, []).append(score_set(found, truth))


def attack_mails(mails: Mails, *, rounds: int, seed: int) -> Leaks:
    """Send single mails in every way, five clients a round, and read what is clear.

    Args:
        mails: Whose, of a vocabulary that can be sealed.
        rounds: Of each mode; every client is a victim.
        seed: Fixes all mails before anything is attacked.
    """
    knowledge, leaks = Knowledge.of(mails), Leaks()
    small, _ = generate_paillier_keypair(n_length=PHE_BITS)
    p, q = fixed_primes(KEY_BITS)
    large = PaillierPublicKey(int(p * q))
    for number in range(rounds):
        drawn = draw(mails.private, (_CLIENTS, 1), seed=seed + 1000 * number)
        truths = [contains(mail, mails.num_words) for mail in drawn]
        model = np.zeros(mails.num_words, dtype=np.float32)
        updates = [update(mail, model) for mail in drawn]
        for own, truth in zip(updates, truths, strict=True):
            _attack_others(leaks, own, truth, knowledge, (small, large))
        for mode, name in _MODES.items():
            sealed = seal_round(updates, mode=mode, clip=CLIP)
            _attack_ours(leaks, name, sealed, truths, knowledge)
    return leaks


def _attack_others(
    leaks: Leaks,
    own: Vector,
    truth: NDArray[np.bool_],
    knowledge: Knowledge,
    keys: tuple[PaillierPublicKey, PaillierPublicKey],
) -> None:
    """Send one update in the ways that are not ours."""
    small, large = keys
    count = int(truth.sum())
    floats = sent_by_phe(own, small, None)
    fixed = sent_by_phe(own, small, _PRECISION)
    leaks.add(PLAIN, touched(own, smallest=0.0), truth)
    for name, sent in ((SPARSE, sent_sparsely(own)), (PHE, floats), (PHE_FIXED, fixed)):
        leaks.add(name, guess(sent, knowledge.both, count=count), truth)
    nothing = Sent(floats.rows, np.zeros_like(floats.clear))
    leaks.add(NULL, guess(nothing, knowledge.both, count=count), truth)
    for name, sent in ((PHE, floats), (PHE_FIXED, fixed)):
        smaller = -sent.clear[:, 0]  # small numbers have small exponents
        found = auc(smaller[truth], smaller[~truth])
        leaks.exponents.setdefault(name, []).append(found)
    changed = phe_exponents(own, large).clear != floats.clear
    leaks.other_exponents.append(int(changed.sum()))
    leaks.fixed_exponents.append(len(np.unique(fixed.clear)))


def _attack_ours(
    leaks: Leaks,
    name: str,
    sealed: SealedRound,
    truths: Sequence[NDArray[np.bool_]],
    knowledge: Knowledge,
) -> None:
    """Read the uploads of a real round, then the sum that it opened."""
    for upload, truth in zip(sealed.uploads, truths, strict=True):
        sent = sent_by_us(upload, sealed.params, truth.size)
        count = int(truth.sum())
        leaks.add(name, guess(sent, knowledge.both, count=count), truth)
    opened = rankings(sealed.total, knowledge, num_mails=_CLIENTS)
    if name == PAILLIER:  # the sum of mode hybrid is the same
        for truth in truths:
            for ranking, scores in opened.items():
                top = np.argsort(-scores, kind="stable")[: int(truth.sum())]
                found = np.isin(np.arange(truth.size), top)
                leaks.add(f"{OPENED}: {ranking}", found, truth)
    own = touched(sealed.collude(0), smallest=sealed.step / 2)
    leaks.add(COLLUSION, own, truths[0])


def best_of_opened(words: Mapping[str, Sequence[SetScore]]) -> str:
    """Return the ranking of the opened sum that finds most; never below the prior."""
    names = [name for name in words if name.startswith(OPENED)]
    return max(names, key=lambda name: sum(f1 for _, _, f1 in words[name]))


def attack_large_client(
    mails: Mails, *, mails_each: int, victims: int, seed: int
) -> dict[str, list[SetScore]]:
    """Read phe's exponents in the updates of clients with many mails, all words.

    Only encoded, not encrypted: the exponent is chosen before.

    Returns:
        What was found, under `PHE`, and the null under `NULL`.
    """
    public, _ = generate_paillier_keypair(n_length=PHE_BITS)
    frequency = Knowledge.of(mails).both
    model = np.zeros(mails.num_words, dtype=np.float32)
    leaks = Leaks()
    for number in range(victims):
        drawn = draw(mails.private, (1, mails_each), seed=seed + 1000 * number)[0]
        truth = contains(drawn, mails.num_words)
        sent = phe_exponents(update(drawn, model, batch=BATCH), public)
        nothing = Sent(sent.rows, np.zeros_like(sent.clear))
        for name, seen in ((PHE, sent), (NULL, nothing)):
            leaks.add(name, guess(seen, frequency, count=int(truth.sum())), truth)
    return leaks.words
