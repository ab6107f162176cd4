"""Measures the global model after every round, keeps it, and ends a run early."""

import math
import time

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from models import training
from models.shards import Shard, load_shard
from server.checkpoint import BEST, State, moments_of, save_checkpoint, save_model
from server.config import ServerConfig
from server.events import EventLog


class EarlyStop(Exception):  # noqa: N818 - the end of a run, not an error
    """The model has not become better for as many rounds as asked."""


class Evaluation:
    """Measures and keeps the global model after every round.

    Args:
        config: The server's settings; the test split lies in its run folder.
        events: The run's log.
        strategy: Whose moments are kept beside the model.
    """

    def __init__(
        self, config: ServerConfig, events: EventLog, strategy: Strategy
    ) -> None:
        self._config = config
        self._events = events
        self._strategy = strategy
        self._test: Shard = load_shard(config.run_folder / "test.npz")
        self._last: ArrayRecord | None = None
        self._best = math.inf
        self._best_round = config.start_round

    def __call__(self, server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        """Evaluate on the public test split and write the checkpoint.

        Returns:
            Loss and accuracy; None for a model that was measured before, after a
            failed round or at the start of a resumed run.

        Raises:
            EarlyStop: If the run shall end here.
        """
        resumes = server_round == self._config.start_round > 0
        is_known = resumes or arrays is self._last
        self._last = arrays
        if is_known:
            return None
        started = time.monotonic()
        state = arrays.to_torch_state_dict()
        network = self._config.task.make_network()
        network.load_state_dict(state)
        report = training.evaluate(network, self._test, self._config.task, device="cpu")
        language = {"perplexity": math.exp(min(report.loss, 700.0))}
        seconds = time.monotonic() - started
        self._keep(state, server_round)  # before anybody is told that it is there
        self._events.write(
            "evaluated",
            round=server_round,
            loss=report.loss,
            accuracy=report.accuracy,
            seconds=seconds,
            **(language if self._config.task.language else {}),
        )
        self._stop_early(state, report, server_round)
        return MetricRecord({"loss": report.loss, "accuracy": report.accuracy})

    def _keep(self, state: State, server_round: int) -> None:
        if self._config.run_dir:
            moments = moments_of(self._strategy)
            save_checkpoint(self._config.run_dir, state, moments, server_round)

    def _stop_early(
        self, state: State, report: training.EvaluationReport, server_round: int
    ) -> None:
        """Keep the best model, and end the run if it is too old."""
        if not self._config.early_stop:
            return
        language = self._config.task.language
        score = report.loss if language else -report.accuracy
        if score < self._best:
            self._best, self._best_round = score, server_round
            if self._config.run_dir:
                save_model(self._config.run_dir / BEST, state, server_round)
        elif server_round - self._best_round >= self._config.early_stop:
            self._events.write(
                "stopped_early", round=server_round, best=self._best_round
            )
            raise EarlyStop
