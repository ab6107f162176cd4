"""E5: the test between two mails that one client may have sent."""

import numpy as np
import pytest

from experiments.known_candidates import later_model
from experiments.privacy.known_candidates.attack import (
    CountingCrowd,
    Crowd,
    Mail,
    MixedCrowd,
    expect,
    log_ratio,
)
from experiments.privacy.known_candidates.findings import (
    Sizes,
    Stage,
    auc_measure,
    controls,
)
from experiments.privacy.known_candidates.single import SealedVictims, attack_plain
from experiments.privacy.known_candidates.trials import Group, Scores, draw_trials
from experiments.privacy.sealed_round import quantised_total
from experiments.privacy.words.mails import CLIP, Mails, load_mails, update

COMMON, RARE, OTHER = 0, 1, 2
FIRST = Mail(np.array([COMMON, RARE], np.int32), 10)
SECOND = Mail(np.array([COMMON, OTHER], np.int32), 10)


@pytest.fixture(scope="module")
def mails() -> Mails:
    return load_mails(None)


def crowds() -> list[Crowd]:
    shares = np.array([0.6, 0.01, 0.01])
    half = shares / 2
    return [
        CountingCrowd(10, half, half),
        MixedCrowd(shares, np.zeros(3), np.full(3, 100.0), 10),
    ]


@pytest.mark.parametrize("crowd", crowds())
def test_the_mail_whose_own_word_moved_is_likelier(crowd: Crowd) -> None:
    sent_first, sent_second = np.array([10, 10, 0]), np.array([10, 0, 10])
    assert log_ratio(sent_first, FIRST, SECOND, crowd, 5) > 3
    assert log_ratio(sent_second, FIRST, SECOND, crowd, 5) < -3


@pytest.mark.parametrize("crowd", crowds())
def test_words_of_both_and_a_sum_with_neither_tell_nothing(crowd: Crowd) -> None:
    for common in (-30, 0, 40):
        assert log_ratio(np.array([common, 0, 0]), FIRST, SECOND, crowd, 5) == 0
        assert log_ratio(np.array([common, 10, 10]), FIRST, SECOND, crowd, 5) == 0


def test_chances_of_all_sums_add_up_to_one() -> None:
    counting, mixed = crowds()
    words, counts = np.zeros(401, np.int32), np.arange(-200, 201)
    assert np.exp(counting.log_chance(10 * counts, words, 50)).sum() == pytest.approx(1)
    steps = np.arange(-500, 501)  # 50 mails of 10 steps
    words = np.full(steps.size, RARE, np.int32)
    chance = np.exp(mixed.log_chance(steps, words, 50)).sum()
    assert chance == pytest.approx(1, abs=0.01)


def test_the_first_step_counts_mails_and_a_later_one_does_not(mails: Mails) -> None:
    zeros = np.zeros(mails.num_words, np.float32)
    assert isinstance(expect(mails.public, zeros, 1e5), CountingCrowd)
    assert isinstance(expect(mails.public, zeros + 1, 1e5), MixedCrowd)


@pytest.mark.parametrize("is_later", [False, True])
def test_sums_of_the_sweep_are_the_platforms(mails: Mails, is_later: bool) -> None:
    model = np.zeros(mails.num_words, np.float32)
    if is_later:
        model = later_model(mails, seed=1)
    group, numbers = Group.at(mails, model), np.array([3, 5, 8])
    updates = [update(mails.private.take(numbers[i : i + 1]), model) for i in range(3)]
    opened = quantised_total(updates, clip=CLIP) / quantised_step()
    # torch computes in float32: a half may be rounded the other way.
    assert np.abs(opened - group.total(numbers)).max() <= 3 * is_later + 1e-6


def quantised_step() -> float:
    one = quantised_total([np.full(1, CLIP, np.float32)] * 2, clip=CLIP)[0] / 2
    return float(one) / (2**19 - 1)


def test_one_update_tells_everything_and_the_third_mail_nothing(mails: Mails) -> None:
    trials = draw_trials(mails.private, 40, clients=2, seed=1)
    scores = attack_plain(mails, np.zeros(mails.num_words, np.float32), trials)
    found = auc_measure("plain", scores, view="plain")
    assert (found.value, scores.right) == (1, 80)
    assert found.null is not None
    assert 0.2 < found.null < 0.8


def test_candidates_have_one_label_and_nobody_is_there_twice(mails: Mails) -> None:
    for trial in draw_trials(mails.private, 20, clients=10, seed=1):
        known = [trial.first, trial.second, trial.third]
        assert len(set(mails.private.labels[known])) == 1
        assert len({*known, *trial.others.tolist()}) == 3 + 9


def stage(scores: Scores, sealed: SealedVictims) -> Stage:
    return Stage("first step", scores, [scores], sealed, 0.0)


def test_every_control_can_fail() -> None:
    noise = np.random.default_rng(1).normal(size=300)
    good = Scores(noise + 20, noise - 20, noise)
    sealed = SealedVictims(noise, noise, 0.5, 0.0)
    assert failing(good, sealed) == 0
    assert failing(Scores(noise, noise[::-1], noise), sealed) == 2  # the positive ones
    assert failing(Scores(good.first, good.second, noise + 1), sealed) == 2
    assert failing(good, SealedVictims(noise, noise, 0.6, 0.0)) == 1
    assert failing(good, SealedVictims(noise, noise, 0.5, 9.0)) == 1


def failing(scores: Scores, sealed: SealedVictims) -> int:
    sizes, one = Sizes((5,), 300, 1, 1, 3072), stage(scores, sealed)
    plain = auc_measure("plain", scores, view="plain")
    found = controls(sizes, [one], [plain], [[plain]], least=0.99)
    return sum(not control.holds for control in found)
