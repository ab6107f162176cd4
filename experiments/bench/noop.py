"""An app whose clients do nothing: what is left of a round is Flower and ours.

The server sends 0.4 MB to every client and waits for an empty reply. Flower's own grid
or ours, as the run configuration says: ours changes Flower when it is imported, so the
other one must not import it.
"""
# ruff: noqa: PLC0415 - see above

import time
from pathlib import Path
from typing import Final

import numpy as np
import torch  # noqa: F401 - as every real app; Flower's node loads an app per message
from flwr.app import ArrayRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

_NUM_FLOATS: Final = 100_000  # 0.4 MB
_TIMEOUT_SECONDS: Final = 120.0

client = ClientApp()
server = ServerApp()


@client.train()
def _answer(message: Message, _: Context) -> Message:
    return Message(RecordDict(), reply_to=message)


@server.main()
def _main(grid: Grid, context: Context) -> None:
    run = context.run_config
    nodes = _wait_for_nodes(grid, int(run["clients"]))
    with Path(str(run["events"])).open("a", buffering=1, encoding="utf-8") as events:
        for number in range(int(run["num-rounds"])):
            # Flower addresses objects by their content: the same would travel once.
            content = RecordDict({"a": ArrayRecord([_model(number)])})
            started = time.monotonic()
            replies = _send(grid, content, nodes, ours=bool(run["ours"]))
            events.write(f"{replies} {time.monotonic() - started}\n")


def _model(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(_NUM_FLOATS, dtype=np.float32)


def _wait_for_nodes(grid: Grid, wanted: int) -> list[int]:
    while len(nodes := list(grid.get_node_ids())) < wanted:
        time.sleep(0.1)
    return nodes


def _send(grid: Grid, content: RecordDict, nodes: list[int], *, ours: bool) -> int:
    """Send to all and wait for all; return how many answered without an error."""
    messages = [
        Message(content, dst_node_id=node, message_type=MessageType.TRAIN)
        for node in nodes
    ]
    if ours:
        from server.grid import FastGrid

        grid = FastGrid(grid)
    replies = grid.send_and_receive(messages, timeout=_TIMEOUT_SECONDS)
    return sum(not reply.has_error() for reply in replies)
