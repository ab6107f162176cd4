"""Sample text from a network that predicts the next character."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from models.data.characters import decode, encode
from models.errors import TaskError

if TYPE_CHECKING:
    from torch import Tensor

    from models.networks.characters import CharacterNetwork

_START = "\n"  # what a speech or a paragraph comes after


def generate(
    network: CharacterNetwork,
    prompt: str,
    *,
    length: int,
    temperature: float,
    seed: int,
) -> str:
    """Continue a text, one sampled character after another.

    On one machine the same arguments give the same text.

    Args:
        network: On the CPU; its numbers stand for ``models.data.characters``.
        prompt: May be empty. A character outside of the set is read as its
            replacement.
        length: Number of characters to add, at least 0.
        temperature: Divides the logits: below 1 the likely characters become
            likelier; 0 always takes the likeliest.
        seed: In ``[0, 2**63)``.

    Returns:
        What comes after the prompt, without the prompt.

    Raises:
        TaskError: If a number is out of its range, or the network is broken.
    """
    _check(length, temperature, seed)
    generator = torch.Generator().manual_seed(seed)
    network.eval()
    numbers: list[int] = []
    following = torch.from_numpy(encode(prompt or _START).copy())
    state = None
    with torch.inference_mode():
        for _ in range(length):
            # The state holds all that came before: every character is read once.
            logits, state = network.read(following.unsqueeze(0), state)
            following = _draw(logits[0, -1], temperature, generator)
            numbers.append(int(following))
    return decode(numbers)


def _draw(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Return the number of the next character, shape ``(1,)``."""
    if not logits.isfinite().all():
        raise TaskError(
            "the network's output is not finite",
            hint="its training diverged: run again with a smaller learning rate",
        )
    if temperature == 0:
        return logits.argmax(dim=0, keepdim=True)
    # In double precision, and the largest at 0: a tiny temperature must not overflow.
    scaled = (logits.double() - logits.max()) / temperature
    return scaled.softmax(dim=0).multinomial(1, generator=generator)


def _check(length: int, temperature: float, seed: int) -> None:
    if length < 0:
        raise TaskError(f"the length must be 0 or more, got {length}")
    if not 0 <= temperature < math.inf:
        raise TaskError(f"the temperature must be 0 or more, got {temperature}")
    if not 0 <= seed < 1 << 63:
        raise TaskError(f"the seed must be in [0, 2**63), got {seed}")
