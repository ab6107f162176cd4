"""The mails of the privacy experiments, and the attacks on their words."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.errors import SettingsError
from experiments.privacy.words.attack import (
    PRIOR,
    Knowledge,
    expected_mails,
    rankings,
    touched,
)
from experiments.privacy.words.mails import (
    UNIT,
    Mails,
    contains,
    draw,
    lengths,
    load_mails,
    summed,
    update,
)
from experiments.privacy.words.scoring import score, score_set
from models.shards import Shard

BOOK = ["my", "computer", "password", "is", "pizza"]


def mail(words: list[int], *, label: int) -> Shard:
    return Shard(
        {
            "tokens": np.array(words, dtype=np.int32),
            "offsets": np.zeros(1, dtype=np.int64),
            "labels": np.array([label], dtype=np.int64),
        }
    )


@pytest.fixture(scope="module")
def mails() -> Mails:
    return load_mails(None)


def words_of(shard: Shard) -> set[bytes]:
    parts = np.split(shard.arrays["tokens"], shard.arrays["offsets"][1:])
    return {part.tobytes() for part in parts}


def test_the_books_sentence_is_read_off_its_update() -> None:
    vocabulary = ["and", *BOOK, "the", "of"]
    truth = np.isin(vocabulary, BOOK)
    own = update(mail([1, 2, 3, 4, 5], label=1), np.zeros(8, dtype=np.float32))
    assert score_set(touched(own, smallest=0.0), truth) == (1.0, 1.0, 1.0)
    assert own[truth] == pytest.approx(UNIT)


def test_private_and_public_mails_have_nothing_in_common(mails: Mails) -> None:
    private, public = words_of(mails.private), words_of(mails.public)
    assert len(private) == len(mails.private)
    assert not private & public


def test_narrowed_mails_have_only_words_of_the_smaller_vocabulary(mails: Mails) -> None:
    narrow = mails.narrowed(100)
    assert narrow.num_words == 100
    assert narrow.private.arrays["tokens"].max() < 100
    assert lengths(narrow.private).min() >= 5


def test_clients_get_different_mails(mails: Mails) -> None:
    drawn = [words_of(shard) for shard in draw(mails.private, (20, 5), seed=3)]
    assert len(set.union(*drawn)) == 100
    again = [words_of(shard) for shard in draw(mails.private, (20, 5), seed=3)]
    assert drawn == again


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_pushes_add_up_to_what_training_does(mails: Mails, spread: float) -> None:
    random = np.random.default_rng(0)
    model = (random.normal(size=mails.num_words) * spread).astype(np.float32)
    (drawn,) = draw(mails.private, (1, 20), seed=1)
    expected = update(drawn, model)
    assert summed(drawn, model) == pytest.approx(expected, abs=1e-7)
    assert np.abs(expected).max() > UNIT / 4


def test_a_folder_without_mails_is_refused_with_a_hint(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_mails(tmp_path_factory.mktemp("empty"))
    assert "enron_train.parquet" in caught.value.hint


def test_words_of_spam_and_ham_cancel_in_a_sum() -> None:
    model = np.zeros(4, dtype=np.float32)
    total = update(mail([0, 1], label=1), model) + update(mail([1, 2], label=0), model)
    assert touched(total, smallest=1e-6).tolist() == [True, False, True, False]


def test_a_common_word_that_does_not_move_is_expected_to_have_cancelled() -> None:
    common, rare = np.full(1, 0.5), np.full(1, 0.001)
    frequency = np.concatenate([common, rare])
    knowledge = Knowledge(0.5, spam=frequency, ham=frequency, both=frequency)
    still, moved = np.zeros(2), np.full(2, 3 * UNIT)
    by_still = expected_mails(still, knowledge, num_mails=40)
    assert by_still[0] > 1
    assert by_still[1] < 0.01
    by_move = expected_mails(moved, knowledge, num_mails=40)
    assert by_move[0] > by_move[1] >= 3


def test_expected_mails_are_those_of_two_poisson_counts() -> None:
    """Against the frequencies in a large sample, conditioned on the difference."""
    random = np.random.default_rng(1)
    spam, ham = random.poisson(3.0, 400_000), random.poisson(1.5, 400_000)
    knowledge = Knowledge(0.5, *(np.full(1, rate) for rate in (0.6, 0.3, 0.45)))
    for difference in (0, 2, 5):
        seen = np.full(1, difference * UNIT)
        expected = expected_mails(seen, knowledge, num_mails=10)[0]
        # Both signs of the difference would fit; the chance of each is in the sample.
        chosen = (spam - ham) == difference
        found = (spam + ham)[chosen]
        error = found.std() / np.sqrt(found.size)
        assert abs(found.mean() - expected) < 5 * error


def test_rare_words_beyond_the_range_of_floats_still_have_a_rank() -> None:
    tiny = np.full(1, 1e-9)
    knowledge = Knowledge(0.5, spam=tiny, ham=tiny, both=tiny)
    seen = np.full(1, 5000 * UNIT)
    found = expected_mails(seen, knowledge, num_mails=10)[0]
    assert found == pytest.approx(5000)


def test_a_sum_without_the_victim_ranks_its_words_no_better_than_frequency(
    mails: Mails,
) -> None:
    knowledge = Knowledge.of(mails)
    drawn = draw(mails.private, (11, 5), seed=5)
    model = np.zeros(mails.num_words, dtype=np.float32)
    total = np.sum([update(shard, model) for shard in drawn[1:]], axis=0)
    truth = contains(drawn[0], mails.num_words)
    found = {
        name: score(scores, truth, knowledge.both).average_precision
        for name, scores in rankings(total, knowledge, num_mails=50).items()
    }
    assert max(found.values()) < found[PRIOR] + 0.05


def test_score_counts_rare_words_apart_from_common_ones() -> None:
    frequency = np.linspace(1, 0.01, 300)
    truth = np.zeros(300, dtype=np.bool_)
    truth[:50] = truth[250:] = True
    by_prior = score(frequency, truth, frequency)
    assert by_prior.rarest == 0.0
    assert 0 < by_prior.f1 < 1
    perfect = score(truth.astype(np.float64), truth, frequency)
    assert perfect == replace(by_prior, average_precision=1.0, f1=1.0, rarest=1.0)
