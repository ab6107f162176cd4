"""The `unseen` command line: arguments, messages and exit codes, nothing else.

Exit codes: 0 done, 1 a run failed, 2 settings are wrong and nothing was started, 130
stopped by the user.
"""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from experiments import keys_cli
from experiments.errors import SettingsError
from experiments.progress import Event
from experiments.settings import RunSettings, default
from experiments.summary import as_json, history, results_table

app = typer.Typer(
    name="unseen",
    help="Federated learning on data nobody sees.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(keys_cli.app, name="keys", help="Make and inspect keys.")


@app.callback()
def _root() -> None:
    """Keep `run` a command of its own."""


@app.command()
def run(  # noqa: PLR0917 - typer passes options by name
    task: Annotated[str, typer.Option(help="digits or spam.")] = default("task"),
    protocol: Annotated[
        str, typer.Option(help="paillier, or plain as the baseline.")
    ] = default("protocol"),
    clients: Annotated[
        int, typer.Option(help="Client processes, all of them key holders.")
    ] = default("num-clients"),
    rounds: Annotated[int, typer.Option(min=1)] = default("num-rounds"),
    engine: Annotated[
        str, typer.Option(help="processes: one process per client.")
    ] = "processes",
    partition: Annotated[
        str | None,
        typer.Option(help="iid, dirichlet:ALPHA or natural.  [default: the task's]"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data, for tasks that need one.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Run folder.  [default: runs/DATE-TIME-TASK]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = default("seed"),
    threshold: Annotated[
        int, typer.Option(help="Key holders that open a sum.  [default: most of them]")
    ] = 0,
    min_contributors: Annotated[
        int, typer.Option(help="Smallest sum that is opened.  [default: threshold]")
    ] = 0,
    value_bits: Annotated[
        int, typer.Option(help="Bits of one encoded coordinate.")
    ] = default("value-bits"),
    clip: Annotated[
        float, typer.Option(help="Bound on a coordinate.  [default: the task's]")
    ] = default("clip"),
    strategy: Annotated[
        str, typer.Option(help="fedavg, fedavgm, fedadam or fedyogi.")
    ] = default("strategy"),
    local_epochs: Annotated[int, typer.Option(min=0)] = default("local-epochs"),
    batch_size: Annotated[int, typer.Option(min=0)] = default("batch-size"),
    learning_rate: Annotated[float, typer.Option(min=0)] = default("learning-rate"),
    round_deadline: Annotated[
        float, typer.Option(min=0, help="Seconds.  [default: the task's]")
    ] = default("round-deadline"),
    max_failed_rounds: Annotated[
        int, typer.Option(min=1, help="Failed rounds in a row that end the run.")
    ] = default("max-failed-rounds"),
    keys: Annotated[
        Path | None, typer.Option(help="Key set.  [default: this machine's own]")
    ] = None,
    node: Annotated[
        str, typer.Option(help="thin, or Flower's own (stock, slow).")
    ] = "thin",
    port: Annotated[
        int | None, typer.Option(help="Port of the SuperLink.  [default: a free one]")
    ] = None,
    insecure_key_bits: Annotated[
        int | None, typer.Option(help="A smaller key, for trying things out only.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Train with one process per client on this machine, encrypted end to end."""
    settings = RunSettings(
        task=task,
        protocol=protocol,
        clients=clients,
        rounds=rounds,
        partition=partition,
        data=data,
        seed=seed,
        threshold=threshold,
        min_contributors=min_contributors,
        key_bits=insecure_key_bits or default("key-bits"),
        value_bits=value_bits,
        clip=clip,
        strategy=strategy,
        local_epochs=local_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        round_deadline=round_deadline,
        max_failed_rounds=max_failed_rounds,
    )
    folder = out or Path("runs") / f"{datetime.now():%Y-%m-%d-%H%M%S}-{task}"
    _choice("engine", engine, ("processes",))
    _choice("node", node, ("thin", "stock"))
    _choice("device", device, ("auto", "cpu", "cuda"))
    # Imported here: the launcher loads Flower, and --help should not wait for it.
    from experiments.launch import Launcher  # noqa: PLC0415

    if settings.insecure:
        _complain("warning", f"a key of {settings.key_bits} bits protects nothing")
    launcher = Launcher(
        settings,
        folder,
        console=None if json_output else Console(),
        keys=keys,
        stock_node=node == "stock",
        device=device,
        port=port,
    )
    _report(launcher.run(), folder, json_output=json_output)


def _report(events: list[Event], folder: Path, *, json_output: bool) -> None:
    if json_output:
        result = as_json(events) | {"run": str(folder)}
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    console = Console()
    console.print(results_table(history(events)))
    console.print(f"run folder: {folder}", soft_wrap=True)


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"unknown {name} {value!r}", f"known: {', '.join(known)}")


def _complain(kind: str, text: str) -> None:
    sys.stderr.write(f"unseen: {kind}: {text}\n")


def main() -> None:
    """Run the command line; every expected error is one line with a hint."""
    try:
        app()
    except SettingsError as error:
        _complain("error", str(error))
        if error.hint:
            _complain("hint", error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _complain("error", "stopped; what was finished is in the run folder")
        sys.exit(130)
