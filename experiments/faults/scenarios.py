"""The scenarios of `make faults`.

Rounds of seconds and a key of 512 bits: what is tried is who dies when, not how long
encryption takes. Deadlines are short for the same reason.
"""

import signal

from experiments.faults.fault import Fault
from experiments.faults.run import Run
from experiments.faults.scenario import KILLED, Scenario, Trial

_DEADLINE = 30
_STOPPED_SECONDS = 63  # a SuperLink takes a node for gone after a minute
_SLOW_SECONDS = _DEADLINE / 3 + 2  # a holder gets a stand-in after a third
_SHORT = 3
_FOUR = ("--clients", "4", "--round-deadline", "30")


def _contributors(run: Run, number: int, phase: str = "train") -> list[int]:
    """Return whose updates are in the sum of a round; empty if it was not opened."""
    for event in run.events("opened"):
        if (event["round"], event["phase"]) == (number, phase):
            return list(event["contributors"])
    return []


def _takes_part_again(run: Run, client: int, after: int) -> bool:
    rounds = {event["round"] for event in run.events("opened")}
    return any(client in _contributors(run, n) for n in rounds if n > after)


def _left_out(run: Run, client: int, number: int) -> bool:
    """Whether a round was opened without a client."""
    found = _contributors(run, number)
    return bool(found) and client not in found


def _others_opened(run: Run, client: int, number: int) -> bool:
    """Whether a holder was asked, gave no partial, and the sum was opened anyway."""

    def about(name: str) -> list[dict[str, object]]:
        events = run.events(name)
        return [e for e in events if (e["round"], e.get("phase")) == (number, "train")]

    asked = any(client in e["holders"] for e in about("opening"))  # type: ignore[operator]
    answered = any(e["client"] == client for e in about("partial"))
    return asked and not answered and bool(_contributors(run, number))


def _warned(run: Run, text: str) -> bool:
    return any(text in event["message"] for event in run.events("warning"))


# Every fault has a client of its own, so that they can be told apart. Clients from 10
# on hold no share, and any 5 of 9 holders open; round 3 asks 4 to 8 first.
_CLIENTS = Trial(
    name="clients",
    options=(
        *("--clients", "12", "--threshold", "5", "--min-contributors", "5"),
        *("--rounds", "8", "--round-deadline", str(_DEADLINE)),
        *("--protocol", "hybrid"),  # fewer ciphertexts: a dozen clients on two cores
    ),
    faults=(
        Fault(10, "kill", "before-upload", 2),
        Fault(11, "kill", "during-upload", 2),
        Fault(12, "kill", "after-upload", 2),
        Fault(8, "kill", "before-opening", 3),
        Fault(7, "stop", "before-opening", 3),
        Fault(9, "leave", "before-training", 4),
    ),
    disturb=lambda run: run.continue_stopped(after=_SLOW_SECONDS),
    scenarios=(
        Scenario("client killed before its upload", lambda run: _left_out(run, 10, 2)),
        Scenario("client killed during its upload", lambda run: _left_out(run, 11, 2)),
        Scenario(
            "client killed after its upload",
            lambda run: {12} <= set(_contributors(run, 2)),
        ),
        Scenario(
            "key holder killed before opening", lambda run: _others_opened(run, 8, 3)
        ),
        Scenario(
            f"key holder stopped for {_SLOW_SECONDS:.0f} s, a stand-in opens",
            lambda run: _others_opened(run, 7, 3) and _takes_part_again(run, 7, 3),
        ),
        Scenario(
            "client leaves for good",
            lambda run: _left_out(run, 9, 4) and not _takes_part_again(run, 9, 4),
        ),
    ),
)


def _join_in_round_three(run: Run) -> None:
    run.wait_for_round(3)
    run.continue_stopped(after=0)


# The server waits two minutes for the three that are not there before it begins.
_CLOCKS = Trial(
    name="clocks",
    options=(
        *("--clients", "7", "--threshold", "4", "--min-contributors", "4"),
        *("--rounds", "12", "--round-deadline", str(_DEADLINE)),
    ),
    faults=(
        Fault(1, "shift", seconds=3),
        Fault(2, "shift", seconds=-60),
        Fault(3, "shift", seconds=3600),
        Fault(4, "shift", seconds=-3600),
        Fault(5, "stop", "start"),
    ),
    disturb=_join_in_round_three,
    scenarios=(
        Scenario(
            "clocks of two clients wrong by +3 s and -60 s",
            lambda run: {1, 2} <= set(_contributors(run, 2)),
        ),
        Scenario(
            "clocks of two clients wrong by +1 h and -1 h",
            lambda run: {3, 4}.isdisjoint(_contributors(run, 2)),
        ),
        Scenario(
            "client joins late",
            lambda run: _left_out(run, 5, 2) and _takes_part_again(run, 5, 2),
        ),
    ),
)


