"""One real run to disturb: started, watched from outside, and taken stock of."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.faults.fault import Fault

KEY_BITS = 512
ORPHAN_SECONDS = 30.0
_RUN_SECONDS = 400.0
_ROUND_SECONDS = 400.0
_POLL_SECONDS = 0.05

Event = dict[str, Any]


class TrialError(Exception):
    """A run did not come to where its fault was to happen, or did not end."""


class Run:
    """A run in a folder of its own, which marks its processes.

    They inherit TMPDIR, whatever Flower does to their sessions.

    Args:
        folder: New; gets the run folder, the temporary files and the output.
        home: `UNSEEN_HOME`: keys are made once for all runs.
        out: The run folder; None for `folder / "out"`.
        prefix: Command that starts the launcher.

    Attributes:
        out: The run folder.
        folder: As given.
        output: What the launcher printed.
        companions: Further runs that belong to the same trial.
    """

    def __init__(
        self,
        folder: Path,
        home: Path,
        *,
        out: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.out = out or folder / "out"
        self.output = ""
        self.companions: list[Run] = []
        self._home = home
        self._prefix = tuple(prefix)
        self._tmp = folder / "tmp"
        self._tmp.mkdir(parents=True)
        self._launcher: subprocess.Popen[bytes] | None = None

    def start(self, options: Sequence[str], faults: Sequence[Fault] = ()) -> None:
        """Start the launcher."""
        fixed = ("--insecure-key-bits", str(KEY_BITS), "--out", str(self.out))
        self._start(("run", *fixed, *options), faults)

    def add_companion(self) -> "Run":
        """Return a second run beside this one, not yet started."""
        run = Run(self.folder / "companion", self._home)
        self.companions.append(run)
        return run

    def resume(self) -> int:
        """Go on with the run, and return the launcher's exit code."""
        self._start(("run", "--resume", str(self.out)), ())
        return self.finish()

    def finish(self) -> int:
        """Wait for the launcher and return its exit code.

        Raises:
            TrialError: If it does not end.
        """
        launcher = self._require_launcher()
        try:
            code = launcher.wait(_RUN_SECONDS)
        except subprocess.TimeoutExpired:
            raise TrialError(f"no end within {_RUN_SECONDS:.0f} s") from None
        self.output = (self.folder / "output").read_text(encoding="utf-8")
        return code

    def end(self) -> None:
        """Kill whatever is left."""
        for run in self.companions:
            run.end()
        if self._launcher is not None and self._launcher.poll() is None:
            self._launcher.kill()
            self._launcher.wait()
        for pid in self.processes():
            _send(pid, signal.SIGKILL)

    def kill_launcher(self) -> None:
        """SIGKILL for the launcher: it cleans up nothing."""
        self._require_launcher().kill()

    def signal(self, number: signal.Signals, command: str) -> None:
        """Send a signal to the processes with this in their command line.

        Raises:
            TrialError: If there is none.
        """
        found = [pid for pid, line in self.processes().items() if command in line]
        if not found:
            raise TrialError(f"no process runs {command!r}")
        for pid in found:
            _send(pid, number)

    def events(self, name: str = "") -> list[Event]:
        """Return the run's events so far, of one kind or all."""
        path = self.out / "events.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        events: list[Event] = []
        for line in lines:
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
        return [event for event in events if name in ("", event["event"])]

    def wait_for_round(self, number: int) -> None:
        """Return when the training of a round has started.

        Raises:
            TrialError: If it does not.
        """
        self.wait_until(
            lambda: any(e["round"] >= number for e in self.events("round_started")),
            f"round {number}",
        )

    def continue_stopped(self, *, after: float) -> None:
        """Wait for a process to stop itself, and let it go on.

        Args:
            after: Seconds that it stays stopped.

        Raises:
            TrialError: If none stops.
        """
        self.wait_until(self._stopped, "a stopped process")
        stopped = self._stopped()
        time.sleep(after)
        for pid in stopped:
            _send(pid, signal.SIGCONT)

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something while the launcher is there.

        Raises:
            TrialError: If it does not come.
        """
        end = time.monotonic() + _ROUND_SECONDS
        launcher = self._require_launcher()
        while not condition():
            if launcher.poll() is not None or time.monotonic() > end:
                raise TrialError(f"waited in vain for {what}")
            time.sleep(_POLL_SECONDS)

    def orphans(self) -> dict[int, str]:
        """Return what still runs when the time for cleaning up is over."""
        end = time.monotonic() + ORPHAN_SECONDS
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        return left

    def processes(self) -> dict[int, str]:
        """Command lines of the run's processes but the launcher, by process id."""
        marker = b"\0TMPDIR=" + os.fsencode(self._tmp) + b"\0"
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended, or is somebody else's
                if marker in b"\0" + (entry / "environ").read_bytes():
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = os.fsdecode(line)
        if self._launcher is not None:
            found.pop(self._launcher.pid, None)
        return found

    def _stopped(self) -> list[int]:
        return [pid for pid in self.processes() if _state(pid) == "T"]

    def _start(self, arguments: Sequence[str], faults: Sequence[Fault]) -> None:
        module = ("-P", "-m", "experiments.faults.launcher")
        texts = [fault.to_text() for fault in faults]
        env = {**os.environ, "TMPDIR": str(self._tmp), "UNSEEN_HOME": str(self._home)}
        with (self.folder / "output").open("wb") as output:
            self._launcher = subprocess.Popen(
                [*self._prefix, sys.executable, *module, *texts, "--", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
            )

    def _require_launcher(self) -> subprocess.Popen[bytes]:
        if self._launcher is None:
            raise TrialError("the run was not started")
        return self._launcher


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _state(pid: int) -> str:
    """Return the letter that the system has for what a process does."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]
