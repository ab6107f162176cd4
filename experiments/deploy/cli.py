"""`unseen deploy`: make, check and renew a deployment, and run it."""

from pathlib import Path
from typing import Annotated, Any

import typer
from click.core import ParameterSource
from rich.console import Console
from typer import Argument, Option

from experiments import options as o
from experiments.client_cli import Once, Superlink, Wait, tell
from experiments.ending import run_to_its_end
from experiments.errors import SettingsError
from experiments.settings import default

app = typer.Typer(no_args_is_help=True)
_console = Console(highlight=False)

Out = Annotated[Path, Option(help="Folder to make; must not exist.")]
Names = Annotated[
    list[str] | None,
    Option(
        "--name",
        help="Name or address of the SuperLink's machine; may be repeated.  "
        "\\[also: superlink, localhost]",
        show_default=False,
    ),
]
Days = Annotated[int, Option(min=1, help="Lifetime of the certificates.")]
OwnData = Annotated[
    bool,
    Option("--own-data", help="Clients bring their data; the dealer shares none out."),
]
KeyBits = Annotated[int, Option(min=2048, help="Size of the key.")]
TrustHolders = Annotated[
    bool,
    Option(
        "--trust-holders",
        help="Accept a committee in which one malicious key holder is too many.",
    ),
]
Root = Annotated[Path, Option("--dir", help="The deployment.")]
Resume = Annotated[
    Path | None,
    Option(help="Run folder of an earlier run: go on after its last finished round."),
]


@app.command()
def init(  # noqa: PLR0917 - typer passes options by name
    out: Out = Path("deploy"),
    task: o.Task = default("task"),
    protocol: o.Protocol = default("protocol"),
    clients: o.Clients = None,
    sample: o.Sample = 0,
    rounds: o.Rounds = None,
    partition: o.Partition = None,
    data: o.Data = None,
    own_data: OwnData = False,
    seed: o.Seed = default("seed"),
    threshold: o.Threshold = 0,
    min_contributors: o.MinContributors = 0,
    strategy: o.Strategy = default("strategy"),
    local_epochs: o.LocalEpochs = default("local-epochs"),
    batch_size: o.BatchSize = default("batch-size"),
    learning_rate: o.LearningRate = default("learning-rate"),
    optimizer: o.Optimizer = default("optimizer"),
    round_deadline: o.RoundDeadline = default("round-deadline"),
    max_failed_rounds: o.MaxFailedRounds = default("max-failed-rounds"),
    record: o.Record = default("record"),
    name: Names = None,
    days: Days = 825,
    key_bits: KeyBits = default("key-bits"),
    insecure_key_bits: o.InsecureKeyBits = None,
    trust_holders: TrustHolders = False,
) -> None:
    """Make keys, certificates and a first run: one folder per party, to be carried."""
    settings = o.run_settings(locals())
    from experiments.deploy import dealing, reports  # noqa: PLC0415
    from experiments.deploy.records import Deployment  # noqa: PLC0415

    reports.check_settings(settings, trust_holders=trust_holders)
    ids = tuple(range(1, settings.clients + 1))
    deployment = Deployment(settings, tuple(name or ()), days, own_data, ids)
    with _console.status("making keys: 5 to 40 seconds at 3072 bits"):
        prepared = dealing.create(out, deployment, _console.print)
    reports.describe(out, prepared, _console)


@app.command()
def enrol(  # noqa: PLR0917 - typer passes options by name
    ctx: typer.Context,
    folder: Root = Path("deploy"),
    task: o.Task = default("task"),
    protocol: o.Protocol = default("protocol"),
    sample: o.Sample = 0,
    rounds: o.Rounds = None,
    partition: o.Partition = None,
    data: o.Data = None,
    seed: o.Seed = default("seed"),
    min_contributors: o.MinContributors = 0,
    strategy: o.Strategy = default("strategy"),
    local_epochs: o.LocalEpochs = default("local-epochs"),
    batch_size: o.BatchSize = default("batch-size"),
    learning_rate: o.LearningRate = default("learning-rate"),
    optimizer: o.Optimizer = default("optimizer"),
    round_deadline: o.RoundDeadline = default("round-deadline"),
    max_failed_rounds: o.MaxFailedRounds = default("max-failed-rounds"),
    record: o.Record = default("record"),
) -> None:
    """Enrol everybody in a fresh run with the same keys; the options change it."""
    del task, protocol, sample, rounds, partition, data, seed, min_contributors
    del strategy, local_epochs, batch_size, learning_rate, optimizer, round_deadline
    del max_failed_rounds, record
    from experiments.deploy import dealing, reports  # noqa: PLC0415
    from experiments.deploy.records import Deployment  # noqa: PLC0415

    deployment = Deployment.read(folder).changed(_given(ctx))
    prepared = dealing.enrol(folder, deployment, _console.print)
    deployment.write(folder)
    reports.describe_run(folder, prepared, _console)


