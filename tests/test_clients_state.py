"""What a client sent and opened survives restarts and races."""

import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clients.state import _LARGE_BYTES, ClientState
from crypto.errors import RoundClosedError, SecondSetError

KEY, RUN = bytes(32), bytes(16)
ONE, TWO = b"one" * 10, b"two" * 10
LARGE = bytes(range(256)) * (_LARGE_BYTES // 256) + b"end"
CONTEXT, OTHER = bytes([1] * 32), bytes([2] * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def state(path: Path) -> ClientState:
    return ClientState.create(path)


def _record(state: ClientState, number: int, digest: bytes, response: bytes) -> None:
    state.record(
        KEY, RUN, number, 1, digest=digest, contributors=[1, 2], response=response
    )


def test_state_is_readable_by_its_owner_only(path: Path) -> None:
    ClientState.create(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_served_at_first(state: ClientState) -> None:
    assert state.served(KEY, RUN, 1, 1) is None


def test_high_water_starts_at_zero(state: ClientState) -> None:
    assert state.high_water(KEY, RUN, 1) == 0


def test_recorded_set_is_served(state: ClientState) -> None:
    _record(state, 1, ONE, b"response")

    assert state.served(KEY, RUN, 1, 1) == (ONE, b"response")


def test_recorded_set_survives_a_restart(state: ClientState, path: Path) -> None:
    _record(state, 1, ONE, b"response")

    assert ClientState(path).served(KEY, RUN, 1, 1) == (ONE, b"response")


def test_same_record_twice_is_fine(state: ClientState) -> None:
    _record(state, 1, ONE, b"response")
    _record(state, 1, ONE, b"response")

    assert state.served(KEY, RUN, 1, 1) == (ONE, b"response")


@pytest.mark.parametrize(
    ("digest", "response"), [(TWO, b"response"), (ONE, b"another"), (TWO, b"another")]
)
def test_second_record_of_a_round_is_refused(
    state: ClientState, digest: bytes, response: bytes
) -> None:
    _record(state, 1, ONE, b"response")

    with pytest.raises(SecondSetError, match="round 1 phase 1: another set was opened"):
        _record(state, 1, digest, response)


def test_refused_record_changes_nothing(state: ClientState) -> None:
    _record(state, 1, ONE, b"response")
    with pytest.raises(SecondSetError):
        _record(state, 1, TWO, b"another")

    assert state.served(KEY, RUN, 1, 1) == (ONE, b"response")


@pytest.mark.parametrize(
    ("key", "run", "number", "phase"),
    [
        (bytes([1] * 32), RUN, 1, 1),
        (KEY, bytes([1] * 16), 1, 1),
        (KEY, RUN, 2, 1),
        (KEY, RUN, 1, 2),
    ],
    ids=["key", "run", "round", "phase"],
)
def test_record_counts_for_its_key_run_round_and_phase_only(
    state: ClientState, key: bytes, run: bytes, number: int, phase: int
) -> None:
    _record(state, 1, ONE, b"response")

    assert state.served(key, run, number, phase) is None


def test_high_water_is_the_newest_round(state: ClientState) -> None:
    for number in (1, 5, 3):
        _record(state, number, ONE, b"response")

    assert state.high_water(KEY, RUN, 1) == 5


def test_high_water_is_kept_apart_by_key_run_and_phase(state: ClientState) -> None:
    _record(state, 5, ONE, b"response")

    others = [(bytes([1] * 32), RUN, 1), (KEY, bytes([1] * 16), 1), (KEY, RUN, 2)]
    assert [state.high_water(*other) for other in others] == [0, 0, 0]


def test_last_round_can_be_recorded(state: ClientState) -> None:
    _record(state, (1 << 63) - 1, ONE, b"response")

    assert state.high_water(KEY, RUN, 1) == (1 << 63) - 1


def _outcomes(attempt: Callable[[int], object]) -> list[bool]:
    """Run eight attempts at once; whether each one succeeded."""

    def succeeded(index: int) -> bool:
        try:
            attempt(index)
        except (SecondSetError, RoundClosedError):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(succeeded, range(8)))


def test_of_different_sets_recorded_at_once_exactly_one_wins(path: Path) -> None:
    ClientState.create(path)

    outcomes = _outcomes(
        lambda i: _record(ClientState(path), 1, bytes([i]) * 32, b"response")
    )

    assert sum(outcomes) == 1


def test_recorded_winner_is_the_one_that_was_told_so(state: ClientState) -> None:
    outcomes = _outcomes(lambda i: _record(state, 1, bytes([i]) * 32, b"response"))

    winner = outcomes.index(True)
    assert state.served(KEY, RUN, 1, 1) == (bytes([winner]) * 32, b"response")


def test_same_set_recorded_at_once_always_succeeds(state: ClientState) -> None:
    assert all(_outcomes(lambda _: _record(state, 1, ONE, b"response")))


def test_first_upload_of_a_round_has_no_stored_bytes(state: ClientState) -> None:
    assert state.begin_upload(RUN, 1, 1, CONTEXT) is None


def test_finished_upload_is_sent_again_as_the_same_bytes(
    state: ClientState, path: Path
) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)
    state.finish_upload(RUN, 1, 1, b"upload")

    assert ClientState(path).begin_upload(RUN, 1, 1, CONTEXT) == b"upload"


def test_upload_for_another_context_in_a_round_is_refused(state: ClientState) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)
    state.finish_upload(RUN, 1, 1, b"upload")

    with pytest.raises(RoundClosedError, match="was used for another context"):
        state.begin_upload(RUN, 1, 1, OTHER)


