"""The tasks on text, one character after another."""
# ruff: noqa: PLC0415 - the command line looks tasks up without loading torch

from __future__ import annotations

from typing import TYPE_CHECKING

from models.data.characters import CHARACTERS
from models.data.prose import load_prose
from models.data.shakespeare import load_shakespeare
from models.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn

_HIDDEN = 256


def _character_network() -> nn.Module:
    from models.networks.characters import CharacterNetwork

    return CharacterNetwork(num_characters=len(CHARACTERS), hidden=_HIDDEN)


SHAKESPEARE = Task(
    name="shakespeare",
    summary="the next character of a play, an LSTM; one client per speaking role",
    make_network=_character_network,
    num_parameters=324_704,
    loss="next-character",
    optimizer="adam",
    learning_rate=0.01,
    batch_size=8,
    local_epochs=2,
    clip=1.5,
    w_max=2048,
    deadline_seconds=120.0,
    default_partition="natural",
    needs_data=True,
    load=load_shakespeare,
    num_clients=10,
    num_rounds=15,
    max_grad_norm=1.0,
    language=True,
)

PROSE = Task(
    name="prose",
    summary="the next character of Python's reference, the same LSTM; bundled",
    make_network=_character_network,
    num_parameters=324_704,
    loss="next-character",
    optimizer="adam",
    learning_rate=0.01,
    batch_size=8,
    local_epochs=2,
    clip=2.5,
    w_max=2048,
    deadline_seconds=120.0,
    default_partition="iid",
    needs_data=False,
    load=load_prose,
    num_rounds=6,
    max_grad_norm=1.0,
    language=True,
)