@app.command()
def revoke(
    out: Out,
    folder: Root = Path("deploy"),
    client: Annotated[
        list[int] | None,
        Option(help="Client to leave out; may be repeated.  \\[default: nobody]"),
    ] = None,
    trust_holders: TrustHolders = False,
) -> None:
    """Deal new keys, shares and certificates to everybody but these clients."""
    from experiments.deploy import dealing, reports  # noqa: PLC0415

    deployment = dealing.without(folder, client or [])
    reports.check_settings(deployment.settings, trust_holders=trust_holders)
    with _console.status("making keys: 5 to 40 seconds at 3072 bits"):
        prepared = dealing.create(out, deployment, _console.print)
    reports.describe(out, prepared, _console)
    _console.print(f"destroy what was carried of {folder}, and all of its copies")


@app.command()
def check(
    folder: Annotated[
        Path, Argument(metavar="DIR", help="A deployment, or one party's folder.")
    ] = Path("deploy"),
) -> None:
    """Look for what is wrong, one line a finding; ends with 1 if there is any."""
    from experiments.deploy.checks import check_any  # noqa: PLC0415

    findings = list(check_any(folder))
    for finding in findings:
        _console.print(finding.text, soft_wrap=True, markup=False)
    if findings:
        raise typer.Exit(1)
    _console.print(f"{folder}: no finding", soft_wrap=True, markup=False)


@app.command()
def superlink(
    folder: Annotated[
        Path, Option("--dir", readable=False, help="The SuperLink's own folder.")
    ],
    host: Annotated[str, Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - clients dial in from elsewhere
    port: Annotated[int, Option(min=1, max=65535)] = 9092,
    database: Annotated[
        Path | None,
        Option(help="Keeps its state.  \\[default: in state/ of its folder]"),
    ] = None,
    once: Once = False,
) -> None:
    """Serve as the meeting point that everybody dials."""
    from experiments.deploy.superlink import become_superlink  # noqa: PLC0415

    become_superlink(folder, host=host, port=port, database=database, once=once)


@app.command()
def run(  # noqa: PLR0917 - typer passes options by name
    superlink: Superlink,
    folder: Annotated[
        Path, Option("--dir", readable=False, help="The server's own folder.")
    ],
    out: o.Out = None,
    runs: Annotated[Path, Option(help="Folder of run folders.")] = Path("runs"),
    resume: Resume = None,
    wait: Wait = 600.0,
    json_output: o.Json = False,
) -> None:
    """Run the server of the enrolled run to its end."""
    from experiments.deploy import server  # noqa: PLC0415

    if out and resume:
        raise SettingsError("--resume has its own folder", "leave out --out")
    for risk in server.check_party(folder, superlink):
        tell(risk)
    deployed = server.DeployedRun(
        folder,
        superlink=superlink,
        out=resume or out or server.new_folder(folder, runs),
        console=None if json_output else Console(),
        seconds=wait,
        goes_on=resume is not None,
    )
    run_to_its_end(deployed, json_output)


@app.command()
def health(
    superlink: Superlink,
    ca: Annotated[Path, Option(help="Certificate of the authority: ca.crt.")],
) -> None:
    """Ask a SuperLink once whether it is well; ends with 1 if it is not."""
    from experiments.deploy.link import Link  # noqa: PLC0415

    problem = Link(superlink, ca).probe()
    if problem is not None:
        tell(f"no SuperLink at {superlink}: {problem}")
        raise typer.Exit(1)


def _given(ctx: typer.Context) -> dict[str, Any]:
    """Return the options that were given, but the folder."""
    return {
        name: value
        for name, value in ctx.params.items()
        if name != "folder"
        and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
