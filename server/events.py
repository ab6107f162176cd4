"""The run's event log: one JSON object a line, as it happens.

Progress, history and reports are all made from it. It holds counts, sizes, times and
opened means, and hashes of opened sums; never an update, a share or a key.
"""

import errno
import json
import logging
import os
import time
from pathlib import Path

_logger = logging.getLogger(__name__)
# What the server's own log gets: one line a phase, and what went wrong.
_LOGGED = frozenset(
    {
        *("run_started", "clients_ready", "opened", "evaluated", "run_finished"),
        *("dropped", "refused", "round_failed", "run_failed"),
    }
)

PHASE_NAMES = {1: "train", 2: "evaluate"}

Value = None | bool | int | float | str | list[int] | dict[str, float]


class EventLog:
    """Appends to `events.jsonl`; several processes may do so at once.

    Args:
        path: The file; its folder must exist. None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, event: str, **values: Value) -> None:
        """Append one event with the current time, in one write.

        Raises:
            OSError: If the disk is full or the file cannot be written.
        """
        if self._path is None:
            return
        line = json.dumps({"time": time.time(), "event": event, **values}) + "\n"
        if event in _LOGGED:
            _logger.info("%s %s", event, json.dumps(values))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(self._path, flags, 0o644)
        try:
            written = os.write(file, line.encode())
            if written < len(line):  # half a line would spoil the next one, too
                os.ftruncate(file, os.lseek(file, 0, os.SEEK_CUR) - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        finally:
            os.close(file)
