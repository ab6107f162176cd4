"""A key holder opens one set per round and phase, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.state import ClientState
from crypto.errors import (
    RoundClosedError,
    SecondSetError,
)
from crypto.layout import EVALUATE
from crypto.opening import ServedSets
from crypto.wire import OpenRequest, PartialReply
from tests.crypto_group import (
    MemoryState,
    Round,
    added,
    make_contribution,
    make_facts,
    make_round,
)


@pytest.fixture(params=["memory", "file"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> ServedSets:
    if request.param == "memory":
        return MemoryState()
    return ClientState.create(tmp_path / "state.sqlite")


def _request(one: Round, count: int = 4) -> OpenRequest:
    """Ask to open the sum of clients 1..count."""
    return added(one, count).open_request()


def _in_round(number: int, run: int = 0) -> Round:
    return make_round(facts=make_facts(round=number, run_id=bytes([run] * 16)))


def test_same_set_is_answered_with_the_same_bytes(state: ServedSets) -> None:
    one = make_round()
    request = _request(one)
    first = one.opener(1, state).answer(request, None)

    again = one.opener(1, state).answer(request, None)

    assert again.to_bytes() == first.to_bytes()


def test_stored_answer_is_replayed_and_not_computed(state: ServedSets) -> None:
    one = make_round()
    request = _request(one)
    first = one.opener(1, state).answer(request, None)

    # The share of another holder would answer something else.
    other = replace(one.opener(1, state), holder=one.opener(2).holder)

    assert other.answer(request, None) == first


@pytest.mark.parametrize("second", [5, 4])
def test_second_set_in_a_round_is_refused(state: ServedSets, second: int) -> None:
    one = make_round()
    one.opener(1, state).answer(_request(one, 9 - second), None)

    evidence = r"^round 1 phase 1: set \w{64} was opened, now set \w{64} is asked for$"
    with pytest.raises(SecondSetError, match=evidence):
        one.opener(1, state).answer(_request(one, second), None)


def test_same_clients_with_other_uploads_are_a_second_set(state: ServedSets) -> None:
    one = make_round()
    one.opener(1, state).answer(_request(one), None)

    with pytest.raises(SecondSetError):
        one.opener(1, state).answer(_request(one), None)


def test_second_set_is_refused_after_a_restart(tmp_path: Path) -> None:
    one, path = make_round(), tmp_path / "state.sqlite"
    one.opener(1, ClientState.create(path)).answer(_request(one, 5), None)

    with pytest.raises(SecondSetError):
        one.opener(1, ClientState(path)).answer(_request(one, 4), None)


def test_same_set_is_answered_alike_after_a_restart(tmp_path: Path) -> None:
    one, path = make_round(), tmp_path / "state.sqlite"
    request = _request(one)
    first = one.opener(1, ClientState.create(path)).answer(request, None)

    assert one.opener(1, ClientState(path)).answer(request, None) == first


def test_round_before_the_newest_is_refused(state: ServedSets) -> None:
    one, two = _in_round(1), _in_round(2)
    two.opener(1, state).answer(_request(two), None)

    with pytest.raises(RoundClosedError, match="round 1 is over, round 2 was opened"):
        one.opener(1, state).answer(_request(one), None)


def test_round_before_the_newest_is_still_replayed(state: ServedSets) -> None:
    one, two = _in_round(1), _in_round(2)
    request = _request(one)
    first = one.opener(1, state).answer(request, None)
    two.opener(1, state).answer(_request(two), None)

    assert one.opener(1, state).answer(request, None) == first


def test_training_and_evaluation_of_a_round_are_both_served(state: ServedSets) -> None:
    one = make_round()
    other = make_round(facts=make_facts(phase=EVALUATE, dim=0))
    nothing = np.zeros(0, dtype=np.float32)
    total = other.sum
    for i in range(1, 5):
        total.add(other.upload(i, replace(make_contribution(i), update=nothing)))

    one.opener(1, state).answer(_request(one), None)

    assert other.opener(1, state).answer(total.open_request(), None)


def test_holder_that_sat_out_a_hundred_rounds_still_serves(state: ServedSets) -> None:
    one, later = _in_round(1), _in_round(101)
    one.opener(1, state).answer(_request(one), None)

    assert later.opener(1, state).answer(_request(later), None)


def test_another_run_starts_at_its_own_first_round(state: ServedSets) -> None:
    one, two = _in_round(9, run=1), _in_round(1, run=2)
    one.opener(1, state).answer(_request(one), None)

    assert two.opener(1, state).answer(_request(two), None)


class _CrashError(Exception):
    pass


class _CrashingState(MemoryState):
    """Dies while it records: before the commit, or just after it."""

    committed = False

    def record(self, *key: Any, **values: Any) -> None:
        if self.committed:
            super().record(*key, **values)
        raise _CrashError


def test_crash_after_the_commit_is_answered_alike_on_restart() -> None:
    one, crashing, state = make_round(), _CrashingState(), MemoryState()
    crashing.committed = True
    request = _request(one)
    with pytest.raises(_CrashError):
        one.opener(1, crashing).answer(request, None)
    state.rows = crashing.rows

    with pytest.raises(SecondSetError):
        one.opener(1, state).answer(_request(one, 5), None)
    assert one.opener(1, state).answer(request, None) == (
        one.opener(1).answer(request, None)
    )


def test_nothing_leaves_before_the_commit() -> None:
    one, crashing = make_round(), _CrashingState()

    with pytest.raises(_CrashError):
        one.opener(1, crashing).answer(_request(one), None)


def test_of_two_sets_at_the_same_time_one_is_opened(tmp_path: Path) -> None:
    one = make_round()
    opener = one.opener(1, ClientState.create(tmp_path / "state.sqlite"))
    requests = [_request(one, 4 + i % 2) for i in range(6)]

    def answer(request: OpenRequest) -> PartialReply | None:
        try:
            return opener.answer(request, None)
        except SecondSetError:
            return None

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(answer, requests))

    assert sum(reply is not None for reply in answers) == 1
