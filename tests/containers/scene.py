"""A clean checkout with a deployment, the containers made from it, and their checks."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.containers.by_hand import ADDRESS, namespaces, require_alike, run_by_hand
from tests.containers.capture import capturing, judge, send_plaintext
from tests.containers.checkout import (
    ROOT,
    Event,
    copy_checkout,
    newest_run,
    rounds_of,
    unseen,
    wait_for_event,
)
from tests.containers.checks import CheckError, Checks, require
from tests.containers.engine import ASIDE, IMAGE, PARTIES, Compose, docker
from tests.containers.image import search, secrets_of
from tests.containers.inside import look_at_settings, look_inside

ROUNDS = 2
_SETTINGS = ("--task=digits", f"--rounds={ROUNDS}", "--insecure-key-bits=2048")
_BUILD_SECONDS = 420
_RUN_SECONDS = 240
_EXTRA = "compose.test.yml"
_CONTROL = "unseen-test-control"
_FOREIGN_UID = 4242
_TENSORBOARD = "http://127.0.0.1:6006/data/runs"


class Scene:
    """What the checks look at.

    Args:
        folder: Empty; everything that is made lies in it.
        checks: Prints and remembers the verdicts.
    """

    def __init__(self, folder: Path, checks: Checks) -> None:
        self._checks = checks
        self._folder = folder
        self._checkout = folder / "unseen"
        self._deployment = self._checkout / "deploy"
        self._runs = self._checkout / "runs"
        self._compose = Compose(self._checkout, _EXTRA)
        self._first_run = self._runs

    def prepare(self) -> None:
        """Make the checkout and the deployment, and a copy of it to carry away."""
        with self._checks.check("unseen deploy init makes folders that check accepts"):
            copy_checkout(self._checkout)
            where = (f"--out={self._deployment}", f"--name={ADDRESS}", "--record")
            self._unseen("deploy", "init", "--clients=5", *where, *_SETTINGS)
            self._unseen("deploy", "check", str(self._deployment))
            copied = ["cp", "-r", "--preserve=mode,timestamps"]
            carried = str(self._folder / "by-hand")
            subprocess.run([*copied, str(self._deployment), carried], check=True)

    def build(self) -> None:
        """Build the image, with PyTorch's CPU wheel where this machine's pip has it."""
        wheels = self._cpu_wheels()
        extra = "services: {}\n"
        if wheels:
            context = f"{{additional_contexts: {{wheels: {wheels}}}}}"
            extra = f"services: {{superlink: {{build: {context}}}}}\n"
        (self._checkout / _EXTRA).write_text(extra, encoding="utf-8")
        with self._checks.check("docker compose build"):
            self._compose.call("build", "--quiet", timeout=_BUILD_SECONDS)
            size = int(docker("image", "inspect", "-f", "{{.Size}}", IMAGE))
            torch = "the CPU wheel" if wheels else "what pip's index has"
            self._checks.note(f"{size / 1e6:,.0f} MB; PyTorch: {torch}")

    def run(self) -> None:
        """Bring everything up, look inside meanwhile, and wait for the end."""
        log = self._folder / "up.log"
        with self._compose.up(log, "--build") as process:
            link = self._compose.container("superlink")
            with capturing(link) as capture:
                self._look_inside()
                with self._checks.check("docker compose up ends with the run"):
                    _wait_for(process, log)
                    self._require_success(log)
                    self._first_run = newest_run(self._runs)
                    self._note_results(self._first_run)
                with self._checks.check("the SuperLink's network carries TLS only"):
                    found = capture.stop()
                    self._checks.note(judge(found, num_peers=6, num_bytes=500_000))
        self._compose.down()

    def audit(self) -> None:
        """Audit the recorded run."""
        with self._checks.check("unseen audit passes on the recorded run"):
            said = self._unseen("audit", str(self._first_run)).strip()
            self._checks.note(said.splitlines()[-1].strip())

    def compare_by_hand(self) -> None:
        """Run the same five clients without containers."""
        name = "five clients by hand, in network namespaces, do the same"
        if os.geteuid() != 0:
            self._checks.skip(name, "needs root")
            return
        with self._checks.check(name), namespaces():
            carried = self._folder / "by-hand"
            out = carried / "run"
            run_by_hand(self._checkout, carried, out, self._folder)
            require_alike(rounds_of(out), rounds_of(self._first_run))
            self._note_results(out)

    def kill(self) -> None:
        """Run again, and kill a client and the SuperLink in the middle."""
        log = self._folder / "kills.log"
        with self._checks.check("docker kill of a client and the SuperLink: completes"):
            self._unseen("deploy", "enrol", f"--dir={self._deployment}")
            with self._compose.up(log) as process:
                self._kill_in_mid_run()
                _wait_for(process, log)
            self._require_success(log)
            self._note_results(newest_run(self._runs))
        self._compose.down()

    def watch(self) -> None:
        """Look at the runs with TensorBoard, as a browser on this machine would."""
        with self._checks.check("the profile watch shows the runs in TensorBoard"):
            up = ("up", "--detach", "--wait", "tensorboard")
            self._compose.call("--profile", "watch", *up)
            container = self._compose.container("tensorboard")
            look_inside("tensorboard", container)
            with urllib.request.urlopen(_TENSORBOARD, timeout=30) as response:
                shown = json.load(response)
            names = [name.split("/")[0] for name in shown]
            require(self._first_run.name in names, f"it shows {shown}")
        self._compose.down()

    def refuse(self) -> None:
        """Start a party as somebody who does not own its folder."""
        with self._checks.check("a wrong uid on a volume is a named error"):
            folder = f"{self._deployment / 'client-1'}:/party"
            who = ("--user", f"{_FOREIGN_UID}:{_FOREIGN_UID}", "--volume", folder)
            party = ("client", "--superlink=superlink:9092", "--dir=/party")
            try:
                docker(*ASIDE, *who, IMAGE, *party)
            except CheckError as error:
                lines = [line for line in str(error).splitlines() if "unseen:" in line]
                require(bool(lines), str(error))
                self._checks.note(lines[0])
            else:
                raise CheckError("the client was started and ended with 0")

    def search_image(self) -> None:
        """Look for secrets in the image, and in one that had a key for a moment."""
        with self._checks.check("no layer of the image holds a private key"):
            secrets = secrets_of(self._deployment)
            require(len(secrets) > 3 * 5, f"too few secrets to look for: {[*secrets]}")
            self._build_control()
            found, _ = search(_CONTROL, secrets)
            ways = ("name of a secret", "a private key", "part of client-1/node.key")
            missed = [way for way in ways if not any(way in line for line in found)]
            require(not missed, f"the search misses a key that was deleted: {missed}")
            found, size = search(IMAGE, secrets)
            require(not found, "; ".join(found[:5]))
            self._checks.note(f"{size / 1e6:,.0f} MB, {len(secrets)} secrets")

    def end(self) -> None:
        """Leave nothing behind but the engine's build cache."""
        if (self._checkout / _EXTRA).exists():
            self._compose.down()
        for image in (IMAGE, _CONTROL):
            with suppress(CheckError):
                docker("image", "rm", "--force", image)

    def _unseen(self, *arguments: str) -> str:
        return unseen(self._checkout, *arguments)

    def _look_inside(self) -> None:
        with self._checks.check("nobody is root; no capabilities; own volumes only"):
            for party in PARTIES:
                look_inside(party, self._compose.container(party))
                look_at_settings(self._compose, party)
            send_plaintext()

    def _require_success(self, log: Path) -> None:
        """Check that the run reached its end, and that every party ended with it.

        Raises:
            CheckError: If not.
        """
        codes = {p: self._compose.details(p)["State"]["ExitCode"] for p in PARTIES}
        killed = {party: code for party, code in codes.items() if code == 137}
        codes = {party: code for party, code in codes.items() if code}
        require(codes == killed, f"exit codes {codes}: {_end_of(log)}")
        run = newest_run(self._runs)
        files = [run / name for name in ("model.safetensors", "report.html")]
        missing = [path.name for path in files if not path.is_file()]
        require(not missing, f"{missing} missing in the run folder: {_end_of(log)}")
        done = len(rounds_of(run)) - 1
        require(done == ROUNDS, f"{done} of {ROUNDS} rounds: {_end_of(log)}")

    def _kill_in_mid_run(self) -> None:
        """Kill both after the first opening; only the SuperLink is started again."""
        wait_for_event(self._new_run, _first_opening, _RUN_SECONDS)
        link = self._compose.container("superlink")
        docker("kill", self._compose.container("client-3"), link)
        time.sleep(5)
        docker("start", link)

    def _new_run(self) -> Path:
        newest = newest_run(self._runs)
        require(newest != self._first_run, "no new run yet")
        return newest

    def _note_results(self, run: Path) -> None:
        scores = ", ".join(f"{one['accuracy']:.4f}" for one in rounds_of(run))
        self._checks.note(f"accuracy by round: {scores}")

    def _cpu_wheels(self) -> Path | None:
        """Return a folder with PyTorch's CPU wheel, or None where pip has none."""
        lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        wanted = next(line for line in lock if line.startswith("torch==")) + "+cpu"
        folder = self._folder / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*command, "--dest", str(folder), wanted], check=False, capture_output=True
        )
        return None if done.returncode else folder

    def _build_control(self) -> None:
        """Build an image with a key that a later layer removes."""
        base = os.environ.get("BASE_IMAGE", "python:3.11-slim")
        steps = f"FROM {base}\nCOPY node.key /gone/\nRUN rm -r /gone\n"
        context = str(self._deployment / "client-1")
        docker("build", "--quiet", "-t", _CONTROL, "-f", "-", context, given=steps)


def _first_opening(event: Event) -> bool:
    return (event["event"], event.get("phase")) == ("opened", "train")


def _wait_for(up: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the end of `docker compose up`.

    Raises:
        CheckError: If it is not 0, or does not come in time.
    """
    try:
        code: int | str = up.wait(timeout=_RUN_SECONDS)
    except subprocess.TimeoutExpired:
        code = f"none within {_RUN_SECONDS} s"
    require(code == 0, f"exit code {code}: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-1500:]
