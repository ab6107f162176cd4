"""The settings of one run: defaults, checks, and the parameters that follow."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from crypto.errors import ParameterError
from crypto.params import MODES, AggregationParams
from experiments.errors import SettingsError
from models.errors import TaskError
from models.local import LocalTraining
from models.tasks import Task, get_task
from server.config import STRATEGY_NAMES

MAX_HOLDERS: Final = 9  # the largest committee of PROTOCOL.md section 10
PROJECT: Final = Path(__file__).resolve().parent.parent
# Every parameter of a ciphertext costs each key holder a share of its opening; one-time
# keys cost the same whatever the network's size.
_LARGEST_FOR_PAILLIER: Final = 20_000


@cache
def defaults() -> Mapping[str, Any]:
    """Return the run configuration in `[tool.flwr.app.config]` of `pyproject.toml`."""
    config = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    return MappingProxyType(config["tool"]["flwr"]["app"]["config"])


def default(name: str) -> Any:
    """Return one of the `defaults`."""
    return defaults()[name]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a person asks for with `unseen run`; zero and None mean the default.

    Attributes:
        task: Name of the task.
        protocol: What a client sends; empty for the task's own.
        clients: Simulated clients; the first `MAX_HOLDERS` are key holders.
        sample: Clients asked in a round; 0 for all of them.
        rounds: Rounds to run.
        partition: How the data is shared out; None for the task's own way.
        data: Folder of the data, for tasks that need one.
        seed: Of everything random that protects nobody.
        threshold: Key holders that open a sum; 0 for one that tolerates some away.
        min_contributors: Smallest sum that is opened; 0 for the threshold.
        key_bits: Size of the Paillier modulus.
        value_bits: Bits of one encoded coordinate.
        clip: Bound on one coordinate of an update; 0 for the task's.
        strategy: Flower strategy at the server.
        local_epochs: Passes over a shard per round; 0 for the task's.
        batch_size: Examples per training step; 0 for the task's.
        learning_rate: Of the local optimizer; 0 for the task's.
        optimizer: Of local training, "sgd" or "adam"; empty for the task's.
        proximal_mu: Weight of FedProx's term; 0 for none.
        max_grad_norm: Bound on the gradient of a step; 0 for the task's.
        mixed_precision: Whether GPUs train in bfloat16 where that is safe.
        round_deadline: Seconds for the uploads of a phase; 0 for the task's.
        max_failed_rounds: Failed rounds in a row that end the run.
        early_stop: Rounds without a better model that end the run; 0 for never.
        record: Whether every message is kept in the run folder, for an audit.
    """

    task: str
    protocol: str
    clients: int
    sample: int
    rounds: int
    partition: str | None
    data: Path | None
    seed: int
    threshold: int
    min_contributors: int
    key_bits: int
    value_bits: int
    clip: float
    strategy: str
    local_epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    proximal_mu: float
    max_grad_norm: float
    mixed_precision: bool
    round_deadline: float
    max_failed_rounds: int
    early_stop: int
    record: bool

    def checked(self) -> tuple[Task, AggregationParams]:
        """Return the task and the parameters of the run.

        Raises:
            SettingsError: If a setting is unknown, or they cannot work together.
        """
        task, params = self.planned()
        if not task.needs_data and self.data is not None:
            raise SettingsError(f"task {task.name!r} takes no data", "leave out --data")
        return task, params

    def planned(self, num_parameters: int = 0) -> tuple[Task, AggregationParams]:
        """Return the task and the parameters of a run whose data is not there yet.

        Args:
            num_parameters: Of another network in the task's place; 0 for its own.

        Raises:
            SettingsError: If a setting is unknown, or they cannot work together.
        """
        task = find_task(self.task)
        if num_parameters:
            task = replace(task, num_parameters=num_parameters)
        self._check_words()
        self._check_numbers()
        self._check_training(task)
        return task, self._parameters(task)

    def _parameters(self, task: Task) -> AggregationParams:
        holders = min(self.clients, MAX_HOLDERS)
        threshold = self.threshold or default_threshold(holders)
        asked = self.sample or self.clients
        # Of a sample, too, a third may be away.
        usual = min(threshold, default_threshold(asked)) if self.sample else threshold
        needed = self.min_contributors or usual
        try:
            return AggregationParams(
                mode=self.protocol or default_protocol(task),
                key_bits=self.key_bits,
                num_holders=holders,
                threshold=threshold,
                max_corrupt=max(0, min(2 * threshold - holders - 1, needed - 2)),
                min_contributors=needed,
                max_contributors=asked,
                value_bits=self.value_bits,
                clip=self.clip or task.clip,
                w_max=1 if task.equal_weights else task.w_max,
                metrics=dict(task.metric_bounds),
            )
        except ParameterError as error:
            raise SettingsError(str(error), parameter_hint(error)) from None

    def _check_words(self) -> None:
        if self.strategy not in STRATEGY_NAMES:
            raise SettingsError(
                f"unknown strategy {self.strategy!r}",
                f"the strategies are {', '.join(STRATEGY_NAMES)}",
            )
        if self.protocol and self.protocol not in MODES:
            raise SettingsError(
                f"unknown protocol {self.protocol!r}",
                f"the protocols are {', '.join(reversed(MODES))}",
            )
        if self.clients < 2:  # noqa: PLR2004 - the sum of one client is its update
            raise SettingsError(
                f"a run needs at least 2 clients, got {self.clients}",
                "the sum over one client is that client's update",
            )
        if self.sample and not 1 < self.sample <= self.clients:
            raise SettingsError(
                f"sample must be 2 to {self.clients}, got {self.sample}",
                "it is the number of clients asked in a round; 0 asks all of them",
            )

    def _check_numbers(self) -> None:
        for name in ("learning_rate", "round_deadline"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                option = name.replace("_", "-")
                raise SettingsError(
                    f"{option} must be a finite number, got {value}",
                    f"change --{option}; 0 takes the task's (round-deadline: seconds)",
                )

    def _check_training(self, task: Task) -> None:
        try:
            LocalTraining.of(task, self._training())
        except TaskError as error:
            raise SettingsError(str(error), error.hint or "") from None

    def _training(self) -> dict[str, bool | str | int | float]:
        return {
            "local-epochs": self.local_epochs,
            "batch-size": self.batch_size,
            "learning-rate": float(self.learning_rate),
            "optimizer": self.optimizer,
            "proximal-mu": float(self.proximal_mu),
            "max-grad-norm": float(self.max_grad_norm),
            "mixed-precision": self.mixed_precision,
        }

    def run_config(
        self, params: AggregationParams
    ) -> dict[str, bool | str | int | float]:
        """Return the run configuration that differs from the defaults."""
        return {
            "task": self.task,
            "protocol": params.mode,
            "num-clients": self.clients,
            "num-rounds": self.rounds,
            "partition": self.partition or get_task(self.task).default_partition,
            "threshold": params.threshold,
            "min-contributors": params.min_contributors,
            "key-bits": params.key_bits,
            "value-bits": params.value_bits,
            "clip": float(params.clip),
            "strategy": self.strategy,
            **self._training(),
            "seed": self.seed,
            "round-deadline": float(self.round_deadline),
            "max-failed-rounds": self.max_failed_rounds,
            "early-stop": self.early_stop,
            "record": self.record,
        }

    def flower_command(self, params: AggregationParams, run_dir: Path) -> str:
        """Return the `flwr run` command for a prepared run of these settings."""
        changed = {
            name: value
            for name, value in self.run_config(params).items()
            if value != default(name) and not (name == "clip" and not self.clip)
        } | {"run-dir": str(run_dir)}
        pairs = " ".join(
            f"{name}='{value}'" if isinstance(value, str) else f"{name}={value}"
            for name, value in changed.items()
        )
        nodes = f'--federation-config "num-supernodes={self.clients}"'
        return f'flwr run . {nodes} --run-config "{pairs}" --stream'

    @property
    def insecure(self) -> bool:
        """Whether the key is smaller than the default; the run is marked so."""
        return bool(self.key_bits < default("key-bits"))


def default_run() -> RunSettings:
    """Return what `unseen run` does when it is told nothing."""
    return RunSettings(
        task=default("task"),
        protocol=default("protocol"),
        clients=default("num-clients"),
        sample=0,
        rounds=default("num-rounds"),
        partition=None,
        data=None,
        seed=default("seed"),
        threshold=0,
        min_contributors=0,
        key_bits=default("key-bits"),
        value_bits=default("value-bits"),
        clip=default("clip"),
        strategy=default("strategy"),
        local_epochs=default("local-epochs"),
        batch_size=default("batch-size"),
        learning_rate=default("learning-rate"),
        optimizer=default("optimizer"),
        proximal_mu=default("proximal-mu"),
        max_grad_norm=default("max-grad-norm"),
        mixed_precision=default("mixed-precision"),
        round_deadline=default("round-deadline"),
        max_failed_rounds=default("max-failed-rounds"),
        early_stop=default("early-stop"),
        record=default("record"),
    )


def find_task(name: str) -> Task:
    """Return the task called ``name``.

    Raises:
        SettingsError: If there is none.
    """
    try:
        return get_task(name)
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None


def default_protocol(task: Task) -> str:
    """Choose what a client sends when nobody says it, by the network's size."""
    return "hybrid" if task.num_parameters > _LARGEST_FOR_PAILLIER else "paillier"


def parameter_hint(error: ParameterError) -> str:
    """Name the option to change for parameters that cannot work."""
    text = str(error)
    options = ("threshold", "min-contributors", "value-bits", "clip", "holders")
    if text.startswith("max-contributors"):
        return "change --clients or --sample"
    named = [name for name in options if text.startswith(name)] or ["threshold"]
    return "change --" + ("insecure-key-bits" if "key" in text[:8] else named[0])


def default_threshold(num_holders: int) -> int:
    """Choose a threshold: a third may be away, and some may cheat.

    Gives 3 of 4, 4 of 5, 5 of 7, 7 of 9 (PROTOCOL.md section 10).
    """
    return num_holders - (num_holders - 1) // 3
