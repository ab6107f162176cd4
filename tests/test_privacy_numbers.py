"""Intervals, nulls and scores of the privacy experiments."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from experiments.privacy.experiment import (
    ControlError,
    Experiment,
    Options,
    Outcome,
    carry_out,
)
from experiments.privacy.numbers import (
    Control,
    auc,
    auc_null_error,
    average_precision,
    interval,
    measure,
    precision_recall_f1,
    proportion,
    psnr,
)


def test_an_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        _, low, high = interval(generator.normal(size=40), seed=trial)
        covered += low <= 0 <= high
    assert 175 <= covered <= 198  # 95 % of 200, a little less for few samples


def test_an_interval_of_one_sample_is_that_sample() -> None:
    assert interval(np.array([3.0])) == (3.0, 3.0, 3.0)


def test_a_rate_of_one_has_an_interval_below_one() -> None:
    rate, low, high = proportion(20, 20)
    assert (rate, high) == (1.0, 1.0)
    assert low == pytest.approx(0.8389, abs=1e-4)  # Wilson, by hand


def test_auc_counts_pairs() -> None:
    assert auc([3, 4], [1, 2]) == 1.0
    assert auc([1, 2], [3, 4]) == 0.0
    assert auc([1, 1], [1, 1]) == 0.5
    assert auc([2, 0], [1]) == 0.5


def test_the_error_of_a_chance_auc_is_that_of_the_note() -> None:
    assert auc_null_error(750, 750) == pytest.approx(0.0149, abs=1e-4)
    generator = np.random.default_rng(1)
    drawn = [auc(generator.random(50), generator.random(50)) for _ in range(400)]
    assert np.std(drawn) == pytest.approx(auc_null_error(50, 50), rel=0.15)


def test_average_precision_of_a_perfect_ranking_is_one() -> None:
    assert average_precision([0.9, 0.8, 0.1], [1, 1, 0]) == 1.0
    assert average_precision([0.1, 0.8, 0.9], [1, 0, 0]) == pytest.approx(1 / 3)


def test_precision_and_recall_of_sets() -> None:
    precision, recall, f1 = precision_recall_f1({1, 2, 3, 4}, {1, 2})
    assert (precision, recall) == (0.5, 1.0)
    assert f1 == pytest.approx(2 / 3)
    assert precision_recall_f1({3}, {1, 2}) == (0.0, 0.0, 0.0)


def test_psnr_is_capped_and_counts_decibels() -> None:
    image = np.full((2, 2), 0.5)
    assert psnr(image, image) == 100.0
    assert psnr(image + 0.1, image) == pytest.approx(20.0)


def test_a_measure_is_at_its_null_only_if_its_interval_covers_it() -> None:
    near = measure("x", [0.4, 0.6], view="encrypted", metric="AUC", null=0.5)
    far = measure("x", [0.9, 1.0], view="plain", metric="AUC", null=0.5)
    assert near.is_at_null
    assert not far.is_at_null
    assert (far.null, far.null_low, far.null_high) == (0.5, 0.5, 0.5)


def test_a_control_never_holds_for_nothing() -> None:
    assert Control("recall", True, 1.0, low=0.99).holds
    assert not Control("recall", True, 0.98, low=0.99).holds
    assert not Control("recall", True, math.nan).holds
    json.dumps(Control("recall", True, 1.0).to_dict(), allow_nan=False)


def _experiment(control: Control) -> Experiment:
    def find(options: Options) -> Outcome:
        options.tell("looking")
        found = measure("words", [1.0, 0.9], view="plain", metric="recall", null=[0.2])
        return Outcome([found], [control], "It leaks.", {"clients": 2}, Figure)

    return Experiment("E0", "nothing", "Nothing", "Does it?", True, find)


@pytest.mark.parametrize("value", [1.0, 0.5])
def test_an_experiment_fails_with_its_control_and_keeps_its_numbers(
    value: float, tmp_path: Path
) -> None:
    told: list[str] = []
    options = Options(quick=True, seed=1, data=None, tell=told.append)
    experiment = _experiment(Control("all words", True, value, low=0.9))
    console = Console(quiet=True)
    if value < 0.9:
        with pytest.raises(ControlError, match="E0: all words"):
            carry_out(experiment, options, tmp_path, console)
    else:
        carry_out(experiment, options, tmp_path, console)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["controls"][0]["holds"] is (value >= 0.9)
    assert result["measures"][0]["null"] == 0.2
    assert result["setup"] == {"clients": 2}
    assert told == ["looking"]
    for kind in ("png", "svg"):
        assert (tmp_path / f"nothing.{kind}").stat().st_size > 0
