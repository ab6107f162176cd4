"""A small deployment for tests, and the commands that a person would type for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from experiments import cli
from experiments.deploy import dealing
from experiments.deploy.records import Deployment
from experiments.settings import default_run

KEY_BITS = 512  # quick, and useless for anything but tests


def say_nothing(_: str) -> None:
    """Take a line for people."""


def make_deployment(
    root: Path,
    *,
    clients: int = 3,
    own_data: bool = False,
    partition: str = "iid",
    rounds: int = 2,
) -> None:
    """Deal keys of 512 bits for a short run of the digits."""
    settings = replace(
        default_run(),
        clients=clients,
        rounds=rounds,
        key_bits=KEY_BITS,
        partition=partition,
    )
    ids = tuple(range(1, clients + 1))
    deployment = Deployment(settings, ("example.org",), 825, own_data, ids)
    dealing.create(root, deployment, say_nothing)


def unseen(*arguments: object) -> Result:
    """Call the command line; its named errors are the result's exception."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Change a file's text, and nothing about who may read it."""
    path.write_text(change(path.read_text()))
