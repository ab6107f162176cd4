"""The `unseen` command line: arguments, messages and exit codes, nothing else.

Exit codes: 0 done, 1 a run failed or an audit found something, 2 settings are wrong and
nothing was started, 130 stopped by the user.
"""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from experiments import keys_cli, words_cli
from experiments import options as o
from experiments.client_cli import client_command
from experiments.deploy import cli as deploy_cli
from experiments.ending import complain, run_to_its_end, warn
from experiments.errors import SettingsError
from experiments.generate_cli import generate
from experiments.partition_cli import partition_command
from experiments.runs_cli import report_command, runs_command
from experiments.settings import RunSettings, default

app = typer.Typer(
    name="unseen",
    help="Federated learning on data nobody sees.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(keys_cli.app, name="keys", help="Make and inspect keys.")
app.add_typer(deploy_cli.app, name="deploy", help="Clients on other machines.")


@app.command()
def run(  # noqa: PLR0917 - typer passes options by name
    ctx: typer.Context,
    task: o.Task = default("task"),
    protocol: o.Protocol = default("protocol"),
    clients: o.Clients = None,
    sample: o.Sample = 0,
    rounds: o.Rounds = None,
    engine: o.Engine = "processes",
    ray_address: o.RayAddress = "",
    client_cpus: o.ClientCpus = 1.0,
    client_gpus: o.ClientGpus = 0.0,
    partition: o.Partition = None,
    data: o.Data = None,
    device: o.Device = "auto",
    out: o.Out = None,
    seed: o.Seed = default("seed"),
    threshold: o.Threshold = 0,
    min_contributors: o.MinContributors = 0,
    value_bits: o.ValueBits = default("value-bits"),
    clip: o.Clip = default("clip"),
    strategy: o.Strategy = default("strategy"),
    local_epochs: o.LocalEpochs = default("local-epochs"),
    batch_size: o.BatchSize = default("batch-size"),
    learning_rate: o.LearningRate = default("learning-rate"),
    optimizer: o.Optimizer = default("optimizer"),
    proximal_mu: o.ProximalMu = default("proximal-mu"),
    max_grad_norm: o.MaxGradNorm = default("max-grad-norm"),
    mixed_precision: o.MixedPrecision = default("mixed-precision"),
    round_deadline: o.RoundDeadline = default("round-deadline"),
    max_failed_rounds: o.MaxFailedRounds = default("max-failed-rounds"),
    early_stop: o.EarlyStop = default("early-stop"),
    record: o.Record = default("record"),
    keys: o.Keys = None,
    node: o.Node = "thin",
    port: o.Port = None,
    superlink_restarts: o.SuperlinkRestarts = 0,
    insecure_key_bits: o.InsecureKeyBits = None,
    resume: o.Resume = None,
    json_output: o.Json = False,
) -> None:
    """Train with many clients on this machine, encrypted end to end."""
    settings, after = _asked_for(ctx, locals())
    o.check_choices(engine=engine, node=node, device=device)
    ray = o.ray_resources(ctx)
    warn(settings, settings.checked()[1])
    folder = resume or out or _new_folder(settings.task)
    where = {"device": device, "port": port, "stock_node": node == "stock", "ray": ray}
    where["restarts"] = superlink_restarts
    _launch(settings, folder, json_output, keys=keys, resume_after=after, **where)


@app.command()
def prepare(  # noqa: PLR0917 - typer passes options by name
    task: o.Task = default("task"),
    protocol: o.Protocol = default("protocol"),
    clients: o.Clients = None,
    sample: o.Sample = 0,
    partition: o.Partition = None,
    data: o.Data = None,
    seed: o.Seed = default("seed"),
    threshold: o.Threshold = 0,
    min_contributors: o.MinContributors = 0,
    value_bits: o.ValueBits = default("value-bits"),
    clip: o.Clip = default("clip"),
    keys: o.Keys = None,
    insecure_key_bits: o.InsecureKeyBits = None,
) -> None:
    """Make keys, shards and a run id for `flwr run .` on this machine."""
    settings = o.run_settings(locals())
    warn(settings, settings.checked()[1])
    from experiments.prepare import prepare_for_flower  # noqa: PLC0415

    console = Console(highlight=False)
    with console.status("sharing out the data, making keys if there are none"):
        prepared = prepare_for_flower(settings, keys, console.print)
    console.print(f"run {prepared.run_id} is prepared under {prepared.keyset}")
    console.print("start it with:")
    command = settings.flower_command(prepared.manifest.params, _new_folder(task))
    console.print(command, soft_wrap=True)


@app.command()
def plan(  # noqa: PLR0917 - typer passes options by name
    task: o.Task = default("task"),
    protocol: o.Protocol = default("protocol"),
    clients: o.Clients = None,
    sample: o.Sample = 0,
    parameters: o.Parameters = 0,
    threshold: o.Threshold = 0,
    min_contributors: o.MinContributors = 0,
    value_bits: o.ValueBits = default("value-bits"),
    clip: o.Clip = default("clip"),
    round_deadline: o.RoundDeadline = default("round-deadline"),
    insecure_key_bits: o.InsecureKeyBits = None,
    json_output: o.Json = False,
) -> None:
    """Say what a run will send and take on this machine; starts and writes nothing."""
    settings = o.run_settings(locals())
    # Imported here: NumPy and gmpy2 take longer than --help.
    from experiments.plan.report import make_plan  # noqa: PLC0415
    from experiments.plan.table import show  # noqa: PLC0415

    planned = make_plan(settings, parameters)
    warn(settings, planned.params)
    if json_output:
        sys.stdout.write(json.dumps(planned.to_dict(), indent=2) + "\n")
    else:
        show(planned, Console())


@app.command()
def audit(run: o.RecordedRun, show_all: o.AllFindings = False) -> None:
    """Prove from a run that was made with --record that it encrypts; needs no key."""
    from experiments.audit import verdict as auditing  # noqa: PLC0415

    console = Console()
    verdict = auditing.audit(run, console)
    auditing.show(verdict, console, all_findings=show_all)
    if verdict.findings:
        raise typer.Exit(1)


words_cli.register(app)
app.command("partition")(partition_command)
app.command()(generate)
app.command("client")(client_command)
app.command("runs")(runs_command)
app.command("report")(report_command)


def _asked_for(
    ctx: typer.Context, options: dict[str, Any]
) -> tuple[RunSettings, int | None]:
    """Return the settings, and for a run that goes on the round after which it does."""
    if not options["resume"]:
        return o.run_settings(options), None
    o.check_resumable(ctx)
    from experiments.resume import resumed  # noqa: PLC0415

    return resumed(options["resume"], options["rounds"])


def _new_folder(task: str) -> Path:
    return Path("runs").resolve() / f"{datetime.now():%Y-%m-%d-%H%M%S}-{task}"


def _launch(
    settings: RunSettings,
    out: Path,
    json_output: bool,
    **options: Any,
) -> None:
    # Imported here: the launcher loads Flower, and --help should not wait for it.
    from experiments.launch import Launcher  # noqa: PLC0415

    console = None if json_output else Console()
    run_to_its_end(Launcher(settings, out, console=console, **options), json_output)


def main() -> None:
    """Run the command line; every expected error is one line with a hint."""
    try:
        app()
    except SettingsError as error:
        complain("error", str(error))
        if error.hint:
            complain("hint", error.hint)
        sys.exit(error.exit_code)
