"""Reads the record of a run: every message as it was kept, nothing interpreted yet.

The files were written by `server.recorder`, but what is in them came from anybody:
whatever cannot be read is a finding and never an exception.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from crypto.encoding import Canonical, decode
from crypto.errors import CryptoError, MalformedMessageError
from crypto.manifest import Manifest, read_json
from experiments.errors import SettingsError
from experiments.progress import Event, follow
from server.recorder import FORMAT, METADATA, RECEIVED, SENT

_FILE = re.compile(rf"([0-9]{{6,}})-({SENT}|{RECEIVED})\.bin")
_NAMES: Final = frozenset({*METADATA, "object_id"})

Fields = Mapping[str, Canonical]


@dataclass(frozen=True)
class Finding:
    """Something that an honest, encrypted run does not have.

    The text never repeats what a message carried: it may be what leaked.

    Attributes:
        what: What is wrong.
        file: Of which message; empty if of none.
        who: Whose message it is: `client 3`, `node 17`, `server`; or empty.
    """

    what: str
    file: str = ""
    who: str = ""


@dataclass(frozen=True)
class Item:
    """One message of the record.

    Attributes:
        number: Its place, from 1.
        file: Name of its file.
        is_received: Whether the server received it; else the server sent it.
        time: Unix time at which it was kept.
        metadata: Flower's metadata, by name (`server.recorder.METADATA`).
        error: Flower's error code and reason, if it is an error.
        records: Name to kind (`array`, `config`, `metric`) and items of every record.
    """

    number: int
    file: str
    is_received: bool
    time: float
    metadata: Fields
    error: tuple[Canonical, Canonical] | None
    records: Mapping[str, tuple[str, Fields]]


@dataclass(frozen=True)
class Record:
    """Everything an audit reads.

    Attributes:
        manifest: The run's keys and parameters.
        run_id: 16 bytes.
        run_config: The run configuration.
        protocol: The server's protocol.
        code: Digest of the server's code.
        items: The messages, in order.
        num_files: Messages that there should be.
        events: Of the run's `events.jsonl`.
        damage: What is missing or cannot be read.
    """

    manifest: Manifest
    run_id: bytes
    run_config: Fields
    protocol: str
    code: str
    items: tuple[Item, ...]
    num_files: int
    events: tuple[Event, ...]
    damage: tuple[Finding, ...]


def read_record(run: Path) -> Record:
    """Read a run folder.

    Raises:
        SettingsError: If it has no record, or one without the run's public facts.
    """
    folder = run / "record"
    if not (folder / "index.jsonl").is_file():
        raise SettingsError(
            f"{run} has no record of a run's messages", "run with --record"
        )
    try:
        manifest = Manifest.from_dict(read_json(folder / "manifest.json"))
        facts = read_json(folder / "run.json")
        run_id, run_config = bytes.fromhex(facts["run_id"]), dict(facts["run_config"])
        protocol, code = str(facts["protocol"]), str(facts["code"])
    except (CryptoError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"the record of {run} is damaged ({type(error).__name__})",
            "manifest.json and run.json must be as the run wrote them",
        ) from None
    if facts.get("format") != FORMAT:
        raise SettingsError(
            f"the record of {run} is not of format {FORMAT}",
            "audit it with the version of unseen that made the run",
        )
    damage: list[Finding] = []
    lines = _read_index(folder, damage)
    items = [item for line in lines if (item := _read_item(folder, line, damage))]
    return Record(
        manifest=manifest,
        run_id=run_id,
        run_config=run_config,
        protocol=protocol,
        code=code,
        items=tuple(items),
        num_files=len(lines),
        events=tuple(follow(run / "events.jsonl", lambda: True)),
        damage=tuple(damage),
    )


def _read_index(folder: Path, damage: list[Finding]) -> list[dict[str, Any]]:
    """Return the index's lines; what disagrees with the folder goes to `damage`."""
    lines: list[dict[str, Any]] = []
    rows = (folder / "index.jsonl").read_text(errors="replace").splitlines()
    for place, row in enumerate(rows, start=1):
        line = _index_line(row)
        if line is None:
            damage.append(Finding(f"line {place} of the index is unreadable"))
        else:
            lines.append(line)
    numbers = [line["number"] for line in lines]
    if numbers != list(range(1, len(numbers) + 1)):
        damage.append(Finding("the index is not numbered from 1 without gaps"))
    listed = {line["file"] for line in lines}
    found = {path.name for path in folder.glob("*.bin")}
    damage += [Finding("is not in the index", name) for name in sorted(found - listed)]
    damage += [Finding("is missing", name) for name in sorted(listed - found)]
    return lines


def _index_line(row: str) -> dict[str, Any] | None:
    """Return a line whose file, number and time can be relied on, or None."""
    try:
        line: dict[str, Any] = json.loads(row)
        match = _FILE.fullmatch(line["file"])
        float(line["time"])
        number = f"{line['number']:06d}"
    except (KeyError, TypeError, ValueError):
        return None
    return line if match and match[1] == number else None


def _read_item(
    folder: Path, line: Mapping[str, Any], damage: list[Finding]
) -> Item | None:
    path = folder / line["file"]
    try:
        data = path.read_bytes()
    except OSError:
        return None  # its absence is a finding of the index already
    if line.get("sha256") != sha256(data).hexdigest():
        damage.append(Finding("is not the file that the index names", path.name))
    try:
        return _item(line, decode(data))
    except (MalformedMessageError, KeyError, TypeError, ValueError, AttributeError):
        damage.append(Finding("cannot be read", path.name))
        return None


def _item(line: Mapping[str, Any], values: Any) -> Item:
    """Interpret the bytes of one message; raises whatever damaged ones lead to."""
    metadata, error, content = (
        values[name] for name in ("metadata", "error", "content")
    )
    if set(metadata) != _NAMES or (error is None) == (content is None):
        raise ValueError
    if any(isinstance(value, dict | list) for value in metadata.values()):
        raise ValueError
    records = {}
    for name, kind, items in content or ():
        # A name that is no text (`server.recorder`) is no known name: keep it distinct.
        records[str(name)] = (str(kind), {str(key): value for key, value in items})
    if len(records) != len(content or ()):
        raise ValueError
    code, reason = error or (None, None)
    return Item(
        number=line["number"],
        file=line["file"],
        is_received=RECEIVED in line["file"],
        time=float(line["time"]),
        metadata=metadata,
        error=(code, reason) if error else None,
        records=records,
    )
