"""Work on every core gives what one core gives, and leaves nothing behind."""

import subprocess
import sys
import threading
import time

import psutil
import pytest

from crypto import entries as entry_checks
from crypto import parallel
from crypto.entries import check_entries
from crypto.errors import InvalidSignatureError, MalformedMessageError
from crypto.parallel import parallel_map, process_map
from crypto.wire import Entry
from tests.crypto_group import Round, added, make_round


def entries_of(one: Round) -> list[Entry]:
    return [Entry.from_bytes(e) for e in added(one, 4).open_request().entries]


def checked(one: Round, entries: list[Entry]) -> object:
    context, layout = one.facts.context(one.manifest), one.facts.layout(one.manifest)
    return check_entries(entries, context, one.manifest, layout)


def test_threads_keep_the_order_of_the_items() -> None:
    assert parallel_map(abs, range(-50, 0)) == list(range(50, 0, -1))


def test_processes_check_entries_as_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_round()
    entries = entries_of(one)
    expected = checked(one, entries)
    monkeypatch.setattr(entry_checks, "_MANY_CIPHERTEXTS", 1)
    assert checked(one, entries) == expected


def test_refusals_come_out_of_a_process_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = make_round(), make_round()
    monkeypatch.setattr(entry_checks, "_MANY_CIPHERTEXTS", 1)
    good = entries_of(one)
    cut = Entry(1, good[0].bulk_digest, b"", b"", good[0].signature)
    with pytest.raises(InvalidSignatureError, match=r"signature"):
        checked(other, [*good[:3], cut])
    monkeypatch.setattr(entry_checks, "_CHUNK_CIPHERTEXTS", 1)
    with pytest.raises(MalformedMessageError) as refused:
        process_map(Entry.from_bytes, [good[0].to_bytes(), b"cut"], at_once=1)
    assert refused.value.args == MalformedMessageError().args


def test_worker_watches_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    parent = threading.Thread(target=list)
    parent.start()
    monkeypatch.setattr(parallel, "parent_process", lambda: parent)
    monkeypatch.setattr("os._exit", codes.append)
    parallel._end_with_parent()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(timeout=0.2)
    assert codes == [0]


def test_process_without_a_parent_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "parent_process", lambda: None)
    before = threading.active_count()
    parallel._end_with_parent()
    assert threading.active_count() == before


def test_workers_end_when_their_parent_is_killed() -> None:
    program = (
        "import time\n"
        "from crypto.parallel import process_map\n"
        "if __name__ == '__main__':\n"
        "    process_map(abs, range(8), at_once=1)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        workers = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    end = time.monotonic() + 10
    while any(worker.is_running() for worker in workers):
        assert time.monotonic() < end, "a worker outlives its parent"
        time.sleep(0.05)
    assert workers
