"""Networks for images; the parameters of ``forward`` are arrays of a shard."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_DIGITS_FILTERS = 16
_DIGITS_FEATURES = _DIGITS_FILTERS * 6 * 6  # 3 x 3 kernels leave 6 x 6 of 8 x 8
_DIGITS_DROPOUT = 0.2


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
