"""The options of the command line, one alias each, shared by the commands."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from experiments.errors import SettingsError
from experiments.settings import RunSettings, default_run

Task = Annotated[str, Option(help="digits or spam.")]
Protocol = Annotated[
    str,
    Option(
        help="paillier, hybrid for large networks, or plain as the baseline.  "
        "\\[default: the task's]",
        show_default=False,
    ),
]
Parameters = Annotated[
    int,
    Option(
        min=0,
        help="Plan for a network of this size.  \\[default: the task's]",
        show_default=False,
    ),
]
Clients = Annotated[int, Option(help="Client processes; the first 9 hold a key share.")]
Rounds = Annotated[int, Option(min=1)]
Engine = Annotated[str, Option(help="processes: one process per client.")]
Partition = Annotated[
    str | None,
    Option(help="iid, dirichlet:ALPHA or natural.  \\[default: the task's]"),
]
Data = Annotated[
    Path | None, Option(help="Folder of the data, for tasks that need one.")
]
Device = Annotated[str, Option(help="auto, cpu or cuda.")]
Out = Annotated[
    Path | None, Option(help="Run folder.  \\[default: runs/DATE-TIME-TASK]")
]
Seed = Annotated[int, Option(min=0)]
Threshold = Annotated[
    int,
    Option(
        min=0,
        help="Key holders that open a sum.  \\[default: all but a third]",
        show_default=False,
    ),
]
MinContributors = Annotated[
    int,
    Option(
        min=0,
        help="Smallest sum that is opened.  \\[default: threshold]",
        show_default=False,
    ),
]
ValueBits = Annotated[int, Option(help="Bits of one encoded coordinate.")]
Clip = Annotated[
    float,
    Option(
        min=0,
        help="Bound on a coordinate.  \\[default: the task's]",
        show_default=False,
    ),
]
Strategy = Annotated[str, Option(help="fedavg, fedavgm, fedadam or fedyogi.")]
LocalEpochs = Annotated[
    int, Option(min=0, help="\\[default: the task's]", show_default=False)
]
BatchSize = LocalEpochs
LearningRate = Annotated[
    float, Option(min=0, help="\\[default: the task's]", show_default=False)
]
RoundDeadline = Annotated[
    float, Option(min=0, help="Seconds.  \\[default: the task's]", show_default=False)
]
MaxFailedRounds = Annotated[
    int, Option(min=1, help="Failed rounds in a row that end the run.")
]
Record = Annotated[
    bool, Option("--record", help="Keep every message, for unseen audit.")
]
Keys = Annotated[Path | None, Option(help="Key set.  \\[default: this machine's own]")]
Node = Annotated[str, Option(help="thin, or stock: Flower's own, slow.")]
Port = Annotated[
    int | None,
    Option(min=1, max=65535, help="Port of the SuperLink.  \\[default: a free one]"),
]
InsecureKeyBits = Annotated[
    int | None, Option(help="A smaller key, for trying things out only.")
]
Json = Annotated[
    bool, Option("--json", help="Print the result as JSON and nothing else.")
]
RecordedRun = Annotated[
    Path, Argument(metavar="RUN", help="Folder of a run made with --record.")
]
AllFindings = Annotated[
    bool, Option("--all", help="List every finding, not one page of them.")
]


def run_settings(options: Mapping[str, Any]) -> RunSettings:
    """Collect a run's settings from a command's options; the rest are defaults."""
    values = {
        item.name: options[item.name]
        for item in fields(RunSettings)
        if item.name in options
    }
    if options["insecure_key_bits"] is not None:
        values["key_bits"] = options["insecure_key_bits"]
    return replace(default_run(), **values)


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not among the known ones.

    Raises:
        SettingsError: Lists the known ones.
    """
    if value not in known:
        raise SettingsError(f"unknown {name} {value!r}", f"known: {', '.join(known)}")
