"""A run's folder as the product leaves it, without a run: for the tests of reports."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report.samples import keep_samples
from experiments.settings import RunSettings, default_run
from models import training
from models.data.digits import load_digits
from models.shards import Shard
from models.tasks import get_task
from server.checkpoint import MODEL, save_model

START = 1_800_000_000.0
CLIENTS = (1, 2, 3, 4, 5)
PARAMETERS = 5930
CIPHERTEXTS = 45


def write_config(folder: Path, settings: RunSettings | None = None) -> None:
    """Write the config.json of a run with an insecure key."""
    settings = settings or settings_of()
    values = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(settings).items()
    }
    config = {
        "settings": values,
        "parameters": settings.planned()[1].to_dict(),
        "keys": "a475095fa30ba404",
        "insecure": settings.insecure,
        "command": ["run", "--rounds", "3"],
        "started": "2026-11-23T15:00:00+00:00",
        "versions": {"flwr": "1.41.0"},
        "device": "auto",
        "node": "thin",
    }
    (folder / "config.json").write_text(json.dumps(config))


def settings_of(**changed: Any) -> RunSettings:
    """Return the settings of a run as its config.json has them."""
    named: dict[str, Any] = {
        "protocol": "paillier",
        "clients": 5,
        "rounds": 3,
        "key_bits": 512,
    }
    return replace(default_run(), **(named | changed))


class Story:
    """Writes the events of a run, one second after another.

    Args:
        folder: The run's folder; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._path = folder / "events.jsonl"
        self._time = START

    def tell(self, event: str, **values: Any) -> None:
        """Write one event."""
        self._time += 1
        line = json.dumps({"time": self._time, "event": event, **values})
        with self._path.open("a") as file:
            file.write(f"{line}\n")

    def start(self, **changed: Any) -> None:
        """Write what comes before the first round."""
        self.tell("startup", step="keys")
        self.tell("startup", step="keys", seconds=2.5)
        facts = {
            "task": "digits",
            "protocol": "paillier",
            "clients": 5,
            "rounds": 3,
            "threshold": 4,
            "holders": 5,
            "key_bits": 512,
            "model_parameters": PARAMETERS,
            "ciphertexts": CIPHERTEXTS,
        }
        self.tell("run_started", **(facts | changed))
        self.tell("clients_ready", clients=list(CLIENTS), missing=[])
        self.tell("evaluated", round=0, loss=2.3, accuracy=0.1, seconds=0.1)

    def phase(
        self,
        number: int,
        name: str,
        *,
        clients: Sequence[int] = CLIENTS,
        without: Sequence[int] = (),
    ) -> None:
        """Write one phase of a round, and that some clients gave no answer."""
        here = [client for client in clients if client not in without]
        facts: dict[str, Any] = {"round": number, "phase": name}
        self.tell("round_started", clients=list(clients), bytes_down=24_000, **facts)
        for client in here:
            self.tell("upload", client=client, bytes=35_000, seconds=0.5, **facts)
        if without:
            self.tell("dropped", clients=list(without), after=30.0, **facts)
        self.tell("opening", holders=here[:4], contributors=here, **facts)
        for client in here[:4]:
            self.tell("partial", client=client, bytes=260, **facts)
        seconds = {"collect": 1.0, "open": 0.5, "combine": 0.25}
        self.tell("opened", contributors=here, seconds=seconds, sum="00", **facts)
        self.tell("metrics", values={"train_loss": 1 / number}, **facts)

    def round(self, number: int, *, loss: float = 0.5, **phase: Any) -> None:
        """Write a whole round."""
        self.phase(number, "train", **phase)
        self.phase(number, "evaluate", **phase)
        self.tell(
            "round_finished",
            round=number,
            seconds=4.0,
            bytes_up=200_000,
            bytes_down=900_000,
        )
        accuracy = 1 - 0.5 / number
        facts = {"round": number, "accuracy": accuracy, "seconds": 0.1}
        self.tell("evaluated", loss=loss, **facts)

    def finish(self, rounds: int = 3) -> None:
        """Write the end of a run that went well."""
        self.tell("run_finished", rounds_opened=rounds, seconds=12.0)


def finished_run(folder: Path, **started: Any) -> Path:
    """Write the folder of a run of three rounds, with its model and samples."""
    story = Story(folder)
    story.start(**started)
    for number in (1, 2, 3):
        story.round(number)
    story.finish()
    write_config(folder)
    add_model(folder)
    return folder


def add_model(folder: Path, task_name: str = "digits") -> None:
    """Add an untrained model of a task and some test images."""
    network = training.initial_network(get_task(task_name), seed=1)
    save_model(folder / MODEL, network.state_dict(), 3)
    if task_name == "digits":
        keep_samples(folder, load_digits().test)


def word_shard(texts: Mapping[tuple[int, ...], int]) -> Shard:
    """Return texts, as tuples of word numbers, with their labels."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    return Shard(
        {
            "tokens": np.array([word for text in texts for word in text], np.int32),
            "offsets": np.cumsum(lengths) - lengths,
            "labels": np.array(list(texts.values()), dtype=np.int64),
        }
    )
