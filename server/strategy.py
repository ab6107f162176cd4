"""The strategy wrapper: any Flower strategy, over sums that the server cannot open.

    strategy = SecureAggregation(FedAvg(), manifest=..., run_id=..., run_config=...)

The inner strategy proposes what to send and receives one aggregate per round; it
never sees a client. Sampling, deadlines and the committee are the wrapper's.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from crypto.aggregation import RoundSum
from crypto.encoding import Canonical
from crypto.errors import SumRangeError
from crypto.layout import CLIPPED_SHARE, EVALUATE, TRAIN, UPDATE_PEAK
from crypto.manifest import Manifest
from crypto.vector import Aggregate
from server.cohort import Cohort
from server.errors import RoundError, RunError
from server.events import EventLog
from server.grid import FastGrid
from server.phase import (
    Phase,
    keep_dtypes,
    make_broadcast,
    mean_reply,
    metrics_record,
)

_MANY_CLIPPED = 0.01
_LOW_PEAK = 1 / 32  # five bits of resolution unused
_CROWD = 100  # even a hundredth of them is somebody
_LEAST_NODES = ("min_train_nodes", "min_evaluate_nodes", "min_available_nodes")

Evaluate = Callable[[int, ArrayRecord], MetricRecord | None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """How a run's rounds are driven; nothing here protects anybody.

    Attributes:
        num_clients: Clients to wait for at the start.
        deadline_seconds: For all uploads of a phase, and again for an opening.
        start_seconds: For the clients to be there.
        max_failed_rounds: Failed rounds in a row that end the run.
        train_metrics: Metrics of the app's training replies that travel, sealed.
        evaluate_metrics: Metrics of its evaluation replies.
        seed: Of the sampling.
        start_round: Rounds that an earlier part of the run has done.
    """

    num_clients: int
    deadline_seconds: float = 30.0
    start_seconds: float = 120.0
    max_failed_rounds: int = 3
    train_metrics: tuple[str, ...] = ()
    evaluate_metrics: tuple[str, ...] = ()
    seed: int = 0
    start_round: int = 0


class SecureAggregation(Strategy):
    """Wraps a strategy so that it works on encrypted updates.

    Args:
        strategy: Any strategy of the FedAvg family; it gets one synthetic reply per
            round, made of the opened mean.
        manifest: The run's keys and parameters.
        run_id: 16 bytes, as the clients were enrolled with it.
        run_config: The run configuration, as the clients' apps read it.
        settings: Deadlines, sampling, metrics.
        events: Where phases are logged as they happen.

    Attributes:
        rounds_opened: Rounds whose training was opened so far, those of earlier parts
            of the run included.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        manifest: Manifest,
        run_id: bytes,
        run_config: Mapping[str, Canonical],
        settings: RoundSettings,
        events: EventLog | None = None,
    ) -> None:
        self._inner = strategy
        self._manifest = manifest
        self._run_id = run_id
        self._run_config = run_config
        self._settings = settings
        self._events = events or EventLog(None)
        self._connection: tuple[FastGrid, Cohort] | None = None
        self._proposed: Message | None = None
        self._phase: Phase | None = None
        self._arrays = ArrayRecord()
        self._failed_in_a_row = 0
        self.rounds_opened = settings.start_round
        self._trained = False
        self._round_started = 0.0
        self._traffic: list[Phase] = []

    def start(  # noqa: PLR0917 - the signature is Flower's
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Evaluate | None = None,
    ) -> Result:
        """Wait for the clients, then run the rounds.

        Raises:
            RunError: If too few clients come, or too many rounds fail in a row.
            CryptoError: If an enrolled client runs other code, keys or parameters.
        """
        settings, fast = self._settings, FastGrid(grid)
        cohort = Cohort(
            fast,
            self._manifest,
            self._run_id,
            seed=settings.seed,
            events=self._events,
        )
        self._connection = fast, cohort
        cohort.gather(
            wanted=settings.num_clients,
            needed=self._manifest.params.min_contributors,
            timeout=settings.start_seconds,
        )
        return super().start(
            fast,
            initial_arrays,
            num_rounds - settings.start_round,
            min(timeout, settings.deadline_seconds),
            train_config,
            evaluate_config,
            self._numbered(evaluate_fn),
        )

    def _numbered(self, evaluate: Evaluate | None) -> Evaluate | None:
        """Pass on true round numbers."""
        start = self._settings.start_round
        if evaluate is None:
            return None
        return lambda number, arrays: evaluate(number + start, arrays)

    def summary(self) -> None:
        """Log the wrapper's parameters and the inner strategy's."""
        params = self._manifest.params
        logger.info(
            "%s, key %s, %d of %d holders open sums of at least %d updates",
            params.mode,
            self._manifest.keys.public_key.fingerprint,
            params.threshold,
            params.num_holders,
            params.min_contributors,
        )
        self._inner.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send what the inner strategy proposes to this round's clients."""
        server_round += self._settings.start_round
        self._round_started = time.monotonic()
        self._traffic = []
        self._trained = False
        self._arrays = arrays
        crowd = _Crowd(grid, self._inner)
        proposed = self._inner.configure_train(server_round, arrays, config, crowd)
        fraction = float(getattr(self._inner, "fraction_train", 1.0))
        return self._send(server_round, TRAIN, list(proposed), fraction)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Add sealed updates as they arrive, have the sum opened, hand on the mean.

        Returns:
            What the inner strategy makes of the mean; nothing for a failed round.
        """
        server_round += self._settings.start_round
        aggregate = self._aggregate(server_round, replies)
        if aggregate is None or self._proposed is None:
            return None, None
        self._trained = True
        self.rounds_opened += 1
        self._warn_about_clip(aggregate)
        reply = mean_reply(self._arrays, aggregate, self._proposed)
        arrays, metrics = self._inner.aggregate_train(server_round, [reply])
        if arrays is not None:
            arrays = keep_dtypes(self._arrays, arrays)
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the evaluation; none after a failed training, the model is the same."""
        server_round += self._settings.start_round
        self._phase = None
        if not self._trained:
            return []
        crowd = _Crowd(grid, self._inner)
        proposed = self._inner.configure_evaluate(server_round, arrays, config, crowd)
        fraction = float(getattr(self._inner, "fraction_evaluate", 1.0))
        return self._send(server_round, EVALUATE, list(proposed), fraction)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Add sealed metrics and have their sum opened."""
        server_round += self._settings.start_round
        aggregate = self._aggregate(server_round, replies)
        self._finish_round(server_round)
        if aggregate is None or self._proposed is None:
            return None
        reply = Message(metrics_record(aggregate), reply_to=self._proposed)
        return self._inner.aggregate_evaluate(server_round, [reply])

    def _send(
        self, server_round: int, phase: int, proposed: list[Message], fraction: float
    ) -> list[Message]:
        """Turn the inner strategy's proposal into one broadcast to our sample."""
        self._phase = None
        if not proposed:
            return []
        _, cohort = self._connected()
        deadline = self._settings.deadline_seconds
        needed = self._manifest.params.min_contributors
        cohort.refresh(server_round, needed=needed, timeout=deadline)
        trains = phase == TRAIN
        self._proposed = proposed[0]
        broadcast = make_broadcast(
            self._proposed,
            run_id=self._run_id,
            server_round=server_round,
            phase=phase,
            metrics=self._settings.train_metrics
            if trains
            else self._settings.evaluate_metrics,
        )
        self._phase = Phase(
            broadcast,
            RoundSum(self._manifest, broadcast.facts(self._run_config)),
            cohort.sample(server_round, fraction),
            manifest=self._manifest,
            events=self._events,
        )
        self._traffic.append(self._phase)
        return self._phase.messages(deadline)

    def _aggregate(
        self, server_round: int, replies: Iterable[Message]
    ) -> Aggregate | None:
        """Collect and open one phase; a failed one is logged by name and given up."""
        phase = self._phase
        if phase is None:
            return None
        grid, cohort = self._connected()
        try:
            phase.collect(replies, cohort)
            aggregate = phase.open(
                grid, cohort, timeout=self._settings.deadline_seconds
            )
        except (RoundError, SumRangeError) as error:
            self._fail(server_round, phase, error)
            return None
        self._failed_in_a_row = 0
        phase.log("metrics", values=dict(aggregate.metrics))
        return aggregate

    def _fail(
        self, server_round: int, phase: Phase, error: RoundError | SumRangeError
    ) -> None:
        name = type(error).__name__
        phase.log("round_failed", error=name, code=error.code, message=str(error))
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= self._settings.max_failed_rounds:
            self._finish_round(server_round)
            raise RunError(
                f"{self._failed_in_a_row} rounds failed in a row, the last one with "
                f"{name}: {error}",
                "see the client logs; the model of the last good round is kept",
            ) from error

    def _warn_about_clip(self, aggregate: Aggregate) -> None:
        """Say when the clip loses updates, or resolution."""
        clip = self._manifest.params.clip
        share, peak = aggregate.metrics[CLIPPED_SHARE], aggregate.metrics[UPDATE_PEAK]
        message = ""
        if share > _MANY_CLIPPED:
            message = f"{share:.1%} of the update is clipped at {clip:g}; raise clip"
        elif peak < _LOW_PEAK:
            message = (
                f"the largest update is {peak:.2%} of clip {clip:g}; "
                f"lower clip to about {2 * peak * clip:.2g} for finer steps"
            )
        if message:
            self._events.write("warning", message=message)

    def _finish_round(self, server_round: int) -> None:
        self._events.write(
            "round_finished",
            round=server_round,
            seconds=time.monotonic() - self._round_started,
            bytes_up=sum(phase.bytes_up for phase in self._traffic),
            bytes_down=sum(phase.bytes_down for phase in self._traffic),
        )

    def _connected(self) -> tuple[FastGrid, Cohort]:
        if self._connection is None:
            raise RunError("the strategy was not started")
        return self._connection


class _Crowd(FastGrid):
    """Stands in for the grid where the inner strategy samples.

    Flower's strategies wait for ever for nodes that are not there; this grid always
    has enough. Whom they choose does not matter: the wrapper samples.

    Args:
        grid: The grid itself.
        strategy: Who samples: a message is made for each whom it chooses.
    """

    def __init__(self, grid: Grid, strategy: Strategy) -> None:
        super().__init__(grid)
        asked = (getattr(strategy, name, 0) for name in _LEAST_NODES)
        self._size = max(_CROWD, *asked)

    def get_node_ids(self) -> Iterable[int]:
        """Pretend that as many nodes are there as the strategy can ask for."""
        return range(1, self._size + 1)
