"""A key holder as a process of its own that answers one opening request.

    python tests/holder_process.py CLIENT_DIR RUN_ID REQUEST ANSWER [die]

With `die` it kills itself when its answer is committed and before it leaves.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from clients.mod import secure_mod
from clients.state import ClientState


def die_after_the_commit() -> None:
    record = ClientState.record

    def record_and_die(self: ClientState, *args: Any, **values: Any) -> None:
        record(self, *args, **values)
        os.kill(os.getpid(), signal.SIGKILL)

    ClientState.record = record_and_die  # type: ignore[method-assign]


def answer(folder: str, run_id: str, request: bytes) -> tuple[str, bytes]:
    """Let the real mod answer; return kind and bytes."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    app = ClientApp(mods=[secure_mod])
    app.train()(lambda message, _: message)  # never reached: the mod answers
    record = ConfigRecord({"kind": "open", "data": request})
    message = Message(RecordDict({"unseen": record}), 1, "train")
    message.metadata.__dict__["_message_id"] = "request"
    config: dict[str, Any] = {"client-dir": folder, "run-id": run_id}
    reply = app(message, Context(1, 1, config, RecordDict(), {}))
    found = reply.content.config_records["unseen"]
    return str(found["kind"]), bytes(found["data"])  # type: ignore[arg-type]


if __name__ == "__main__":
    folder, run_id, request_file, answer_file, *options = sys.argv[1:]
    if options == ["die"]:
        die_after_the_commit()
    kind, data = answer(folder, run_id, Path(request_file).read_bytes())
    Path(answer_file).write_bytes(kind.encode() + b" " + data)
