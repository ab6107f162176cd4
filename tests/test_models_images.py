"""The tasks on images: MNIST's files, their checks, and what the networks learn."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.data.mnist import MNIST_FILES, load_mnist
from models.errors import TaskError
from models.local import LocalTraining
from models.tasks import get_task
from models.training import evaluate, initial_network, train

_DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / "shared/data"))
_TRAIN_IMAGES, _TRAIN_LABELS, _TEST_IMAGES, _TEST_LABELS = MNIST_FILES
_TASKS = ["mnist", "mnist-book"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _idx(array: NDArray[np.uint8]) -> bytes:
    sizes = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images to train on and two to test on."""
    pixels = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8)
    images = pixels.reshape(3, 28, 28)
    labels = np.array([5, 0, 9], dtype=np.uint8)
    contents = (images, labels, images[:2], labels[:2])
    for name, array in zip(MNIST_FILES, contents, strict=True):
        (tmp_path / name).write_bytes(gzip.compress(_idx(array)))
    return tmp_path


def test_images_are_loaded_as_bytes_with_their_labels(folder: Path) -> None:
    data = load_mnist(folder)
    images = data.train.arrays["images"]
    assert (images.shape, images.dtype.name) == ((3, 1, 28, 28), "uint8")
    assert images[2, 0, 0, :3].tolist() == [32, 33, 34]  # pixel 1568 of 256 greys
    assert data.train.labels.tolist() == [5, 0, 9]
    assert data.test.labels.tolist() == [5, 0]
    assert data.groups is None


def test_mnist_without_a_data_folder_is_refused() -> None:
    with pytest.raises(TaskError, match="task mnist needs a data folder") as caught:
        load_mnist(None)
    assert _TEST_LABELS in str(caught.value.hint)


@pytest.mark.parametrize("name", MNIST_FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(TaskError, match=f"no file {name} in the data folder"):
        load_mnist(folder)


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    with pytest.raises(TaskError, match=r"no file .* in the data folder"):
        load_mnist(folder / _TRAIN_IMAGES)


@pytest.mark.parametrize("name", MNIST_FILES)
@pytest.mark.parametrize("damage", ["cut", "bit", "zero", "text"])
def test_a_damaged_gzip_file_is_refused(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-6] ^= 1  # in the checksum at the end
    damaged = {"cut": whole[:-9], "bit": bytes(changed), "zero": b"", "text": b"mnist"}
    path.write_bytes(damaged[damage])
    with pytest.raises(TaskError, match=name) as caught:
        load_mnist(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (_TRAIN_IMAGES, b"", "is not an idx file of bytes in 3 dim"),
        (_TRAIN_IMAGES, bytes([0, 0, 8, 3, 0, 0]), "is not an idx file of bytes"),
        (_TRAIN_IMAGES, _idx(np.zeros((3,), np.uint8)), "not an idx file of bytes in"),
        (_TRAIN_LABELS, b"\x00\x00\x0d\x01" + bytes(4), "is not an idx file of bytes"),
        (_TRAIN_IMAGES, _idx(np.zeros((3, 28, 28), np.uint8))[:-1], "header says 2352"),
        (_TRAIN_LABELS, _idx(np.zeros(3, np.uint8)) + b"\x00", "4 bytes, its header"),
        (_TRAIN_LABELS, b"\x00\x00\x08\x01" + b"\xff" * 4, "its header says 42949672"),
        (_TEST_IMAGES, _idx(np.zeros((2, 8, 8), np.uint8)), "of 8 x 8 pixels, expec"),
        (_TEST_LABELS, _idx(np.zeros(3, np.uint8)), "2 images, .* has 3 labels"),
        (_TEST_LABELS, _idx(np.array([1, 10], np.uint8)), "a label 10, expected"),
        (_TRAIN_IMAGES, _idx(np.zeros((0, 28, 28), np.uint8)), "has 0 images"),
    ],
)
def test_a_file_of_another_content_is_refused(
    folder: Path, name: str, content: bytes, message: str
) -> None:
    (folder / name).write_bytes(gzip.compress(content))
    with pytest.raises(TaskError, match=message) as caught:
        load_mnist(folder)
    assert name in str(caught.value)
    assert caught.value.hint


def test_no_images_and_no_labels_are_refused(folder: Path) -> None:
    for name, shape in ((_TEST_IMAGES, (0, 28, 28)), (_TEST_LABELS, (0,))):
        (folder / name).write_bytes(gzip.compress(_idx(np.zeros(shape, np.uint8))))
    with pytest.raises(TaskError, match="has 0 images"):
        load_mnist(folder)


@pytest.mark.parametrize("name", _TASKS)
def test_the_networks_take_bytes(folder: Path, name: str) -> None:
    network = initial_network(get_task(name), seed=1).eval()
    images = torch.from_numpy(load_mnist(folder).train.arrays["images"].copy())
    logits = network(images)
    assert logits.shape == (3, 10)
    # Scaled to [0, 1]: even the brightest image leaves fresh logits small.
    assert network(torch.full_like(images, 255)).abs().max() < 5


@pytest.mark.skipif(
    not (_DATA / "mnist").is_dir(), reason="needs MNIST's files in UNSEEN_DATA"
)
def test_mnist_has_its_published_sizes_and_the_task_weighs_every_client() -> None:
    data = load_mnist(_DATA / "mnist")
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert np.bincount(data.train.labels).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert get_task("mnist").w_max >= len(data.train) / 2  # even one of two clients


@pytest.mark.skipif(
    not (_DATA / "mnist").is_dir(), reason="needs MNIST's files in UNSEEN_DATA"
)
@pytest.mark.parametrize(("name", "accuracy"), [("mnist", 0.85), ("mnist-book", 0.75)])
def test_3000_images_are_enough_to_learn_most_digits(
    name: str, accuracy: float
) -> None:
    task = get_task(name)
    data = load_mnist(_DATA / "mnist")
    network = initial_network(task, seed=1)
    settings = replace(LocalTraining.of(task), epochs=2)
    shard = data.train.take(np.arange(3_000))
    train(network, shard, task, settings, seed=1, device="cpu")
    test = data.test.take(np.arange(2_000))
    assert evaluate(network, test, task, device="cpu").accuracy >= accuracy
