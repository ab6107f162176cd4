"""`unseen runs` and `unseen report`: past runs, and the page of one of them."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from experiments.errors import SettingsError
from experiments.progress import readable_seconds
from experiments.report.record import RunRecord, read_run

Runs = Annotated[Path, Option("--folder", help="Folder that holds the runs' folders.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON and nothing else.")]
Run = Annotated[Path, Argument(metavar="RUN", help="Folder of a run.")]


def runs_command(folder: Runs = Path("runs"), json_output: AsJson = False) -> None:
    """List past runs, newest first."""
    runs, unreadable = find_runs(folder)
    if json_output:
        sys.stdout.write(json.dumps([as_row(run) for run in runs], indent=2) + "\n")
        return
    console = Console(highlight=False)
    if runs:
        console.print(runs_table(runs))
    else:
        _say(console, f"no runs under {folder}; make one with: unseen run")
    for line in unreadable:
        _say(console, f"left out: {line}")


def report_command(run: Run) -> None:
    """Make a run's report.html, history.json and TensorBoard events again."""
    # Imported here: the list of runs should not wait for what a page needs.
    from experiments.report.views import write_views  # noqa: PLC0415

    page = write_views(run)
    _say(Console(highlight=False), f"report: {page}")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def find_runs(folder: Path) -> tuple[list[RunRecord], list[str]]:
    """Read every run in a folder.

    Args:
        folder: Its folders with an ``events.jsonl`` are runs; others are passed over.

    Returns:
        The runs, newest first, and a line about each one that cannot be read.

    Raises:
        SettingsError: If ``folder`` is there and is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(
            f"{folder} is not a folder", "pass the folder that holds the runs' folders"
        )
    runs, unreadable = [], []
    for path in sorted(folder.glob("*/events.jsonl")):
        try:
            runs.append(read_run(path.parent))
        except SettingsError as error:
            unreadable.append(str(error))
    runs.sort(key=lambda run: run.changed, reverse=True)
    return runs, unreadable


def as_row(run: RunRecord) -> dict[str, Any]:
    """Return what the list says about a run."""
    metric, result = run.score
    return {
        "folder": str(run.folder),
        "task": run.fact("task"),
        "protocol": run.fact("protocol"),
        "clients": run.fact("clients"),
        "rounds_done": run.rounds_done,
        "rounds": run.fact("rounds"),
        "metric": metric,
        "result": result,
        "seconds": run.seconds,
        "state": run.state,
    }


def runs_table(runs: list[RunRecord]) -> Table:
    """Lay the runs out for people, one line each."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("run", overflow="fold")
    for name in ("task", "protocol"):
        table.add_column(name)
    for name in ("clients", "rounds", "result", "time"):
        table.add_column(name, justify="right")
    table.add_column("state", overflow="fold")
    for run in runs:
        row = as_row(run)
        cells = [
            run.folder.name,
            *(str(row[name] or "-") for name in ("task", "protocol", "clients")),
            f"{row['rounds_done']}/{row['rounds'] or '?'}",
            _result(row),
            readable_seconds(row["seconds"]),
            row["state"],
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _result(row: dict[str, Any]) -> str:
    if row["result"] is None:
        return "-"
    if row["metric"] == "perplexity":
        return f"{row['result']:.2f} perpl."
    return f"{row['result']:.4f}"
