"""Partitions: every example to exactly one client, the same for the same seed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.data.partition import SCHEMES, left_out, partition
from models.errors import TaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS = np.arange(200) % 10
_GROUPS = np.array(["c", "a", "b", "a"] * 50)
_CASES = [
    ("iid", 7),
    ("dirichlet:0.5", 4),
    ("dirichlet:100", 5),
    ("shards:2", 5),
    ("natural", 3),
    ("sizes:20,30,rest", 3),
    ("sizes:120,80", 2),
]


def _split(
    scheme: str,
    *,
    num_clients: int,
    seed: int = 1,
    labels: NDArray[np.int64] = _LABELS,
    groups: NDArray[np.str_] | None = _GROUPS,
) -> list[list[int]]:
    parts = partition(labels, groups, scheme, num_clients=num_clients, seed=seed)
    assert all(part.dtype == np.int64 for part in parts)
    return [part.tolist() for part in parts]


@pytest.mark.parametrize(("scheme", "num_clients"), _CASES)
def test_every_example_goes_to_exactly_one_client(
    scheme: str, num_clients: int
) -> None:
    parts = _split(scheme, num_clients=num_clients)
    assert len(parts) == num_clients
    assert all(parts)
    assert sorted(index for part in parts for index in part) == list(range(200))


@pytest.mark.parametrize(("scheme", "num_clients"), _CASES)
def test_the_same_seed_gives_the_same_split(scheme: str, num_clients: int) -> None:
    first = _split(scheme, num_clients=num_clients)
    np.random.default_rng().random()
    assert _split(scheme, num_clients=num_clients) == first


@pytest.mark.parametrize(
    "scheme", ["iid", "dirichlet:0.5", "shards:2", "sizes:9,9,9,rest"]
)
def test_another_seed_gives_another_split(scheme: str) -> None:
    one, two = (_split(scheme, num_clients=4, seed=seed) for seed in (1, 2))
    assert one != two


def test_iid_parts_differ_by_at_most_one_example() -> None:
    sizes = {len(part) for part in _split("iid", num_clients=7)}
    assert sizes == {28, 29}


def test_iid_parts_are_shuffled() -> None:
    assert _split("iid", num_clients=2)[0] != list(range(100))


def test_natural_clients_are_the_groups_in_order_of_their_names() -> None:
    parts = _split("natural", num_clients=3)
    assert [{str(_GROUPS[index]) for index in part} for part in parts] == [
        {"a"},
        {"b"},
        {"c"},
    ]


def test_natural_takes_the_largest_groups_and_of_equal_ones_the_first() -> None:
    groups = np.array(["d", "b", "c", "c", "b", "a", "e", "e", "e"])
    parts = _split(
        "natural", num_clients=2, labels=np.zeros(9, np.int64), groups=groups
    )
    assert parts == [[1, 4], [6, 7, 8]]


def test_sizes_are_given_in_the_order_of_the_clients() -> None:
    parts = _split("sizes:20,rest,50", num_clients=3)
    assert [len(part) for part in parts] == [20, 130, 50]
    assert parts[0] != list(range(20))


def test_a_client_of_n_shards_holds_at_most_n_labels_where_they_fit() -> None:
    parts = _split("shards:2", num_clients=5)
    assert [len(part) for part in parts] == [40] * 5
    assert all(len({_LABELS[index] for index in part}) == 2 for part in parts)


def test_shards_leave_out_less_than_one_example_a_shard() -> None:
    parts = _split("shards:3", num_clients=9)
    taken = [index for part in parts for index in part]
    assert len(set(taken)) == len(taken) == 200 - 200 % 27


def test_what_is_left_out_is_said() -> None:
    text = left_out("natural", _GROUPS, num_clients=2, num_examples=200, num_taken=150)
    assert "the 2 largest of 3 groups; 50 of 200 examples (25.0%)" in text
    text = left_out("shards:3", None, num_clients=9, num_examples=200, num_taken=189)
    assert text.startswith("shards:3: ")
    assert "11 of 200" in text


@pytest.mark.parametrize("scheme", ["iid", "natural", "sizes:50,60,rest"])
def test_sequences_are_shared_out_like_other_examples(scheme: str) -> None:
    labels = np.zeros((200, 7), np.int64)
    assert _split(scheme, num_clients=3, labels=labels) == _split(scheme, num_clients=3)


@pytest.mark.parametrize("scheme", ["dirichlet:0.5", "shards:2"])
def test_sequences_have_no_label_to_share_out_by(scheme: str) -> None:
    with pytest.raises(TaskError, match="needs one label an example") as caught:
        _split(scheme, num_clients=3, labels=np.zeros((200, 7), np.int64))
    assert "iid" in str(caught.value.hint)


def test_a_small_alpha_makes_clients_less_alike() -> None:
    labels = np.arange(2000) % 10

    def largest_share(scheme: str) -> float:
        parts = _split(scheme, num_clients=5, labels=labels)
        counts = [np.bincount(labels[part]) for part in parts]
        return float(max(count.max() / count.sum() for count in counts))

    assert largest_share("dirichlet:0.3") > 2 * largest_share("dirichlet:100")


def test_one_client_gets_everything() -> None:
    for scheme in ("iid", "dirichlet:0.5"):
        assert len(_split(scheme, num_clients=1)[0]) == 200


def test_natural_draws_no_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    _split("natural", num_clients=3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("scheme", "num_clients", "message", "hint"),
    [
        ("random", 3, "unknown partition 'random'", "iid, dirichlet:ALPHA"),
        ("", 3, "unknown partition ''", "iid, dirichlet:ALPHA"),
        ("iid:2", 3, "unknown partition 'iid:2'", "iid, dirichlet:ALPHA"),
        ("dirichlet", 3, "must be a number above 0", "iid, dirichlet:ALPHA"),
        ("dirichlet:half", 3, "must be a number above 0", "iid, dirichlet:ALPHA"),
        ("dirichlet:0", 3, "must be a number above 0", "iid, dirichlet:ALPHA"),
        ("dirichlet:-1", 3, "must be a number above 0", "iid, dirichlet:ALPHA"),
        ("dirichlet:nan", 3, "must be a number above 0", "iid, dirichlet:ALPHA"),
        ("dirichlet:inf", 3, "must be a number above 0", "iid, dirichlet:ALPHA"),
        ("iid", 201, "200 training examples among 201", "between 2 and 200"),
        ("iid", 0, "200 training examples among 0", "between 2 and 200"),
        ("natural", 5, "has 3 groups, got 5 clients", "choose 3 clients"),
        ("natural:2", 3, "unknown partition 'natural:2'", SCHEMES[-1]),
        ("shards", 3, "N in partition 'shards' must be a whole", "shards:N"),
        ("shards:0", 3, "must be a whole number above 0, got '0'", "shards:N"),
        ("shards:1.5", 3, "must be a whole number above 0", "shards:N"),
        ("shards:\u0663", 3, "must be a whole number above 0", "shards:N"),
        ("shards:" + 5000 * "9", 3, "must be a whole number above 0", "shards:N"),
        ("shards:50", 5, "at least 250 training examples", "fewer shards"),
        ("sizes", 3, "is for 1 clients, got 3", "name 3 sizes"),
        ("sizes:10,rest", 3, "is for 2 clients, got 3", "pass --clients 2"),
        ("sizes:10,,rest", 3, "must be a whole number above 0, got ''", "sizes:N"),
        ("sizes:10,-5,rest", 3, "must be a whole number above 0", "sizes:N"),
        ("sizes:10,rest,rest", 3, "more than one client rest", "but one a number"),
        ("sizes:100,100,rest", 3, "leaves nothing for rest", "smaller sizes"),
        ("sizes:100,90,20", 3, "adds up to 210, but there are 200", "rest"),
        ("sizes:100,50,20", 3, "adds up to 170, but there are 200", "rest"),
        ("dirichlet:0.01", 90, "of 200 examples leaves some of 90", "use iid"),
    ],
)
def test_an_impossible_partition_is_refused_with_a_hint(
    scheme: str, num_clients: int, message: str, hint: str
) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        _split(scheme, num_clients=num_clients)
    assert hint in str(caught.value.hint)


def test_natural_needs_natural_owners() -> None:
    with pytest.raises(TaskError, match="this data has none"):
        _split("natural", num_clients=3, groups=None)


def test_partitioning_does_not_import_flower() -> None:
    code = (
        "import sys, numpy as np; from models.data.partition import partition\n"
        "partition(np.arange(9), None, 'iid', num_clients=3, seed=0)\n"
        "sys.exit('flwr' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
