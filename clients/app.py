"""The ClientApp: trains and evaluates the task's network on this client's shard.

An ordinary Flower app; the mod seals whatever it replies.
"""

import zlib
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clients.folder import open_member
from clients.mod import secure_mod
from crypto.layout import NUM_EXAMPLES
from models import training
from models.shards import Shard, load_shard
from models.tasks import Task, get_task

# Several clients usually share a machine, and one thread each is then fastest;
# it also makes training repeatable.
torch.set_num_threads(1)

app = ClientApp(mods=[secure_mod])


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the received model on the local shard."""
    task, shard, network = _load(message, context)
    run, member = context.run_config, open_member(context.node_config)
    (config,) = message.content.config_records.values()
    report = training.train(
        network,
        shard,
        task,
        epochs=int(run["local-epochs"]) or task.local_epochs,
        batch_size=int(run["batch-size"]) or task.batch_size,
        learning_rate=float(run["learning-rate"]) or task.learning_rate,
        seed=_seed(run["seed"], config["server-round"], member.identity.client_id),
        device=_device(context),
    )
    metrics = MetricRecord(
        {NUM_EXAMPLES: report.num_examples, "train_loss": report.train_loss}
    )
    arrays = ArrayRecord(network.cpu().state_dict())
    content = RecordDict({"arrays": arrays, "metrics": metrics})
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measure the received model on the local shard."""
    task, shard, network = _load(message, context)
    report = training.evaluate(network, shard, task, device=_device(context))
    metrics = MetricRecord(
        {
            NUM_EXAMPLES: report.num_examples,
            "loss": report.loss,
            "accuracy": report.accuracy,
        }
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _load(message: Message, context: Context) -> tuple[Task, Shard, torch.nn.Module]:
    task = get_task(str(context.run_config["task"]))
    network = task.make_network()
    (arrays,) = message.content.array_records.values()
    network.load_state_dict(arrays.to_torch_state_dict())
    return task, _shard(open_member(context.node_config).shard), network


@lru_cache(maxsize=2)
def _shard(path: Path) -> Shard:
    return load_shard(path)


def _seed(*parts: object) -> int:
    """Return a seed that differs for every client and round, but not between runs."""
    return zlib.crc32(repr(parts).encode())


def _device(context: Context) -> str:
    wanted = str(context.node_config.get("device", "auto"))
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted
