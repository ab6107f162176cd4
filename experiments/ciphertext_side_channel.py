"""E2. What do ciphertexts tell without the key?

    python -m experiments.ciphertext_side_channel [--quick] [--data DIR] [--seed 2026]

The words of a mail are looked for in what lies in the clear: exponents, lengths,
numbers and order of ciphertexts; and in their bits, with a classifier that has learned
from encryptions of its own. `phe` used as in the book gives the words away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from experiments.privacy.ciphertext_side_channel import words
from experiments.privacy.ciphertext_side_channel.judging import Judged, judge_mode
from experiments.privacy.ciphertext_side_channel.measures import (
    SENDERS,
    controls,
    measures,
    of_words,
)
from experiments.privacy.ciphertext_side_channel.plot import draw
from experiments.privacy.experiment import Experiment, Options, Outcome, main
from experiments.privacy.numbers import Measure
from experiments.privacy.words.mails import Mails, load_mails

_SMALL: Final = f"{words.PHE_BITS}-bit key*"
_LARGE: Final = f"{words.KEY_BITS:,}-bit key"
_LABELS: Final = {
    words.PLAIN: "plain update",
    words.SPARSE: "non-zero rows only,\nencrypted",
    words.PHE: f"phe as in the book,\n{_SMALL}",
    words.PHE_FIXED: f"phe, fixed precision,\n{_SMALL}",
    words.PAILLIER: f"Unseen, paillier,\n{_LARGE}",
    words.HYBRID: f"Unseen, hybrid,\n{_LARGE}",
    words.OPENED: "Unseen, with the\nopened sum of 5",
}


@dataclass(frozen=True)
class _Size:
    """How much is done."""

    words: int
    rounds: int
    uploads: Mapping[str, int]
    many_mails: int
    large_clients: int


_FULL = _Size(2000, 2, {"paillier": 100, "hybrid": 60}, 1000, 10)
_QUICK = _Size(600, 1, {"paillier": 16, "hybrid": 10}, 100, 3)


def run(options: Options) -> Outcome:
    """Read what is clear, then learn from the bits."""
    size = _QUICK if options.quick else _FULL
    mails = load_mails(options.data)
    narrow = mails.narrowed(size.words)
    options.tell(f"{size.rounds} rounds of single mails, {narrow.num_words} words")
    leaks = words.attack_mails(narrow, rounds=size.rounds, seed=options.seed)
    large = words.attack_large_client(
        mails,
        mails_each=size.many_mails,
        victims=size.large_clients,
        seed=options.seed + 1,
    )
    judged = {}
    for mode, uploads in size.uploads.items():
        options.tell(f"a classifier on {2 * uploads} uploads, mode {mode}")
        judged[mode] = judge_mode(narrow, mode, uploads=uploads, seed=options.seed + 2)
    bars = {name: of_words(leaks, name) for name in SENDERS}
    return Outcome(
        measures=measures(leaks, large, judged, mails_each=size.many_mails),
        controls=controls(leaks, large, judged),
        conclusion=_conclusion(bars, judged),
        setup=_setup(mails, narrow, size),
        plot=partial(draw, [(_LABELS[name], one) for name, one in bars.items()]),
        series={"precision, recall, F1": leaks.words, "phe, many mails": large},
    )


def _conclusion(bars: Mapping[str, Measure], judged: Mapping[str, Judged]) -> str:
    ours = max(bars[words.PAILLIER], bars[words.HYBRID], key=lambda one: one.value)
    reached = ", ".join(f"{one.real.auc:.2f}" for one in judged.values())
    errors = ", ".join(f"{one.real.error:.2f}" for one in judged.values())
    return (
        "Encryption used carelessly hides nothing: as the book uses the library phe, a "
        "number beside each ciphertext tells a zero from a word, and the server "
        f"finds the words of a mail with an F1 of {bars[words.PHE].value:.2f} without "
        "any key, as it does if only the weights that moved are sent "
        f"({bars[words.SPARSE].value:.2f}). What Unseen's clients send has no such "
        f"number and always the same size: the best guess from it is "
        f"{ours.value:.2f}, that of the commonest words ({ours.null or 0.0:.2f}), and "
        f"a program that learned from the bits tells a zero from a word at {reached}, "
        f"where guessing is at 0.50 (standard errors {errors})."
    )


def _setup(mails: Mails, narrow: Mails, size: _Size) -> dict[str, object]:
    return {
        "data": mails.source,
        "model": "task spam-book: a weight per word, one step of one mail from zeros",
        "words": narrow.num_words,
        "words, client of many mails": mails.num_words,
        "victims": 5 * size.rounds,
        "key bits, Unseen": words.KEY_BITS,
        "key bits, phe": f"{words.PHE_BITS}: the exponents are those of a key of "
        f"{words.KEY_BITS} bits (control)",
        "uploads to learn from, and as many to judge": dict(size.uploads),
        "attacker knows": "public key, parameters, public mails, the mail's number of "
        "words; makes encryptions of its own; has no private key or share",
        "private key": "dealt to a committee of clients; never at the server",
        "sums of ciphertexts": "never sent: each key holder adds up the signed uploads",
        "null": "the public mails' commonest words, as many as the mail has; AUC 0.5",
        "what the classifier shows": "no proof: Paillier's and ring-LWE's are by "
        "reduction; a test against mistakes in encoding, blinding and packing",
        "opened sum": "what the attacker adds from the sum of the round; E1 varies the "
        "number of clients",
    }


EXPERIMENT: Final = Experiment(
    number="E2",
    name="ciphertext_side_channel",
    title="Ciphertexts without the key",
    question="Is anything readable in what a client sends, without any key?",
    encryption_helps=True,
    measure=run,
    later="Noise inside the encryption comes with the next step; it changes the opened "
    "sum, not what ciphertexts show.",
)

if __name__ == "__main__":
    main(EXPERIMENT)
