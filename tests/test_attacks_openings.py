"""Attacks on key holders: sums they must not open.

The server asks; the holders are honest unless a test says otherwise.
"""

from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import pytest

from clients.state import ClientState
from crypto.errors import (
    DecryptionRefusedError,
    NotEnoughSharesError,
    ParameterError,
    SecondSetError,
)
from crypto.opening import Opener, ServedSets
from crypto.params import AggregationParams
from crypto.wire import Entry
from tests.attack_table import Attack
from tests.cheating_server import CheatingServer, integers, quorum, uploads
from tests.crypto_group import (
    MemoryState,
    Round,
    make_facts,
    make_round,
)


@pytest.mark.attack("decrypt one client's ciphertext")
def test_one_clients_ciphertext(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_round()
    server, alone = CheatingServer(one), uploads(one, 1)

    with monkeypatch.context() as off:
        off.setattr(Opener, "_check_set", lambda *_: None)
        leaked = server.open(alone, quorum(one))
    assert (leaked == integers(one, 1)).all()
    attack.leaked(f"client 1's update: its {leaked.size} integers, exactly")

    for holder in quorum(one):
        with attack.refused(DecryptionRefusedError, "sums of 4 to 5 updates, got 1"):
            holder.answer(server.request(alone), None)


@pytest.mark.attack("a set smaller than the minimum")
def test_set_smaller_than_the_minimum(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Clients 2 and 3 collude: what they sent is known to the server.
    one = make_round()
    server, few = CheatingServer(one), uploads(one, 1, 2, 3)

    with monkeypatch.context() as off:
        off.setattr(Opener, "_check_set", lambda *_: None)
        leaked = server.open(few, quorum(one)) - integers(one, 2, 3)
    assert (leaked == integers(one, 1)).all()
    attack.leaked("client 1's update, less those of two colluding clients")

    with attack.refused(DecryptionRefusedError, "sums of 4 to 5 updates, got 3"):
        server.open(few, quorum(one))


@pytest.mark.attack("one client four times in a set")
def test_duplicate_client(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_round()
    server, copies = CheatingServer(one), uploads(one, 1) * 4

    with monkeypatch.context() as off:
        off.setattr(Opener, "_check_set", lambda *_: None)  # 4 is a legal size
        leaked = server.open(copies, quorum(one))
    assert (leaked == 4 * integers(one, 1)).all()
    attack.leaked("client 1's update, times four")

    with attack.refused(DecryptionRefusedError, "not sorted and distinct"):
        server.open(copies, quorum(one))


def two_sets(one: Round) -> tuple[list[Entry], list[Entry]]:
    """Return all five uploads of a round, and all but client 5's."""
    everybody = uploads(one, 1, 2, 3, 4, 5)
    return everybody, everybody[:4]


class Forgetful(MemoryState):
    """A memory that keeps nothing."""

    def record(self, *_: object, **__: object) -> None:
        pass


@pytest.mark.attack("two different sets in one round")
def test_two_sets_in_a_round(attack: Attack) -> None:
    one = make_round()
    server, (all_five, four) = CheatingServer(one), two_sets(one)

    careless = [one.opener(i, Forgetful()) for i in (1, 2, 3, 4)]
    leaked = server.open(all_five, careless) - server.open(four, careless)
    assert (leaked == integers(one, 5)).all()
    attack.leaked("client 5's update, as the difference of two lawful sums")

    holders = quorum(one)
    server.open(all_five, holders)
    for holder in holders:
        with attack.refused(SecondSetError):
            holder.answer(server.request(four), None)


@pytest.mark.attack("two different sets, the key holders restarted in between")
def test_two_sets_with_a_restart_in_between(attack: Attack, tmp_path: Path) -> None:
    one = make_round()
    server, (all_five, four) = CheatingServer(one), two_sets(one)

    leaked = server.open(all_five, quorum(one)) - server.open(four, quorum(one))
    assert (leaked == integers(one, 5)).all()
    attack.leaked("client 5's update, if the memory dies with its process")

    paths = {i: tmp_path / f"{i}.sqlite" for i in (1, 2, 3, 4)}
    first = [one.opener(i, ClientState.create(path)) for i, path in paths.items()]
    server.open(all_five, first)
    for i, path in paths.items():
        with attack.refused(SecondSetError):
            one.opener(i, ClientState(path)).answer(server.request(four), None)


def traitors(one: Round, *client_ids: int) -> list[Opener]:
    """Return key holders that answer whatever they are asked."""
    return [one.opener(i, Forgetful()) for i in client_ids]


@pytest.mark.attack("two different sets, split over two quorums, two members bad")
def test_two_sets_split_over_quorums(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Holders 4 and 5 cheat; each honest holder is asked for one set only.
    with monkeypatch.context() as off:
        off.setattr(AggregationParams, "_check_quorum", lambda _: None)
        weak = make_round(threshold=3)
        server, (all_five, four) = CheatingServer(weak), two_sets(weak)
        first = server.open(all_five, [*quorum(weak, 1), *traitors(weak, 4, 5)])
        second = server.open(four, [*quorum(weak, 2), *traitors(weak, 4, 5)])
        wanted = integers(weak, 5)
    assert (first - second == wanted).all()
    attack.leaked("client 5's update, with 3 of 5")

    with attack.refused(ParameterError, "does not stop 2 malicious key holders"):
        make_round(threshold=3)
    one = make_round()
    server, (all_five, four) = CheatingServer(one), two_sets(one)
    honest, bad = quorum(one, 1, 2, 3), traitors(one, 4, 5)
    server.open(all_five, [*honest[:2], *bad])
    with pytest.raises(NotEnoughSharesError, match="3 partial decryptions of 4"):
        server.open(four, [honest[2], *bad])
    with attack.refused(SecondSetError):  # the fourth would be a holder asked before
        server.open(four, [honest[2], *bad, honest[0]])


def restored(one: Round, client_id: int, path: Path, backup: Path) -> Opener:
    """Return a key holder whose folder somebody put back to what it was before."""
    copyfile(backup, path)
    return one.opener(client_id, ClientState(path))


@pytest.mark.attack("a key holder's old state folder is restored")
def test_restored_state_counts_as_a_malicious_member(
    attack: Attack, tmp_path: Path
) -> None:
    one, path, backup = make_round(), tmp_path / "state", tmp_path / "backup"
    server, (all_five, four) = CheatingServer(one), two_sets(one)
    state: ServedSets = ClientState.create(path)
    copyfile(path, backup)

    # Three bad ones, more than the f = 2 of 4 of 5: two cheat, one was restored.
    bad = traitors(one, 4, 5)
    first = server.open(all_five, [one.opener(1, state), *quorum(one, 2), *bad])
    again = [restored(one, 1, path, backup), *quorum(one, 3), *bad]
    leaked = first - server.open(four, again)
    assert (leaked == integers(one, 5)).all()
    attack.leaked("client 5's update, with two malicious members besides")

    # Two bad ones: the restored holder and one that cheats.
    honest, bad = quorum(one, 2, 3, 4), traitors(one, 5)
    old = restored(one, 1, path, backup)
    server.open(all_five, [old, *honest[:2], *bad])
    again = [restored(one, 1, path, backup), *honest[2:], *bad]
    with pytest.raises(NotEnoughSharesError, match="3 partial decryptions of 4"):
        server.open(four, again)
    with pytest.raises(SecondSetError):
        server.open(four, [*again, honest[0]])
    attack.stopped("none is possible: it counts among the f = 2 bad of 4 of 5")
    attack.stopped_by(NotEnoughSharesError)


@pytest.mark.attack("two rounds on one model, the second without one client")
def test_two_rounds_that_differ_by_one_client(attack: Attack) -> None:
    # Clients that train alike: their updates are the same in both rounds.
    rounds = [make_round(facts=make_facts(round=number)) for number in (1, 2)]
    one, two = rounds
    all_five, four = uploads(one, 1, 2, 3, 4, 5), uploads(two, 1, 2, 3, 4)

    holders = quorum(one)
    first = CheatingServer(one).open(all_five, holders)
    leaked = first - CheatingServer(two).open(four, holders)
    assert (leaked == integers(one, 5)).all()
    attack.leaked("client 5's update, if its training repeats exactly")

    holders = [replace(holder, min_set_change=2) for holder in quorum(one)]
    CheatingServer(one).open(all_five, holders)
    with attack.refused(DecryptionRefusedError, "min-set-change"):
        CheatingServer(two).open(four, holders)
    attack.stopped("(rule min-set-change, 0 by default)")
