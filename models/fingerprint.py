"""A network's digest: what a client's policy allows or refuses; no torch.

Two networks have the same digest only if the code describes them alike and their
arrays have the same names, dtypes and shapes in the same order. Parameters do not
count: they change in every round.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from models.parameters import layout_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def network_digest(architecture: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash an architecture and the layout of its parameters.

    Args:
        architecture: The network as text, from the client's own code; empty where
            only the layout counts.
        arrays: The parameters, in the order in which they travel.

    Returns:
        SHA-256 as 64 hex digits.

    Raises:
        ValueError: If an array is not of a floating dtype.
    """
    layout = layout_of(arrays)
    parts = list(zip(layout.names, layout.dtypes, layout.shapes, strict=True))
    # JSON of texts and integers is injective: no two networks share a text.
    text = json.dumps(["unseen/network/1", architecture, parts])
    return sha256(text.encode()).hexdigest()
