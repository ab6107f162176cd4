"""One run on this machine: prepare, start the processes, show, collect, stop."""

import errno
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Protocol, Self

from rich.console import Console

from crypto.errors import CryptoError
from crypto.manifest import Manifest
from crypto.params import AggregationParams
from experiments.engine import ClientSpec, EngineError, ProcessEngine, ProcessInfo
from experiments.errors import RunFailedError, SettingsError
from experiments.followers import Followers
from experiments.memory import PeakMemory
from experiments.prepare import PreparedRun, enrol, simulation_keys
from experiments.processes import is_port_free
from experiments.progress import LAST_EVENTS, Event, follow
from experiments.report.views import write_views
from experiments.run_folder import RunFolder
from experiments.settings import PROJECT, RunSettings
from experiments.sharing import share_out
from experiments.simulation.engine import RayEngine
from experiments.simulation.job import Job
from experiments.simulation.resources import Resources
from experiments.summary import write_history
from models.tasks import Task
from server.checkpoint import MODEL
from server.events import EventLog

_CHECK_SECONDS = 0.5
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)


class Engine(Protocol):
    """What carries out a run; a context manager that ends what it started."""

    def __enter__(self) -> Self:
        """Return the engine, not yet started."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """End what was started."""

    def start(self) -> None:
        """Start what a run needs."""

    def submit(self, run_config: Mapping[str, bool | float | int | str], /) -> object:
        """Start a run of the app."""

    def status(self) -> str:
        """Return its state."""

    def check(self) -> Iterable[ProcessInfo]:
        """Return processes that ended since the last call."""


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
        ray: What virtual clients get of a Ray; None for a process per client.
        restarts: How often a SuperLink that died is started again.

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
        ray: Resources | None = None,
        restarts: int = 0,
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
        self._ray = ray
        self._restarts = restarts
        self.complaint = ""
        self._log = self.out / "events.jsonl"
        self._events = EventLog(self._log)

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
        with self._folder.claimed(), self._named_if_unwritable():
            if self._resume_after is not None:
                self._events.write("resumed", round=self._resume_after)
            return self._run(task, params)

    @contextmanager
    def _named_if_unwritable(self) -> Iterator[None]:
        """Say by name that the disk is full, or the folder has become read-only."""
        try:
            yield
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            hint = "; ".join(filter(None, ("make room for it", self._way_on())))
            raise RunFailedError(
                f"cannot write {error.filename or self.out}: {error.strerror}", hint
            ) from error

    def _run(self, task: Task, params: AggregationParams) -> list[Event]:
        with Followers(self.out, self._console) as followers:
            try:
                with _interruptible():
                    prepared = self._prepare(task, params)
                    try:
                        self._describe(prepared)
                        self._drive(prepared)
                    finally:
                        prepared.forget()
            except SettingsError as error:
                followers.stop()
                self._clean_up(error)
                raise
            except KeyboardInterrupt:
                self._fail("Interrupted", "stopped by the user", "")
                write_history(self.out)  # the page takes longer than a person waits
                raise
        return self._collect()

    def _clean_up(self, error: SettingsError) -> None:
        """Leave nothing of a run that never started, and all of one that did."""
        if self._resume_after is not None:
            self._fail(type(error).__name__, str(error), error.hint)
        elif error.exit_code == SettingsError.exit_code:
            self._folder.remove()

    def _describe(self, prepared: PreparedRun) -> None:
        facts: dict[str, Any] = {"run_id": prepared.run_id, "device": self._device}
        facts |= {"node": self._node} if self._ray is None else self._ray.facts()
        if self._resume_after is None:
            self._folder.describe(self._settings, prepared.manifest, **facts)
        else:
            facts["after_round"] = str(self._resume_after)
            self._folder.describe_resumption(self._settings, prepared.manifest, **facts)

    def _prepare(self, task: Task, params: AggregationParams) -> PreparedRun:
        """Share out the data, get keys, enrol everybody."""
        with self._step("shards"):
            shared = share_out(self._settings, task, self._note)
            self._folder.keep(shared)
        with self._step("keys"):
            try:
                num_clients = self._settings.clients
                folder, keys = simulation_keys(params, self._keys, num_clients)
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
        try:
            with self._engine(prepared) as engine:
                with self._step("superlink" if self._ray is None else "ray"):
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
            if self._end() is None:
                self._fail(type(error).__name__, str(error), error.hint)

    def _engine(self, prepared: PreparedRun) -> Engine:
        count, run_id = self._settings.clients, prepared.run_id
        if self._ray is not None:
            job = Job(count, prepared.keyset, run_id, self._device, self._ray)
            return RayEngine(self.out / "logs", job)
        return ProcessEngine(
            PROJECT,
            self.out / "logs",
            [
                ClientSpec(i, prepared.client_folder(i), run_id, self._device)
                for i in range(1, count + 1)
            ],
            node=self._node,
            port=self._port,
            restarts=self._restarts,
        )

    def _watch(self, engine: Engine) -> None:
        memory = PeakMemory()
        while not engine.status().startswith("finished"):
            memory.look()
            for ended in engine.check():
                is_back = ended.name == "superlink"
                then = (
                    "it was started again" if is_back else f"see logs/{ended.name}.log"
                )
                message = (
                    f"{ended.name} ended with exit code {ended.returncode}; {then}"
                )
                self._events.write("warning", message=message)
            time.sleep(_CHECK_SECONDS)
        self._events.write("memory", bytes=memory.bytes, processes=memory.processes)
        if self._end() is None:
            engine.check()
            self._fail("ServerStopped", "the server stopped early", "see logs/")

    def _end(self) -> Event | None:
        """Return how the run ended; a client's death may have been noted after it."""
        for event in reversed(self._events_so_far()):
            if event["event"] == "resumed":
                return None
            if event["event"] in LAST_EVENTS:
                return event
        return None

    def _events_so_far(self) -> list[Event]:
        return list(follow(self._log, lambda: True))

    def _show_views(self) -> None:
        """Make the pages; a run that is over is not lost because of them."""
        try:
            write_views(self.out)
        except SettingsError as error:
            self.complaint = f"{error}; {error.hint}"
        except OSError as error:
            self.complaint = f"cannot write {error.filename}: {error.strerror}"

    def _note(self, message: str) -> None:
        self._events.write("note", message=message)

    def _fail(self, error: str, message: str, hint: str) -> None:
        self._events.write("run_failed", error=error, message=message, hint=hint)

    def _collect(self) -> list[Event]:
        self._show_views()
        events = self._events_so_far()
        end = self._end()
        if end is not None and end["event"] == "run_failed":
            hint = "; ".join(filter(None, (end["hint"], self._way_on())))
            raise RunFailedError(f"{end['error']}: {end['message']}", hint)
        return events

    def _way_on(self) -> str:
        """Say how to go on from the last finished round, if that is possible."""
        if self._settings.record or not (self.out / MODEL).exists():
            return ""
        keys = f" --keys {self._keys}" if self._keys else ""
        engine = " --engine ray" if self._ray else ""
        return f"go on with: unseen run --resume {self.out}{keys}{engine}"


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
