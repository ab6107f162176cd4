"""One run on this machine: prepare, start the processes, show, collect, stop."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from rich.console import Console

from crypto.errors import CryptoError
from crypto.manifest import Manifest
from crypto.params import AggregationParams
from experiments.engine import ClientSpec, EngineError, ProcessEngine
from experiments.errors import RunFailedError, SettingsError
from experiments.prepare import PreparedRun, enrol, simulation_keys
from experiments.processes import is_port_free
from experiments.progress import Event, follow, show
from experiments.report.views import write_views
from experiments.run_folder import RunFolder
from experiments.settings import PROJECT, RunSettings
from experiments.sharing import share_out
from models.tasks import Task
from server.events import EventLog

_CHECK_SECONDS = 0.5


class Launcher:
    """A run from settings to results.

    Args:
        settings: What to run.
        out: The run folder; must not exist or be empty, but for a run that goes on.
        console: Where progress goes; None for silence.
        keys: Key set to use; None for this machine's simulation keys.
        stock_node: Whether clients run Flower's own node, slower than ours.
        device: Where clients train.
        port: The SuperLink's port; None for a free one.
        resume_after: Round after which the run in the folder goes on; None for a new
            run.

    Attributes:
        out: The run folder.
        complaint: Why the report could not be made; empty if it was.
    """

    def __init__(
        self,
        settings: RunSettings,
        out: Path,
        *,
        console: Console | None,
        keys: Path | None = None,
        stock_node: bool = False,
        device: str = "auto",
        port: int | None = None,
        resume_after: int | None = None,
    ) -> None:
        self._settings = settings
        self._folder = RunFolder(out)
        self.out = self._folder.path
        self._console = console
        self._keys = keys
        self._node: Literal["thin", "stock"] = "stock" if stock_node else "thin"
        self._device = device
        self._port = port
        self._resume_after = resume_after
        self.complaint = ""
        self._events = EventLog(self.out / "events.jsonl")
        self._done = threading.Event()

    def run(self) -> list[Event]:
        """Run to the end and return the run's events.

        Raises:
            SettingsError: If settings cannot work; nothing is left behind.
            RunFailedError: If the run was started and failed; its folder is kept.
        """
        task, params = self._settings.checked()
        if self._port and not is_port_free(self._port):
            raise SettingsError(
                f"port {self._port} of this machine is taken",
                "choose another --port, or none to get a free one",
            )
        if self._resume_after is None:
            self._folder.make()
        with self._folder.claimed():
            if self._resume_after is not None:
                self._events.write("resumed", round=self._resume_after)
            return self._run(task, params)

    def _run(self, task: Task, params: AggregationParams) -> list[Event]:
        viewer = threading.Thread(target=self._show, daemon=True)
        viewer.start()
        try:
            with _interruptible():
                prepared = self._prepare(task, params)
                try:
                    self._describe(prepared)
                    self._drive(prepared)
                finally:
                    prepared.forget()
        except SettingsError as error:
            self._finish(viewer)
            self._clean_up(error)
            raise
        except KeyboardInterrupt:
            self._fail("Interrupted", "stopped by the user", "")
            self._show_views()
            self._finish(viewer)
            raise
        finally:
            self._finish(viewer)
        return self._collect()

    def _clean_up(self, error: SettingsError) -> None:
        """Leave nothing of a run that never started, and all of one that did."""
        if self._resume_after is not None:
            self._fail(type(error).__name__, str(error), error.hint)
        elif error.exit_code == SettingsError.exit_code:
            self._folder.remove()

    def _describe(self, prepared: PreparedRun) -> None:
        facts = {
            "run_id": prepared.run_id,
            "node": self._node,
            "device": self._device,
        }
        if self._resume_after is None:
            self._folder.describe(self._settings, prepared.manifest, **facts)
        else:
            facts["after_round"] = str(self._resume_after)
            self._folder.describe_resumption(self._settings, prepared.manifest, **facts)

    def _show(self) -> None:
        if self._console is not None:
            events = follow(self.out / "events.jsonl", self._done.is_set)
            show(events, self._console)

    def _finish(self, viewer: threading.Thread) -> None:
        self._done.set()
        viewer.join(timeout=5)

    def _prepare(self, task: Task, params: AggregationParams) -> PreparedRun:
        """Share out the data, get keys, enrol everybody."""
        with self._step("shards"):
            shared = share_out(self._settings, task, self._note)
            self._folder.keep(shared)
        with self._step("keys"):
            try:
                folder, keys = simulation_keys(params, self._keys)
                manifest = Manifest(keys, params)
            except CryptoError as error:
                raise SettingsError(str(error)) from None
        return enrol(folder, manifest, shared.shards, shared.test)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        self._events.write("startup", step=name)
        yield
        seconds = time.monotonic() - started
        self._events.write("startup", step=name, seconds=seconds)

    def _drive(self, prepared: PreparedRun) -> None:
        """Start the processes, submit the run and watch it to its end."""
        clients = [
            ClientSpec(i, prepared.client_folder(i), prepared.run_id, self._device)
            for i in range(1, self._settings.clients + 1)
        ]
        engine = ProcessEngine(
            PROJECT, self.out / "logs", clients, node=self._node, port=self._port
        )
        try:
            with engine:
                with self._step("superlink"):
                    engine.start()
                engine.submit(
                    self._settings.run_config(prepared.manifest.params)
                    | {
                        "run-dir": str(self.out),
                        "server-dir": str(prepared.server_folder),
                        "start-round": self._resume_after or 0,
                    }
                )
                self._watch(engine)
        except EngineError as error:
            if not self._ended():
                self._fail(type(error).__name__, str(error), error.hint)

    def _watch(self, engine: ProcessEngine) -> None:
        while not engine.status().startswith("finished"):
            for ended in engine.check():
                self._events.write(
                    "warning",
                    message=f"{ended.name} ended with exit code {ended.returncode}",
                )
            time.sleep(_CHECK_SECONDS)
        if not self._ended():
            engine.check()
            self._fail(
                "ServerStopped", "the server stopped early", "see logs/server.log"
            )

    def _ended(self) -> bool:
        return self._events_so_far()[-1]["event"] in ("run_finished", "run_failed")

    def _events_so_far(self) -> list[Event]:
        return list(follow(self.out / "events.jsonl", lambda: True))

    def _show_views(self) -> None:
        """Make the pages; a run that is over is not lost because of them."""
        try:
            write_views(self.out)
        except SettingsError as error:
            self.complaint = f"{error}; {error.hint}"

    def _note(self, message: str) -> None:
        self._events.write("note", message=message)

    def _fail(self, error: str, message: str, hint: str) -> None:
        self._events.write("run_failed", error=error, message=message, hint=hint)

    def _collect(self) -> list[Event]:
        self._show_views()
        events = self._events_so_far()
        last = events[-1]
        if last["event"] == "run_failed":
            raise RunFailedError(f"{last['error']}: {last['message']}", last["hint"])
        return events


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat SIGTERM and a closed terminal like Ctrl-C: everything is stopped."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
