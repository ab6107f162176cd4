"""How much memory a run takes at most: of the launcher and everything it started.

Counts what processes share only once (the proportional set size of Linux).
"""

import os
import time
from pathlib import Path
from typing import Final

_EVERY_SECONDS: Final = 5.0  # a look costs some ten milliseconds
_NEVER: Final = float("-inf")


class PeakMemory:
    """Looks at the memory of this process and its descendants every few seconds.

    Attributes:
        bytes: The most that was seen; 0 where the system does not tell.
        processes: How many there were at that moment.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.processes = 0
        self._looked = _NEVER

    def look(self) -> None:
        """Look, if the last look is some seconds ago."""
        now = time.monotonic()
        if now - self._looked < _EVERY_SECONDS:
            return
        self._looked = now
        sizes = [size for pid in _tree(os.getpid()) if (size := _size(pid))]
        if sum(sizes) > self.bytes:
            self.bytes, self.processes = sum(sizes), len(sizes)


def _tree(root: int) -> set[int]:
    """Return a process and its descendants."""
    parents = dict(filter(None, map(_parent, Path("/proc").glob("[0-9]*"))))
    tree, added = set[int](), {root}
    while added:
        tree |= added
        added = {pid for pid, parent in parents.items() if parent in added} - tree
    return tree


def _parent(entry: Path) -> tuple[int, int] | None:
    try:
        stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it ended
        return None
    return int(entry.name), int(stat.rpartition(")")[2].split()[1])


def _size(pid: int) -> int:
    """Return the bytes of a process; 0 if it ended or is not ours to ask."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    pss = (line.split() for line in lines.splitlines() if line.startswith("Pss:"))
    return sum(int(words[1]) * 1024 for words in pss)
