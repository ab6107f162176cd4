"""E7: traps read out of hand-made sums, and the platform's own checks, off and on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.privacy.images.victims import Images, load_images
from experiments.privacy.imprint import rounds
from experiments.privacy.imprint.attack import (
    GOOD_DB,
    Rows,
    Trap,
    expected_share,
    first_layer,
    qualities,
    read_rows,
    read_trap,
    silence,
)
from experiments.privacy.imprint.network import (
    HIDDEN,
    AllowedNetwork,
    seeded,
    to_vector,
    updates_of,
)
from experiments.privacy.imprint.platform import digest_of
from experiments.privacy.imprint.rounds import Rounds, run_rounds
from experiments.privacy.imprint.trial import Scene, Setting
from experiments.privacy.numbers import Measure

SIDE = 4
PIXELS = SIDE * SIDE
STEP = 2.0**-19


def images(count: int, *, seed: int = 0) -> Images:
    """Make images that get brighter, each one a good deal."""
    generator = np.random.default_rng(seed)
    brightness = (np.arange(count) + 1.0) / (count + 1)
    pixels = brightness[:, None] * generator.uniform(0.5, 1.0, (count, PIXELS))
    shaped = pixels.astype(np.float32).reshape(count, 1, SIDE, SIDE)
    return Images(shaped, generator.integers(0, 10, count))


def read(network: torch.nn.Module, units: int, clients: list[Images]) -> Rows:
    total = np.sum(updates_of(network, clients), axis=0)
    return read_trap(*first_layer(total, units=units, pixels=PIXELS), step=STEP)


# --- the attack ---


@pytest.mark.parametrize("bins", [0, 32])
def test_an_image_alone_in_its_bin_is_read_out_of_a_sum(bins: int) -> None:
    public, own = images(200), images(5, seed=1)
    network = seeded(PIXELS, bins=bins, seed=2)
    Trap.on(public, bins or HIDDEN, seed=0).set(network)
    clients = [own.take(slice(0, 2)), own.take(slice(2, 5))]
    assert (qualities(read(network, bins or HIDDEN, clients), own) > 60).all()


def test_two_images_in_one_bin_are_not_told_apart() -> None:
    own = images(5, seed=1)
    network = seeded(PIXELS, bins=1, seed=2)
    Trap.on(images(200), 1, seed=0).set(network)
    found = read(network, 1, [own])
    assert len(found) == 1
    assert (qualities(found, own) < GOOD_DB).all()


def test_images_that_nobody_sent_are_not_found() -> None:
    network = seeded(PIXELS, bins=32, seed=2)
    Trap.on(images(200), 32, seed=0).set(network)
    found = read(network, 32, [images(5, seed=1)])
    assert len(found)
    others = images(20, seed=3).take(slice(8, 20))  # dark ones are all alike
    assert (qualities(found, others) < GOOD_DB).all()


def test_rounding_is_not_read_as_an_image() -> None:
    generator = np.random.default_rng(0)
    weights = STEP * generator.normal(size=(8, PIXELS))
    assert len(read_rows(weights, STEP * generator.normal(size=8), step=STEP)) == 0
    assert qualities(np.zeros((0, PIXELS)), images(3)).shape == (3,)


def test_a_silent_layer_learns_nothing() -> None:
    network = seeded(PIXELS, seed=0)
    assert isinstance(network, AllowedNetwork)
    own = images(6)
    weights, biases = first_layer(
        updates_of(network, [own])[0], units=HIDDEN, pixels=PIXELS
    )
    assert np.abs(weights).max() > 0
    silence(network)
    weights, biases = first_layer(
        updates_of(network, [own])[0], units=HIDDEN, pixels=PIXELS
    )
    assert np.abs(weights).max() == np.abs(biases).max() == 0


def test_the_chance_to_be_alone_is_that_of_the_note() -> None:
    shares = [expected_share(1024, n) for n in (8, 64, 80, 400, 640)]
    np.testing.assert_allclose(shares, [0.99, 0.94, 0.93, 0.68, 0.54], atol=0.006)


def test_one_client_of_many_is_singled_out_by_a_model_of_its_own() -> None:
    scene = Scene(load_images(None), seed=3)
    share, known, guessed = scene.different_models(0, Setting(6, 4))
    assert share == scene.different_models(0, Setting(2, 4))[0] > 0
    assert known > 60
    assert guessed < 20


# --- the platform ---


def test_a_trap_changes_no_digest_and_a_layer_does() -> None:
    scene = Scene(load_images(None), seed=3)
    allowed = digest_of(scene.allowed(0))
    assert digest_of(scene.trapped(0)) == allowed
    assert (to_vector(scene.trapped(0)) != to_vector(scene.allowed(0))).any()
    assert digest_of(scene.imprinted(0, 16)) != allowed


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(load_images(None), seed=3)


@pytest.fixture(scope="module")
def real(scene: Scene) -> Rounds:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "SETTING", Setting(2, 4))
        patch.setattr(rounds, "BINS", 16)
        return run_rounds(scene)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "SETTING", Setting(2, 4))
    monkeypatch.setattr(rounds, "BINS", 16)


def test_clients_refuse_a_layer_that_their_list_does_not_name(real: Rounds) -> None:
    assert real.listed.total is None
    assert real.listed.refusals == {"PolicyError": 2}
    assert real.unlisted.total is not None
    assert not real.unlisted.refusals


def test_a_trap_in_a_listed_network_is_not_refused(real: Rounds) -> None:
    assert real.trapped.total is not None
    assert not real.trapped.refusals


def test_the_committee_opens_nothing_of_different_models(real: Rounds) -> None:
    assert real.bound.total is None
    # The first client's model is the one that the opening names; it finds the
    # other's signature wrong, who has signed another model.
    assert real.bound.refusals == {
        "ContextMismatchError": 1,
        "InvalidSignatureError": 1,
    }
    assert real.split.total is not None


def test_real_rounds_give_away_what_was_opened(scene: Scene, real: Rounds) -> None:
    null = Measure("null", "nobody", "share", 0.0, 0.0, 0.0, 3)
    found = {
        (one.name, one.view): one.value for one in rounds.measures(scene, real, null)
    }
    name = "real round, imprint layer"
    assert found[f"{name}, first client", "collusion"] > 0
    assert (
        found[f"{name}, first client", "collusion"]
        == found[f"{name}, first client", "plain"]
    )
    assert (
        found[f"{name}, no list", "encrypted"] > found[f"{name}, list on", "encrypted"]
    )
    assert found["real round, different models, no digest", "encrypted"] > 0
    assert found["real round, different models, digest on", "encrypted"] == 0


def test_the_controls_hold_and_fail_without_the_checks(real: Rounds) -> None:
    assert all(control.holds for control in rounds.controls(real))
    unchecked = replace(real, listed=real.unlisted, bound=real.split)
    failed = [one.name for one in rounds.controls(unchecked) if not one.holds]
    assert failed == [
        "rounds opened of an imprint layer, list on",
        "rounds opened of different models, digest on",
        "clients of 2 that refuse the imprint layer by their policy",
        "key holders of 2 that refuse to open different models",
    ]
