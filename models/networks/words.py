"""Networks for bags of words; the parameters of ``forward`` are arrays of a shard."""

from __future__ import annotations

from torch import Tensor, nn


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
