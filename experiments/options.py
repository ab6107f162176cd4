"""The options of the command line, one alias each, shared by the commands."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

from click.core import ParameterSource
from typer import Argument, Context, Option

from experiments.errors import SettingsError
from experiments.settings import RunSettings, default_run, find_task
from experiments.simulation.resources import Resources
from models.data.partition import SCHEMES
from models.tasks import task_names

Task = Annotated[str, Option(help=f"{', '.join(task_names())}.")]
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
Clients = Annotated[
    int | None,
    Option(
        help="Clients; the first 9 hold a key share.  \\[default: the task's]",
        show_default=False,
    ),
]
Sample = Annotated[
    int,
    Option(
        min=0, help="Clients asked in a round.  \\[default: all]", show_default=False
    ),
]
Rounds = Annotated[
    int | None, Option(min=1, help="\\[default: the task's]", show_default=False)
]
Engine = Annotated[
    str,
    Option(help="processes: one per client, or ray: virtual clients, for hundreds."),
]
RayAddress = Annotated[
    str,
    Option(
        help="Cluster of the ray engine.  \\[default: this machine]",
        show_default=False,
    ),
]
ClientCpus = Annotated[
    float, Option(help="Cores of a virtual client at work, or a part of one.")
]
ClientGpus = Annotated[
    float,
    Option(
        help="Graphics cards of it, or a part of one.  \\[default: none]",
        show_default=False,
    ),
]
Partition = Annotated[
    str | None,
    Option(help=f"{', '.join(SCHEMES)}.  \\[default: the task's]"),
]
Data = Annotated[
    Path | None,
    Option(
        help="Folder of the data, or one with the task's folder in it.  "
        "\\[default: a download]"
    ),
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
Optimizer = Annotated[
    str, Option(help="sgd or adam.  \\[default: the task's]", show_default=False)
]
ProximalMu = Annotated[
    float,
    Option(
        min=0,
        help="Weight of FedProx's term, which holds clients near the global model.  "
        "\\[default: none]",
        show_default=False,
    ),
]
MaxGradNorm = Annotated[
    float,
    Option(
        min=0,
        help="Bound on the gradient of a step.  \\[default: the task's]",
        show_default=False,
    ),
]
MixedPrecision = Annotated[
    bool, Option("--mixed-precision", help="Train in bfloat16 on GPUs.")
]
RoundDeadline = Annotated[
    float, Option(min=0, help="Seconds.  \\[default: the task's]", show_default=False)
]
MaxFailedRounds = Annotated[
    int, Option(min=1, help="Failed rounds in a row that end the run.")
]
EarlyStop = Annotated[
    int,
    Option(
        min=0,
        help="End after so many rounds without a better model.  \\[default: never]",
        show_default=False,
    ),
]
Resume = Annotated[
    Path | None,
    Option(help="Go on with a run that ended early, from its last finished round."),
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
SuperlinkRestarts = Annotated[
    int,
    Option(
        min=0,
        help="Start a SuperLink that died again, so often; it then keeps a database, "
        "and rounds take about twice as long.  \\[default: never]",
        show_default=False,
    ),
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
    task = find_task(values["task"])
    for name, number in (("clients", task.num_clients), ("rounds", task.num_rounds)):
        if values.get(name, 0) is None:
            values[name] = number
    if options["insecure_key_bits"] is not None:
        values["key_bits"] = options["insecure_key_bits"]
    return replace(default_run(), **values)


# What may be said anew about a run that goes on: nothing that changes what it is.
_OF_ENGINE = {
    "processes": ("node", "port", "superlink_restarts"),
    "ray": ("ray_address", "client_cpus", "client_gpus"),
}
_ENGINE = {"engine"}.union(*_OF_ENGINE.values())
_RESUMABLE = {"resume", "rounds", "device", "keys", "json_output"} | _ENGINE


def check_resumable(context: Context) -> None:
    """Refuse options that would make another run out of one that goes on.

    Raises:
        SettingsError: Names them.
    """
    given = [
        name.replace("_", "-")
        for name in context.params
        if name not in _RESUMABLE
        and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise SettingsError(
            f"--resume goes on with a run as it is; not with --{', --'.join(given)}",
            "leave them out, or start a new run",
        )


_CHOICES = {
    "engine": ("processes", "ray"),
    "node": ("thin", "stock"),
    "device": ("auto", "cpu", "cuda"),
}


def check_choices(**chosen: str) -> None:
    """Refuse a word that is not among the known ones of its option.

    Raises:
        SettingsError: Lists the known ones.
    """
    for name, value in chosen.items():
        known = _CHOICES[name]
        if value not in known:
            raise SettingsError(
                f"unknown {name} {value!r}", f"known: {', '.join(known)}"
            )


# Options of one engine that mean nothing to the other one.


def ray_resources(context: Context) -> Resources | None:
    """Return what virtual clients get; None for one process per client.

    Raises:
        SettingsError: If an option is given that the engine does not have, or no
            machine could be enough.
    """
    values = context.params
    for engine, names in _OF_ENGINE.items():
        given = [
            name.replace("_", "-")
            for name in names
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if given and engine != values["engine"]:
            raise SettingsError(
                f"--engine {values['engine']} has no --{', --'.join(given)}",
                f"leave it out, or use --engine {engine}",
            )
    if values["engine"] != "ray":
        return None
    resources = Resources(
        values["ray_address"], values["client_cpus"], values["client_gpus"]
    )
    resources.check(values["device"])
    return resources
