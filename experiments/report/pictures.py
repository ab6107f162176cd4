"""Sample predictions on images: small pictures with what the model takes them for."""
# ruff: noqa: PLC0415 - matplotlib takes half a second, and the command line waits

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from experiments.report.samples import Prediction, decide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.report.samples import Trained

NUM_PICTURES: Final = 24
_COLOURS: Final = (3, 4)  # channels that make a picture coloured


@dataclass(frozen=True)
class Picture(Prediction):
    """One image and what the model takes it for.

    Attributes:
        source: The image as a data URI.
    """

    source: str


@dataclass(frozen=True)
class Pictures:
    """Some images of the test split, the wrong ones first.

    Attributes:
        shown: The pictures.
        num_right: Right ones among all samples, shown or not.
        num_samples: Of them.
    """

    shown: list[Picture]
    num_right: int
    num_samples: int


def pictures(trained: Trained) -> Pictures:
    """Let the model predict the images that a run kept."""
    examples = trained.examples
    labels, probabilities = decide(trained.logits(examples), trained.task.loss)
    right = labels == examples.labels
    order = np.argsort(right, kind="stable")[:NUM_PICTURES]
    images = examples.arrays["images"]
    low, high = float(images.min()), float(images.max())
    shown = [
        Picture(
            source=_data_uri(images[i], low=low, high=high),
            predicted=int(labels[i]),
            truth=int(examples.labels[i]),
            probability=float(probabilities[i]),
        )
        for i in order
    ]
    return Pictures(shown, int(right.sum()), len(examples))


def _data_uri(image: NDArray[Any], *, low: float, high: float) -> str:
    """Write an image as a PNG that a page can hold.

    Args:
        image: Shape ``(channels, height, width)``.
        low: The value that becomes black.
        high: The value that becomes white.
    """
    from matplotlib.image import imsave

    scaled = (image.astype(np.float64) - low) / ((high - low) or 1.0)
    pixels = np.moveaxis(scaled, 0, -1)
    if image.shape[0] not in _COLOURS:
        pixels = np.repeat(pixels[:, :, :1], 3, axis=2)
    file = io.BytesIO()
    imsave(file, pixels, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
