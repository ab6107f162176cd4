"""`unseen keys`: make, show and check key sets."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clients.folder import check_folder
from clients.policy import read_policy
from crypto.errors import CryptoError, KeyMismatchError, ParameterError
from crypto.manifest import DEPLOYMENT, SIMULATION, KeySet, read_json
from crypto.params import AggregationParams
from experiments.committees import Committee, good_committees
from experiments.errors import SettingsError
from experiments.keysets import (
    SAFE_KEY_BITS,
    create_keyset,
    read_keyset,
    task_networks,
)
from experiments.settings import (
    MAX_HOLDERS,
    default,
    default_threshold,
    parameter_hint,
)

app = typer.Typer(no_args_is_help=True)
_console = Console(highlight=False)


Holders = Annotated[
    int,
    typer.Option(min=0, help="Key holders.  \\[default: up to 9]", show_default=False),
]
Threshold = Annotated[
    int,
    typer.Option(
        min=0,
        help="Key holders that open a sum.  \\[default: all but a third]",
        show_default=False,
    ),
]
TrustHolders = Annotated[
    bool,
    typer.Option(
        "--trust-holders",
        help="Accept a committee in which one malicious key holder is too many.",
    ),
]
Simulation = Annotated[
    bool, typer.Option(help="For runs on this machine; refused for deployment.")
]
InsecureKeyBits = Annotated[
    int | None, typer.Option(help="A smaller key, for trying things out only.")
]


@app.command()
def create(  # noqa: PLR0917 - typer passes options by name
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist.")],
    clients: Annotated[int, typer.Option(min=2)] = default("num-clients"),
    holders: Holders = 0,
    threshold: Threshold = 0,
    trust_holders: TrustHolders = False,
    simulation: Simulation = False,
    insecure_key_bits: InsecureKeyBits = None,
) -> None:
    """Hold the key ceremony: one folder per party, secrets in their owner's only."""
    num_holders = holders or min(clients, MAX_HOLDERS)
    threshold = threshold or default_threshold(num_holders)
    key_bits = default("key-bits") if insecure_key_bits is None else insecure_key_bits
    _check_ceremony(clients, num_holders, threshold, key_bits)
    if not trust_holders:
        check_committee(clients, num_holders, threshold)
    if key_bits < SAFE_KEY_BITS and not simulation:
        raise SettingsError(
            f"a key of {key_bits} bits protects nothing", "add --simulation to try it"
        )
    started = time.monotonic()
    with _console.status("searching two safe primes, 5 to 40 seconds at 3072 bits"):
        try:
            keys = create_keyset(
                out,
                num_clients=clients,
                num_holders=num_holders,
                threshold=threshold,
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
    parties = {i: folder / f"client-{i}" for i in sorted(keys.roster.clients)}
    for client_id, party in parties.items():
        if not party.exists():
            continue
        try:
            _check_party(party, keys, client_id)
            _console.print(f"{party.name}: good")
        except CryptoError as error:
            problems.append(party.name)
            _console.print(f"{party.name}: {error}")
    try:
        server = folder / "server" / "keys.json"
        if server.exists() and KeySet.from_dict(read_json(server)) != keys:
            problems.append("server")
    except CryptoError:
        problems.append("server")
    if problems:
        raise SettingsError(
            f"{len(problems)} folders do not fit the keys: {', '.join(problems)}",
            "restore them from a backup, or create new keys",
        )
    _describe(keys)


@app.command()
def networks() -> None:
    """Show the digest of every task's network, for the list in a policy.toml."""
    for name, digest in task_networks().items():
        _console.print(f"  {name:14} {digest}", soft_wrap=True)


def _check_ceremony(
    clients: int, num_holders: int, threshold: int, key_bits: int
) -> None:
    """Refuse keys that no run could use, before any prime is searched."""
    if num_holders > clients:
        raise SettingsError(
            f"{num_holders} key holders among {clients} clients",
            "change --holders or --clients",
        )
    try:
        AggregationParams(
            mode="paillier",
            key_bits=key_bits,
            num_holders=num_holders,
            threshold=threshold,
            max_corrupt=0,
            min_contributors=2,
            max_contributors=clients,
            value_bits=default("value-bits"),
            clip=1.0,
            w_max=1,
        )
    except ParameterError as error:
        raise SettingsError(str(error), parameter_hint(error)) from None


def check_committee(clients: int, num_holders: int, threshold: int) -> None:
    """Refuse a committee in which one malicious member is too many."""
    committee = Committee(threshold=threshold, num_holders=num_holders)
    if committee.may_cheat:
        return
    good = good_committees(near=num_holders, at_most=clients)
    ways = [f"--holders {c.num_holders} --threshold {c.threshold}" for c in good]
    raise SettingsError(
        f"with {committee} key holders, a single malicious one and the server can "
        f"open two sums of one round",
        "pass " + ", or ".join([*ways, "--trust-holders if that cannot be"]),
    )


def _check_party(party: Path, keys: KeySet, client_id: int) -> None:
    """Check one client's folder against the key set.

    Raises:
        CryptoError: If something is missing, damaged or belongs elsewhere.
    """
    if KeySet.from_dict(read_json(party / "keys.json")) != keys:
        raise KeyMismatchError(f"{party / 'keys.json'} pins other keys")
    read_policy(party / "policy.toml")
    identity, _ = check_folder(party, keys)
    if identity.client_id != client_id:
        raise KeyMismatchError(f"{party} holds the identity of another client")


def _describe(keys: KeySet) -> None:
    key = keys.public_key
    rows = {
        "fingerprint": keys.fingerprint,
        "purpose": keys.purpose,
        "key": f"{key.key_bits} bits, {key.fingerprint}",
        "clients": len(keys.roster.clients),
        "key holders": f"clients {', '.join(map(str, keys.roster.holder_ids))}",
        "to open a sum": Committee(
            threshold=key.threshold, num_holders=key.num_holders
        ).explain(),
    }
    for name, value in rows.items():
        _console.print(f"  {name:14} {value}")
