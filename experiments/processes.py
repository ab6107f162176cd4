"""Child processes that never outlive their launcher.

Three lines of defence, because Flower's SuperLink starts processes of its own
in a session of their own: children get SIGTERM from the kernel when their
launcher dies (Linux); every process of an engine carries a private `FLWR_HOME`
in its environment, by which a sweep finds it (Linux); and a watchdog process
does that sweep when the launcher is killed.

Standard library only: this file is also the script that runs in between.
"""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

GRACE_SECONDS = 10.0
CAN_FIND = Path("/proc/self/environ").exists()
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_SCRIPT = (sys.executable, "-I", "-S", str(Path(__file__).resolve()))


class EngineError(Exception):
    """The engine cannot go on; `hint` says what to do, if known."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def start_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log_file: Path,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one.

    It runs in a session of its own, so that Ctrl-C reaches the launcher only.
    Call from a thread that lives as long as the children should: the kernel
    ties them to the thread.

    Args:
        command: Absolute path of the program and its arguments.
        env: The whole environment.
        log_file: Gets standard output and standard error, appended.
        pass_fds: File descriptors that it keeps.
    """
    with log_file.open("ab") as log:
        return subprocess.Popen(
            [*_SCRIPT, "exec", str(os.getpid()), *command],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def start_watchdog(home: Path) -> subprocess.Popen[bytes]:
    """Start the process that cleans up `home` when this one is gone.

    Close its standard input to let it finish.
    """
    return subprocess.Popen(
        [*_SCRIPT, "watch", str(os.getpid()), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def find_processes(home: Path) -> dict[int, str]:
    """Find the running processes whose `FLWR_HOME` lies in `home`.

    Returns:
        Command lines by process id; empty unless `CAN_FIND`.
    """
    marker = b"\0FLWR_HOME=" + os.fsencode(home) + b"/"
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker in b"\0" + (entry / "environ").read_bytes():
                command = (entry / "cmdline").read_bytes()
                found[int(entry.name)] = os.fsdecode(command.replace(b"\0", b" "))
        except OSError:  # it ended, or belongs to somebody else
            continue
    found.pop(os.getpid(), None)
    return found


def sweep(home: Path, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """End every process of `home`: SIGTERM, a time of grace, then SIGKILL."""
    asked: set[int] = set()
    sessions: set[int] = set()
    deadline = time.monotonic() + grace_seconds
    while (found := _family(home, sessions)) and time.monotonic() < deadline:
        _signal(found - asked, signal.SIGTERM)
        asked |= found
        time.sleep(0.05)
    deadline = time.monotonic() + grace_seconds
    while (found := _family(home, sessions)) and time.monotonic() < deadline:
        _signal(found, signal.SIGKILL)
        time.sleep(0.05)


def _family(home: Path, sessions: set[int]) -> set[int]:
    """Find every process of `home`, also those without its mark in a session of ours.

    Ray's agents write their titles over their environment.

    Args:
        home: What the processes are marked with.
        sessions: Those of marked processes so far; gets further ones.
    """
    marked = set(find_processes(home))
    sessions |= {_session(pid) for pid in marked}
    sessions -= {0, _session(os.getpid())}
    running = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return marked | {pid for pid in running if _session(pid) in sessions}


def _session(pid: int) -> int:
    """Return a process's session; 0 if it is gone, or over and only not waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # Behind the name, which may hold anything: state, parent, group, session.
    state, _, _, session, *_ = stat.rpartition(")")[2].split()
    return 0 if state in "ZX" else int(session)


def end_with(parent: int) -> None:
    """Let the kernel end this process with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)


def name_process(name: str) -> None:
    """Call this process by its name in `ps` and `pgrep`: at most 15 bytes of it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As the server does it; without, a port just left counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _exec(launcher: int, command: list[str]) -> None:
    """Become `command`, to be ended by the kernel when the launcher dies."""
    end_with(launcher)
    os.execv(command[0], command)  # noqa: S606


def _watch(launcher: int, home: Path) -> None:
    """Wait until the launcher closes our input or dies, then clean up."""
    while os.getppid() == launcher and not select.select([0], [], [], 1.0)[0]:
        pass
    sweep(home)
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    role, launcher_pid, *rest = sys.argv[1:]
    if role == "exec":
        _exec(int(launcher_pid), rest)
    else:
        _watch(int(launcher_pid), Path(rest[0]))
