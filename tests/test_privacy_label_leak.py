"""E3: labels are read from an update; a sum tells those of the group only."""

from pathlib import Path

import numpy as np
import pytest

from experiments.privacy.images.networks import Mlp
from experiments.privacy.images.victims import ImageSet, load_images
from experiments.privacy.labels.attack import (
    ShareReader,
    bias_gradient,
    histogram,
    label_of_one,
    overlap,
    rounded,
)
from experiments.privacy.labels.clients import draw_clients, drawn_guess, prior_guess
from experiments.privacy.labels.findings import Findings, outcome
from experiments.privacy.labels.views import (
    Model,
    SealedView,
    SumView,
    chance_overlaps,
    harder_overlaps,
    permuted_overlaps,
    plain_overlaps,
    stages,
    view_sealed,
    view_sum,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images(None)


@pytest.fixture(scope="module")
def models(images: ImageSet) -> list[Model]:
    training = images.victims(300, seed=1)
    make = lambda: Mlp(images.side)  # noqa: E731
    return stages("MLP", make, images.public, training, seed=1, seen=3000)


def generator() -> np.random.Generator:
    return np.random.default_rng(1)


def test_label_of_one_image_is_the_one_that_was_pushed_up() -> None:
    update = np.array([5.0, 6.0] + [-0.1] * 10)
    update[2 + 7] = 0.9
    assert label_of_one(bias_gradient(update, scale=0.1)) == 7


def test_shares_of_a_network_that_knows_nothing_are_exact() -> None:
    counts = np.array([3, 0, 0, 1, 0, 0, 0, 4, 0, 0])
    reader = ShareReader(np.full((10, 10), 0.1))
    gradient = np.full(10, 0.1) - counts / 8
    np.testing.assert_array_equal(reader.counts(gradient, 8), counts)


def test_shares_of_a_network_that_knows_its_classes_are_exact() -> None:
    answers = np.full((10, 10), 0.02) + 0.8 * np.eye(10)
    truth = histogram(np.array([1, 1, 2, 5])) / 4
    gradient = answers.T @ truth - truth
    found = ShareReader(answers).shares(gradient)
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_smoothed_labels_are_read_when_the_smoothing_is_known() -> None:
    answers = np.full((10, 10), 0.02) + 0.8 * np.eye(10)
    truth = histogram(np.array([0, 9])) / 2
    gradient = answers.T @ truth - (0.7 * truth + 0.03)
    found = ShareReader(answers, smoothing=0.3).shares(gradient)
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_shares_are_shares_whatever_the_gradient() -> None:
    reader = ShareReader(np.full((10, 10), 0.1))
    for gradient in (np.zeros(10), np.ones(10) * 100, generator().normal(size=10)):
        shares = reader.shares(gradient)
        assert shares.min() >= 0
        assert shares.sum() == pytest.approx(1)


def test_rounding_gives_every_label_away() -> None:
    shares = np.array([0.55, 0.25, 0.2, 0, 0, 0, 0, 0, 0, 0])
    assert rounded(shares, 3).tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    for batch in (1, 2, 7, 128):
        assert rounded(shares, batch).sum() == batch


def test_overlap_counts_labels_with_multiplicity() -> None:
    guess, truth = histogram(np.array([1, 1, 2, 3])), histogram(np.array([1, 2, 2, 4]))
    assert overlap(guess, truth) == 0.5
    assert overlap(guess / 4, truth) == 0.5


def test_clients_hold_one_to_four_classes(images: ImageSet) -> None:
    clients = draw_clients(images.private, 40, 64, generator())
    assert {len(set(one.labels.tolist())) for one in clients} == {1, 2, 3, 4}
    alike = draw_clients(images.private, 5, 64, generator(), classes=[1, 4, 7])
    assert {int(label) for one in alike for label in one.labels} == {1, 4, 7}


def test_prior_guess_is_no_worse_than_drawing(images: ImageSet) -> None:
    clients, draws = draw_clients(images.private, 300, 2, generator()), generator()
    own = [histogram(one.labels) for one in clients]
    fixed = np.mean([overlap(prior_guess(2, draws), one) for one in own])
    drawn = np.mean([overlap(drawn_guess(2, draws), one) for one in own])
    assert fixed >= drawn - 0.02  # the standard error of the difference


@pytest.mark.parametrize("size", [1, 2, 8, 32])
def test_plain_update_tells_the_labels(
    images: ImageSet, models: list[Model], size: int
) -> None:
    clients = draw_clients(images.private, 20, size, generator())
    assert plain_overlaps(models[0], clients).mean() > 0.98
    late = plain_overlaps(models[1], clients).mean()
    assert late > chance_overlaps(clients, generator()).mean() + 0.1


def test_random_labels_tell_nothing_about_the_true_ones(
    images: ImageSet, models: list[Model]
) -> None:
    clients = draw_clients(images.private, 200, 8, generator())
    read, drawn = permuted_overlaps(models[0], clients, generator())
    apart = read - drawn
    assert abs(apart.mean()) < 4 * apart.std() / np.sqrt(len(apart))


def test_harder_updates_are_still_read_above_chance(
    images: ImageSet, models: list[Model]
) -> None:
    clients = draw_clients(images.private, 10, 16, generator())
    chance = chance_overlaps(clients, generator()).mean()
    found = harder_overlaps(models[0], clients)
    assert list(found) == ["10 local steps", "labels smoothed", "B unknown"]
    assert all(one.mean() > chance + 0.3 for one in found.values())


def test_sum_tells_the_group_and_no_more_of_one_client_than_the_mix(
    images: ImageSet, models: list[Model]
) -> None:
    group = draw_clients(images.private, 30, 8, generator())
    view = view_sum(models[0], group, models[0].updates(group))
    assert view.group > 0.98
    assert view.own == pytest.approx(view.mix, abs=0.02)
    assert view.own < 0.4


def test_collusion_reads_what_a_plain_server_reads(
    images: ImageSet, models: list[Model]
) -> None:
    clients = draw_clients(images.private, 2, 8, generator())
    view = view_sealed(models[0], clients, 1)
    assert view.same == [True]
    assert view.colluded.tolist() == [1.0]
    assert view.opened.group > 0.98


def made_up(models: list[Model], **changes: float) -> Findings:
    """Return findings in which every control holds, but for the changes."""
    numbers = {"single": 1.0, "several": 1.0, "own": 0.3, "group": 1.0, "read": 0.2}
    numbers |= {"same": 1.0} | changes
    several, guess = np.full(5, numbers["several"]), np.full(5, 0.25)
    view = SumView(own=numbers["own"], mix=0.3, group=numbers["group"])
    sealed = SealedView(view, np.ones(2), [bool(numbers["same"])] * 2)
    return Findings(
        models,
        group_batch=8,
        sealed_clients=5,
        plain={
            (one.name, size): np.full(5, numbers["single"]) if size == 1 else several
            for one in models
            for size in (1, 8)
        },
        chance={1: guess, 8: guess},
        permuted=(np.full(5, numbers["read"]), np.full(5, 0.2)),
        sums={(one.name, n): [view] * 3 for one in models for n in (2, 10)},
        alike={n: [view] * 3 for n in (2, 10)},
        guessed=dict.fromkeys((2, 10), guess),
        sealed=[sealed],
    )


def failed(findings: Findings) -> list[str]:
    controls = outcome(findings, {}, seed=1).controls
    return [one.name for one in controls if not one.holds]


def test_all_controls_hold_for_good_findings(models: list[Model]) -> None:
    found = outcome(made_up(models), {}, seed=1)
    assert len(found.controls) == 6
    assert failed(made_up(models)) == []
    assert "100% of the labels of 8 images" in found.conclusion


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"single": 0.99}, "one image, untrained"),
        ({"several": 0.9}, "2 and more images, untrained"),
        ({"same": 0.0}, "collusion reads the same labels"),
        ({"group": 0.9}, "sum of 10: the labels of the whole group"),
        ({"read": 0.3}, "client with random labels"),
        ({"own": 0.35}, "sum of 10: one client's labels"),
    ],
)
def test_every_control_can_fail(
    models: list[Model], changes: dict[str, float], name: str
) -> None:
    (wrong,) = failed(made_up(models, **changes))
    assert wrong.startswith(name)
