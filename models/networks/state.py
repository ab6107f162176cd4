"""The parameters of a network as named numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models.fingerprint import network_digest
from models.parameters import layout_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn


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