# Enough rounds to be still there when the client is back.
_MINUTE = Trial(
    name="minute",
    options=(
        *("--clients", "5", "--min-contributors", "4", "--protocol", "hybrid"),
        *("--rounds", "45", "--round-deadline", str(_DEADLINE)),
    ),
    faults=(Fault(5, "stop", "before-training", 2),),
    disturb=lambda run: run.continue_stopped(after=_STOPPED_SECONDS),
    scenarios=(
        Scenario(
            f"client stopped for {_STOPPED_SECONDS} s",
            lambda run: _left_out(run, 5, 2) and _takes_part_again(run, 5, 2),
        ),
    ),
)


def _kill_the_superlink(run: Run) -> None:
    run.wait_for_round(2)
    run.signal(signal.SIGKILL, "flower-superlink")


def _kill_the_server(run: Run) -> None:
    run.wait_for_round(2)
    run.signal(signal.SIGKILL, "flwr-serverapp")


def _kill_the_launcher(run: Run) -> None:
    run.wait_for_round(2)
    run.kill_launcher()


def _fill_the_disk(run: Run) -> None:
    run.wait_for_round(2)
    with (run.out.parent / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return


def _take_the_permissions(run: Run) -> None:
    run.wait_for_round(2)
    for path in (run.out / "events.jsonl", run.out):
        path.chmod(path.stat().st_mode & 0o555)


def _start_another(run: Run) -> None:
    run.add_companion().start(("--rounds", str(_SHORT), *_FOUR))


def _both_alike(run: Run) -> bool:
    """Whether a run at the same time has the same seed's results, and all of them."""
    (other,) = run.companions
    measured = [
        [event["accuracy"] for event in one.events("evaluated")] for one in (run, other)
    ]
    return measured[0] == measured[1] and len(measured[0]) == 1 + _SHORT


def _resumed_after_one(run: Run) -> bool:
    return [event["round"] for event in run.events("resumed")] == [1]


def _kept_one_round(run: Run) -> bool:
    return [event["round"] for event in run.events("evaluated")] == [0, 1]


TRIALS = (
    _CLOCKS,  # first: it takes longest, and mostly waits
    _CLIENTS,
    _MINUTE,
    Trial(
        name="superlink",
        options=("--rounds", "4", *_FOUR, "--superlink-restarts", "3"),
        disturb=_kill_the_superlink,
        scenarios=(
            Scenario(
                "SuperLink killed in round 2",
                lambda run: _warned(run, "superlink ended with exit code -9"),
            ),
        ),
    ),
    Trial(
        name="server",
        options=("--rounds", str(_SHORT), *_FOUR),
        disturb=_kill_the_server,
        ends="EngineError: the server process died",
        resume=True,
        scenarios=(Scenario("server process killed in round 2", _resumed_after_one),),
    ),
    Trial(
        name="launcher",
        options=("--rounds", str(_SHORT), *_FOUR),
        disturb=_kill_the_launcher,
        ends=KILLED,
        resume=True,
        scenarios=(Scenario("launcher killed in round 2", _resumed_after_one),),
    ),
    Trial(
        name="full",
        options=("--rounds", "4", *_FOUR),
        disturb=_fill_the_disk,
        ends=("RunError: cannot keep the model", "cannot write"),
        place="small disk",
        scenarios=(Scenario("disk full from round 2 on", _kept_one_round),),
    ),
    Trial(
        name="read-only",
        options=("--rounds", "4", *_FOUR),
        disturb=_take_the_permissions,
        ends=("RunError: cannot keep the model", "cannot write"),
        place="guarded disk",
        scenarios=(Scenario("run folder read-only from round 2 on", _kept_one_round),),
    ),
    Trial(
        name="never-writable",
        options=("--rounds", "4", *_FOUR),
        ends="cannot write",
        place="read-only disk",
        scenarios=(
            Scenario("run folder read-only at the start", lambda run: not run.events()),
        ),
    ),
    Trial(
        name="two",
        options=("--rounds", str(_SHORT), *_FOUR),
        disturb=_start_another,
        scenarios=(Scenario("two runs at once, with the same keys", _both_alike),),
    ),
)