def test_claimed_round_is_refused_to_another_context_before_it_is_sent(
    state: ClientState, path: Path
) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)

    with pytest.raises(RoundClosedError, match="was used for another context"):
        ClientState(path).begin_upload(RUN, 1, 1, OTHER)


def test_claimed_round_can_be_tried_again_after_a_crash(
    state: ClientState, path: Path
) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)

    assert ClientState(path).begin_upload(RUN, 1, 1, CONTEXT) is None


def test_round_before_the_newest_upload_is_refused(state: ClientState) -> None:
    state.begin_upload(RUN, 2, 1, CONTEXT)

    with pytest.raises(RoundClosedError, match="round 1 is over for this client"):
        state.begin_upload(RUN, 1, 1, OTHER)


def test_phases_of_a_round_are_uploaded_apart(state: ClientState) -> None:
    state.begin_upload(RUN, 2, 1, CONTEXT)

    assert state.begin_upload(RUN, 1, 2, OTHER) is None


def test_runs_are_uploaded_apart(state: ClientState) -> None:
    state.begin_upload(RUN, 2, 1, CONTEXT)

    assert state.begin_upload(bytes([1] * 16), 1, 1, OTHER) is None


def test_second_upload_of_a_round_is_refused(state: ClientState) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)
    state.finish_upload(RUN, 1, 1, b"upload")

    with pytest.raises(RoundClosedError, match="round 1 was uploaded already"):
        state.finish_upload(RUN, 1, 1, b"another")


def test_upload_of_a_round_that_was_not_claimed_is_refused(state: ClientState) -> None:
    with pytest.raises(RoundClosedError):
        state.finish_upload(RUN, 1, 1, b"upload")


def test_of_uploads_finished_at_once_exactly_one_wins(state: ClientState) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)

    outcomes = _outcomes(lambda i: state.finish_upload(RUN, 1, 1, bytes([i])))

    winner = outcomes.index(True)
    assert sum(outcomes) == 1
    assert state.begin_upload(RUN, 1, 1, CONTEXT) == bytes([winner])


def test_of_contexts_claimed_at_once_exactly_one_wins(state: ClientState) -> None:
    outcomes = _outcomes(lambda i: state.begin_upload(RUN, 1, 1, bytes([i]) * 32))

    winner = outcomes.index(True)
    assert sum(outcomes) == 1
    assert state.upload_context(RUN, 1, 1) == bytes([winner]) * 32


def test_bytes_of_an_earlier_upload_are_forgotten(
    state: ClientState, path: Path
) -> None:
    for number in (1, 2):
        state.begin_upload(RUN, number, 1, CONTEXT)
        state.finish_upload(RUN, number, 1, b"upload")

    database = sqlite3.connect(path)
    rows = database.execute("SELECT round, upload FROM uploads ORDER BY round")
    assert rows.fetchall() == [(1, b""), (2, b"upload")]
    database.close()


def test_context_of_an_upload_is_remembered(state: ClientState) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)

    assert state.upload_context(RUN, 1, 1) == CONTEXT


