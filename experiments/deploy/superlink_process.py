"""The process of a deployment's SuperLink: Flower's, with a lock and more patience.

`python -P -m experiments.deploy.superlink_process SECRET ONCE FLOWER'S ARGUMENTS`;
`unseen deploy superlink` becomes this process.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from flwr.supercore.corestate import in_memory_corestate, sql_corestate
from flwr.supercore.error import ApiErrorCode
from flwr.superlink import extensions
from flwr.superlink.cli import flower_superlink
from starlette.middleware import Middleware

from experiments.control import ControlClient
from experiments.deploy.lock import Key, Lock, read_secret
from experiments.processes import EngineError

_log = logging.getLogger("unseen.superlink")

# Flower gives a server up that it has not heard of for twice 30 s. Its own absence
# counts, too: after two minutes a SuperLink that comes back would end every run.
_PATIENCE: Final = 20  # times 30 s
_FIRST_RUN_SECONDS: Final = 600.0
_GOODBYE_SECONDS: Final = 20.0  # clients learn meanwhile that their run is over
_POLL_SECONDS: Final = 1.0


def main(arguments: Sequence[str]) -> None:
    """Serve until told to stop.

    Args:
        arguments: File of the secret; `HOST:PORT,CA` to end after a run, or nothing;
            then what Flower takes.
    """
    secret_file, once, *flower = arguments
    secret = read_secret(Path(secret_file))
    exit_code = _ExitCode()
    signal.signal(signal.SIGTERM, exit_code.leave)
    _replace_in_flower(secret)
    if once:
        address, _, ca = once.partition(",")
        control = ControlClient(
            address, root_certificates=Path(ca).read_bytes(), interceptors=[Key(secret)]
        )
        threading.Thread(
            target=_end_after_run, args=(control, exit_code), daemon=True
        ).start()
    sys.argv = ["flower-superlink", *flower]
    flower_superlink()


def _replace_in_flower(secret: str) -> None:
    for state in (in_memory_corestate, sql_corestate):
        setattr(state, "HEARTBEAT_PATIENCE", _PATIENCE)  # noqa: B010 - not exported
    setattr(extensions, "get_middleware", partial(_middleware, secret))  # noqa: B010


class _ExitCode:
    """What this process ends with on SIGTERM."""

    def __init__(self) -> None:
        self.value = 0

    def leave(self, _signal: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(self.value)


def _middleware(secret: str) -> tuple[Middleware, ...]:
    return (Middleware(Lock, secret=secret),)


def _end_after_run(control: ControlClient, exit_code: _ExitCode) -> None:
    """End this process once a run is over that was not when it started."""
    deadline = time.monotonic() + _FIRST_RUN_SECONDS
    old: set[int] | None = None
    while True:
        time.sleep(_POLL_SECONDS)
        try:
            runs = {number: status for number, (status, _) in control.runs().items()}
        except EngineError:  # not up yet
            continue
        over = {number for number, status in runs.items() if status.startswith("fin")}
        old = over if old is None else old
        if over - old and over == set(runs):
            _log.info("the run is over; ending in %.0f s", _GOODBYE_SECONDS)
            time.sleep(_GOODBYE_SECONDS)
            break
        if time.monotonic() > deadline and not set(runs) - old:
            _log.error("nobody started a run in %.0f s", _FIRST_RUN_SECONDS)
            exit_code.value = 1
            break
    os.kill(os.getpid(), signal.SIGTERM)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out that a node is not let in yet: it asks every other second."""
    return (
        f"[ApiError:{ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED}]"
        not in record.getMessage()
    )


def _log_to_standard_error() -> None:
    """Let this process's own log be seen beside Flower's warnings."""
    handler = logging.StreamHandler()
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(form))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    logging.getLogger("flwr").addFilter(_is_news)


if __name__ == "__main__":
    _log_to_standard_error()
    main(sys.argv[1:])
