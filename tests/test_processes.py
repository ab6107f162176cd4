"""What a launcher started is found and ended, whatever it did to hide."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import processes

pytestmark = pytest.mark.skipif(
    not processes.CAN_FIND, reason="processes are found by /proc, on Linux only"
)

# A process that starts one without our mark, as Ray's agents are: both tell their ids.
_PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={})
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def start(home: Path) -> tuple[subprocess.Popen[str], int]:
    """Start both in a session of their own; return the first and the other's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        env={"FLWR_HOME": str(home / "own")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    _, hidden = process.stdout.readline().split()
    return process, int(hidden)


def is_running(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_sweep_ends_a_process_that_lost_its_mark(tmp_path: Path) -> None:
    process, hidden = start(tmp_path)
    assert set(processes.find_processes(tmp_path)) == {process.pid}

    processes.sweep(tmp_path)

    assert not is_running(process.pid)
    assert not is_running(hidden)
    process.communicate()


def test_sweep_leaves_other_sessions_alone(tmp_path: Path) -> None:
    ours, _ = start(tmp_path / "ours")
    other, hidden = start(tmp_path / "others")

    processes.sweep(tmp_path / "ours")

    assert not is_running(ours.pid)
    assert is_running(other.pid)
    assert is_running(hidden)
    processes.sweep(tmp_path / "others")
    for one in (ours, other):
        one.communicate()


def test_sweep_does_not_wait_for_the_dead(tmp_path: Path) -> None:
    process, _ = start(tmp_path)

    started = time.monotonic()
    processes.sweep(tmp_path)  # leaves a zombie: only its parent, this test, can wait

    assert time.monotonic() - started < processes.GRACE_SECONDS / 2
    assert Path(f"/proc/{process.pid}").exists()
    process.communicate()
