"""What shows a run while it goes on: the terminal, and TensorBoard's events."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from experiments.progress import Event, follow, show
from experiments.report.tensorboard import write_tensorboard


class Followers:
    """Threads that follow a run's events; use as a context manager.

    Args:
        folder: The run's folder.
        console: Where progress goes; None for silence.
    """

    def __init__(self, folder: Path, console: Console | None) -> None:
        self._folder = folder
        self._console = console
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=task, daemon=True)
            for task in (self._show, self._chart)
        ]

    def __enter__(self) -> Self:
        """Start."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Show what there is, and end; safe to repeat."""
        self._done.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _show(self) -> None:
        if self._console is not None:
            show(self._events(), self._console)

    def _chart(self) -> None:
        with suppress(OSError):  # the run itself says by name what cannot be written
            write_tensorboard(self._folder, self._events())

    def _events(self) -> Iterator[Event]:
        return follow(self._folder / "events.jsonl", self._done.is_set)
