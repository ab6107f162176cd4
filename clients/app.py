"""The ClientApp: trains and evaluates the task's network on this client's shard.

An ordinary Flower app; the mod seals whatever it replies.
"""

import secrets
import zlib
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp

from clients.folder import Member, open_member
from clients.mod import SecureMod
from crypto.layout import NUM_EXAMPLES
from crypto.manifest import SIMULATION
from models import training
from models.local import LocalTraining
from models.shards import Shard, load_shard
from models.tasks import Task, get_task

# Several clients usually share a machine, and one thread each is then fastest;
# it also makes training repeatable.
torch.set_num_threads(1)


def _architecture(run_config: UserConfig) -> str:
    """Describe the network that `_load` makes, for the client's policy."""
    return str(get_task(str(run_config["task"])).make_network())


app = ClientApp(mods=[SecureMod(_architecture)])


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
        LocalTraining.of(task, run),
        seed=_seed(member, run["seed"], config["server-round"]),
        device=_device(context),
    )
    metrics = MetricRecord(
        {NUM_EXAMPLES: _weight(task, shard), "train_loss": report.train_loss}
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
            NUM_EXAMPLES: _weight(task, shard),
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


def _weight(task: Task, shard: Shard) -> int:
    """Return this client's weight; where it is 1 for all it hides the shard's size."""
    return 1 if task.equal_weights else len(shard)


@lru_cache(maxsize=2)
def _shard(path: Path) -> Shard:
    return load_shard(path)


def _seed(member: Member, *proposed: object) -> int:
    """Return a seed that differs for every client and round.

    In a simulation it is the same in every run. Elsewhere the server must not be able
    to make a client train twice alike: two sums that differ by one client would then
    differ by exactly that client's update.
    """
    if member.manifest.keys.purpose == SIMULATION:
        return zlib.crc32(repr((*proposed, member.identity.client_id)).encode())
    return secrets.randbits(63)


def _device(context: Context) -> str:
    wanted = str(context.node_config.get("device", "auto"))
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted
