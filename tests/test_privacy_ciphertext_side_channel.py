"""E2: what is clear beside ciphertexts, the classifier, and the controls."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from phe import generate_paillier_keypair

from crypto.manifest import Manifest
from experiments.privacy.ciphertext_side_channel import words
from experiments.privacy.ciphertext_side_channel.classifier import (
    Judgement,
    group_of,
    judge,
    pieces,
    seal_all,
    without_blinding,
)
from experiments.privacy.ciphertext_side_channel.judging import Judged
from experiments.privacy.ciphertext_side_channel.measures import controls
from experiments.privacy.ciphertext_side_channel.metadata import (
    Sent,
    guess,
    marked_rows,
    phe_exponents,
    sent_by_phe,
    sent_by_us,
    sent_sparsely,
)
from experiments.privacy.ciphertext_side_channel.words import Leaks
from experiments.privacy.sealed_round import make_params
from experiments.privacy.words.mails import CLIP, UNIT, Vector

WORDS = 600
PERFECT = (1.0, 1.0, 1.0)
FREQUENCY = np.linspace(1, 0.1, 20)


def update_of(*rows: int, num_words: int = 20) -> Vector:
    update = np.zeros(num_words, dtype=np.float32)
    update[list(rows)] = -UNIT
    return update


def test_phe_tells_words_by_the_exponent_of_floats() -> None:
    key, _ = generate_paillier_keypair(n_length=256)
    update = update_of(3, 11)
    sent = sent_by_phe(update, key, None)
    marked = marked_rows(sent, 20)
    assert marked is not None
    assert np.flatnonzero(marked).tolist() == [3, 11]
    assert (phe_exponents(update, key).clear == sent.clear).all()


def test_phe_with_fixed_precision_leaves_the_commonest_words() -> None:
    key, _ = generate_paillier_keypair(n_length=256)
    sent = sent_by_phe(update_of(3, 11), key, 1e-6)
    assert marked_rows(sent, 20) is None
    assert np.flatnonzero(guess(sent, FREQUENCY, count=2)).tolist() == [0, 1]


def test_sending_only_the_rows_that_moved_names_the_words() -> None:
    sent = sent_sparsely(update_of(3, 11))
    assert np.flatnonzero(guess(sent, FREQUENCY, count=2)).tolist() == [3, 11]


def test_rows_that_are_all_alike_mark_nothing() -> None:
    assert marked_rows(Sent(np.arange(20), np.zeros((20, 2), np.int64)), 20) is None


@pytest.fixture(scope="module", params=["paillier", "hybrid"])
def manifest(request: pytest.FixtureRequest) -> Manifest:
    # The smallest key with stored primes; lengths play no part here.
    return group_of(make_params(5, mode=request.param, clip=CLIP, key_bits=2048))


def test_bits_of_uploads_tell_nothing_and_without_hiding_everything(
    manifest: Manifest,
) -> None:
    updates = [
        update_of(*(range(0, WORDS, 9) if i % 2 else ()), num_words=WORDS)
        for i in range(12)
    ]
    uploads = seal_all(updates, manifest)
    bare = [without_blinding(*p, manifest) for p in zip(uploads, updates, strict=True)]
    known, unknown = updates[:6], updates[6:]
    real, broken = (
        judge(
            pieces(sent[:6], known, manifest),
            pieces(sent[6:], unknown, manifest),
            seed=1,
        )
        for sent in (uploads, bare)
    )
    assert abs(real.auc - 0.5) < 5 * real.error
    assert broken.auc > 0.99
    assert len({len(upload.to_bytes()) for upload in uploads}) == 1
    for upload in uploads:
        assert marked_rows(sent_by_us(upload, manifest.params, WORDS), WORDS) is None


def test_a_ciphertext_without_blinding_is_marked_by_its_size() -> None:
    manifest = group_of(make_params(5, mode="paillier", clip=CLIP, key_bits=2048))
    update = update_of(3, num_words=WORDS)
    (upload,) = seal_all([update], manifest)
    bare = without_blinding(upload, update, manifest)
    marked = marked_rows(sent_by_us(bare, manifest.params, WORDS), WORDS)
    assert marked is not None
    assert marked[3]


def judged(**changes: Any) -> Judged:
    real = Judgement(auc=0.51, error=0.01, shuffled=0.5, samples=1000)
    return replace(Judged(real, replace(real, auc=1.0), sizes=1), **changes)


def leaks(**changes: Any) -> Leaks:
    perfect = (words.PHE, words.SPARSE, words.COLLUSION)
    found = {name: [PERFECT] for name in perfect}
    values: dict[str, Any] = {
        "words": found,
        "other_exponents": [0],
        "fixed_exponents": [1],
    }
    return Leaks(**(values | changes))


def failing(found: Leaks, one: Judged, recall: float = 0.97) -> list[str]:
    large = {words.PHE: [(1.0, recall, 1.0)]}
    return [c.name for c in controls(found, large, {"hybrid": one}) if not c.holds]


def test_controls_hold_for_what_must_come_out() -> None:
    assert failing(leaks(), judged()) == []


@pytest.mark.parametrize("name", [words.PHE, words.SPARSE, words.COLLUSION])
def test_an_attack_that_misses_words_fails_its_control(name: str) -> None:
    found = leaks()
    found.words[name] = [(1.0, 0.9, 0.95)]
    assert len(failing(found, judged())) == 1


@pytest.mark.parametrize(
    "bad",
    [
        judged(real=Judgement(auc=0.6, error=0.01, shuffled=0.5, samples=1000)),
        judged(broken=Judgement(auc=0.6, error=0.01, shuffled=0.5, samples=1000)),
        judged(broken=Judgement(auc=1.0, error=0.01, shuffled=0.6, samples=1000)),
        judged(sizes=2),
    ],
)
def test_uploads_that_differ_fail_a_control(bad: Judged) -> None:
    assert len(failing(leaks(), bad)) == 1


@pytest.mark.parametrize(
    "changes", [{"other_exponents": [1]}, {"fixed_exponents": [2]}]
)
def test_exponents_that_are_not_as_assumed_fail_a_control(
    changes: dict[str, Any],
) -> None:
    assert len(failing(leaks(**changes), judged())) == 1


def test_phe_that_hides_many_mails_fails_a_control() -> None:
    assert len(failing(leaks(), judged(), recall=0.5)) == 1
