"""What a round costs when nobody computes: Flower's processes beside ours.

    python -m experiments.bench.rounds [--rounds 6] [--clients 4 --clients 10]

Both run the same app (`experiments.bench.noop`) on a real SuperLink with one process
per client. CPU seconds are of all processes together.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Final, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.app import write_app
from experiments.bench.scene import BenchError
from experiments.engine import ClientSpec, ProcessEngine

Kind = Literal["stock", "thin"]
KINDS: Final[tuple[Kind, ...]] = ("stock", "thin")
_LIMIT_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.02
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_WIDTH: Final = 110
_PARTS: Final = ("SuperLink", "server", "clients")

_MODULE: Final = "experiments.bench.noop"
_CONFIG: Final = """
clients = 0
num-rounds = 0
ours = false
events = ""
"""


@dataclass(frozen=True)
class Cost:
    """What a run of empty rounds took.

    Attributes:
        start_seconds: From the first process to the end of the first round.
        round_seconds: Median of the rounds after the first.
        round_cpu_seconds: Of the SuperLink, the server and the clients, per round
            after the first.
        total_seconds: With the stop of all processes.
    """

    start_seconds: float
    round_seconds: float
    round_cpu_seconds: dict[str, float]
    total_seconds: float


def measure(kind: Kind, num_clients: int, num_rounds: int, folder: Path) -> Cost:
    """Run empty rounds with real processes.

    Raises:
        BenchError: If they do not end, or a client does not answer.
    """
    app = folder / "app"
    write_app(app, _MODULE, _CONFIG)
    events = folder / "events"
    events.touch()
    clients = [
        ClientSpec(i, folder / f"client-{i}", "00" * 16)
        for i in range(1, num_clients + 1)
    ]
    config: dict[str, bool | float | int | str] = {
        "clients": num_clients,
        "num-rounds": num_rounds,
        "ours": kind == "thin",
        "events": str(events),
    }
    started = time.monotonic()
    engine = ProcessEngine(
        app, folder / "logs", clients, node=kind, app=f"{_MODULE}:client"
    )
    with engine:
        engine.start()
        engine.submit(config)
        first, cpu_first = _wait_for(events, 1, engine)
        _, cpu_last = _wait_for(events, num_rounds, engine)
    lines = [line.split() for line in events.read_text().splitlines()]
    if any(int(answered) != num_clients for answered, _ in lines):
        raise BenchError("a client did not answer")
    return Cost(
        start_seconds=first - started,
        round_seconds=median(float(seconds) for _, seconds in lines[1:]),
        round_cpu_seconds={
            name: (cpu_last[name] - cpu_first[name]) / (num_rounds - 1)
            for name in _PARTS
        },
        total_seconds=time.monotonic() - started,
    )


def _wait_for(
    events: Path, count: int, engine: ProcessEngine
) -> tuple[float, dict[str, float]]:
    """Wait for a number of rounds; return the time, and the CPU seconds so far."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while events.read_text().count("\n") < count:
        if time.monotonic() > deadline or not _is_alive(engine):
            raise BenchError(f"no round {count}; see {events.parent / 'logs'}")
        time.sleep(_POLL_SECONDS)
    return time.monotonic(), _cpu_seconds(os.getpid())


def _is_alive(engine: ProcessEngine) -> bool:
    # Not its status: a question costs the SuperLink as much as a message.
    return all(process.returncode is None for process in engine.processes)


def _cpu_seconds(root: int) -> dict[str, float]:
    """Return the CPU seconds of our descendants, and of those that they waited for."""
    parents: dict[int, int] = {}
    commands: dict[int, bytes] = {}
    used: dict[int, float] = {}
    for pid, command, fields in _processes():
        parents[pid], commands[pid] = int(fields[1]), command
        used[pid] = sum(map(int, fields[11:15])) / _TICKS
    seconds = dict.fromkeys(_PARTS, 0.0)
    for pid, own in used.items():
        line = _line(pid, parents)
        if root in line[1:]:
            seconds[_part([commands[one] for one in line])] += own
    return seconds


def _line(pid: int, parents: dict[int, int]) -> list[int]:
    """Return a process and its ancestors."""
    line = [pid]
    while line[-1] in parents and parents[line[-1]] in parents:
        line.append(parents[line[-1]])
    return line


def _part(commands: list[bytes]) -> str:
    """Say what a process belongs to, by its command and those of its ancestors."""
    line = b" ".join(commands)
    if b"flwr-serverapp" in line:
        return "server"
    return "SuperLink" if b"flower-superlink" in line else "clients"


def _processes() -> Iterator[tuple[int, bytes, list[str]]]:
    """Yield every process with its command and the fields of its stat after that."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            text = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes()
            yield int(entry.name), command, text.rpartition(")")[2].split()


def _table(costs: Sequence[tuple[int, Kind, Cost]]) -> Table:
    table = Table(box=box.SIMPLE)
    heads = ("clients", "processes", "start-up", "a round", "in all")
    for name in (*heads, "CPU s a round", *_PARTS):
        table.add_column(name, justify="right", no_wrap=True)
    for num_clients, kind, cost in costs:
        table.add_row(
            str(num_clients),
            {"stock": "Flower's", "thin": "ours"}[kind],
            f"{cost.start_seconds:.1f} s",
            f"{cost.round_seconds:.2f} s",
            f"{cost.total_seconds:.1f} s",
            f"{sum(cost.round_cpu_seconds.values()):.2f}",
            *(f"{cost.round_cpu_seconds[name]:.2f}" for name in _PARTS),
        )
    return table


def main(
    rounds: Annotated[int, typer.Option(min=2)] = 6,
    clients: Annotated[list[int], typer.Option(min=1)] = [4, 10],  # noqa: B006 - typer's way
    only: Annotated[str, typer.Option(help="stock or thin.")] = "",
) -> None:
    """Measure empty rounds, Flower's processes and ours in turn."""
    console = Console(highlight=False, width=_WIDTH)
    costs: list[tuple[int, Kind, Cost]] = []
    for number in clients:
        for kind in KINDS:
            if only in ("", kind):
                with tempfile.TemporaryDirectory(prefix="unseen-rounds-") as folder:
                    cost = measure(kind, number, rounds, Path(folder))
                costs.append((number, kind, cost))
                console.print(f"{number} clients, {kind}: {cost.round_seconds:.2f} s")
    console.print(_table(costs))


if __name__ == "__main__":
    typer.run(main)
