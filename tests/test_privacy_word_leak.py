"""E1: the controls can fail, and the script runs."""

from dataclasses import replace

import pytest

from experiments.privacy.numbers import Control
from experiments.privacy.word_leak.measures import controls
from experiments.privacy.word_leak.sealed import SealedVictim
from experiments.privacy.word_leak.sweep import Found
from experiments.privacy.words.attack import PRIOR
from experiments.privacy.words.scoring import WordScore

PERFECT = (1.0, 1.0, 1.0)
CHANCE = WordScore(0.3, 0.3, 0.0)
GOOD = SealedVictim("hybrid", PERFECT, PERFECT, {PRIOR: CHANCE}, 0.7, 0.7, 0.0)


def found(outsider: float = 0.3) -> Found:
    return Found(
        clients=1,
        mails_each=1,
        victims={"size": [WordScore(1.0, 1.0, 1.0)], PRIOR: [CHANCE]},
        outsiders={"size": [WordScore(outsider, 0.3, 0.0)], PRIOR: [CHANCE]},
        moved=[PERFECT],
    )


def failing(victim: SealedVictim, one: Found) -> list[Control]:
    return [c for c in controls([victim], {1: {1: one}}) if not c.holds]


def test_controls_hold_for_what_must_come_out() -> None:
    assert failing(GOOD, found()) == []


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, plain=(0.9, 1.0, 0.95)),
        replace(GOOD, plain=(1.0, 0.9, 0.95)),
        replace(GOOD, collusion=(1.0, 0.9, 0.95)),
        replace(GOOD, sum_error=1.1),
        replace(GOOD, own_error=1.1),
        replace(GOOD, sweep_error=1.0),
    ],
)
def test_a_round_that_went_wrong_fails_its_control(bad: SealedVictim) -> None:
    assert len(failing(bad, found())) == 1


def test_an_attack_that_finds_words_of_somebody_else_fails_its_control() -> None:
    (control,) = failing(GOOD, found(outsider=0.5))
    assert not control.is_positive
