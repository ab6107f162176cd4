"""What a run took in all: `experiments.totals` and `experiments.memory`."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments import memory
from experiments.memory import PeakMemory
from experiments.totals import totals, totals_line


def event(name: str, time: float, **values: object) -> dict[str, object]:
    return {"event": name, "time": time, **values}


RUN = [
    event("startup", 100.0, step="shards"),
    event("round_started", 110.0, round=1, phase="train"),
    event("round_started", 112.0, round=1, phase="evaluate"),
    event("round_finished", 114.0, round=1, seconds=4.0),
    event("round_finished", 116.0, round=2, seconds=2.0),
    event("round_finished", 125.0, round=3, seconds=9.0),
    event("run_finished", 126.0, seconds=16.0),
    event("memory", 127.0, bytes=1_500_000_000, processes=9),
]


def test_start_up_rounds_and_all_of_a_run_are_told_apart() -> None:
    took = totals(RUN)
    assert took == {
        "startup_seconds": 10.0,
        "round_seconds": 4.0,
        "seconds": 27.0,
        "peak_memory": 1_500_000_000,
        "processes": 9,
    }
    assert totals_line(took) == (
        "start-up 10.0 s; a round 4.0 s; in all 27.0 s; at most 1.5 GB in 9 processes"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert totals_line(totals([])) == ""
    assert totals_line(totals(RUN[:2])) == "start-up 10.0 s; in all 10.0 s"
    unmeasured = event("memory", 127.0, bytes=0, processes=0)
    assert "at most" not in totals_line(totals([*RUN[:-1], unmeasured]))


def test_of_a_resumed_run_the_last_part_counts() -> None:
    again = [
        event("resumed", 500.0, after=3),
        event("round_started", 503.0, round=4, phase="train"),
        event("run_finished", 505.0, seconds=2.0),
    ]
    took = totals([*RUN, *again])
    assert (took["startup_seconds"], took["seconds"]) == (3.0, 5.0)
    assert took["round_seconds"] is None


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells memory"
)
def test_the_memory_of_descendants_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_EVERY_SECONDS", 0.0)
    alone = PeakMemory()
    alone.look()
    size = 64 << 20
    script = f"held = b'x' * {size}; print(flush=True); input()"
    shell = ["sh", "-c", f'"{sys.executable}" -c "{script}"; true']
    with subprocess.Popen(
        shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as grandparent:
        assert grandparent.stdout is not None
        grandparent.stdout.readline()
        together = PeakMemory()
        together.look()
        grandparent.communicate(b"\n")
    assert together.bytes > alone.bytes + size
    assert together.processes >= alone.processes + 2
    peak = together.bytes
    together.look()  # it has ended: the peak stays
    assert together.bytes == peak


def test_looks_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def look(root: int) -> set[int]:
        looks.append(root)
        return set()

    monkeypatch.setattr(memory, "_tree", look)
    peak = PeakMemory()
    for _ in range(5):
        peak.look()
    assert len(looks) == 1
