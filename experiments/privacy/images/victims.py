"""Images of the clients, the public ones, and how well an image can be guessed.

Real MNIST where there is a data folder, the bundled digits of 8 x 8 pixels otherwise.
The public images are the task's public test split: an attacker has them, and no client
holds one of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.errors import SettingsError
from models.data.sources import find_data
from models.errors import TaskError
from models.shards import Shard
from models.tasks import get_task

NUM_CLASSES: Final = 10
CAP_DB: Final = 100.0  # of a PSNR: beyond, a difference is rounding

_WHITE: Final = 255.0
_CHUNK: Final = 256  # images compared with all public ones at once: 10 MB
_WINDOW: Final = 7
_SSIM_C1: Final = 0.01**2
_SSIM_C2: Final = 0.03**2

Pixels = NDArray[np.float32]
Labels = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Images:
    """Some images with their labels.

    Attributes:
        pixels: Shape (n, 1, side, side), float32 in [0, 1]; 0 is the background.
        labels: Shape (n,), int64 in [0, 10).
    """

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def side(self) -> int:
        """Pixels on one side of an image."""
        return int(self.pixels.shape[-1])

    @property
    def flat(self) -> Pixels:
        """Shape (n, side * side)."""
        return self.pixels.reshape(len(self), -1)

    def take(self, indices: NDArray[np.integer] | slice) -> "Images":
        """Return the images at these places, in that order."""
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set as an experiment divides it.

    Attributes:
        name: `mnist` or `digits`.
        private: What clients hold; victims come from here.
        public: What everybody has, an attacker too.
    """

    name: str
    private: Images
    public: Images

    @property
    def side(self) -> int:
        """Pixels on one side of an image."""
        return self.private.side

    def victims(self, count: int, *, seed: int, first: int = 0) -> Images:
        """Draw images of clients, none of them twice.

        Args:
            count: How many.
            seed: Fixes the order in which the images are drawn: whoever asks for more
                gets the same ones first.
            first: How many of that order to leave out, for disjoint groups.

        Raises:
            ValueError: If there are not that many.
        """
        if first + count > len(self.private):
            raise ValueError(
                f"{self.name} has {len(self.private)} images of clients, not "
                f"{first + count}"
            )
        order = np.random.default_rng([seed, 1]).permutation(len(self.private))
        return self.private.take(order[first : first + count])

    def clients(self, num: int, size: int, *, seed: int) -> Iterator[Images]:
        """Draw disjoint clients of `size` images each; client 1 is the victim."""
        everything = self.victims(num * size, seed=seed)
        for i in range(num):
            yield everything.take(slice(i * size, (i + 1) * size))


def load_images(data: Path | None) -> ImageSet:
    """Load MNIST from a folder of data sets, or the bundled digits without one.

    Raises:
        SettingsError: If the data is missing or damaged.
    """
    name = "digits" if data is None else "mnist"
    try:
        folder = data and find_data(name, data, data, lambda _: None)
        dataset = get_task(name).load(folder)
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None
    return ImageSet(name, _scaled(dataset.train), _scaled(dataset.test))


def _scaled(shard: Shard) -> Images:
    """Return the images of a shard with floats as pixels, whatever it stores."""
    pixels = shard.arrays["images"]
    largest = np.float32(_WHITE if pixels.dtype == np.uint8 else 1.0)
    return Images(pixels.astype(np.float32) / largest, shard.labels)


def mean_guess(truth: Images, public: Images) -> Pixels:
    """Guess the mean public image every time."""
    mean = public.pixels.mean(axis=0, keepdims=True, dtype=np.float64)
    return np.repeat(mean.astype(np.float32), len(truth), axis=0)


def random_guess(truth: Images, public: Images, *, seed: int) -> Pixels:
    """Guess a public image at random."""
    generator = np.random.default_rng([seed, 2])
    return public.take(generator.integers(len(public), size=len(truth))).pixels


def nearest_guess(truth: Images, public: Images) -> Pixels:
    """Guess the public image that is nearest to the true one.

    The strongest guess without the message: an oracle chooses it with the true image
    in hand. A PSNR that does not beat it has told nothing about this image that the
    public ones do not.
    """
    others = public.flat
    norms = np.square(others, dtype=np.float64).sum(axis=1)
    chosen = [
        (norms - 2 * (truth.flat[i : i + _CHUNK] @ others.T)).argmin(axis=1)
        for i in range(0, len(truth), _CHUNK)
    ]
    return public.take(np.concatenate(chosen)).pixels


def psnrs(guesses: NDArray[np.floating], truth: Pixels) -> Numbers:
    """Return the peak signal-to-noise ratio of every image, in dB.

    Guesses are cut to [0, 1] first: whoever rebuilds an image knows what a pixel is.
    One that is not a number counts as black.

    Args:
        guesses: Shape (n, 1, side, side) or any other with n images.
        truth: As many pixels, in [0, 1].

    Returns:
        Shape (n,), at most `CAP_DB`.
    """
    errors = np.square(_cut(guesses, truth) - truth.reshape(len(truth), -1))
    mean = errors.mean(axis=1, dtype=np.float64)
    return np.asarray(-10 * np.log10(np.maximum(mean, 10 ** (-CAP_DB / 10))))


def ssims(guesses: NDArray[np.floating], truth: Pixels) -> Numbers:
    """Return the structural similarity of every image, 1 for equal ones.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity", with their constants, over square windows of 7 x 7 pixels of equal
    weight, and the unbiased covariance.

    Args:
        guesses: Shape (n, 1, side, side) or any other with n images.
        truth: Shape (n, 1, side, side), in [0, 1].

    Returns:
        Shape (n,).
    """
    one = _windows(_cut(guesses, truth).reshape(truth.shape))
    other = _windows(truth)
    mean_one, mean_other = one.mean(axis=-1), other.mean(axis=-1)
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    covariance = ((one * other).mean(axis=-1) - mean_one * mean_other) * unbiased
    variances = (one.var(axis=-1) + other.var(axis=-1)) * unbiased
    product = (2 * mean_one * mean_other + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    scale = (mean_one**2 + mean_other**2 + _SSIM_C1) * (variances + _SSIM_C2)
    return np.asarray((product / scale).mean(axis=(1, 2)))


def _cut(guesses: NDArray[np.floating], truth: Pixels) -> Numbers:
    """Return guesses as pixels can be, shape (n, pixels), float64."""
    numbers = np.nan_to_num(guesses.astype(np.float64), posinf=1.0, neginf=0.0)
    return np.clip(numbers, 0, 1).reshape(len(truth), -1)


def _windows(images: NDArray[np.floating]) -> Numbers:
    """Return every 7 x 7 window, shape (n, places, places, 49)."""
    squares = np.lib.stride_tricks.sliding_window_view(
        images.astype(np.float64)[:, 0], (_WINDOW, _WINDOW), axis=(1, 2)
    )
    return squares.reshape(*squares.shape[:3], -1)
