"""TensorBoard's events, from the run's own: `tensorboard --logdir RUN`."""
# ruff: noqa: PLC0415 - tensorboard is loaded only where its files are written

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from experiments.progress import Event
    from experiments.report.record import RunRecord

FOLDER = "tensorboard"


def write_tensorboard(record: RunRecord) -> Path:
    """Write a run's scalars for TensorBoard, in place of those of an earlier call.

    The step is the round and the wall time that of the event.

    Returns:
        The folder ``RUN/tensorboard``.
    """
    from tensorboard.compat.proto.event_pb2 import Event as Entry
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = record.folder / FOLDER
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    writer = EventFileWriter(str(folder))
    try:
        for event in record.events:
            values = [
                Summary.Value(tag=tag, simple_value=value)
                for tag, value in scalars(event)
            ]
            if values:
                entry = Entry(wall_time=event["time"], step=event["round"])
                entry.summary.CopyFrom(Summary(value=values))
                writer.add_event(entry)
    finally:
        writer.close()
    return folder


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
