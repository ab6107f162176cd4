"""The app of the end-to-end benchmark: a character LSTM of 2.1 million parameters.

Client and server are ordinary Flower apps behind the real mod and the real wrapper;
only the network, the synthetic text and the fixed training time are the benchmark's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import Tensor, nn

from clients.mod import SecureMod
from crypto.layout import NUM_EXAMPLES
from crypto.manifest import Manifest, read_json
from server.events import EventLog
from server.strategy import RoundSettings, SecureAggregation

METRIC: Final = "train_loss"
_CHARACTERS: Final = 64
_EMBEDDING: Final = 32
_HIDDEN: Final = 700
_LENGTH: Final = 64  # characters of an example
_BATCH: Final = 16
EXAMPLES: Final = 256
_LEARNING_RATE: Final = 0.1
MOVE: Final = 0.01  # of every parameter in a round without training
_DEADLINE_SECONDS: Final = 300.0

torch.set_num_threads(1)


class CharacterLSTM(nn.Module):
    """Predicts the next character; 2,102,112 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_CHARACTERS, _EMBEDDING)
        self.cells = nn.LSTM(_EMBEDDING, _HIDDEN, batch_first=True)
        self.output = nn.Linear(_HIDDEN, _CHARACTERS)

    def forward(self, text: Tensor) -> Tensor:
        """Return logits, shape ``(n, length, characters)``, for every character."""
        states, _ = self.cells(self.embedding(text))
        logits: Tensor = self.output(states)
        return logits


def initial_arrays() -> ArrayRecord:
    """Return the network's parameters, the same in every run."""
    torch.manual_seed(0)
    return ArrayRecord(CharacterLSTM().state_dict())


def train(state: dict[str, Tensor], seed: int, core_seconds: float) -> float:
    """Train in place for a time of one core.

    Args:
        state: The network's parameters.
        seed: Of this client's text.
        core_seconds: At least; 0 moves the parameters a little and nothing else.

    Returns:
        The last batch's loss, in nats; 0 without training.
    """
    if not core_seconds:
        state.update({name: tensor + MOVE for name, tensor in state.items()})
        return 0.0
    network = CharacterLSTM()
    network.load_state_dict(state)
    optimizer = torch.optim.SGD(network.parameters(), lr=_LEARNING_RATE)
    text = _text(seed)
    started, last = time.process_time(), 0.0
    while time.process_time() - started < core_seconds:
        batch = text[torch.randint(len(text), (_BATCH,))]
        logits = network(batch[:, :-1]).flatten(end_dim=1)
        loss = nn.functional.cross_entropy(logits, batch[:, 1:].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        last = loss.item()
    state.update(network.state_dict())
    return last


def _text(seed: int) -> Tensor:
    """Make texts in which every character follows from the one before, or not."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(1, 4, (EXAMPLES, _LENGTH + 1), generator=generator)
    return steps.cumsum(dim=1) % _CHARACTERS


client = ClientApp(mods=[SecureMod()])


@client.train()
def _train(message: Message, context: Context) -> Message:
    (arrays,) = message.content.array_records.values()
    state = arrays.to_torch_state_dict()
    seconds = float(context.run_config.get("train-seconds", 0.0))
    loss = train(state, int(context.node_config["partition-id"]), seconds)
    metrics = MetricRecord({NUM_EXAMPLES: EXAMPLES, METRIC: loss})
    content = RecordDict({"arrays": ArrayRecord(state), "metrics": metrics})
    return Message(content, reply_to=message)


@dataclass(frozen=True)
class Job:
    """What the server is asked to do.

    Attributes:
        server_dir: Its folder of the run.
        rounds: Rounds to run.
        events: The file that gets one line an event, with each round's time and bytes.
    """

    server_dir: Path
    rounds: int
    events: Path | None

    def run(
        self,
        grid: Grid,
        run_config: Mapping[str, Any],
        after_round: Callable[[int, ArrayRecord], None] = lambda *_: None,
    ) -> None:
        """Train without evaluation."""
        manifest = Manifest.from_dict(read_json(self.server_dir / "manifest.json"))
        strategy = SecureAggregation(
            FedAvg(fraction_evaluate=0.0),
            manifest=manifest,
            run_id=bytes.fromhex(self.server_dir.name),
            run_config=run_config,
            settings=RoundSettings(
                num_clients=manifest.params.max_contributors,
                deadline_seconds=_DEADLINE_SECONDS,
                max_failed_rounds=1,
                train_metrics=(METRIC,),
            ),
            events=EventLog(self.events),
        )
        strategy.start(
            grid, initial_arrays(), num_rounds=self.rounds, evaluate_fn=after_round
        )


server = ServerApp()


@server.main()
def _serve(grid: Grid, context: Context) -> None:
    run = context.run_config
    job = Job(
        Path(str(run["server-dir"])), int(run["num-rounds"]), Path(str(run["events"]))
    )
    job.run(grid, run)
