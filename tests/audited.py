"""Recorded runs for the tests of the audit, and how to change them."""

import dataclasses
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from numpy.typing import NDArray

from crypto.encoding import canon, decode
from experiments.audit.verdict import Verdict
from tests.federation import Federation, make_group, make_params

LEAK = 0.125  # a client's loss
Vector = NDArray[np.float32]


def make(folder: Path, **changes: Any) -> Federation:
    prepared = make_group(folder / "keys", make_params(**changes))

    def train(client_id: int, parameters: Vector) -> tuple[Vector, dict[str, Any]]:
        move = np.float32(0.01 * client_id)
        return parameters + move, {"num-examples": 10 * client_id, "loss": LEAK}

    return Federation(prepared, train)


def record(federation: Federation, folder: Path, *, dim: int = 30) -> Path:
    """Run one recorded round and return the run folder."""
    run = folder / "run"
    run.mkdir()
    federation.run(
        np.zeros(dim, dtype=np.float32),
        events=run / "events.jsonl",
        record=run / "record",
        max_failed_rounds=9,
    )
    return run


def texts(verdict: Verdict) -> list[str]:
    """Return the findings, one text each: file, who and what."""
    return [f"{f.file}|{f.who}|{f.what}" for f in verdict.findings]


def index(run: Path) -> list[dict[str, Any]]:
    """Return the lines of the record's index."""
    lines = (run / "record" / "index.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def rewrite(run: Path, number: int, change: Callable[[dict[str, Any]], None]) -> str:
    """Change a recorded message as if it had been so; return its file's name."""
    lines = index(run)
    line = lines[number - 1]
    path = Path(run / "record" / line["file"])
    values: Any = decode(path.read_bytes())
    change(values)
    data = canon(values)
    path.write_bytes(data)
    line |= {"size": len(data), "sha256": sha256(data).hexdigest()}
    text = "".join(json.dumps(each) + "\n" for each in lines)
    (run / "record" / "index.jsonl").write_text(text)
    return path.name


def first_upload(run: Path) -> int:
    """The number of the first upload in the record."""
    for line in index(run):
        values: Any = decode((run / "record" / line["file"]).read_bytes())
        if line["direction"] == "received" and carried(values)["kind"] == "upload":
            return int(line["number"])
    raise AssertionError


def carried(values: Any) -> dict[str, Any]:
    return dict(values["content"][0][2]) if values["content"] else {"kind": ""}


def fields_of(message: Message) -> ConfigRecord:
    """Return the protocol's one record of a message."""
    return message.content.config_records["unseen"]


def data_of(message: Message) -> bytes:
    """Return the bytes that a message carries."""
    data = fields_of(message)["data"]
    assert isinstance(data, bytes)
    return data


def set_data(message: Message, data: bytes) -> None:
    """Put other bytes into a message, and into no other that shares its records."""
    fresh = ConfigRecord({**fields_of(message), "data": data})
    message.content = RecordDict({"unseen": fresh})


def replaced(body: Any, **changes: Callable[[Any], Any]) -> Any:
    """Return a message of the protocol with some fields changed."""
    values = {name: change(getattr(body, name)) for name, change in changes.items()}
    return dataclasses.replace(body, **values)
