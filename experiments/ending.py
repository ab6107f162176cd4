"""What the command line says around a run: warnings before, results after."""

import json
import sys
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from crypto.params import AggregationParams
from experiments.settings import RunSettings
from experiments.summary import as_json, history, results_table
from experiments.totals import totals, totals_line

if TYPE_CHECKING:
    from experiments.launch import Launcher


def run_to_its_end(launcher: "Launcher", json_output: bool) -> None:
    """Run, and print what came of it.

    Args:
        launcher: The run.
        json_output: Whether to print JSON and nothing else.

    Raises:
        Exit: With 130 if the user stopped it.
    """
    try:
        events = launcher.run()
    except KeyboardInterrupt:
        # Typer would end without a word.
        complain("error", f"stopped; what was finished is in {launcher.out}")
        raise typer.Exit(130) from None
    if launcher.complaint:
        complain("warning", launcher.complaint)
    folder = str(launcher.out)
    if json_output:
        result = as_json(events) | {"took": totals(events), "run": folder}
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    console = Console()
    console.print(results_table(history(events)))
    console.print(totals_line(totals(events)), soft_wrap=True, highlight=False)
    console.print(f"run folder: {folder}", soft_wrap=True, highlight=False)
    if not launcher.complaint:
        console.print("report: report.html in it", highlight=False)


def complain(kind: str, text: str) -> None:
    """Write one line about what went wrong, or may go wrong."""
    sys.stderr.write(f"unseen: {kind}: {text}\n")


def warn(settings: RunSettings, params: AggregationParams) -> None:
    """Say what about a run is for trials, or for one person's machine, only."""
    if settings.insecure:
        complain("warning", f"a key of {settings.key_bits} bits is for trials only")
    if params.mode != "plain" and not params.max_corrupt:
        complain(
            "warning",
            f"{params.threshold} of {params.num_holders} key holders and sums of "
            f"{params.min_contributors} clients withstand nobody malicious: right on "
            f"your own machine only",
        )
