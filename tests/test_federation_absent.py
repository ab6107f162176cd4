"""Clients and key holders that are away: the round goes on, or opens nothing."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from server.errors import RunError
from tests.federation import Federation, gone, read, steady


def test_too_few_updates_open_nothing_and_end_the_run_by_name(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    federation = steady(tmp_path / "keys")

    def intercept(client_id: int, message: Message) -> Message:
        record = message.content.config_records["unseen"]
        if record["kind"] == "round" and client_id in (1, 2):
            raise_silence(federation, client_id)
        return message

    federation.intercept = intercept
    federation.tamper = lambda client_id, reply: (
        gone(reply) if client_id in federation.silent else reply
    )
    with pytest.raises(RunError, match=r"2 rounds failed in a row.*TooFewUpdatesError"):
        federation.run(
            np.zeros(4, dtype=np.float32),
            rounds=5,
            events=events,
            max_failed_rounds=2,
            deadline_seconds=0.3,
        )
    seen = [e["event"] for e in read(events)]
    assert "opening" not in seen
    assert seen.count("round_failed") == 2


def raise_silence(federation: Federation, client_id: int) -> None:
    """From now on this client answers nothing."""
    federation.silent.add(client_id)


@pytest.mark.parametrize("away", [0, 1])
def test_a_holder_that_is_away_or_wrong_is_replaced(away: int, tmp_path: Path) -> None:
    def tamper(client_id: int, reply: Message) -> Message:
        record = reply.content.config_records["unseen"]
        return gone(reply) if record["kind"] == "partial" and client_id == 3 else reply

    federation = steady(tmp_path / "keys", tamper=tamper)
    _, wrapper = federation.run(np.zeros(4, dtype=np.float32), rounds=2 + away)
    assert wrapper.rounds_opened == 2 + away


def test_with_two_holders_away_nothing_opens(tmp_path: Path) -> None:
    def tamper(client_id: int, reply: Message) -> Message:
        record = reply.content.config_records["unseen"]
        return gone(reply) if record["kind"] == "partial" and client_id < 3 else reply

    events = tmp_path / "events.jsonl"
    federation = steady(tmp_path / "keys", tamper=tamper)
    with pytest.raises(RunError, match="TooFewPartialsError"):
        federation.run(
            np.zeros(4, dtype=np.float32), events=events, max_failed_rounds=1
        )
    assert "opened" not in [e["event"] for e in read(events)]
