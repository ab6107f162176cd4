"""Networks for images; the parameters of ``forward`` are arrays of a shard."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_DIGITS_FILTERS = 16
_DIGITS_FEATURES = _DIGITS_FILTERS * 6 * 6  # 3 x 3 kernels leave 6 x 6 of 8 x 8
_DIGITS_DROPOUT = 0.2

_BOOK_FILTERS = 16
_BOOK_FEATURES = _BOOK_FILTERS * 26 * 26  # 3 x 3 kernels leave 26 x 26 of 28 x 28
_BOOK_DROPOUT = 0.5

_MNIST_FILTERS = (16, 32)
_MNIST_FEATURES = 32 * 4 * 4  # 28 - 4 = 24, halved 12, 12 - 4 = 8, halved 4
_MNIST_HIDDEN = 128
_MNIST_DROPOUT = 0.5

_WHITE = 255.0  # the largest value of a pixel that is a byte


class DigitsNetwork(nn.Module):
    """A small CNN for images of 8 x 8 pixels; 5,930 parameters.

    One layer of 3 x 3 kernels, tanh, dropout and a linear layer, as in
    chapter 10 of Trask, "Grokking Deep Learning" (2019).
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Conv2d(1, _DIGITS_FILTERS, kernel_size=3)
        self.dropout = nn.Dropout(_DIGITS_DROPOUT)
        self.output = nn.Linear(_DIGITS_FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape ``(n, 10)``, of images ``(n, 1, 8, 8)``."""
        features = torch.tanh(self.kernels(images)).flatten(start_dim=1)
        logits: Tensor = self.output(self.dropout(features))
        return logits


class BookNetwork(nn.Module):
    """The CNN of chapter 10 of Trask (2019), for MNIST; 108,330 parameters.

    16 kernels of 3 x 3, tanh, dropout and a linear layer; no pooling. Unlike the
    book's, it has biases, looks at all 26 x 26 places of an image and starts with
    large kernels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Conv2d(1, _BOOK_FILTERS, kernel_size=3)
        # With small ones tanh is almost a straight line, and the network linear.
        nn.init.normal_(self.kernels.weight)
        self.dropout = nn.Dropout(_BOOK_DROPOUT)
        self.output = nn.Linear(_BOOK_FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape ``(n, 10)``, of bytes ``(n, 1, 28, 28)``."""
        features = torch.tanh(self.kernels(images.float() / _WHITE))
        logits: Tensor = self.output(self.dropout(features.flatten(start_dim=1)))
        return logits


class MnistNetwork(nn.Module):
    """Two layers of 5 x 5 kernels, each with pooling, and two linear layers.

    80,202 parameters. The plan of LeNet-5 (LeCun et al. 1998, "Gradient-based
    learning applied to document recognition"), with ReLU, max pooling and dropout.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second = _MNIST_FILTERS
        self.first = nn.Conv2d(1, first, kernel_size=5)
        self.second = nn.Conv2d(first, second, kernel_size=5)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(_MNIST_FEATURES, _MNIST_HIDDEN)
        self.dropout = nn.Dropout(_MNIST_DROPOUT)
        self.output = nn.Linear(_MNIST_HIDDEN, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape ``(n, 10)``, of bytes ``(n, 1, 28, 28)``."""
        features = images.float() / _WHITE
        for layer in (self.first, self.second):
            features = torch.relu(self.pool(layer(features)))
        hidden = torch.relu(self.hidden(features.flatten(start_dim=1)))
        logits: Tensor = self.output(self.dropout(hidden))
        return logits
