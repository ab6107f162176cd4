"""TensorBoard's events, from the run's own: `tensorboard --logdir RUN`."""
# ruff: noqa: PLC0415 - tensorboard is loaded only where its files are written

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from experiments.progress import Event

FOLDER = "tensorboard"
# One name: a TensorBoard that shows the run reads on where the file is written again.
_FILE = "events.out.tfevents.unseen"


def write_tensorboard(folder: Path, events: Iterable[Event]) -> None:
    """Write a run's scalars for TensorBoard, each as soon as its event comes.

    The step is the round and the wall time that of the event.

    Args:
        folder: The run's folder; gets a folder ``tensorboard``.
        events: From the run's first one on.
    """
    told = ((event, values) for event in events if (values := list(scalars(event))))
    first = next(told, None)
    if first is None:
        return
    from tensorboard.compat.proto.event_pb2 import Event as Entry
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    (folder / FOLDER).mkdir(exist_ok=True)
    with (folder / FOLDER / _FILE).open("wb") as file:
        writer = RecordWriter(file)
        started = Entry(wall_time=first[0]["time"], file_version="brain.Event:2")
        writer.write(started.SerializeToString())
        for event, values in chain([first], told):
            entry = Entry(wall_time=event["time"], step=event["round"])
            for tag, value in values:
                entry.summary.value.append(Summary.Value(tag=tag, simple_value=value))
            writer.write(entry.SerializeToString())
            writer.flush()


def scalars(event: Event) -> Iterator[tuple[str, float]]:
    """Yield the scalars of one event of a run, with their tags."""
    match event["event"]:
        case "evaluated":
            for name in ("accuracy", "loss", "perplexity"):
                if event.get(name) is not None:
                    yield f"test/{name}", event[name]
        case "metrics":
            for name, value in event["values"].items():
                yield f"clients-{event['phase']}/{name}", value
        case "opened":
            yield f"contributors/{event['phase']}", len(event["contributors"])
            for name, value in event["seconds"].items():
                yield f"seconds-{event['phase']}/{name}", value
        case "round_finished":
            yield "seconds/round", event["seconds"]
            yield "bytes/up", event["bytes_up"]
            yield "bytes/down", event["bytes_down"]
