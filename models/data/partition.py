"""Split a data set into one shard per client, with flwr-datasets' partitioners."""
# ruff: noqa: PLC0415 - flwr-datasets takes seconds to import

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import TaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMES = ("iid", "dirichlet:ALPHA", "shards:N", "natural", "sizes:N,N,rest")
"""How a person writes each scheme; for help texts and hints."""

_COUNT = re.compile("[1-9][0-9]{0,8}")
_SCHEMES_HINT = f"the partitions are {', '.join(SCHEMES)}; such as dirichlet:0.5"


def partition(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_] | None,
    scheme: str,
    *,
    num_clients: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Share out the examples: every one to at most one client.

    Schemes:
        ``iid``: a random split into parts of equal size.
        ``dirichlet:ALPHA``: each label is split by shares drawn from a
            symmetric Dirichlet distribution; the smaller ALPHA, the less alike
            the clients. Drawn anew, at most ten times, until every client has
            a tenth of an equal part or 10 examples, whichever is less.
        ``shards:N``: the examples in the order of their labels are cut into
            equal shards, and every client draws N of them (McMahan et al.,
            arXiv:1602.05629, section 3). What does not fill a shard, fewer
            examples than there are shards, is left out.
        ``natural``: one client per group, in the order of their names. With
            fewer clients than groups the largest groups take part, of equal
            ones the first by name, and the other examples are left out.
        ``sizes:N,N,rest``: a random split in which the first client has the
            first number of examples, and so on; ``rest`` is what is left.

    Args:
        labels: Shape ``(n,)``, or ``(n, length)`` for sequences.
        groups: The natural owner of each example, shape ``(n,)``, or None.
        scheme: One of the above.
        num_clients: Number of clients.
        seed: Not negative; the same arguments give the same split.

    Returns:
        For each client the indices of its examples; never empty. All lengths
        add up to ``n`` if nothing is left out; see ``left_out``.

    Raises:
        TaskError: If the scheme is unknown or cannot serve so many clients.
    """
    if not 1 <= num_clients <= len(labels):
        raise TaskError(
            f"cannot share out {len(labels)} training examples among "
            f"{num_clients} clients",
            hint=f"choose between 2 and {len(labels)} clients",
        )
    name, _, argument = scheme.partition(":")
    match name:
        case "iid" if scheme == name:
            return _iid(labels, num_clients, seed)
        case "natural" if scheme == name:
            return _natural(groups, num_clients)
        case "dirichlet":
            alpha = _alpha(argument, scheme)
            return _dirichlet(_one_each(labels, scheme), alpha, num_clients, seed)
        case "shards":
            per_client = _count(argument, f"N in partition {scheme!r}")
            return _shards(_one_each(labels, scheme), per_client, num_clients, seed)
        case "sizes":
            return _sizes(labels, scheme, num_clients, seed)
    raise TaskError(f"unknown partition {scheme!r}", hint=_SCHEMES_HINT)


def left_out(
    scheme: str,
    groups: NDArray[np.str_] | None,
    *,
    num_clients: int,
    num_examples: int,
    num_taken: int,
) -> str:
    """Say in one line which training examples a split leaves out.

    Args:
        scheme: The scheme that made it.
        groups: As for ``partition``.
        num_clients: Number of clients.
        num_examples: Training examples of the data set.
        num_taken: Those that some client holds.

    Returns:
        Nothing if every example is held by a client.

    Example:
        >>> left_out("iid", None, num_clients=2, num_examples=8, num_taken=8)
        ''
        >>> groups = np.array(["a", "b", "b", "c"])
        >>> left_out("natural", groups, num_clients=1, num_examples=4, num_taken=2)
        'natural: the 1 largest of 3 groups; 2 of 4 examples (50.0%) are left out'
    """
    missing = num_examples - num_taken
    if not missing:
        return ""
    kept = "examples that fill no shard"
    if groups is not None and scheme == "natural":
        kept = f"the {num_clients} largest of {len(np.unique(groups))} groups"
    share = f"{missing:,} of {num_examples:,} examples ({missing / num_examples:.1%})"
    return f"{scheme}: {kept}; {share} are left out"


def _alpha(number: str, scheme: str) -> float:
    """Return ALPHA of ``dirichlet:ALPHA``."""
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


def _count(number: str, name: str) -> int:
    if not _COUNT.fullmatch(number):
        raise TaskError(
            f"{name} must be a whole number above 0, got {number!r}",
            hint=_SCHEMES_HINT,
        )
    return int(number)


def _one_each(labels: NDArray[np.int64], scheme: str) -> NDArray[np.int64]:
    """Refuse sequences, which have no label to share out by."""
    if labels.ndim != 1:
        raise TaskError(
            f"partition {scheme} needs one label an example, this task has sequences",
            hint="use iid, natural or sizes",
        )
    return labels


def _iid(
    labels: NDArray[np.int64], num_clients: int, seed: int
) -> list[NDArray[np.int64]]:
    from flwr_datasets.partitioner import IidPartitioner

    return _indices(IidPartitioner(num_clients), _shuffled(labels, seed), num_clients)


def _sizes(
    labels: NDArray[np.int64], scheme: str, num_clients: int, seed: int
) -> list[NDArray[np.int64]]:
    from flwr_datasets.partitioner import SizePartitioner

    words = scheme.partition(":")[2].split(",")
    if len(words) != num_clients:
        raise TaskError(
            f"partition {scheme!r} is for {len(words)} clients, got {num_clients}",
            hint=f"pass --clients {len(words)}, or name {num_clients} sizes",
        )
    sizes = _resolved(words, scheme, len(labels))
    return _indices(SizePartitioner(sizes), _shuffled(labels, seed), num_clients)


def _resolved(words: list[str], scheme: str, num_examples: int) -> list[int]:
    """Return the sizes of ``sizes:N,N,rest`` as numbers that add up."""
    named = [
        _count(word, f"a size in partition {scheme!r}")
        for word in words
        if word != "rest"
    ]
    rest = num_examples - sum(named)
    if len(words) - len(named) > 1:
        raise TaskError(
            f"partition {scheme!r} calls more than one client rest",
            hint="give all clients but one a number",
        )
    if rest < 1 and "rest" in words:
        raise TaskError(
            f"partition {scheme!r} leaves nothing for rest: there are "
            f"{num_examples:,} training examples",
            hint="choose smaller sizes",
        )
    if rest and "rest" not in words:
        raise TaskError(
            f"partition {scheme!r} adds up to {sum(named):,}, but there are "
            f"{num_examples:,} training examples",
            hint="call one client rest, which gets what is left",
        )
    return [rest if word == "rest" else int(word) for word in words]


def _shuffled(labels: NDArray[np.int64], seed: int) -> dict[str, NDArray[Any]]:
    # Some partitioners cut the rows where they are.
    return {"index": np.random.default_rng(seed).permutation(len(labels))}


def _natural(
    groups: NDArray[np.str_] | None, num_clients: int
) -> list[NDArray[np.int64]]:
    from flwr_datasets.partitioner import NaturalIdPartitioner

    if groups is None:
        raise TaskError(
            "partition natural needs data with natural owners, this data has none",
            hint="use iid or dirichlet:0.5",
        )
    names, counts = np.unique(groups, return_counts=True)
    if len(names) < num_clients:
        raise TaskError(
            f"partition natural has {len(names)} groups, got {num_clients} clients",
            hint=f"choose {len(names)} clients or fewer, or partition iid",
        )
    # Names are in order, and a stable sort keeps it among groups of equal size.
    largest = names[np.argsort(-counts, kind="stable")[:num_clients]]
    taken = np.flatnonzero(np.isin(groups, largest))
    columns = {"index": taken, "group": groups[taken]}
    # The partitioner draws a progress bar, whatever the verbosity.
    with contextlib.redirect_stderr(io.StringIO()):
        return _indices(NaturalIdPartitioner("group"), columns, num_clients)


def _shards(
    labels: NDArray[np.int64], per_client: int, num_clients: int, seed: int
) -> list[NDArray[np.int64]]:
    from flwr_datasets.partitioner import ShardPartitioner

    if num_clients * per_client > len(labels):
        raise TaskError(
            f"partition shards:{per_client} of {num_clients} clients needs at least "
            f"{num_clients * per_client:,} training examples, got {len(labels):,}",
            hint="use fewer shards or fewer clients",
        )
    partitioner = ShardPartitioner(
        num_clients, "label", num_shards_per_partition=per_client, seed=seed
    )
    # Its sort keeps the order of equal labels, which may mean something.
    order = _shuffled(labels, seed)["index"]
    columns = {"index": order, "label": labels[order]}
    # Its sort passes an argument that newer versions of pyarrow want elsewhere.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        return _indices(partitioner, columns, num_clients)


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
