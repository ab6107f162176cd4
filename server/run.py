"""One run at the server: from the initial model to the last round."""

import time
from pathlib import Path

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    FedAdam,
    FedAvg,
    FedAvgM,
    FedYogi,
    Strategy,
)
from safetensors.torch import save_file
from torch import Tensor

from crypto.layout import EVALUATE, TRAIN, make_layout
from crypto.manifest import Manifest, read_json
from models import training
from models.networks.state import state_arrays
from models.parameters import layout_of
from models.shards import Shard, load_shard
from server.config import STRATEGY_NAMES, RunConfig, ServerConfig
from server.errors import RunError
from server.events import EventLog
from server.recorder import Recorder, RecordingGrid
from server.strategy import RoundSettings, SecureAggregation

STRATEGIES = dict(zip(STRATEGY_NAMES, (FedAvg, FedAvgM, FedAdam, FedYogi), strict=True))
_SERVER_MOMENTUM = 0.9  # Flower's default of 0 would be plain FedAvg
TRAIN_METRICS = ("train_loss",)
EVALUATE_METRICS = ("accuracy", "loss")


def run(
    grid: Grid, config: ServerConfig, run_config: RunConfig, events: EventLog
) -> None:
    """Train with the clients that are there and keep the results.

    Args:
        grid: Flower's way to the clients.
        config: The server's settings.
        run_config: The run configuration as the clients' apps read it.
        events: The run's log.

    Raises:
        RunError: If the run cannot go on.
        CryptoError: If a client runs other code, keys or parameters.
    """
    started = time.monotonic()
    manifest = Manifest.from_dict(read_json(config.run_folder / "manifest.json"))
    if config.record:
        grid = _recorded(grid, config, manifest, run_config)
    network = training.initial_network(config.task, seed=config.seed)
    dim = layout_of(state_arrays(network)).dim
    _announce(config, manifest, dim, events)
    strategy = SecureAggregation(
        _strategy(config),
        manifest=manifest,
        run_id=bytes.fromhex(config.run_folder.name),
        run_config=run_config,
        settings=_settings(config),
        events=events,
    )
    evaluation = Evaluation(config, events)
    strategy.start(
        grid,
        ArrayRecord(network.state_dict()),
        num_rounds=config.num_rounds,
        evaluate_fn=evaluation,
    )
    events.write(
        "run_finished",
        rounds_opened=strategy.rounds_opened,
        seconds=time.monotonic() - started,
    )


class Evaluation:
    """Measures and keeps the global model after every round.

    Args:
        config: The server's settings; the test split lies in its run folder.
        events: The run's log.
    """

    def __init__(self, config: ServerConfig, events: EventLog) -> None:
        self._config = config
        self._events = events
        self._test: Shard = load_shard(config.run_folder / "test.npz")
        self._last: ArrayRecord | None = None

    def __call__(self, server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        """Evaluate on the public test split and write the checkpoint.

        Returns:
            Loss and accuracy; None after a failed round, the model is the same.
        """
        if arrays is self._last:
            return None
        self._last = arrays
        started = time.monotonic()
        state = arrays.to_torch_state_dict()
        network = self._config.task.make_network()
        network.load_state_dict(state)
        report = training.evaluate(network, self._test, self._config.task, device="cpu")
        if self._config.run_dir:
            _save(self._config.run_dir / "model.safetensors", state, server_round)
        self._events.write(
            "evaluated",
            round=server_round,
            loss=report.loss,
            accuracy=report.accuracy,
            seconds=time.monotonic() - started,
        )
        return MetricRecord({"loss": report.loss, "accuracy": report.accuracy})


def _announce(
    config: ServerConfig, manifest: Manifest, dim: int, events: EventLog
) -> None:
    params = manifest.params
    layout = make_layout(params, phase=TRAIN, dim=dim, metrics=TRAIN_METRICS)
    make_layout(params, phase=EVALUATE, dim=0, metrics=EVALUATE_METRICS)
    encrypted = params.mode != "plain"
    events.write(
        "run_started",
        task=config.task.name,
        protocol=params.mode,
        clients=config.num_clients,
        rounds=config.num_rounds,
        threshold=params.threshold,
        holders=params.num_holders,
        key_bits=params.key_bits,
        model_parameters=dim,
        ciphertexts=params.num_ciphertexts(layout.num_values) if encrypted else 0,
    )


def _recorded(
    grid: Grid, config: ServerConfig, manifest: Manifest, run_config: RunConfig
) -> Grid:
    """Return a grid that keeps every message in the run folder."""
    if config.run_dir is None:
        raise RunError("a recorded run needs a run folder", "set run-dir")
    recorder = Recorder(
        config.run_dir / "record",
        manifest=manifest,
        run_id=bytes.fromhex(config.run_folder.name),
        run_config=run_config,
    )
    return RecordingGrid(grid, recorder)


def _strategy(config: ServerConfig) -> Strategy:
    if config.strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise RunError(
            f"unknown strategy {config.strategy!r}", f"the strategies are {known}"
        )
    options: dict[str, float] = {"fraction_train": config.fraction_train}
    if config.strategy == "fedavgm":
        options["server_momentum"] = _SERVER_MOMENTUM
    strategy: Strategy = STRATEGIES[config.strategy](**options)
    return strategy


def _settings(config: ServerConfig) -> RoundSettings:
    return RoundSettings(
        num_clients=config.num_clients,
        deadline_seconds=config.deadline_seconds,
        max_failed_rounds=config.max_failed_rounds,
        train_metrics=TRAIN_METRICS,
        evaluate_metrics=EVALUATE_METRICS,
        seed=config.seed,
    )


def _save(path: Path, state: dict[str, Tensor], server_round: int) -> None:
    """Write a checkpoint so that a crash leaves the old one or the new one."""
    fresh = path.with_suffix(".new")
    save_file(state, fresh, metadata={"round": str(server_round)})
    fresh.replace(path)
