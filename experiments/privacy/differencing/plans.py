"""Which sums to ask for, and what they tell about one client.

Clients are numbered from 0 here. A plan is a list of sets; the guess is a weighted sum
of their sums, with the smallest weights that come nearest to one client alone.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Sets = Sequence[frozenset[int]]

CAP: Final = 120.0
"""dB above which errors are not told apart."""


def difference_plan(num_clients: int, target: int) -> Sets:
    """Return two sets: everybody, and everybody but the target."""
    everybody = frozenset(range(num_clients))
    return [everybody, everybody - {target}]


def patient_plan(
    num_clients: int, target: int, *, smallest: int, min_set_change: int
) -> Sets:
    """Return sets that keep to `min-set-change` and give the target all the same.

    The others are cut into blocks. The sums of everybody but one block, of each block
    in turn, have the target once more than everybody else in total; the sum of
    everybody takes that away. Any two of the sets differ by whole blocks.

    Args:
        num_clients: In the group.
        target: One of them.
        smallest: Fewest clients of a set that is opened.
        min_set_change: Fewest clients by which sets may differ.

    Returns:
        The sets; everybody alone if no others are allowed.
    """
    everybody = frozenset(range(num_clients))
    others = sorted(everybody - {target})
    largest = num_clients - smallest  # clients that a set may lack
    count = ceil(len(others) / largest) if largest > 0 else 0
    if count == 0 or len(others) // count < max(1, min_set_change):
        return [everybody]
    blocks = np.array_split(np.array(others), count)
    return [everybody, *(everybody - set(block.tolist()) for block in blocks)]


def determined(sets: Sets, num_clients: int) -> NDArray[np.bool_]:
    """Return whose update the sums over these sets tell exactly, shape (clients,)."""
    matrix = _membership(sets, num_clients)
    told: NDArray[np.bool_] = np.isclose(np.diag(np.linalg.pinv(matrix) @ matrix), 1)
    return told


def recovered(
    sets: Sets, sums: Sequence[NDArray[np.floating[Any]]], num_clients: int
) -> Numbers:
    """Return the best guess of every client's update from some sums.

    Least squares of smallest norm: exact where the sums determine an update, and the
    mean of a set where they do not tell its members apart.

    Args:
        sets: Who is in each sum.
        sums: One a set, each of shape (dim,).
        num_clients: In the group.

    Returns:
        Shape (num_clients, dim).
    """
    inverse = np.linalg.pinv(_membership(sets, num_clients))
    return np.asarray(inverse @ np.stack(sums), dtype=np.float64)


def _membership(sets: Sets, num_clients: int) -> Numbers:
    return np.array([[i in one for i in range(num_clients)] for one in sets], float)


def relative_error(
    guess: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]
) -> float:
    """Return the length of the error in lengths of the truth."""
    return float(np.linalg.norm(guess - truth) / np.linalg.norm(truth))


def decibels(errors: NDArray[np.float64]) -> Numbers:
    """Return signal to noise in dB of relative errors, up to `CAP`."""
    floor = 10 ** (-CAP / 20)
    return np.asarray(-20 * np.log10(np.maximum(errors, floor)))
