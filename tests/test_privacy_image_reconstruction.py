"""E4: images are rebuilt from an update, and from the sum of a few."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.privacy.images.gradients import gradients
from experiments.privacy.images.networks import LeNet, Mlp, fresh
from experiments.privacy.images.victims import Images, ImageSet, load_images
from experiments.privacy.reconstruction.attempts import (
    Attempt,
    Matcher,
    by_division,
    candidates,
    score,
)
from experiments.privacy.reconstruction.division import best_of, quotients
from experiments.privacy.reconstruction.findings import (
    DIVIDED,
    DIVIDED_TRAINED,
    MATCHED,
    MATCHED_TRAINED,
    Findings,
    outcome,
)
from experiments.privacy.reconstruction.matching import match_gradients
from experiments.privacy.reconstruction.rounds import (
    as_gradient,
    draw_groups,
    send,
    singles,
)
from experiments.privacy.reconstruction.study import divide, match_alone, match_sums

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images(None)


@pytest.fixture(scope="module")
def victims(images: ImageSet) -> Images:
    return images.victims(2, seed=1)


def test_quotient_of_weights_and_bias_is_the_input() -> None:
    image = np.array([0.25, 0.0, 1.0])
    slopes = np.array([0.5, 0.0, -2.0])
    update = np.concatenate([np.outer(slopes, image).ravel(), slopes, [9.0]])
    found = quotients(update, pixels=3, units=3)
    np.testing.assert_allclose(found, [image, image])  # the unit at rest tells nothing


def test_best_candidate_is_the_nearest_one() -> None:
    truth = np.full((1, 2, 2), 0.5, np.float32)
    found, psnr = best_of(np.array([[0.0] * 4, [0.6] * 4, [1.0] * 4]), truth)
    assert found.tolist() == [0.6] * 4
    assert psnr == pytest.approx(20, abs=1e-4)


def test_without_a_candidate_the_image_is_black() -> None:
    found, _ = best_of(np.zeros((0, 4)), np.full((1, 2, 2), 0.5, np.float32))
    assert found.tolist() == [0.0] * 4


def test_update_of_one_image_is_divided_exactly(victims: Images) -> None:
    network = fresh(lambda: Mlp(victims.side, "relu"), seed=1)
    attempt = by_division(list(send(network, singles(victims))), victims)
    assert (attempt.psnr > 80).all()


def test_sum_without_the_victim_does_not_show_it(images: ImageSet) -> None:
    victims = images.victims(6, seed=1)
    network = fresh(lambda: Mlp(victims.side, "relu"), seed=1)
    sent = send(network, singles(victims))
    others = [np.delete(sent, i, axis=0).sum(axis=0) for i in range(6)]
    assert np.median(by_division(others, victims).psnr) < 20


def test_several_images_and_steps_leave_quotients_too(victims: Images) -> None:
    network = fresh(lambda: Mlp(victims.side, "relu"), seed=1)
    (update,) = send(network, [victims], epochs=3)
    rows = candidates(update, victims)
    assert max(best_of(rows, true)[1] for true in victims.pixels) > 30


def test_images_with_the_gradient_sent_are_the_images_sent(victims: Images) -> None:
    network = fresh(lambda: LeNet(victims.side), seed=1)
    pixels, labels = torch.from_numpy(victims.pixels), torch.from_numpy(victims.labels)
    rebuilt = match_gradients(
        network,
        gradients(network, pixels[:, None], labels[:, None]).detach().numpy(),
        list(victims.labels[:, None]),
        side=victims.side,
        restarts=1,
        evaluations=120,
        seed=1,
    )
    assert (score(rebuilt.pixels, victims).psnr > 30).all()
    assert (rebuilt.losses < 1e-4).all()


def test_restart_with_the_nearest_gradient_is_kept(victims: Images) -> None:
    """Without looking at the images: few steps leave every start somewhere else."""
    network = fresh(lambda: LeNet(victims.side), seed=1)
    target = np.zeros((1, sum(p.numel() for p in network.parameters())), np.float32)
    few, more = (
        match_gradients(
            network,
            target,
            [victims.labels[:1]],
            side=victims.side,
            restarts=restarts,
            evaluations=3,
            seed=1,
        )
        for restarts in (1, 6)
    )
    assert more.losses[0] < few.losses[0]


def test_matcher_reads_labels_itself(images: ImageSet, victims: Images) -> None:
    network = fresh(lambda: LeNet(victims.side), seed=1)
    matcher = Matcher(network, images.public, restarts=1, evaluations=2, seed=1)
    for client, update in zip(
        singles(victims), send(network, singles(victims)), strict=True
    ):
        assert matcher.labels(as_gradient(update), 1).tolist() == client.labels.tolist()
    (both,) = send(network, [victims])
    labels = matcher.labels(as_gradient(both), 2)
    assert labels.tolist() == sorted(victims.labels.tolist())


def test_group_begins_with_its_victim_and_has_it_once(
    images: ImageSet, victims: Images
) -> None:
    pool = images.victims(60, seed=1, first=2)
    for i, group in enumerate(draw_groups(victims, pool, 50, seed=1)):
        np.testing.assert_array_equal(group.pixels[0], victims.pixels[i])
        assert len(np.unique(group.flat, axis=0)) == 50


def studied(images: ImageSet, victims: Images) -> Findings:
    """Return the smallest study there is, with every attack in it."""
    one = score(victims.pixels, victims)
    findings = Findings(victims, images.public, 1, 2, one, one, one)
    pool = images.victims(30, seed=1, first=2)
    groups = draw_groups(victims, pool, 8, seed=1)
    lenet = fresh(lambda: LeNet(victims.side), seed=1)
    mlp = fresh(lambda: Mlp(victims.side, "relu"), seed=1)
    matcher = Matcher(lenet, images.public, restarts=1, evaluations=30, seed=1)
    divide(findings, mlp, mlp, groups, [2, 8])
    match_alone(findings, matcher, matcher)
    match_sums(findings, matcher, groups, 2)
    return findings


def test_study_plays_every_attack_on_every_view(
    images: ImageSet, victims: Images
) -> None:
    findings = studied(images, victims)
    assert set(findings.attempts) == {
        (DIVIDED, 1),
        (DIVIDED, 2),
        (DIVIDED, 8),
        (DIVIDED_TRAINED, 1),
        (DIVIDED_TRAINED, 2),
        (DIVIDED_TRAINED, 8),
        (MATCHED, 1),
        (MATCHED_TRAINED, 1),
        (MATCHED, 2),
    }
    assert set(findings.colluded) == {DIVIDED, MATCHED}
    assert 0 < findings.colluded_off <= 0.51
    views = {one.view for one in outcome(findings, {}, seed=1).measures}
    assert views == {"none", "plain", "encrypted", "key holder", "collusion"}


def made_up(victims: Images, changes: Mapping[str, float]) -> Findings:
    """Return findings in which every control holds, but for the changes."""
    values = {
        "matched": 90.0,
        "divided": 100.0,
        "colluded": 90.0,
        "off": 0.5,
        "unrelated": 9.0,
        "sum": 12.0,
    } | dict(changes)

    def attempt(psnr: float) -> Attempt:
        return Attempt(victims.pixels, np.full(2, psnr), np.full(2, 0.5))

    return Findings(
        victims,
        victims,
        1,
        2,
        attempt(12),
        attempt(9),
        attempt(15),
        attempts={
            (MATCHED, 1): attempt(values["matched"]),
            (MATCHED, 2): attempt(50),
            (MATCHED_TRAINED, 1): attempt(13),
            (DIVIDED, 1): attempt(values["divided"]),
            (DIVIDED, 2): attempt(80),
            (DIVIDED, 100): attempt(values["sum"]),
            (DIVIDED_TRAINED, 1): attempt(90),
            (DIVIDED_TRAINED, 100): attempt(11),
        },
        colluded={MATCHED: attempt(values["colluded"])},
        colluded_off=values["off"],
        unrelated={"matched, another client's update": attempt(values["unrelated"])},
    )


def failed(findings: Findings) -> list[str]:
    controls = outcome(findings, {}, seed=1).controls
    return [one.name for one in controls if not one.holds]


def test_all_controls_hold_for_good_findings(victims: Images) -> None:
    assert failed(made_up(victims, {})) == []
    conclusion = outcome(made_up(victims, {}), {}, seed=1).conclusion
    assert "reaches 15 dB" in conclusion
    assert "a sum of 2 clients still gives up to 80 dB, one of 100 12 dB" in conclusion


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"matched": 29.0}, "matched, plain"),
        ({"divided": 60.0}, "divided, plain"),
        ({"colluded": 15.0}, "LeNet untrained, matched, collusion"),
        ({"off": 0.8}, "collusion opens the plain update"),
        ({"unrelated": 20.0}, "matched, another client's update"),
        ({"sum": 20.0}, "divided, sum of 100"),
    ],
)
def test_every_control_can_fail(
    victims: Images, changes: dict[str, float], name: str
) -> None:
    (wrong,) = failed(made_up(victims, changes))
    assert wrong.startswith(name)
