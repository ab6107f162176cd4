"""Downloads from the Hub: checked, tried again, resumed; with a Hub on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_hub import FakeHub, fake_hub

_PROJECT = Path(__file__).parent.parent
_CODE = """
import sys
from pathlib import Path
from huggingface_hub import constants
from models.data import hub
constants.DOWNLOAD_CHUNK_SIZE = 1024
hub._PAUSES = (0.0, 0.0)
files = hub.HubFiles("someone/texts", {"train": "data/train-*", "test": "data/test-*"})
try:
    hub.download(files, Path(sys.argv[1]), lambda line: print("told:", line))
except hub.TaskError as error:
    print("error:", error)
"""


@pytest.fixture(name="hub")
def _hub(tmp_path: Path) -> Iterator[FakeHub]:
    folder = tmp_path / "hub"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train-0.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "data" / "test-0.txt").write_bytes(b"test")
    (folder / "README.md").write_bytes(b"not asked for")
    with fake_hub("someone/texts", folder) as hub:
        yield hub


def _download(hub: FakeHub, folder: Path, **environment: str) -> list[str]:
    """Download in a process of its own: the library reads its address when imported."""
    changed = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(folder)],
        cwd=_PROJECT,
        env=os.environ | changed | {"HF_HOME": str(folder / "home")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def _arrived(hub: FakeHub, folder: Path) -> bool:
    """Whether the files asked for, and no others, are there and whole."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and path.relative_to(folder).parts[0] not in {".cache", "home"}
    }
    wanted = {name: data for name, data in hub.files.items() if name != "README.md"}
    return found == wanted


def test_the_files_asked_for_arrive_whole(hub: FakeHub, tmp_path: Path) -> None:
    assert _download(hub, tmp_path / "new") == []
    assert _arrived(hub, tmp_path / "new")


def test_a_transfer_that_breaks_off_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_off = 2  # of both files; the larger one after two of its five chunks
    assert _download(hub, tmp_path / "new") == []
    assert _arrived(hub, tmp_path / "new")
    assert any(line.endswith("train-0.txt bytes=2048-") for line in hub.requests)


def test_a_damaged_file_is_downloaded_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.swaps = 1
    (line,) = _download(hub, tmp_path / "new")
    assert line.startswith("told: someone/texts: data/t")
    assert line.endswith("arrived damaged; trying again")
    assert _arrived(hub, tmp_path / "new")


def test_after_three_damaged_downloads_nothing_is_kept(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.swaps = 100
    lines = _download(hub, tmp_path / "new")
    assert len(lines) == 3
    assert lines[-1].startswith("error: cannot download someone/texts: data/test-0.txt")
    assert not list((tmp_path / "new").rglob("t*.txt"))


def test_a_hub_that_fails_is_asked_three_times(hub: FakeHub, tmp_path: Path) -> None:
    hub.broken = True
    lines = _download(hub, tmp_path / "new")
    assert lines[-1] == (
        "error: cannot download someone/texts: no answer from huggingface.co"
    )
    asked = [line for line in hub.requests if "/revision/main" in line]
    assert len(asked) == 3


def test_half_a_download_does_not_pass_when_the_hub_is_away(
    hub: FakeHub, tmp_path: Path
) -> None:
    assert _download(hub, tmp_path / "new") == []
    (tmp_path / "new" / "data" / "test-0.txt").unlink()
    hub.broken = True
    assert "no answer" in _download(hub, tmp_path / "new")[-1]


def test_a_data_set_that_is_gone_is_said_at_once(hub: FakeHub, tmp_path: Path) -> None:
    hub.repo = "someone/else"
    lines = _download(hub, tmp_path / "new")
    assert lines == ["error: huggingface.co has no data set someone/texts"]


def test_offline_mode_is_said_at_once(hub: FakeHub, tmp_path: Path) -> None:
    lines = _download(hub, tmp_path / "new", HF_HUB_OFFLINE="1")
    assert lines == ["error: HF_HUB_OFFLINE is set: no someone/texts"]
    assert hub.requests == []
