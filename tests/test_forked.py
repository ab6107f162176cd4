"""Client processes that are forks of one process (`experiments.fork_server`)."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments import forked
from experiments.forked import ForkedChild, ForkServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not forked.CAN_FORK, reason="clients are forked on Linux only"),
]

ROOT = Path(__file__).resolve().parent.parent
_APP = """
import flwr.clientapp
app = flwr.clientapp.ClientApp()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], ForkedChild]]:
    """Start a client that waits for a SuperLink which never comes."""
    (tmp_path / "forked_app.py").write_text(_APP)
    (tmp_path / "home").mkdir()
    env = {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path))),
        "HOME": str(tmp_path / "home"),
        "FLWR_HOME": str(tmp_path / "home"),
    }
    server = ForkServer("forked_app:app", env=env, log_file=tmp_path / "server.log")

    def start(name: str, *options: str) -> ForkedChild:
        arguments = [
            *("--insecure", "--superlink", "127.0.0.1:9", "--app", "forked_app:app"),
            *("--client-dir", str(tmp_path), "--run-id", "ab" * 16, *options),
        ]
        own = {**env, "UNSEEN_TEST": name}
        log = tmp_path / f"{name}.log"
        return server.start(name, arguments, env=own, log_file=log)

    try:
        yield start
    finally:
        server.stop()


def test_a_forked_client_is_a_process_of_its_own(
    start: Callable[[str], ForkedChild],
) -> None:
    clients = [start("client-1"), start("client-2")]
    assert len({client.pid for client in clients}) == 2
    for number, client in enumerate(clients, start=1):
        assert client.poll() is None
        comm = Path(f"/proc/{client.pid}/comm")
        end = time.monotonic() + 10
        while comm.read_text() != f"client-{number}\n" and time.monotonic() < end:
            time.sleep(0.01)
        assert comm.read_text() == f"client-{number}\n"
        assert os.getsid(client.pid) == client.pid  # Ctrl-C reaches the launcher only


def test_its_end_is_told_as_of_any_child(
    start: Callable[[str], ForkedChild],
) -> None:
    killed, asked = start("client-1"), start("client-2")
    killed.kill()
    assert killed.wait(10) == killed.poll() == -signal.SIGKILL
    with pytest.raises(subprocess.TimeoutExpired):
        asked.wait(0.1)
    _until_it_listens_to_signals(asked)
    asked.terminate()
    assert asked.wait(10) == 0
    asked.kill()  # of a process that is gone, nothing


def test_what_it_prints_goes_into_its_own_log(
    start: Callable[..., ForkedChild], tmp_path: Path
) -> None:
    assert start("client-1", "--app", "no_such_module:app").wait(20) == 1
    assert "no_such_module" in (tmp_path / "client-1.log").read_text()
    assert start("client-2", "--nonsense").wait(20) == 1
    assert "--nonsense" in (tmp_path / "client-2.log").read_text()
    assert (tmp_path / "server.log").read_text() == ""


def test_clients_end_when_the_process_they_were_forked_from_is_killed(
    start: Callable[[str], ForkedChild],
) -> None:
    client = start("client-1")
    server = int(Path(f"/proc/{client.pid}/stat").read_text().rsplit(")")[1].split()[1])
    os.kill(server, signal.SIGKILL)
    assert client.wait(10) == -signal.SIGTERM
    late = start("client-2")
    assert late.wait(10) == -signal.SIGTERM


def _until_it_listens_to_signals(client: ForkedChild) -> None:
    """Wait for its own handler of SIGTERM: before, the signal ends it at once."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        status = Path(f"/proc/{client.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError("the client never asked for SIGTERM")
