"""E8: attacks on a released model, on scores and networks made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments import membership
from experiments.privacy.images.victims import Images, load_images
from experiments.privacy.membership import attack, training, views
from experiments.privacy.membership.training import HIDDEN, Schedule
from experiments.privacy.membership.trial import Size, Trial, areas, train_trial
from experiments.privacy.sealed_round import make_params, seal_round

SCHEDULE = Schedule(clients=2, rounds=3, steps=2)


def some_images(count: int, side: int = 3) -> Images:
    generator = np.random.default_rng(count)
    pixels = generator.random((count, 1, side, side), dtype=np.float32)
    return Images(pixels, generator.integers(0, 10, count))


def torch_networks(model: torch.Tensor, pixels: int) -> torch.nn.Sequential:
    network = torch.nn.Sequential(
        torch.nn.Linear(pixels, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 10)
    )
    torch.nn.utils.vector_to_parameters(model, network.parameters())
    return network


# --- training ---


def test_networks_in_a_batch_learn_what_each_learns_alone() -> None:
    images = some_images(12)
    choice = np.random.default_rng(0).permutation(12)[None].reshape(1, 2, 6)
    choice = np.concatenate([choice, choice[:, ::-1, ::-1] // 2])
    start = training.initial(2, 9, seed=1)
    trained = training.federate(start, images, choice, SCHEDULE)
    model, after = start[1], list[torch.Tensor]()
    for _ in range(SCHEDULE.rounds):
        after = []
        for own in choice[1]:
            network = torch_networks(model.clone(), 9)
            optimizer = torch.optim.SGD(network.parameters(), SCHEDULE.learning_rate)
            for _ in range(SCHEDULE.steps):
                optimizer.zero_grad()
                logits = network(torch.from_numpy(images.flat[own]))
                labels = torch.from_numpy(images.labels[own])
                loss = torch.nn.functional.cross_entropy(logits, labels)
                torch.autograd.backward(loss)
                optimizer.step()
            vector = torch.nn.utils.parameters_to_vector(network.parameters())
            after.append(vector.detach())
        model = torch.stack(after).mean(dim=0)
    torch.testing.assert_close(trained.final[1], model, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        trained.local[1], torch.stack(after), atol=1e-5, rtol=1e-4
    )


def test_the_encrypted_mean_is_half_a_step_away_at_most() -> None:
    updates = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)) / 10
    away = training.encrypted_mean(updates) - training.plain_mean(updates)
    assert 0 < away.abs().max() <= 0.5 / make_params(3).scale + 1e-8


# --- attacks ---


def test_log_odds_stay_finite_where_the_model_is_certain() -> None:
    images = some_images(4)
    certain = training.initial(1, 9, seed=0) * 1e4
    odds = attack.log_odds(certain, images)
    assert np.isfinite(odds).all()
    assert np.abs(odds).max() > 1000
    right = attack.accuracy(certain, images)
    np.testing.assert_allclose((odds > 0).mean(axis=1), right)


def shadows(gap: float) -> tuple[attack.Scores, attack.Members]:
    """Return 41 models' log odds: images differ, and members have more by `gap`."""
    generator = np.random.default_rng(3)
    members = generator.random((41, 400)) < 0.5
    hardness = generator.normal(0, 5, 400)
    return hardness + gap * members + generator.normal(size=(41, 400)), members


def test_lira_sees_through_hard_and_easy_images() -> None:
    odds, members = shadows(gap=2.0)
    ratio = attack.likelihood_ratio(odds[0], odds[1:], members[1:])
    by_ratio = areas(ratio[None], members[:1])[0]
    by_loss = areas(odds[:1], members[:1])[0]
    # Two normal distributions two standard deviations apart: Phi(sqrt 2) = 0.921.
    assert by_ratio == pytest.approx(0.92, abs=0.04)
    assert by_loss < 0.7


def test_lira_is_at_chance_where_training_leaves_no_trace() -> None:
    odds, members = shadows(gap=0.0)
    ratio = attack.likelihood_ratio(odds[0], odds[1:], members[1:])
    assert areas(ratio[None], members[:1])[0] == pytest.approx(0.5, abs=4 * 0.029)


def test_an_image_that_no_shadow_was_trained_on_gets_a_score() -> None:
    odds, members = shadows(gap=2.0)
    members[:, 7] = False
    ratio = attack.likelihood_ratio(odds[0], odds[1:], members[1:])
    assert np.isfinite(ratio).all()


def test_no_more_false_alarms_than_allowed() -> None:
    members = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=np.bool_)
    scores = np.array([9.0, 5.0, 3.0, 0.0, 8.0, 5.0, 1.0, 0.5])
    rates = np.array([0.0, 0.24, 0.25, 0.5, 1.0])
    found = attack.true_positives(scores, members, rates)
    np.testing.assert_allclose(found, [0.25, 0.25, 0.25, 0.75, 1.0])


# --- the script ---


@pytest.fixture(scope="module")
def trial() -> Trial:
    size = Size(networks=7, targets=2, strangers=2, own=8)
    return train_trial(load_images(None), size, SCHEDULE, seed=5)


def test_no_image_is_a_member_twice_and_strangers_saw_none(trial: Trial) -> None:
    assert (trial.members.sum(axis=1) == trial.members.shape[1] // 2).all()
    assert trial.plain.final.shape[0] == 7
    assert len(trial.encrypted.final) == trial.targets == 2
    away = (trial.encrypted.final - trial.plain.final[:2]).abs().max()
    assert 0 < away < 1e-3


def test_a_sum_tells_no_client_from_another(trial: Trial) -> None:
    odds = trial.odds[0]
    assert trial.whose(0, np.stack([odds, odds])).mean() == pytest.approx(0.5)


def test_the_controls_tell_a_sealed_round_from_another(trial: Trial) -> None:
    good = seal_round(list(trial.encrypted.updates[0].numpy()))
    bad = replace(good, mean=good.mean * 1.001)
    found = {
        "plain": views.attacks(trial, trial.odds[:2]),
        "encrypted": views.attacks(trial, views.encrypted_odds(trial)),
    }
    whose = views.whose(trial, good, colluded=1)
    failed = [
        {
            one.name: one.value
            for one in membership._controls(trial, sealed, found, whose, reached)
            if not one.holds
        }
        for sealed, reached in ((good, 0.0), (bad, 1.01))
    ]
    broken = {
        "the sealed round differs from the trained one, in steps",
        "LiRA reaches the piloted AUC",
    }
    assert not broken & failed[0].keys()
    assert "collusion differs from plain in AUC" not in failed[0]
    assert broken <= failed[1].keys()
