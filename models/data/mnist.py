"""The handwritten digits of MNIST: 28 x 28 pixels, four gzipped idx files."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from models.data.dataset import Dataset
from models.errors import TaskError
from models.shards import Shard

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
"""Images and labels to train on, then images and labels of the test split."""

_IMAGE_SHAPE = (28, 28)
_NUM_DIGITS = 10
# Two zero bytes, 8 for bytes without a sign, then the number of dimensions.
_MAGIC = b"\x00\x00\x08"
_HINT = f"mnist needs a folder with the files {', '.join(MNIST_FILES)}"


def load_mnist(folder: Path | None) -> Dataset:
    """Load MNIST: 60,000 images to train on and the public test split of 10,000.

    Returns:
        Shards with "images", uint8 of shape ``(n, 1, 28, 28)`` with 0 for the
        background, and "labels". Bytes, because the shard files of all clients
        would be four times as large with floats; the networks scale them.

    Raises:
        TaskError: If a file is missing, damaged or not in that format.
    """
    if folder is None:
        raise TaskError("task mnist needs a data folder", hint=_HINT)
    train_images, train_labels, test_images, test_labels = (
        folder / name for name in MNIST_FILES
    )
    return Dataset(
        train=_read_digits(train_images, train_labels),
        test=_read_digits(test_images, test_labels),
    )


def _read_digits(images_path: Path, labels_path: Path) -> Shard:
    images = _read_idx(images_path, num_dimensions=3)
    labels = _read_idx(labels_path, num_dimensions=1)
    if images.shape[1:] != _IMAGE_SHAPE:
        height, width = images.shape[1:]
        raise TaskError(
            f"{images_path} has images of {height} x {width} pixels, expected 28 x 28",
            hint=_HINT,
        )
    if not 0 < len(images) == len(labels):
        raise TaskError(
            f"{images_path} has {len(images)} images, {labels_path.name} has "
            f"{len(labels)} labels",
            hint="every image needs a label, and there must be one at least",
        )
    if labels.max() >= _NUM_DIGITS:
        raise TaskError(
            f"{labels_path} has a label {labels.max()}, expected digits 0 to 9",
            hint=_HINT,
        )
    return Shard({"images": images[:, np.newaxis], "labels": labels.astype(np.int64)})


def _read_idx(path: Path, *, num_dimensions: int) -> NDArray[np.uint8]:
    """Read a gzipped idx file of bytes.

    The format is described on LeCun's page of MNIST: a magic number, the size of
    each dimension as a big-endian 32-bit integer, then the bytes, last dimension
    fastest.
    """
    data = _unzip(path)
    start = 4 + 4 * num_dimensions
    if len(data) < start or data[:4] != _MAGIC + bytes([num_dimensions]):
        raise TaskError(
            f"{path} is not an idx file of bytes in {num_dimensions} dimensions",
            hint=_HINT,
        )
    shape = [int(size) for size in np.frombuffer(data[4:start], dtype=">u4")]
    expected = math.prod(shape)
    if len(data) - start != expected:
        raise TaskError(
            f"{path} holds {len(data) - start} bytes, its header says {expected}",
            hint="the file is damaged: fetch it again",
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _unzip(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TaskError(
            f"no file {path.name} in the data folder {path.parent}", hint=_HINT
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(
            f"{path} is not a whole, readable gzip file",
            hint="the file is damaged: fetch it again",
        ) from error
