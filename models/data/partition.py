"""Split a data set into one shard per client, with flwr-datasets' partitioners."""
# ruff: noqa: PLC0415 - flwr-datasets takes seconds to import

from __future__ import annotations

import contextlib
import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import TaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SCHEMES_HINT = "the partitions are iid, dirichlet:ALPHA (such as 0.5) and natural"


def partition(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_] | None,
    scheme: str,
    *,
    num_clients: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Share out the examples: every one to exactly one client.

    Schemes:
        ``iid``: a random split into parts of equal size.
        ``dirichlet:ALPHA``: each label is split by shares drawn from a
            symmetric Dirichlet distribution; the smaller ALPHA, the less alike
            the clients. Drawn anew, at most ten times, until every client has
            a tenth of an equal part or 10 examples, whichever is less.
        ``natural``: one client per group, in the order of their names.

    Args:
        labels: Shape ``(n,)``.
        groups: The natural owner of each example, shape ``(n,)``, or None.
        scheme: One of the above.
        num_clients: Number of clients.
        seed: Not negative; the same arguments give the same split.

    Returns:
        For each client the indices of its examples; never empty.

    Raises:
        TaskError: If the scheme is unknown or cannot serve so many clients.
    """
    if not 1 <= num_clients <= len(labels):
        raise TaskError(
            f"cannot share out {len(labels)} training examples among "
            f"{num_clients} clients",
            hint=f"choose between 2 and {len(labels)} clients",
        )
    if scheme == "iid":
        return _iid(labels, num_clients, seed)
    if scheme == "natural":
        return _natural(groups, num_clients)
    return _dirichlet(labels, _alpha(scheme), num_clients, seed)


def _alpha(scheme: str) -> float:
    """Return ALPHA of ``dirichlet:ALPHA``."""
    name, _, number = scheme.partition(":")
    if name != "dirichlet":
        raise TaskError(f"unknown partition {scheme!r}", hint=_SCHEMES_HINT)
    try:
        alpha = float(number)
    except ValueError:
        alpha = math.nan
    if not 0 < alpha < math.inf:
        raise TaskError(
            f"ALPHA in partition {scheme!r} must be a number above 0",
            hint=_SCHEMES_HINT,
        )
    return alpha


def _iid(
    labels: NDArray[np.int64], num_clients: int, seed: int
) -> list[NDArray[np.int64]]:
    from flwr_datasets.partitioner import IidPartitioner

    # The partitioner cuts the rows where they are, so shuffle them first.
    order = np.random.default_rng(seed).permutation(len(labels))
    return _indices(IidPartitioner(num_clients), {"index": order}, num_clients)


def _natural(
    groups: NDArray[np.str_] | None, num_clients: int
) -> list[NDArray[np.int64]]:
    from flwr_datasets.partitioner import NaturalIdPartitioner

    if groups is None:
        raise TaskError(
            "partition natural needs data with natural owners, this task has none",
            hint="use iid or dirichlet:0.5",
        )
    num_groups = len(np.unique(groups))
    if num_groups != num_clients:
        raise TaskError(
            f"partition natural has {num_groups} groups, got {num_clients} clients",
            hint=f"choose {num_groups} clients, or partition iid or dirichlet:0.5",
        )
    columns = {"index": np.arange(len(groups)), "group": groups}
    # The partitioner draws a progress bar, whatever the verbosity.
    with contextlib.redirect_stderr(io.StringIO()):
        return _indices(NaturalIdPartitioner("group"), columns, num_clients)


def _dirichlet(
    labels: NDArray[np.int64], alpha: float, num_clients: int, seed: int
) -> list[NDArray[np.int64]]:
    from flwr_datasets.partitioner import DirichletPartitioner

    smallest = max(1, min(10, len(labels) // (10 * num_clients)))
    partitioner = DirichletPartitioner(
        num_clients, "label", alpha, min_partition_size=smallest, seed=seed
    )
    columns = {"index": np.arange(len(labels)), "label": labels}
    try:
        # It warns at every draw that leaves a client with too few examples.
        with warnings.catch_warnings(action="ignore"):
            return _indices(partitioner, columns, num_clients)
    except ValueError as error:
        raise TaskError(
            f"partition dirichlet:{alpha:g} of {len(labels)} examples leaves some of "
            f"{num_clients} clients with fewer than {smallest}",
            hint="use iid, a larger ALPHA or fewer clients",
        ) from error


def _indices(
    partitioner: Any,
    columns: dict[str, NDArray[Any]],
    num_clients: int,
) -> list[NDArray[np.int64]]:
    """Apply a partitioner to a table and return column "index" of every part."""
    import datasets

    partitioner.dataset = datasets.Dataset.from_dict(columns).with_format("numpy")
    return [
        np.asarray(partitioner.load_partition(client)["index"][:], dtype=np.int64)
        for client in range(num_clients)
    ]
