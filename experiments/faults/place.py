"""Where a trial's run folder lies: on disks that are small or not to be written to."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from experiments.faults.scenario import Place

_SMALL = "size=1m"
# Without this capability permissions count for root, too.
_GUARD = ("setpriv", "--bounding-set=-dac_override", "--")


class Site(NamedTuple):
    """A run folder, and the command that its launcher is started with."""

    out: Path
    prefix: tuple[str, ...] = ()


class CannotTryError(Exception):
    """This machine or user cannot have such a place; the text says why."""


@contextmanager
def site_for(place: Place, folder: Path) -> Iterator[Site]:
    """Make a place for a run, and take it away again.

    Args:
        place: What kind.
        folder: Exists; the place lies in it.

    Raises:
        CannotTryError: If it cannot be made here.
    """
    parent = folder / "disk"
    parent.mkdir()
    if place == "small disk":
        with _mounted(parent):
            yield Site(parent / "out")
    elif place == "disk":
        yield Site(parent / "out")
    else:
        if place == "read-only disk":
            parent.chmod(0o555)
        try:
            yield Site(parent / "out", _guard())
        finally:
            for path in (parent, parent / "out"):
                if path.exists():
                    path.chmod(0o755)


@contextmanager
def _mounted(parent: Path) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", _SMALL, "none", str(parent)]
    unmount = shutil.which("umount")
    if os.geteuid() or not unmount:
        raise CannotTryError("only root can mount a small disk")
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise CannotTryError("this system lets not even root mount a small disk")
    try:
        yield
    finally:
        subprocess.run([unmount, "-l", str(parent)], check=False)


def _guard() -> tuple[str, ...]:
    if os.geteuid():
        return ()
    if not shutil.which(_GUARD[0]):
        raise CannotTryError("root writes anyway, and there is no setpriv")
    return _GUARD
