"""What a run keeps on disk to go on from: the model and the strategy's moments.

A crash leaves the old files or the new ones: `moments-N.safetensors` is written
before the model of round N, and the older ones are deleted after it.
"""

from pathlib import Path

import numpy as np
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from server.errors import RunError

MODEL = "model.safetensors"
BEST = "best.safetensors"
_MOMENTS = "moments-{}.safetensors"

Moments = dict[str, NDArray[np.generic]]
State = dict[str, Tensor]


def save_checkpoint(
    folder: Path, state: State, moments: Moments, server_round: int
) -> None:
    """Write the model of a round, and what its strategy remembers.

    Raises:
        RunError: If it cannot be written; what was there before stays.
    """
    try:
        _save(folder, state, moments, server_round)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"cannot keep the model of round {server_round}: {error}",
            f"make {folder} writable, with room in it",
        ) from error


def _save(folder: Path, state: State, moments: Moments, server_round: int) -> None:
    name = _MOMENTS.format(server_round)
    if moments:
        fresh = folder / f"{name}.new"
        save_arrays(moments, fresh)
        fresh.replace(folder / name)
    save_model(folder / MODEL, state, server_round)
    for old in folder.glob(_MOMENTS.format("*")):
        if old.name != name:
            old.unlink()


def save_model(path: Path, state: State, server_round: int) -> None:
    """Write a model so that a crash leaves the old one or the new one."""
    fresh = path.with_suffix(".new")
    save_file(state, fresh, metadata={"round": str(server_round)})
    fresh.replace(path)


def saved_round(path: Path) -> int:
    """Return the round after which a model was saved.

    Raises:
        RunError: If there is none, or it is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return int(file.metadata()["round"])
    except FileNotFoundError:
        raise RunError(
            f"no model at {path}", "a run keeps one once it started"
        ) from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise RunError(f"{path} is damaged or not a model of a run") from None


def load_model(path: Path, expected: State) -> State:
    """Read a model that has the arrays of the network it is for.

    Raises:
        RunError: If it is missing, damaged or of another network.
    """
    saved_round(path)
    state: State = load_file(path)
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in state.items()}
    wanted = {name: (tensor.dtype, tensor.shape) for name, tensor in expected.items()}
    if found != wanted:
        raise RunError(f"{path} is a model of another network")
    return {name: state[name] for name in expected}


def moments_of(strategy: Strategy) -> Moments:
    """Return what a strategy of Flower's remembers from one round to the next.

    FedAvgM has a momentum vector, FedAdam and FedYogi have a first and a second
    moment; FedAvg has nothing.
    """
    vector = getattr(strategy, "momentum_vector", None) or []
    moments: Moments = {f"momentum/{i}": array for i, array in enumerate(vector)}
    for name in ("m_t", "v_t"):
        arrays = getattr(strategy, name, None) or {}
        moments |= {f"{name}/{key}": array for key, array in arrays.items()}
    return moments


def restore_moments(strategy: Strategy, folder: Path, server_round: int) -> None:
    """Give a fresh strategy the moments of an earlier one.

    Raises:
        RunError: If they are needed and missing, or damaged.
    """
    kinds = [name for name in ("momentum_vector", "m_t") if hasattr(strategy, name)]
    if not kinds:
        return
    path = folder / _MOMENTS.format(server_round)
    try:
        moments = load_arrays(path)
    except (OSError, SafetensorError):
        raise RunError(
            f"the strategy's moments of round {server_round} are missing or damaged",
            f"restore {path.name}, or go on with --strategy fedavg",
        ) from None
    if "momentum_vector" in kinds:
        count = len(moments)
        strategy.momentum_vector = [moments[f"momentum/{i}"] for i in range(count)]  # type: ignore[attr-defined]
        return
    for name in ("m_t", "v_t"):
        prefix = f"{name}/"
        arrays = {k.removeprefix(prefix): a for k, a in moments.items() if prefix in k}
        setattr(strategy, name, arrays)
