"""What a scenario is: a row of the table, and the run in which it happens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from experiments.faults.fault import Fault
from experiments.faults.run import Run

COMPLETED = "completed"
KILLED = "killed"


Place = Literal["disk", "small disk", "guarded disk", "read-only disk"]


@dataclass(frozen=True)
class Scenario:
    """One row: something goes wrong, and what must hold nevertheless.

    Attributes:
        name: What goes wrong, and when.
        holds: Whether it came out right, asked when the run is over. That nothing is
            lost and nothing is left is checked for every row besides.
    """

    name: str
    holds: Callable[[Run], bool]


def _nothing(_run: Run) -> None:
    return


@dataclass(frozen=True)
class Trial:
    """A run with one scenario, or with several in rounds of their own.

    Attributes:
        name: Of its folder.
        scenarios: Its rows.
        options: Of `unseen run`.
        faults: What clients do to themselves.
        disturb: What is done from outside, called when the run has been started.
        ends: How it must end: `COMPLETED`, `KILLED` without a word, or how its error
            must begin (one of several ways).
        resume: Whether to go on with it afterwards, which must complete.
        place: Where the run folder lies. On a guarded disk not even root may write
            against the permissions.
    """

    name: str
    scenarios: tuple[Scenario, ...]
    options: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    disturb: Callable[[Run], None] = _nothing
    ends: str | tuple[str, ...] = COMPLETED
    resume: bool = False
    place: Place = "disk"
