"""The parties started by hand, every client in a network namespace of its own.

unseen-hub   SuperLink and server, and a bridge at 10.77.0.1
unseen-1..5  a client each, at 10.77.0.11 .. 15, with no other way out
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.containers.checkout import Event, environment, unseen_command
from tests.containers.checks import CheckError, require

ADDRESS = "10.77.0.1"
PORT = 9092
_CLIENTS = range(1, 6)
_HUB = "unseen-hub"
_IP = shutil.which("ip") or "ip"
_RUN_SECONDS = 240
_END_SECONDS = 60
# In accuracy; 18 of the 360 test images.
_TOLERANCE = 0.05


@contextmanager
def namespaces() -> Iterator[None]:
    """Make the network, and take it away again; needs root.

    Raises:
        CheckError: If this machine does not allow it.
    """
    names = [_HUB, *(_space(f"client-{i}") for i in _CLIENTS)]
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", _HUB, "link", "add", "bridge", "type", "bridge")
        _ip("-n", _HUB, "addr", "add", f"{ADDRESS}/24", "dev", "bridge")
        _ip("-n", _HUB, "link", "set", "bridge", "up")
        for i in _CLIENTS:
            _connect(i)
        yield
    finally:
        for name in names:
            subprocess.run(
                [_IP, "netns", "del", name], check=False, capture_output=True
            )


def _connect(client_id: int) -> None:
    """Lay a cable from the bridge to a client."""
    name, port = _space(f"client-{client_id}"), f"port{client_id}"
    end = ("peer", "name", "eth0", "netns", name)
    _ip("-n", _HUB, "link", "add", port, "type", "veth", *end)
    _ip("-n", _HUB, "link", "set", port, "master", "bridge", "up")
    address = f"10.77.0.{10 + client_id}/24"
    _ip("-n", name, "addr", "add", address, "dev", "eth0")
    _ip("-n", name, "link", "set", "eth0", "up")


def run_by_hand(checkout: Path, deployment: Path, out: Path, logs: Path) -> None:
    """Run the deployment's enrolled run with nothing but the `unseen` command.

    Args:
        checkout: Whose code runs.
        deployment: The parties' folders.
        out: The run folder to make.
        logs: Exists; gets a file for every party.

    Raises:
        CheckError: If a party does not end with 0.
    """
    dial = f"--superlink={ADDRESS}:{PORT}"
    join = ("client", dial, "--device=cpu", "--wait=300", "--once")
    commands = {
        "superlink": ("deploy", "superlink", "--host=0.0.0.0", "--once"),
        **dict.fromkeys((f"client-{i}" for i in _CLIENTS), join),
        "server": ("deploy", "run", dial, f"--out={out}"),
    }
    with ExitStack() as stack:
        parties = {}
        for name, command in commands.items():
            log = stack.enter_context((logs / f"{name}.log").open("wb"))
            own = (*command, f"--dir={deployment / name}")
            parties[name] = subprocess.Popen(
                [_IP, "netns", "exec", _space(name), *unseen_command(*own)],
                cwd=logs,
                env=environment(checkout),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(_stop, parties[name])
        _require_success("server", parties.pop("server"), _RUN_SECONDS, logs)
        for name, process in parties.items():
            _require_success(name, process, _END_SECONDS, logs)


def require_alike(here: list[Event], there: list[Event]) -> None:
    """Check that two runs of the same enrolment went alike.

    Every deployed client draws its order of training from its own randomness, so the
    trained models differ a little; who took part and every byte that was sent do not.

    Raises:
        CheckError: If they did not.
    """
    exact = ("round", "contributors", "dropped", "refused", "bytes_up", "bytes_down")
    facts = [[{k: one[k] for k in exact} for one in run] for run in (here, there)]
    require(facts[0] == facts[1], f"{facts[0]} by hand, else {facts[1]}")
    scores = [
        (one["accuracy"], two["accuracy"]) for one, two in zip(here, there, strict=True)
    ]
    require(scores[0][0] == scores[0][1], f"untrained: {scores[0]}")
    require(abs(scores[-1][0] - scores[-1][1]) < _TOLERANCE, f"trained: {scores[-1]}")


def _require_success(
    name: str, process: subprocess.Popen[bytes], seconds: float, logs: Path
) -> None:
    try:
        code: int | str = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        code = f"did not end within {seconds:.0f} s"
    last = (logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-800:]
    require(code == 0, f"{name}: {code}: {last}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def _space(party: str) -> str:
    """Return the namespace of a party; the server's side shares one."""
    return party.replace("client", "unseen") if party.startswith("client") else _HUB


def _ip(*arguments: str) -> None:
    done = subprocess.run(
        [_IP, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CheckError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
