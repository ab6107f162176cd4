"""One run at the server: from the initial model to the last round."""

import time
from contextlib import suppress

from flwr.app import ArrayRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    FedAdam,
    FedAvg,
    FedAvgM,
    FedYogi,
    Strategy,
)

from crypto.layout import EVALUATE, TRAIN, make_layout
from crypto.manifest import Manifest, read_json
from models import training
from models.networks.state import state_arrays
from models.parameters import layout_of
from server.checkpoint import MODEL, State, load_model, restore_moments
from server.config import STRATEGY_NAMES, RunConfig, ServerConfig
from server.errors import RunError
from server.evaluation import EarlyStop, Evaluation
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
    inner = _strategy(config)
    arrays = network.state_dict()
    if config.start_round:
        arrays = _resume(config, inner, arrays)
    strategy = SecureAggregation(
        inner,
        manifest=manifest,
        run_id=bytes.fromhex(config.run_folder.name),
        run_config=run_config,
        settings=_settings(config),
        events=events,
    )
    with suppress(EarlyStop):
        strategy.start(
            grid,
            ArrayRecord(arrays),
            num_rounds=config.num_rounds,
            evaluate_fn=Evaluation(config, events, inner),
        )
    events.write(
        "run_finished",
        rounds_opened=strategy.rounds_opened,
        seconds=time.monotonic() - started,
    )


def _resume(config: ServerConfig, strategy: Strategy, fresh: State) -> State:
    """Return the model of the round after which an earlier run ended."""
    if config.run_dir is None:
        raise RunError("only a run with a folder can be resumed", "set run-dir")
    restore_moments(strategy, config.run_dir, config.start_round)
    return load_model(config.run_dir / MODEL, fresh)


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
        start_round=config.start_round,
    )
