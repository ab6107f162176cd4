"""A shard, the examples of one client, and its file.

The launcher writes one file per client, so that a client process opens its own
examples and nothing else.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Shard:
    """Labelled examples as named arrays, one row an example.

    Examples of unequal length, such as texts, are laid end to end in the flat
    array "tokens" (int32); row ``i`` of "offsets" (int64) is where example
    ``i`` starts. An example ends where the next one starts, and may be empty.

    Attributes:
        arrays: Name to array; always has "labels", int64 of shape ``(n,)``, or
            ``(n, length)`` where every example has several.
            The others are the inputs of the network, by parameter name.

    Raises:
        ValueError: If the arrays do not describe the same examples.
    """

    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        labels = self.arrays.get("labels")
        if labels is None or labels.dtype != np.int64 or labels.ndim not in {1, 2}:
            raise ValueError("a shard needs an int64 array of labels, one an example")
        for name, array in self.arrays.items():
            if name != "tokens" and array.shape[:1] != labels.shape[:1]:
                raise ValueError(
                    f"array {name} of a shard has shape {array.shape}, expected "
                    f"{len(labels)} rows, one a label"
                )
        if ("tokens" in self.arrays) != ("offsets" in self.arrays):
            raise ValueError("a shard needs both of tokens and offsets, or neither")
        if "tokens" in self.arrays:
            _check_offsets(self.arrays["tokens"], self.arrays["offsets"])

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels, shape ``(n,)`` or ``(n, length)``."""
        return self.arrays["labels"]

    def take(self, indices: NDArray[np.int64]) -> Shard:
        """Return a copy of the examples at ``indices``, in that order."""
        taken = {
            name: array[indices]
            for name, array in self.arrays.items()
            if name not in {"tokens", "offsets"}
        }
        if "tokens" in self.arrays:
            tokens, offsets = self.arrays["tokens"], self.arrays["offsets"]
            lengths = np.diff(offsets, append=len(tokens))[indices]
            starts = np.cumsum(lengths) - lengths
            # Token j of the result came from where its example started, plus
            # its own place in the example.
            source = np.repeat(offsets[indices] - starts, lengths)
            taken["tokens"] = tokens[source + np.arange(len(source))]
            taken["offsets"] = starts
        return Shard(taken)


def _check_offsets(tokens: NDArray[Any], offsets: NDArray[Any]) -> None:
    if tokens.dtype != np.int32 or tokens.ndim != 1 or offsets.dtype != np.int64:
        raise ValueError("tokens must be flat int32 and offsets int64")
    bounds = np.concatenate([[0], offsets, [len(tokens)]])
    if offsets[:1].any() or (np.diff(bounds) < 0).any():
        raise ValueError("offsets must rise from 0 to at most the number of tokens")


def save_shard(path: Path, shard: Shard) -> None:
    """Write a shard as a file that only its owner can read (mode 0600).

    A reader sees the old file or the whole new one, never half of it.
    """
    # mkstemp makes the file with mode 0600, and replace keeps it.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **shard.arrays)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_shard(path: Path) -> Shard:
    """Read the file of one shard.

    Raises:
        TaskError: If the file is missing or is not a shard, whole and unharmed.
    """
    try:
        return Shard(_read_arrays(path))
    except FileNotFoundError as error:
        raise TaskError(f"no shard at {path}") from error
    # Damaged bytes make zipfile and numpy raise a dozen kinds of errors.
    except Exception as error:
        raise TaskError(f"{path} is not a shard file or is damaged") from error


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    # numpy alone does not check an array whose damaged header makes it shorter.
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
