"""`make faults`: every scenario against real processes, as a table.

Exit code 1 if a row ends in neither "completed" nor the error it must end in, or if
something is lost or left. Linux only: processes are found and judged through /proc.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console

from experiments.faults.scenario import Trial
from experiments.faults.scenarios import TRIALS
from experiments.faults.table import faults_table
from experiments.faults.trial import Row, carry_out

_WIDTH = 120
_AT_ONCE = 3  # they mostly wait, but not while they start


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trials, print the table and return the exit code."""
    parser = argparse.ArgumentParser(prog="experiments.faults", description=__doc__)
    names = [trial.name for trial in TRIALS]
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=", ".join(names))
    parser.add_argument("--keep", type=Path, help="keep the runs' folders here")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.trials) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    chosen = [t for t in TRIALS if t.name in (arguments.trials or names)]
    started = time.monotonic()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        rows = _all_rows(chosen, arguments.keep.resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="unseen-faults-") as folder:
            rows = _all_rows(chosen, Path(folder))
    _show(rows, time.monotonic() - started)
    return int(any(row.problem for row in rows))


def _all_rows(trials: Sequence[Trial], folder: Path) -> list[Row]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = pool.map(partial(_one, folder=folder), trials)
        return [row for rows in parts for row in rows]


def _one(trial: Trial, *, folder: Path) -> list[Row]:
    rows = carry_out(trial, folder / trial.name, folder / "home")
    for row in rows:
        sys.stderr.write(
            f"{row.scenario}: {row.problem or row.skipped or 'as it must'}\n"
        )
    return rows


def _show(rows: Sequence[Row], seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    console = Console(width=_WIDTH)
    console.print(faults_table(rows))
    console.print(
        f"{seconds:.0f} s; {used.ru_utime + used.ru_stime:.0f} CPU seconds, less those "
        "of the servers and of clients whose launcher was killed"
    )


if __name__ == "__main__":
    sys.exit(main())
