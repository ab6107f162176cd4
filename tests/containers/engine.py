"""Docker and Compose, as the checks use them: one project, one image, of our own."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.containers.checks import CheckError

DOCKER = shutil.which("docker") or "docker"
PROJECT = "unseen-test"
IMAGE = "unseen-test"
PARTIES = ("superlink", "server", *(f"client-{i}" for i in range(1, 6)))
# Else Compose, which built the image, would take such a container for one of its
# project's, and wait for its end.
ASIDE = ("run", "--rm", "--label", "com.docker.compose.project=")
_ENVIRONMENT = {**os.environ, "UNSEEN_IMAGE": IMAGE}
_LAST_LINES = 15


def docker(*arguments: str, timeout: float = 120.0, given: str = "") -> str:
    """Run a command of the engine and return what it prints.

    Args:
        arguments: What follows `docker`.
        timeout: Seconds.
        given: Its standard input.

    Raises:
        CheckError: If it fails.
    """
    done = subprocess.run(
        [DOCKER, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=_ENVIRONMENT,
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        command = " ".join(arguments[:6])
        raise CheckError(f"docker {command} ended with {done.returncode}: {last}")
    return done.stdout


class Compose:
    """The project's Compose file in a checkout.

    Args:
        checkout: Its folder.
        extra: A further Compose file, in the same folder.
    """

    def __init__(self, checkout: Path, extra: str) -> None:
        self._folder = checkout
        files = ("-f", "docker-compose.yml", "-f", extra)
        where = ("--project-directory", str(checkout), "-p", PROJECT)
        self._prefix = ("compose", *where, *files)

    def call(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run a command of Compose and return what it prints.

        Raises:
            CheckError: If it fails.
        """
        return docker(*self._absolute(), *arguments, timeout=timeout)

    @contextmanager
    def up(self, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run `up` in the foreground, as a person would, with its lines in a file."""
        command = [DOCKER, *self._absolute(), "up", "--no-color", *arguments]
        with log.open("wb") as lines:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)

    def container(self, service: str, seconds: float = 60.0) -> str:
        """Wait for the container of a service and return its id.

        Raises:
            CheckError: If it is not running within these seconds.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = _containers(service, "--filter", "status=running")
            if found:
                return found
            time.sleep(0.2)
        raise CheckError(f"{service} was not running within {seconds:.0f} s")

    def details(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container, running or not."""
        found = docker("inspect", _containers(service, "--all"))
        details: list[dict[str, Any]] = json.loads(found)
        return details[0]

    def down(self) -> None:
        """Remove containers and networks."""
        self.call("--profile", "watch", "down", "--timeout", "1")

    def _absolute(self) -> Sequence[str]:
        return [
            str(self._folder / part) if part.endswith(".yml") else part
            for part in self._prefix
        ]


def _containers(service: str, *options: str) -> str:
    """Return the id of a service's container; quicker than by asking Compose."""
    labels = {"project": PROJECT, "service": service}
    filters = (f"label=com.docker.compose.{k}={v}" for k, v in labels.items())
    wanted = (part for one in filters for part in ("--filter", one))
    return docker("ps", "--quiet", *wanted, *options).strip()
