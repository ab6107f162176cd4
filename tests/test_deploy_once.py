"""`unseen deploy superlink --once`: ends after a new run, and not after an old one."""

import os
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from experiments.deploy import superlink_process
from experiments.processes import EngineError

Runs = dict[int, tuple[str, dict[str, str]]]

OLD: Runs = {1: ("finished:completed", {})}
RUNNING: Runs = OLD | {2: ("running", {})}
DONE: Runs = OLD | {2: ("finished:failed", {})}


class Ended(BaseException):
    """Stands in for the signal's effect."""


class FakeControl:
    """Tells what it is told to; the last answer for ever."""

    def __init__(self, answers: Sequence[Runs | None]) -> None:
        self._answers = iter(answers)
        self._last: Runs | None = None
        self.asked = 0

    def runs(self) -> Runs:
        self.asked += 1
        self._last = next(self._answers, self._last)
        if self._last is None:
            raise EngineError("not up yet")
        return self._last


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds pass by sleeping only."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGTERM)
        raise Ended

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "kill", kill)
    return iter([now])


def end_code(answers: Sequence[Runs | None]) -> tuple[int, int]:
    """Return the exit code, and how often it asked."""
    control, code = FakeControl(answers), superlink_process._ExitCode()
    with pytest.raises(Ended):
        superlink_process._end_after_run(control, code)  # type: ignore[arg-type]
    return code.value, control.asked


def test_superlink_ends_after_a_new_run() -> None:
    assert end_code([None, OLD, OLD, RUNNING, RUNNING, DONE]) == (0, 6)


def test_run_that_went_on_after_a_restart_is_new() -> None:
    assert end_code([RUNNING, DONE]) == (0, 2)


def test_superlink_that_nobody_uses_ends_with_one() -> None:
    code, asked = end_code([OLD])
    assert code == 1
    assert asked > 500


def test_superlink_waits_for_a_long_run() -> None:
    assert end_code([{}, *([RUNNING] * 2000), DONE]) == (0, 2002)
