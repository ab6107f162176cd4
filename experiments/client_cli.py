"""`unseen client`: join a run from any machine with one client's folder."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from experiments.options import Device, check_choices

Superlink = Annotated[str, Option(metavar="HOST:PORT", help="The SuperLink to dial.")]
Wait = Annotated[
    float, Option(min=0, help="Seconds to wait for a SuperLink that is away.")
]
Once = Annotated[bool, Option("--once", help="End when the run is over.")]


def client_command(  # noqa: PLR0917 - typer passes options by name
    superlink: Superlink,
    folder: Annotated[
        Path,
        Option(
            "--dir",
            readable=False,
            help="This client's folder, made by unseen deploy init.",
        ),
    ],
    data: Annotated[
        Path | None,
        Option(help="This client's own data.  \\[default: the shard in its folder]"),
    ] = None,
    device: Device = "auto",
    wait: Wait = 600.0,
    once: Once = False,
) -> None:
    """Take part in a run as one client; only dials out."""
    check_choices(device=device)
    # Imported here: NumPy and gmpy2 take longer than --help.
    from experiments.deploy.joining import become_client  # noqa: PLC0415

    become_client(
        folder,
        superlink=superlink,
        data=data,
        device=device,
        seconds=wait,
        once=once,
        tell=tell,
    )


def tell(line: str) -> None:
    """Write a line for people that is no error, at once."""
    sys.stderr.write(f"unseen: {line}\n")
    sys.stderr.flush()
