"""Captures what passes the SuperLink's network and judges it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.containers.checks import CheckError, require
from tests.containers.engine import ASIDE, DOCKER, IMAGE, PROJECT, docker

PORT = 9092
MARK = b"UNSEEN-CONTROL"
_SNIFFER = (Path(__file__).parent / "sniffer.py").read_text(encoding="utf-8")
_STOP_SECONDS = 60
_CLIENT_HELLO = "1603"
_PLAINTEXT = f"""
import socket
with socket.create_connection(("superlink", {PORT}), timeout=10) as connection:
    connection.sendall({MARK!r})
    connection.recv(1000)
"""


class Capture:
    """A sniffer at work in the network namespace of a container."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> dict[str, Any]:
        """Return the sniffer's verdict."""
        verdict, said = self._process.communicate("", timeout=_STOP_SECONDS)
        require(self._process.returncode == 0, f"the sniffer ended: {said}")
        found: dict[str, Any] = json.loads(verdict)
        return found


@contextmanager
def capturing(container: str) -> Iterator[Capture]:
    """Capture what a container sends and receives until the block ends.

    The sniffer is root, in a container of its own that shares nothing but the network.

    Raises:
        CheckError: If the sniffer does not start.
    """
    command = [
        *(DOCKER, *ASIDE, "--interactive", "--user", "0:0"),
        *("--network", f"container:{container}", "--cap-drop", "ALL"),
        *("--cap-add", "NET_RAW", "--entrypoint", "python"),
        *(IMAGE, "-I", "-c", _SNIFFER),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            first = process.stderr.readline() if process.stderr else ""
            if first.strip() != "ready":
                raise CheckError(f"the sniffer did not start: {first}")
            yield Capture(process)
        finally:
            process.kill()


def send_plaintext() -> None:
    """Send a few readable bytes to the SuperLink from a client's network."""
    where = ("--network", f"{PROJECT}_fleet", "--entrypoint", "python")
    docker(*ASIDE, *where, IMAGE, "-I", "-c", _PLAINTEXT)


def judge(found: dict[str, Any], *, num_peers: int, num_bytes: int) -> str:
    """Check that all that was captured is TLS, but for our own readable bytes.

    Args:
        found: The sniffer's verdict.
        num_peers: Addresses that must have dialled the SuperLink, at least.
        num_bytes: Bytes that must have passed, at least.

    Returns:
        What was seen, for people.

    Raises:
        CheckError: If it is not so, or the capture cannot tell.
    """
    require(found["dropped"] == 0, f"the sniffer lost {found['dropped']} packets")
    require(not found["others"], f"other traffic: {found['others']}")
    streams = found["streams"]
    is_control = [stream["head"].startswith(MARK.hex()) for stream in streams]
    require(sum(is_control) == 1, "the readable bytes were not seen")
    wrong = [stream for stream in streams if stream["wrong"]]
    foreign = [stream for stream in wrong if not stream["head"].startswith(MARK.hex())]
    require(len(wrong) > len(foreign), "the readable bytes passed for TLS")
    require(not foreign, f"not TLS: {foreign[:3]}")
    dialled = [s for s in streams if s["to_port"] == PORT and not s["wrong"]]
    peers = {stream["from"] for stream in dialled}
    total = sum(stream["bytes"] for stream in streams)
    require(len(peers) >= num_peers, f"only {sorted(peers)} dialled the SuperLink")
    require(total >= num_bytes, f"only {total} bytes were seen")
    heads = {stream["head"][:4] for stream in dialled}
    require(heads == {_CLIENT_HELLO}, f"connections begin with {sorted(heads)}")
    return f"{len(streams)} streams of {len(peers)} addresses, {total:,} bytes, all TLS"
