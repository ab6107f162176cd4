"""A key holder killed between commit and answer: the same bytes, and no second set."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from clients.folder import Member, open_member
from clients.state import ClientState
from crypto.aggregation import RoundSum
from crypto.context import RoundFacts
from crypto.layout import TRAIN
from crypto.sealing import seal
from crypto.vector import Contribution
from crypto.wire import PartialReply
from experiments.prepare import PreparedRun
from tests.federation import make_group, make_params

pytestmark = pytest.mark.integration

HOLDER = Path(__file__).with_name("holder_process.py")
CLIENT_ID = 2


@dataclass
class Group:
    """Five clients' folders and the sums of one round."""

    prepared: PreparedRun
    folder: Path

    def member(self, client_id: int) -> Member:
        folder = str(self.prepared.client_folder(client_id))
        return open_member({"client-dir": folder, "run-id": self.prepared.run_id})

    def sum_of(self, client_ids: list[int]) -> RoundSum:
        facts = RoundFacts(
            run_id=bytes.fromhex(self.prepared.run_id),
            round=1,
            phase=TRAIN,
            model=bytes(32),
            dim=10,
            metrics=("loss",),
            run_config=bytes(32),
            records=bytes(32),
        )
        total = RoundSum(self.prepared.manifest, facts)
        for client_id in client_ids:
            upload = seal(
                Contribution(np.ones(10, dtype=np.float32), 10, {"loss": 0.5}),
                manifest=self.prepared.manifest,
                layout=total.layout,
                context=total.context,
                identity=self.member(client_id).identity,
            )
            total.add(upload)
        return total

    def ask(self, total: RoundSum, *options: str) -> tuple[int, bytes]:
        """Let the key holder's process answer.

        Returns:
            Its exit status, and the kind and the bytes that left it.
        """
        request, answer = self.folder / "request", self.folder / "answer"
        request.write_bytes(total.open_request().to_bytes())
        answer.unlink(missing_ok=True)
        client_dir = str(self.prepared.client_folder(CLIENT_ID))
        arguments = [client_dir, self.prepared.run_id, str(request), str(answer)]
        done = subprocess.run(
            [sys.executable, str(HOLDER), *arguments, *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, answer.read_bytes() if answer.exists() else b""

    def committed(self, total: RoundSum) -> tuple[bytes, bytes] | None:
        """Return set and answer in the key holder's memory."""
        request = total.open_request()
        state = ClientState(self.prepared.client_folder(CLIENT_ID) / "state.sqlite")
        key_id = self.prepared.manifest.keys.public_key.digest()
        return state.served(key_id, request.run_id, request.round, request.phase)


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(make_group(tmp_path / "keys", make_params()), tmp_path)


def test_killed_holder_answers_the_same_bytes_and_no_other_set(group: Group) -> None:
    total = group.sum_of([1, 2, 3, 4, 5])
    assert group.committed(total) is None
    assert group.ask(total, "die") == (-signal.SIGKILL, b"")
    committed = group.committed(total)
    assert committed is not None

    assert group.ask(total) == (0, b"partial " + committed[1])
    assert group.committed(total) == committed
    # The answer is a right one: the server accepts it.
    assert total.check_partial(PartialReply.from_bytes(committed[1]), CLIENT_ID)

    other = group.sum_of([1, 2, 3, 4])
    assert group.ask(other) == (0, b"error SecondSetError")
    assert group.committed(total) == committed
