"""The run's event log: one JSON object a line, as it happens.

Progress, history and reports are all made from it. It holds counts, sizes, times and
opened means, and hashes of opened sums; never an update, a share or a key.
"""

import json
import os
import time
from pathlib import Path

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
        """Append one event with the current time, in one write."""
        if self._path is None:
            return
        line = json.dumps({"time": time.time(), "event": event, **values}) + "\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(self._path, flags, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
