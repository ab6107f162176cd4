"""`unseen keys`: make, show and check key sets."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clients.folder import check_folder
from crypto.errors import CryptoError, ParameterError
from crypto.manifest import DEPLOYMENT, SIMULATION, KeySet
from experiments.errors import SettingsError
from experiments.keysets import SAFE_KEY_BITS, create_keyset, read_keyset
from experiments.settings import default, default_threshold

app = typer.Typer(no_args_is_help=True)
_console = Console(highlight=False)


@app.command()
def create(  # noqa: PLR0917 - typer passes options by name
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist.")],
    clients: Annotated[int, typer.Option(min=2)] = default("num-clients"),
    holders: Annotated[
        int, typer.Option(help="Key holders.  [default: all clients]")
    ] = 0,
    threshold: Annotated[
        int, typer.Option(help="Key holders that open a sum.  [default: most of them]")
    ] = 0,
    simulation: Annotated[
        bool, typer.Option(help="For runs on this machine; refused for deployment.")
    ] = False,
    insecure_key_bits: Annotated[
        int | None, typer.Option(help="A smaller key, for trying things out only.")
    ] = None,
) -> None:
    """Hold the key ceremony: one folder per party, secrets in their owner's only."""
    num_holders = holders or clients
    key_bits = insecure_key_bits or default("key-bits")
    if key_bits < SAFE_KEY_BITS and not simulation:
        raise SettingsError(
            f"a key of {key_bits} bits protects nothing", "add --simulation to try it"
        )
    if num_holders > clients:
        raise SettingsError(f"{num_holders} key holders among {clients} clients")
    started = time.monotonic()
    with _console.status("searching two safe primes, 5 to 40 seconds at 3072 bits"):
        try:
            keys = create_keyset(
                out,
                num_clients=clients,
                num_holders=num_holders,
                threshold=threshold or default_threshold(num_holders),
                key_bits=key_bits,
                purpose=SIMULATION if simulation else DEPLOYMENT,
            )
        except ParameterError as error:
            raise SettingsError(str(error)) from None
    _console.print(f"made {out} in {time.monotonic() - started:.1f} s")
    _describe(keys)


@app.command()
def show(folder: Annotated[Path, typer.Argument(help="A key set.")]) -> None:
    """Show the public half of a key set."""
    _describe(read_keyset(folder))


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="A key set.")]) -> None:
    """Check a key set: public values, and every party's folder that is there."""
    keys = read_keyset(folder)
    problems = []
    parties = [folder / f"client-{i}" for i in sorted(keys.roster.clients)]
    for party in (path for path in parties if path.exists()):
        try:
            check_folder(party, keys)
            _console.print(f"{party.name}: good")
        except CryptoError as error:
            problems.append(party.name)
            _console.print(f"{party.name}: {error}")
    if problems:
        raise SettingsError(
            f"{len(problems)} folders do not fit the keys: {', '.join(problems)}",
            "restore them from a backup, or create new keys",
        )
    _describe(keys)


def _describe(keys: KeySet) -> None:
    key = keys.public_key
    rows = {
        "fingerprint": keys.fingerprint,
        "purpose": keys.purpose,
        "key": f"{key.key_bits} bits, {key.fingerprint}",
        "clients": len(keys.roster.clients),
        "key holders": f"clients {', '.join(map(str, keys.roster.holder_ids))}",
        "to open a sum": f"{key.threshold} of {key.num_holders}",
    }
    for name, value in rows.items():
        _console.print(f"  {name:14} {value}")
