"""`unseen audit RUN`: prove from a recorded run that it encrypts, on one page.

Reads the run folder alone and needs no key. What it cannot see is listed in
`experiments.audit.messages`.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from experiments.audit.messages import (
    Check,
    Result,
    no_client_text,
    nothing_is_readable,
    record_is_whole,
    shapes_are_known,
    sizes_are_public,
)
from experiments.audit.record import Finding, Record, read_record
from experiments.audit.rounds import (
    broadcasts_are_equal,
    ciphertexts_are_fresh,
    one_set_is_opened,
    signatures_hold,
)
from experiments.audit.sums import sums_are_equal
from experiments.audit.transcript import Transcript

CHECKS: Final[Sequence[Check]] = (
    record_is_whole,
    shapes_are_known,
    nothing_is_readable,
    sizes_are_public,
    no_client_text,
    ciphertexts_are_fresh,
    signatures_hold,
    broadcasts_are_equal,
    one_set_is_opened,
    sums_are_equal,
)
_QUIET_SECONDS: Final = 2.0
_SHOWN_FINDINGS: Final = 12  # of a page

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """What an audit comes to.

    Attributes:
        record: What was audited.
        results: Of every check, in order.
    """

    record: Record
    results: Sequence[Result]

    @property
    def findings(self) -> list[Finding]:
        """All findings, in the order of the checks."""
        return [finding for result in self.results for finding in result.findings]

    @property
    def line(self) -> str:
        """The verdict in one line."""
        messages, count = f"{self.record.num_files:,} messages", len(self.findings)
        if not count:
            return f"verdict: {messages}, no finding"
        return f"verdict: {messages}, {count:,} finding{'s' if count > 1 else ''}"


def audit(run: Path, console: Console | None = None) -> Verdict:
    """Audit a recorded run.

    Args:
        run: The run folder.
        console: Shows how far it is, if it takes long; None for silence.

    Raises:
        SettingsError: If the folder holds no record.
    """
    with _Watch(console) as watch:
        record = read_record(run)
        transcript = Transcript(record, watch)
        return Verdict(record, [_checked(check, transcript) for check in CHECKS])


def _checked(check: Check, transcript: Transcript) -> Result:
    """Run a check; what it stumbles over came from outside and is a finding."""
    try:
        return check(transcript)
    except Exception as error:
        what = f"the check broke off with {type(error).__name__}"
        return Result(check.__name__.replace("_", " "), "", [Finding(what)])


def show(verdict: Verdict, console: Console, *, all_findings: bool) -> None:
    """Print the verdict, on one page unless all findings are asked for."""
    params, keys = verdict.record.manifest.params, verdict.record.manifest.keys
    console.print(
        f"mode {params.mode}, keys {keys.fingerprint}, {params.key_bits} bits, "
        f"{params.threshold} of {params.num_holders} key holders open sums of "
        f"{params.min_contributors} to {params.max_contributors} clients",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_table(verdict))
    shown = verdict.findings if all_findings else verdict.findings[:_SHOWN_FINDINGS]
    for finding in shown:
        parts = (finding.file and f"record/{finding.file}", finding.who, finding.what)
        line = ": ".join(part for part in parts if part)
        console.print(Text(f"  {line}"), soft_wrap=True)
    if more := len(verdict.findings) - len(shown):
        console.print(f"  and {more:,} more; --all shows them", highlight=False)
    style = "bold red" if verdict.findings else "bold green"
    console.print(Text(verdict.line, style), soft_wrap=True)


def _table(verdict: Verdict) -> Table:
    table = Table("check", "looked at", "verdict", box=box.SIMPLE)
    for result in verdict.results:
        count = len(result.findings)
        text = f"{count:,} finding{'s' if count > 1 else ''}" if count else "ok"
        style = "red" if count else "green"
        table.add_row(result.title, result.looked_at, Text(text, style))
    return table


class _Watch:
    """Shows a progress bar once an audit has taken a while."""

    def __init__(self, console: Console | None) -> None:
        hidden = console is None or not console.is_terminal
        self._progress = Progress(console=console, transient=True, disable=hidden)
        self._started = time.monotonic()

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, items: Sequence[T], doing: str) -> Iterable[T]:
        """Return the items one by one."""
        bar = self._progress.add_task(doing, total=len(items))
        for item in items:
            if time.monotonic() - self._started > _QUIET_SECONDS:
                self._progress.start()
            yield item
            self._progress.advance(bar)
        self._progress.remove_task(bar)
