"""A client process that does something to itself at an exact moment.

    python -P -m experiments.faults.node FAULT [the arguments of clients.node]

From outside nobody could hit the middle of an upload. Everything but the fault is
`clients.node`: the same process, killed by the same signal that an operator or the
system would send.
"""

import os
import signal
import sys
import threading
import time
from typing import Any

from experiments.faults.fault import Fault, Moment

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "leave": signal.SIGTERM}
_CLOCK_ERROR = "the clock must be shifted before anybody has read it"


def shift_clock(seconds: float) -> None:
    """Let this process's Python code read another time of day.

    `time.time`, `time.time_ns` and `datetime.now` are shifted, which is all that Flower
    stamps and checks messages with; monotonic clocks, as in reality, are not.

    Args:
        seconds: Ahead of the machine's clock; behind it if negative.

    Raises:
        RuntimeError: If Flower was imported before and holds the right clock.
    """
    if "flwr" in sys.modules:
        raise RuntimeError(_CLOCK_ERROR)
    import datetime  # noqa: PLC0415

    now, now_ns, true = time.time, time.time_ns, datetime.datetime

    class Shifted(true):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return true.now(tz) + datetime.timedelta(seconds=seconds)

    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]


def arm(fault: Fault) -> None:
    """Wait inside this process for the moment of its fault."""
    from clients import flower_internals, node  # noqa: PLC0415

    struck = threading.Event()  # once: a round has two openings

    def strike(moment: Moment, message: Any) -> None:
        if fault.is_due(moment, message) and not struck.is_set():
            struck.set()
            os.kill(os.getpid(), _SIGNALS[fault.action])

    answer, send, push = (
        node.Node._answer,
        flower_internals.FleetConnection.send,
        flower_internals.push_objects,  # type: ignore[attr-defined]
    )
    sending = threading.local()  # a node answers on two threads

    def answer_it(self: Any, message: Any) -> None:
        strike("before-opening", message)
        strike("before-training", message)
        answer(self, message)

    def send_it(self: Any, reply: Any, *, started: float) -> None:
        strike("before-upload", reply)
        sending.reply = reply
        send(self, reply, started=started)
        strike("after-upload", reply)

    def push_it(*args: Any, **options: Any) -> None:
        # The reply is announced; its content is not there yet.
        strike("during-upload", sending.reply)
        push(*args, **options)

    node.Node._answer = answer_it  # type: ignore[method-assign]
    flower_internals.FleetConnection.send = send_it  # type: ignore[method-assign]
    flower_internals.push_objects = push_it  # type: ignore[attr-defined]


def main() -> int:
    """Run a client with the fault that the first argument describes."""
    fault = Fault.from_text(sys.argv[1])
    if fault.action == "shift":
        shift_clock(fault.seconds)
    elif fault.moment == "start":
        os.kill(os.getpid(), _SIGNALS[fault.action])
    from clients import node  # noqa: PLC0415

    if fault.action != "shift":
        arm(fault)
    return node.main(sys.argv[2:])


if __name__ == "__main__":
    os._exit(main())
