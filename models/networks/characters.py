"""Networks for text, one character after another."""

from __future__ import annotations

from torch import Tensor, nn

_EMBEDDING = 32
_DROPOUT = 0.2

State = tuple[Tensor, Tensor]
"""What an LSTM remembers of the text so far: hidden state and cells."""


class CharacterNetwork(nn.Module):
    """Predicts the next character: embedding, LSTM, dropout and a linear layer.

    Args:
        num_characters: Size of the character set.
        hidden: Cells of the LSTM.
    """

    def __init__(self, *, num_characters: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_characters, _EMBEDDING)
        self.cells = nn.LSTM(_EMBEDDING, hidden, batch_first=True)
        self.dropout = nn.Dropout(_DROPOUT)
        self.output = nn.Linear(hidden, num_characters)

    def forward(self, characters: Tensor) -> Tensor:
        """Return logits for the character after every place of unrelated texts.

        Args:
            characters: Their numbers, shape ``(n, length)``.

        Returns:
            Shape ``(n, length, num_characters)``.
        """
        logits, _ = self.read(characters, None)
        return logits

    def read(self, characters: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return the logits as ``forward`` does, and what the LSTM now remembers.

        Args:
            characters: The next part of every text.
            state: What was returned for the part before; None at the start.
        """
        hidden, state = self.cells(self.embedding(characters.int()), state)
        return self.output(self.dropout(hidden)), state
