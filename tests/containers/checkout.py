"""A clean checkout beside the developer's own, and the `unseen` command in it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.containers.checks import CheckError

ROOT = Path(__file__).resolve().parents[2]
_GIT = shutil.which("git") or "git"
_PROGRAM = "from experiments.cli import main; main()"

Event = dict[str, Any]


def copy_checkout(folder: Path) -> None:
    """Copy what git knows of the project, or would take, into an empty folder."""
    listed = subprocess.run(
        [_GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def environment(checkout: Path) -> dict[str, str]:
    """Return an environment in which the checkout's code is the one that is found."""
    return {**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "100"}


def unseen_command(*arguments: str) -> list[str]:
    """Return the command of `unseen`."""
    return [sys.executable, "-P", "-c", _PROGRAM, *arguments]


def unseen(checkout: Path, *arguments: str, timeout: float = 180.0) -> str:
    """Run `unseen` in a checkout and return what it prints.

    Raises:
        CheckError: If it fails.
    """
    done = subprocess.run(
        unseen_command(*arguments),
        cwd=checkout,
        env=environment(checkout),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        command = " ".join(arguments)
        said = (done.stdout + done.stderr).strip()[-1500:]
        raise CheckError(f"unseen {command} ended with {done.returncode}: {said}")
    return done.stdout


def newest_run(runs: Path) -> Path:
    """Return the run folder that was made last.

    Raises:
        CheckError: If there is none.
    """
    found = [path.parent for path in runs.glob("*/events.jsonl")]
    if not found:
        raise CheckError(f"no run folder in {runs}")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def rounds_of(run: Path) -> list[Event]:
    """Return what `history.json` says of every round, the untrained model first."""
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    rounds: list[Event] = history["history"]
    return rounds


def wait_for_event(
    find_run: Callable[[], Path], wanted: Callable[[Event], bool], seconds: float
) -> Event:
    """Wait for an event of a run that may not have begun.

    Raises:
        CheckError: If it does not happen within these seconds, or the run ends.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for event in _events(find_run):
            if wanted(event):
                return event
            if event["event"] == "run_failed":
                raise CheckError(f"the run failed: {event}")
        time.sleep(0.2)
    raise CheckError(f"an event did not happen within {seconds:.0f} s")


def _events(find_run: Callable[[], Path]) -> Iterator[Event]:
    try:
        lines = (find_run() / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except (CheckError, OSError):
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return  # the last line is being written
