"""`unseen partition`: who would hold what, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Option

from experiments import options as o
from experiments.errors import SettingsError
from experiments.settings import default

if TYPE_CHECKING:
    from experiments.holdings import Holding, Holdings

_BAR_WIDTH: Final = 50
_FEW_LABELS: Final = 5
_COLOURS: Final = ("blue", "dark_orange", "green", "red", "purple", "yellow", "cyan")

Out = Annotated[
    Path | None,
    Option(
        help="Picture; PNG and SVG are written.  \\[default: partition-TASK.png]",
        show_default=False,
    ),
]
Show = Annotated[bool, Option("--show", help="Draw the bars in the terminal, too.")]


def partition_command(  # noqa: PLR0917 - typer passes options by name
    task: o.Task = default("task"),
    clients: o.Clients = None,
    partition: o.Partition = None,
    data: o.Data = None,
    seed: o.Seed = default("seed"),
    out: Out = None,
    show: Show = False,
) -> None:
    """Print and plot who holds what: examples, labels, words of every client."""
    path = _picture_path(out, task)
    settings = o.run_settings(locals() | {"insecure_key_bits": None})
    checked = settings.checked()[0]
    scheme = settings.partition or checked.default_partition
    # Imported here: what reads and splits data takes longer than --help.
    from experiments.holdings import count  # noqa: PLC0415
    from experiments.partition_plot import save_plot  # noqa: PLC0415
    from experiments.sharing import load_and_split  # noqa: PLC0415
    from models.data.partition import left_out  # noqa: PLC0415

    console = Console(highlight=False)
    with console.status("sharing out the data"):
        dataset, parts = load_and_split(settings, checked)
        holdings = count(dataset, parts)
    title = f"{task}, {scheme}, {len(parts)} clients"
    picture = save_plot(holdings, title, path)
    console.print(title, markup=False, soft_wrap=True)
    console.print(holdings_table(holdings))
    if show:
        console.print(bars(holdings))
    note = left_out(
        scheme,
        dataset.groups,
        num_clients=len(parts),
        num_examples=holdings.available,
        num_taken=holdings.taken,
    )
    if note:
        console.print(note, markup=False, soft_wrap=True)
    for file in picture:
        console.print(f"picture: {file}", markup=False, soft_wrap=True)


def _picture_path(out: Path | None, task: str) -> Path:
    path = out or Path(f"partition-{task}.png")
    if path.suffix not in {".png", ".svg"} or path.is_dir():
        raise SettingsError(
            f"--out takes the name of a picture, got {path}",
            "end it with .png; an SVG of the same name is written beside it",
        )
    return path


def holdings_table(holdings: Holdings) -> Table:
    """Return one row a client, and their total."""
    first = holdings.clients[0]
    named = any(holding.owners for holding in holdings.clients)
    # Ten labels fit into 80 columns only without space around them.
    padding = 0 if len(holdings.labels) > _FEW_LABELS else (0, 1)
    table = Table(box=box.SIMPLE, show_footer=True, padding=padding)
    table.add_column("client", "total", justify="right")
    if named:
        table.add_column("of", overflow="fold")
    table.add_column("examples", f"{holdings.taken:,}", justify="right")
    share = holdings.taken / holdings.available
    table.add_column("share", f"{share:.1%}", justify="right")
    for number, label in enumerate(holdings.labels):
        total = sum(holding.labels[number] for holding in holdings.clients)
        heading = f"{'' if number else 'label'}\n{label}"
        table.add_column(heading, str(total), justify="right", min_width=4)
    if first.characters is not None:
        total = sum(holding.characters or 0 for holding in holdings.clients)
        table.add_column("characters", f"{total:,}", justify="right")
    if first.words is not None:
        table.add_column("distinct words", justify="right")
    for holding in holdings.clients:
        table.add_row(*_row(holding, holdings, named=named))
    return table


def _row(holding: Holding, holdings: Holdings, *, named: bool) -> list[str]:
    numbers = [holding.characters, holding.words]
    return [
        str(holding.client),
        *([_owners(holding)] if named else []),
        f"{holding.examples:,}",
        f"{holding.examples / holdings.available:.1%}",
        *map(str, holding.labels),
        *(f"{number:,}" for number in numbers if number is not None),
    ]


def _owners(holding: Holding) -> str:
    if len(holding.owners) == 1:
        return holding.owners[0]
    return f"{len(holding.owners)} owners"


def bars(holdings: Holdings) -> Text:
    """Return one bar a client as text, in one colour a label."""
    parts = [holdings.bar(holding) for holding in holdings.clients]
    longest = max(sum(bar) for bar in parts)
    text = Text(f"{holdings.unit}, longest bar {longest:,}\n", no_wrap=True)
    for holding, bar in zip(holdings.clients, parts, strict=True):
        text.append(f"{holding.client:>6} ")
        end = done = 0
        for number, part in enumerate(bar):
            # Rounded where a part ends, not its length: errors do not add up.
            end += part
            width = round(_BAR_WIDTH * end / longest) - done
            text.append("█" * width, style=_COLOURS[number % len(_COLOURS)])
            done += width
        text.append(f" {end:,}\n")
    return text
