"""The table of faults, for people."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from experiments.faults.trial import Row

_LONGEST_END = 60


def faults_table(rows: Sequence[Row]) -> Table:
    """Lay the rows out, in their order."""
    table = Table(show_lines=True)
    for name, ratio in (("scenario", 30), ("ends in", 34)):
        table.add_column(name, ratio=ratio)
    for name in ("rounds finished", "model on disk"):
        table.add_column(name, ratio=11)
    for name in ("orphans", "seconds"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in _cells(row)))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    if row.skipped:
        return (row.scenario, f"skipped: {row.skipped}", "", "", "", "")
    ends = "; ".join(_short(part) for part in row.ends.split("; "))
    if row.problem:
        ends = f"{ends}\nWRONG: {row.problem}".strip()
    counts = (str(row.orphans), f"{row.seconds:.0f}")
    return (row.scenario, ends, row.rounds, row.model, *counts)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_END else f"{text[: _LONGEST_END - 3]}..."
