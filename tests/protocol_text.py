"""What crypto/PROTOCOL.md says: its sections, tables and example values."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "crypto" / "PROTOCOL.md").read_text(encoding="utf-8")


def written_values() -> dict[str, str]:
    """Read the `example` blocks; an indented line goes on with the one before."""
    values: dict[str, str] = {}
    for block in re.findall(r"```example\n(.*?)```", DOCUMENT, re.DOTALL):
        for line in block.replace("\n    ", "").splitlines():
            name, value = line.rsplit(" = ", 1)
            assert name not in values, name
            values[name] = value
    return values


def section(number: str) -> str:
    """Return the text of a section, without its subsections' headings."""
    pattern = rf"^##+ {re.escape(number)}\.? .*?$(.*?)(?=^##|\Z)"
    found = re.search(pattern, DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, number
    return found[1]


def table(number: str, first_cell: str) -> list[list[str]]:
    """Return the rows of the table of a section that starts with this heading."""
    rows = []
    started = False
    for line in section(number).splitlines():
        if not line.startswith("|"):
            started = False
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        started = started or cells[0] == first_cell
        if started and not cells[0].startswith("---"):
            rows.append(cells)
    return rows[1:]


def written_integers(name: str) -> list[int]:
    """Read an example value that is a list of integers."""
    return [int(number) for number in written_values()[name].strip("[]").split(",")]
