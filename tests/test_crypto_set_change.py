"""A holder with `min_set_change` opens no set that is almost an earlier one.

Sums over two sets that differ in one client give that client's update by subtraction.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from clients.state import ClientState
from crypto.errors import DecryptionRefusedError, SecondSetError
from crypto.layout import EVALUATE
from crypto.opening import Opener, ServedSets
from crypto.wire import OpenRequest
from tests.crypto_group import MemoryState, Round, make_facts, make_round

FIRST = (1, 2, 3, 4)


@pytest.fixture(params=["memory", "file"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> ServedSets:
    if request.param == "memory":
        return MemoryState()
    return ClientState.create(tmp_path / "state.sqlite")


def _round(number: int, run: int = 0) -> Round:
    return make_round(facts=make_facts(round=number, run_id=bytes([run] * 16)))


def _request(one: Round, ids: tuple[int, ...]) -> OpenRequest:
    total = one.sum
    for client_id in ids:
        total.add(one.upload(client_id))
    return total.open_request()


def _opener(one: Round, state: ServedSets, distance: int) -> Opener:
    return replace(one.opener(1, state), min_set_change=distance)


def _opens(
    state: ServedSets, number: int, ids: tuple[int, ...], distance: int, run: int = 0
) -> bool:
    """Whether the holder opens this set in this round."""
    one = _round(number, run)
    try:
        _opener(one, state, distance).answer(_request(one, ids), None)
    except DecryptionRefusedError:
        return False
    return True


def test_refusal_names_the_rule() -> None:
    state, two = MemoryState(), _round(2)
    assert _opens(state, 1, FIRST, 2)

    with pytest.raises(DecryptionRefusedError) as caught:
        _opener(two, state, 2).answer(_request(two, (1, 2, 3, 5)), None)

    assert str(caught.value) == (
        "min-set-change: the set differs from an earlier one in fewer than 2 clients"
    )


@pytest.mark.parametrize(
    ("ids", "largest"),
    [
        (FIRST, 99),  # in nobody
        ((1, 2, 3, 4, 5), 1),  # one more
        ((1, 2, 3, 5), 1),  # one for another
        ((1, 2, 3, 5, 6), 1),  # two for one
        ((1, 2, 5, 6), 2),  # two for two
    ],
    ids=str,
)
@pytest.mark.parametrize("distance", [0, 1, 2, 3])
def test_set_is_opened_if_it_differs_enough_or_not_at_all(
    state: ServedSets, ids: tuple[int, ...], largest: int, distance: int
) -> None:
    assert _opens(state, 1, FIRST, distance)

    assert _opens(state, 2, ids, distance) == (distance <= largest)


def test_smaller_set_counts_like_a_larger_one(state: ServedSets) -> None:
    assert _opens(state, 1, (1, 2, 3, 4, 5), 2)

    assert not _opens(state, 2, FIRST, 2)


def test_every_earlier_set_counts_and_not_only_the_last(state: ServedSets) -> None:
    assert _opens(state, 1, FIRST, 2)
    assert _opens(state, 2, (1, 2, 5, 6), 2)

    assert not _opens(state, 3, (1, 2, 3, 5), 2)
    assert not _opens(state, 4, (1, 2, 3, 4, 5), 2)


def test_refused_set_is_not_remembered(state: ServedSets) -> None:
    assert _opens(state, 1, FIRST, 2)
    assert not _opens(state, 2, (1, 2, 3, 5), 2)

    assert _opens(state, 2, (1, 3, 5, 6), 2)
    assert _opens(state, 3, FIRST, 2)


def test_sets_of_another_run_do_not_count(state: ServedSets) -> None:
    assert _opens(state, 1, FIRST, 2, run=1)

    assert _opens(state, 2, (1, 2, 3, 5), 2, run=2)


def test_sets_of_another_phase_do_not_count(state: ServedSets) -> None:
    facts = make_facts(phase=EVALUATE, dim=0, metrics=())
    other, total = make_round(facts=facts), make_round(facts=facts).sum
    for client_id in FIRST:
        total.add(other.upload(client_id))
    _opener(other, state, 2).answer(total.open_request(), None)

    assert _opens(state, 2, (1, 2, 3, 5), 2)


def test_set_that_was_answered_is_replayed_whatever_came_since(
    state: ServedSets,
) -> None:
    one = _round(1)
    request = _request(one, FIRST)
    first = one.opener(1, state).answer(request, None)
    assert _opens(state, 2, (1, 2, 3, 5), 0)

    assert _opener(one, state, 3).answer(request, None) == first


def test_second_set_of_a_round_is_one_whatever_its_distance(state: ServedSets) -> None:
    one = _round(1)
    opener = _opener(one, state, 2)
    opener.answer(_request(one, FIRST), None)

    with pytest.raises(SecondSetError):
        opener.answer(_request(one, (1, 2, 5, 6)), None)


def test_rule_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    assert _opens(ClientState.create(path), 1, FIRST, 2)

    assert not _opens(ClientState(path), 2, (1, 2, 3, 5), 2)