def test_round_without_an_upload_has_no_context(state: ClientState) -> None:
    assert state.upload_context(RUN, 1, 1) is None


def _files(path: Path) -> list[Path]:
    """Return what lies beside the database."""
    return sorted(path.with_name(f"{path.name}-uploads").glob("*"))


def _upload(state: ClientState, number: int, upload: bytes) -> None:
    state.begin_upload(RUN, number, 1, CONTEXT)
    state.finish_upload(RUN, number, 1, upload)


def test_large_upload_is_sent_again_as_the_same_bytes(
    state: ClientState, path: Path
) -> None:
    _upload(state, 1, LARGE)

    assert ClientState(path).begin_upload(RUN, 1, 1, CONTEXT) == LARGE


def test_large_upload_lies_beside_the_database_for_its_owner_only(
    state: ClientState, path: Path
) -> None:
    _upload(state, 1, LARGE)

    (file,) = _files(path)
    assert file.read_bytes() == LARGE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert path.stat().st_size < _LARGE_BYTES


@pytest.mark.parametrize("other", [b"upload", LARGE, LARGE[::-1]])
def test_second_upload_leaves_a_large_one_as_it_is(
    state: ClientState, other: bytes
) -> None:
    _upload(state, 1, LARGE)

    with pytest.raises(RoundClosedError, match="round 1 was uploaded already"):
        state.finish_upload(RUN, 1, 1, other)

    assert state.begin_upload(RUN, 1, 1, CONTEXT) == LARGE


def test_of_large_uploads_finished_at_once_exactly_one_wins(state: ClientState) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)

    outcomes = _outcomes(
        lambda i: state.finish_upload(RUN, 1, 1, LARGE + bytes([i] * 8))
    )

    winner = outcomes.index(True)
    assert sum(outcomes) == 1
    sent = state.begin_upload(RUN, 1, 1, CONTEXT)
    assert sent == LARGE + bytes([winner] * 8)


def test_large_upload_of_an_earlier_round_is_forgotten(
    state: ClientState, path: Path
) -> None:
    for number in (9, 10):  # compared as numbers
        _upload(state, number, LARGE)

    assert [file.stem for file in _files(path)] == [f"{RUN.hex()}-1-10"]


def test_large_uploads_of_other_phases_and_runs_are_kept(
    state: ClientState, path: Path
) -> None:
    for run, phase in ((RUN, 1), (RUN, 2), (bytes([1] * 16), 1)):
        state.begin_upload(run, phase, phase, CONTEXT)
        state.finish_upload(run, phase, phase, LARGE)

    assert len(_files(path)) == 3


@pytest.mark.parametrize("leftover", ["bin", "part"])
def test_client_killed_while_it_stores_a_large_upload_tries_again(
    state: ClientState, path: Path, leftover: str
) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)
    folder = path.with_name(f"{path.name}-uploads")
    folder.mkdir()
    (folder / f"{RUN.hex()}-1-1.{leftover}").write_bytes(LARGE[:-1])

    assert state.begin_upload(RUN, 1, 1, CONTEXT) is None
    state.finish_upload(RUN, 1, 1, LARGE)
    assert state.begin_upload(RUN, 1, 1, CONTEXT) == LARGE
    assert len(_files(path)) == 1


def test_large_upload_that_cannot_be_stored_does_not_count_as_sent(
    state: ClientState, path: Path
) -> None:
    state.begin_upload(RUN, 1, 1, CONTEXT)
    path.with_name(f"{path.name}-uploads").write_bytes(b"in the way")

    with pytest.raises(OSError, match="uploads"):
        state.finish_upload(RUN, 1, 1, LARGE)

    assert state.begin_upload(RUN, 1, 1, CONTEXT) is None


@pytest.mark.parametrize("is_gone", [True, False])
def test_lost_or_damaged_large_upload_is_never_made_again(
    state: ClientState, path: Path, is_gone: bool
) -> None:
    _upload(state, 1, LARGE)
    (file,) = _files(path)
    if is_gone:
        file.unlink()
    else:
        file.write_bytes(LARGE[:-1])

    with pytest.raises(RoundClosedError, match="the upload of round 1 is lost"):
        state.begin_upload(RUN, 1, 1, CONTEXT)
    with pytest.raises(RoundClosedError, match="round 1 was uploaded already"):
        state.finish_upload(RUN, 1, 1, LARGE)
