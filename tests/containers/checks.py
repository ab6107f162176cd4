"""One line per check, with its verdict and its seconds."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class CheckError(Exception):
    """What was found instead of what should be; the text says both."""


class Checks:
    """Runs checks one after the other and remembers whether one failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._fact = ""

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Print PASS or FAIL for what happens in the block; a failure ends there."""
        started, cpu = time.monotonic(), _cpu_seconds()
        self._fact = ""
        try:
            yield
        except (
            CheckError,
            OSError,
            ValueError,
            LookupError,
            subprocess.SubprocessError,
        ) as error:
            self.failed.append(name)
            verdict, fact = "FAIL", f"{type(error).__name__}: {error}"
        else:
            verdict, fact = "PASS", self._fact
        seconds = f"{time.monotonic() - started:.0f} s"
        used = f"{_cpu_seconds() - cpu:.0f} CPU-s of ours"
        sys.stdout.write(f"{verdict}  {name} ({seconds}, {used})\n")
        if fact:
            sys.stdout.write(f"      {fact}\n")
        sys.stdout.flush()

    def skip(self, name: str, reason: str) -> None:
        """Print that a check is not made, and why."""
        sys.stdout.write(f"SKIP  {name}: {reason}\n")

    def note(self, fact: str) -> None:
        """Have a fact printed under the check that is going on."""
        self._fact = fact


def require(condition: bool, found: str) -> None:
    """Fail the check.

    Raises:
        CheckError: If the condition does not hold.
    """
    if not condition:
        raise CheckError(found)


def _cpu_seconds() -> float:
    """Return what this process and its children used; containers are not among them."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(one) for one in who]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
