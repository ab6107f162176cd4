"""What E3, E4 and E7 share: victims, nulls, gradients, and many descents at once."""

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.errors import SettingsError
from experiments.privacy.images.descent import minimise
from experiments.privacy.images.gradients import gradients, updates
from experiments.privacy.images.networks import LeNet, Mlp, accuracy, fresh, trained
from experiments.privacy.images.victims import (
    ImageSet,
    load_images,
    mean_guess,
    nearest_guess,
    psnrs,
    random_guess,
    ssims,
)
from models.local import LocalTraining
from models.shards import Shard
from models.tasks import get_task
from models.training import train


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images(None)


def test_without_a_folder_there_are_the_bundled_digits(images: ImageSet) -> None:
    assert (images.name, images.side) == ("digits", 8)
    assert images.private.pixels.min() == 0
    assert images.private.pixels.max() == 1


def test_a_folder_without_images_is_an_error(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.raises(SettingsError, match="has no file"):
        load_images(tmp_path_factory.mktemp("empty"))


def test_victims_depend_on_the_seed_only(images: ImageSet) -> None:
    few, more = images.victims(3, seed=1), images.victims(8, seed=1)
    np.testing.assert_array_equal(few.pixels, more.pixels[:3])
    assert not np.array_equal(few.pixels, images.victims(3, seed=2).pixels)


def test_no_victim_is_drawn_twice(images: ImageSet) -> None:
    rows = images.victims(len(images.private), seed=1).flat
    np.testing.assert_array_equal(
        np.sort(rows.sum(axis=1)), np.sort(images.private.flat.sum(axis=1))
    )
    with pytest.raises(ValueError, match="not 1438"):
        images.victims(1437, seed=1, first=1)


def test_clients_share_no_image(images: ImageSet) -> None:
    clients = list(images.clients(4, 3, seed=1))
    together = np.concatenate([one.pixels for one in clients])
    np.testing.assert_array_equal(together, images.victims(12, seed=1).pixels)


def test_nearest_public_image_is_the_best_public_guess(images: ImageSet) -> None:
    truth = images.victims(20, seed=1)
    nearest = psnrs(nearest_guess(truth, images.public), truth.pixels)
    for guess in (
        random_guess(truth, images.public, seed=1),
        images.public.pixels[:20],
    ):
        assert (nearest >= psnrs(guess, truth.pixels)).all()


def test_nearest_guess_of_a_public_image_is_itself(images: ImageSet) -> None:
    truth = images.public.take(slice(0, 5))
    np.testing.assert_array_equal(nearest_guess(truth, images.public), truth.pixels)


def test_mean_guess_is_the_same_for_everyone(images: ImageSet) -> None:
    guess = mean_guess(images.victims(3, seed=1), images.public)
    np.testing.assert_array_equal(guess[0], guess[2])
    np.testing.assert_allclose(guess[0], images.public.pixels.mean(axis=0), rtol=1e-4)


def test_psnr_is_that_of_the_squared_error() -> None:
    truth = np.full((1, 1, 8, 8), 0.5, np.float32)
    assert psnrs(truth + np.float32(0.1), truth) == pytest.approx([20.0])
    assert psnrs(truth, truth) == [100.0]
    assert psnrs(truth * np.nan, truth) == pytest.approx([-10 * np.log10(0.25)])


def test_ssim_is_one_for_equal_images_only(images: ImageSet) -> None:
    truth = images.victims(6, seed=1).pixels
    np.testing.assert_allclose(ssims(truth, truth), 1)
    assert (ssims(np.roll(truth, 1, axis=0), truth) < 0.9).all()
    assert (ssims(1 - truth, truth) < 0).all()


def test_update_is_what_the_platform_trains(images: ImageSet) -> None:
    """Two epochs in batches of four: as the clients' own training, unshuffled."""
    client = images.victims(4, seed=1)
    network = fresh(lambda: LeNet(8), seed=1)
    before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    (moved,) = updates(network, [client], learning_rate=0.5, epochs=2)
    train(
        network,
        Shard({"images": client.pixels, "labels": client.labels}),
        get_task("digits"),
        LocalTraining(epochs=2, batch_size=4, learning_rate=0.5),
        seed=1,
        device="cpu",
    )
    after = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    np.testing.assert_allclose(moved, (after - before).numpy(), atol=1e-6)


def test_every_client_has_its_own_gradient(images: ImageSet) -> None:
    network = fresh(lambda: Mlp(8), seed=1)
    clients = list(images.clients(3, 2, seed=1))
    pixels = torch.from_numpy(np.stack([one.pixels for one in clients]))
    labels = torch.from_numpy(np.stack([one.labels for one in clients]))
    together = gradients(network, pixels, labels)
    for i in range(3):
        alone = gradients(network, pixels[i : i + 1], labels[i : i + 1])
        torch.testing.assert_close(together[i], alone[0])


def test_fresh_network_depends_on_the_seed_only() -> None:
    one, same, other = (
        torch.nn.utils.parameters_to_vector(
            fresh(lambda: Mlp(8), seed=seed).parameters()
        )
        for seed in (1, 1, 2)
    )
    torch.testing.assert_close(one, same)
    assert not torch.equal(one, other)


def test_trained_network_is_right_more_often(images: ImageSet) -> None:
    network = trained(
        fresh(lambda: Mlp(8), seed=1), images.victims(400, seed=1), seen=4000, seed=1
    )
    assert accuracy(network, images.public) > 0.8


def test_descent_finds_every_minimum_by_itself() -> None:
    """Rosenbrock's valley of 1960 and a bowl that is a million times steeper."""

    def evaluate(points: Tensor) -> tuple[Tensor, Tensor]:
        points = points.detach().requires_grad_()
        x, y = points.unbind(dim=1)
        valley = (1 - x) ** 2 + 100 * (y - x**2) ** 2
        losses = torch.where(torch.tensor([True, False]), valley, 1e6 * (x**2 + y**2))
        (slopes,) = torch.autograd.grad(losses.sum(), points)
        return losses.detach(), slopes

    start = torch.tensor([[-1.2, 1.0], [3.0, 4.0]], dtype=torch.float64)
    points, losses = minimise(evaluate, start, evaluations=100, kept=5)
    np.testing.assert_allclose(points, [[1, 1], [0, 0]], atol=1e-4)
    assert (losses < 1e-6).all()


def test_descent_never_goes_up_or_where_nothing_is_defined() -> None:
    def evaluate(points: Tensor) -> tuple[Tensor, Tensor]:
        return points[:, 0].log() ** 2, 2 * points.log() / points

    points, losses = minimise(
        evaluate, torch.tensor([[20.0], [1e-3]]), evaluations=60, kept=5
    )
    np.testing.assert_allclose(points, [[1], [1]], atol=1e-2)
    assert torch.isfinite(losses).all()
