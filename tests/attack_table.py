"""Every attack in one table: what leaks without the defence, what refuses it with it.

An attack test carries the marker `attack` with the attack's name. It switches one
defence off and asserts what leaks, switches it on again and asserts what refuses the
attack, and tells both to the fixture `attack`. `make attacks` prints the table; in
ordinary runs these are ordinary tests.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from _pytest.terminal import TerminalReporter
from rich.console import Console
from rich.table import Table

_WIDTH = 100
_SUBJECTS = ("openings", "uploads", "contexts", "keys", "messages")


@dataclass
class Attack:
    """What the tests of one attack found out.

    Attributes:
        name: What is tried.
        subject: Which part of the protocol it is against.
        leaks: What was leaked while the defence was off.
        ends: How the attack ended while it was on.
        failed: Whether a test of the attack failed.
    """

    name: str
    subject: str
    leaks: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    failed: bool = False

    def leaked(self, what: str) -> None:
        """Note what leaked, once it has been asserted."""
        self.leaks.append(what)

    def stopped(self, how: str) -> None:
        """Note how the attack ended where no error of the protocol says so."""
        self.ends.append(how)

    def stopped_by(self, error: type[Exception]) -> None:
        """Note the error that refused the attack."""
        self.ends.append(f"{getattr(error, 'code', '')} {error.__name__}".strip())

    @contextmanager
    def refused(
        self, error: type[Exception], match: str | None = None
    ) -> Iterator[None]:
        """Expect exactly this error, and note it."""
        with pytest.raises(error, match=match) as caught:
            yield
        assert caught.type is error
        self.stopped_by(error)

    @property
    def is_complete(self) -> bool:
        """Whether both sides were shown."""
        return bool(self.leaks and self.ends)


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Attack:
    """Take down what a test's attack leaked, and what refused it."""
    marker = request.node.get_closest_marker("attack")
    subject = request.node.path.stem.removeprefix("test_attacks_").split("_")[0]
    found = Attack(marker.args[0], subject)
    request.node.user_properties.append(("attack", found))
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that `make attacks` uses."""
    parser.addoption(
        "--attack-table", action="store_true", help="print the table of attacks"
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail an attack test that does not show both sides."""
    result = yield
    if pyfuncitem.get_closest_marker("attack"):
        found = pyfuncitem.funcargs.get("attack")
        assert isinstance(found, Attack), "an attack test needs the fixture `attack`"
        assert found.is_complete, "an attack test shows both sides"
    return result


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    """Leave the dots of passed tests out beside the table."""
    if config.option.attack_table and report.when == "call" and report.passed:
        return "passed", "", ""
    return None


def pytest_terminal_summary(
    terminalreporter: TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    if not config.option.attack_table:
        return
    reports = [
        (report, outcome == "passed")
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.stats.get(outcome, [])
    ]
    found: list[Attack] = []
    for report, passed in reports:
        for name, value in report.user_properties:
            if name == "attack" and isinstance(value, Attack):
                value.failed = value.failed or not passed
                found.append(value)
    terminalreporter.ensure_newline()
    Console(width=_WIDTH).print(_table(_merged(found)))


def _merged(found: Iterable[Attack]) -> list[Attack]:
    """Merge the cases of one attack, and sort by subject."""
    rows: dict[str, Attack] = {}
    for one in found:
        row = rows.setdefault(one.name, Attack(one.name, one.subject))
        row.leaks = list(dict.fromkeys([*row.leaks, *one.leaks]))
        row.ends = list(dict.fromkeys([*row.ends, *one.ends]))
        row.failed = row.failed or one.failed
    order = {subject: place for place, subject in enumerate(_SUBJECTS)}
    return sorted(rows.values(), key=lambda row: order.get(row.subject, len(order)))


def _table(rows: list[Attack]) -> Table:
    table = Table(show_lines=True)
    table.add_column("attack", ratio=30)
    table.add_column("defence off: what leaked", ratio=32)
    table.add_column("defence on: which error", ratio=32)
    for row in rows:
        end = "\n".join(row.ends)
        if row.failed:
            end = "[bold red]THE TEST FAILED[/bold red]"
        table.add_row(row.name, "\n".join(row.leaks), end)
    return table
