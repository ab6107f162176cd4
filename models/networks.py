"""The networks, and their parameters as named numpy arrays.

The parameters of ``forward`` are the arrays of a shard, by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models.fingerprint import network_digest
from models.parameters import layout_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

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


class WordSumNetwork(nn.Module):
    """One number per word; the logit of a text is the sum over its words.

    The embedding classifier of chapter 15 of Trask, "Grokking Deep Learning"
    (2019), which starts at zero too.
    """

    def __init__(self, *, num_words: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(num_words, 1, mode="sum")
        nn.init.zeros_(self.words.weight)

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Return logits, shape ``(n,)``; 0 for a text without words.

        Args:
            tokens: Word numbers of all texts, shape ``(tokens,)``.
            offsets: Where each text starts, int64 of shape ``(n,)``.
        """
        logits: Tensor = self.words(tokens.to(offsets.dtype), offsets)
        return logits.squeeze(dim=1)


def state_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return copies of the module's parameters and buffers, by name."""
    return {
        name: tensor.detach().cpu().numpy().copy()
        for name, tensor in module.state_dict().items()
    }


def load_arrays(module: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Copy ``arrays`` into the module.

    The module shares no memory with them: if it did, local training would
    edit the global parameters, and every update would be zero.

    Raises:
        ValueError: If they are not the arrays of this module.
    """
    layout_of(state_arrays(module)).require_equal(layout_of(arrays))
    module.load_state_dict(
        {name: torch.tensor(array) for name, array in arrays.items()}
    )


def fingerprint(module: nn.Module) -> str:
    """Return the digest by which a client's policy names this network."""
    return network_digest(str(module), state_arrays(module))
