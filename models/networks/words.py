"""Networks for words; the parameters of ``forward`` are arrays of a shard.

All of them keep one row for each word in the parameter ``words.weight``, which
``models.vectors`` reads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BAG_VECTOR = 8
# Small, so that a word which training hardly meets hardly counts.
_BAG_SPREAD = 0.03

_BLANK_VECTOR = 50
_WINDOW = 2
_NEGATIVES = 5


class WordSumNetwork(nn.Module):
    """One number per word; the logit of a text is the sum over its words.

    The embedding classifier of chapter 15 of Trask, "Grokking Deep Learning"
    (2019), which starts at zero too. The book fills short texts up with a word
    whose number it keeps at 0, and reads unknown words as that word; texts of
    any length without unknown words give the same sums.
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


class WordBagNetwork(nn.Module):
    """A vector of 8 numbers per word; a text is the scaled sum of its words.

    The embedding classifier of chapter 11 of Trask (2019), without its second
    nonlinearity. The sum is divided by the root of the number of words: a plain
    sum grows with the text, and the mean drowns the few words that matter.

    Args:
        num_words: Size of the vocabulary.
        dropout: Share of a text's 8 numbers that training hides at random.
    """

    def __init__(self, *, num_words: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(num_words, _BAG_VECTOR, mode="sum")
        nn.init.normal_(self.words.weight, std=_BAG_SPREAD)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(_BAG_VECTOR, 1)

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Return logits, shape ``(n,)``; the same for all texts without words.

        Args:
            tokens: Word numbers of all texts, shape ``(tokens,)``.
            offsets: Where each text starts, int64 of shape ``(n,)``.
        """
        lengths = torch.diff(offsets, append=offsets.new_tensor([len(tokens)]))
        sums = self.words(tokens.to(offsets.dtype), offsets)
        texts = sums / lengths.clamp(min=1).sqrt().unsqueeze(dim=1)
        logits: Tensor = self.output(self.dropout(texts))
        return logits.squeeze(dim=1)


class BlanksNetwork(nn.Module):
    """Guess each word of a text from the two words on either side.

    Chapter 11 of Trask (2019): the mean of the neighbours' vectors is compared
    with the right word and with five others, drawn from the same texts, so that
    a word is drawn as often as it occurs. The neighbours' vectors are the ones
    in which analogies can be found.

    Args:
        num_words: Size of the vocabulary.
    """

    def __init__(self, *, num_words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, _BLANK_VECTOR)
        nn.init.uniform_(self.words.weight, -0.5 / _BLANK_VECTOR, 0.5 / _BLANK_VECTOR)
        self.blanks = nn.Embedding(num_words, _BLANK_VECTOR)
        nn.init.zeros_(self.blanks.weight)

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Return a logit for each candidate, shape ``(tokens, 6)``; 0 is the right one.

        Draws the other five from torch's global generator; one may be the right
        word again.

        Args:
            tokens: Word numbers of all texts, shape ``(tokens,)``.
            offsets: Where each text starts, int64 of shape ``(n,)``.
        """
        tokens = tokens.to(offsets.dtype)
        drawn = torch.randint(
            len(tokens), (len(tokens), _NEGATIVES), device=tokens.device
        )
        candidates = torch.cat([tokens.unsqueeze(dim=1), tokens[drawn]], dim=1)
        around = _mean_of_neighbours(self.words(tokens), offsets)
        logits = torch.bmm(self.blanks(candidates), around.unsqueeze(dim=2))
        return logits.squeeze(dim=2)


def _mean_of_neighbours(vectors: Tensor, offsets: Tensor) -> Tensor:
    """Return for each place the mean of the vectors around it, in the same text.

    Args:
        vectors: Of the words of all texts, shape ``(tokens, length)``.
        offsets: Where each text starts, int64 of shape ``(n,)``.
    """
    places = torch.arange(len(vectors), device=vectors.device)
    texts = torch.bucketize(places, offsets, right=True)
    sums, counts = torch.zeros_like(vectors), vectors.new_zeros(len(vectors), 1)
    for distance in range(1, _WINDOW + 1):
        near = (texts[distance:] == texts[:-distance]).to(vectors.dtype)
        near = near.unsqueeze(dim=1)
        sums[distance:] += vectors[:-distance] * near
        sums[:-distance] += vectors[distance:] * near
        counts[distance:] += near
        counts[:-distance] += near
    return sums / counts.clamp(min=1)
