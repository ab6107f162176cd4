"""Where data comes from: a given folder, the cache, or the Hub's tables, converted."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from models.data import sources
from models.data.hub import HubFiles
from models.data.mnist import MNIST_FILES, load_mnist
from models.data.sources import SOURCES, find_data
from models.errors import TaskError
from models.tasks import get_task, task_names

_DATA = Path(
    os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / "shared" / "data")
)
_MAILS: dict[str, list[tuple[str | None, int]]] = {
    "train": [("buy now", 1), ("see you", 0), (" \n", 0), (None, 1)],
    "test": [("hello", 0)],
}


def _touch_all(folder: Path, task: str) -> Path:
    folder.mkdir(parents=True)
    for name in SOURCES[task].files:
        (folder / name).touch()
    return folder


def _mails_of_the_hub(folder: Path) -> Path:
    folder.mkdir()
    for split, mails in _MAILS.items():
        rows = [
            {"message_id": number, "text": text, "label": label, "label_text": "?"}
            for number, (text, label) in enumerate(mails)
        ]
        lines = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{split}.jsonl").write_text(lines)
    return folder


def _digits_of_the_hub(folder: Path, images: dict[str, np.ndarray[Any, Any]]) -> Path:
    """Write images as the Hub has them: PNG in a struct, described for `datasets`."""
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel"}}
    features["label"]["names"] = [str(digit) for digit in range(10)]  # type: ignore[assignment]
    about = json.dumps({"info": {"features": features}})
    for split, pixels in images.items():
        (folder / "mnist").mkdir(parents=True, exist_ok=True)
        rows = [{"bytes": _png(image), "path": None} for image in pixels]
        image_type = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        columns = [pa.array(rows, image_type), pa.array(range(len(rows)), pa.int64())]
        table = pa.table(columns, names=["image", "label"])
        table = table.replace_schema_metadata({"huggingface": about})
        pq.write_table(table, folder / "mnist" / f"{split}-00000-of-00001.parquet")
    return folder


def _png(image: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _play_of_the_hub(folder: Path, text: str) -> Path:
    (folder / "data").mkdir(parents=True)
    cuts = {"train": (0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1)}
    for split, (start, stop) in cuts.items():
        part = text[int(start * len(text)) : int(stop * len(text))]
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table({"text": [part]}), path)
    return folder


def _serve(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> Callable[[HubFiles, Path, Callable[[str], None]], None]:
    """Let the Hub's folder be copied instead of downloaded."""

    def copy(_files: HubFiles, target: Path, _tell: Callable[[str], None]) -> None:
        shutil.copytree(folder, target, dirs_exist_ok=True)

    monkeypatch.setattr(sources, "download", copy)
    return copy


def _no_download(*_: object) -> None:
    pytest.fail("nothing should be downloaded")


def test_every_task_that_needs_data_has_a_source() -> None:
    assert set(SOURCES) >= {name for name in task_names() if get_task(name).needs_data}
    assert all(get_task(name).needs_data for name in set(SOURCES) & set(task_names()))


@pytest.mark.skipif(not _DATA.is_dir(), reason=f"no data at {_DATA}")
@pytest.mark.parametrize("task", SOURCES)
def test_the_folder_of_all_data_serves_every_task(task: str, tmp_path: Path) -> None:
    assert find_data(task, _DATA, tmp_path) == _DATA / SOURCES[task].name


def test_a_given_folder_may_be_the_tasks_own_or_its_parent(tmp_path: Path) -> None:
    own = _touch_all(tmp_path / "spam", "spam")
    for given in (own, tmp_path):
        assert find_data("spam", given, tmp_path / "cache") == own
    other = _touch_all(tmp_path / "mails", "spam")
    assert find_data("spam", other, tmp_path / "cache") == other


def test_a_given_folder_goes_before_the_cache(tmp_path: Path) -> None:
    _touch_all(tmp_path / "cache" / "spam", "spam")
    with pytest.raises(TaskError, match="there is no data folder"):
        find_data("spam", tmp_path / "away", tmp_path / "cache")


def test_a_given_folder_that_cannot_serve_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "train.parquet").touch()
    for name, message in (
        ("away", "there is no data folder"),
        ("file", "is not a folder"),
        ("half", "half has no file test.parquet"),
    ):
        with pytest.raises(TaskError, match=message) as caught:
            find_data("imdb", tmp_path / name, tmp_path)
        assert caught.value.hint == (
            "--data takes a folder with train.parquet, test.parquet"
        )


def test_a_given_folder_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(TaskError, match="may not be read"):
        find_data("spam", tmp_path, tmp_path)


def test_a_task_without_files_takes_no_data(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="task 'digits' takes no data"):
        find_data("digits", tmp_path, tmp_path)


def test_a_full_cache_is_used_without_asking_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "download", _no_download)
    own = _touch_all(tmp_path / "mnist", "mnist")
    assert find_data("mnist", None, tmp_path) == own
    assert find_data("mnist-book", None, tmp_path) == own


def test_offline_without_data_the_tasks_that_work_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TaskError, match="no data for task 'mnist'") as caught:
        find_data("mnist", None, tmp_path)
    assert "pass a folder with --data DIR" in str(caught.value.hint)
    assert "digits" in str(caught.value.hint)
    assert not (tmp_path / "mnist").exists()


def test_what_the_hub_sends_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, _mails_of_the_hub(tmp_path / "hub"))
    told: list[str] = []
    folder = find_data("spam", None, tmp_path / "cache", told.append)
    assert "SetFit/enron_spam" in told[0]
    assert "natural will not work" in told[1]
    monkeypatch.setattr(sources, "download", _no_download)
    assert find_data("spam-book", None, tmp_path / "cache") == folder
    kept = {path.name for path in (tmp_path / "cache").iterdir()}
    assert kept == {"spam"}


def test_mails_keep_text_and_label_and_empty_ones_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, _mails_of_the_hub(tmp_path / "hub"))
    folder = find_data("spam", None, tmp_path / "cache")
    table = pq.read_table(folder / "enron_train.parquet")
    assert table.to_pydict() == {"text": ["buy now", "see you"], "label": [1, 0]}
    assert table.schema.types == [pa.string(), pa.int64()]
    assert pq.read_table(folder / "enron_test.parquet").num_rows == 1


def test_digits_of_the_hub_end_in_the_same_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = np.random.default_rng(1).integers(0, 256, (10, 28, 28), np.uint8)
    images = {"train": drawn[:7], "test": drawn[7:]}
    _serve(monkeypatch, _digits_of_the_hub(tmp_path / "hub", images))
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], checksums={}))
    data = load_mnist(find_data("mnist", None, tmp_path / "cache"))
    for split, shard in (("train", data.train), ("test", data.test)):
        assert np.array_equal(shard.arrays["images"][:, 0], images[split])
        assert shard.labels.tolist() == list(range(len(images[split])))


@pytest.mark.skipif(
    not (_DATA / "shakespeare").is_dir(), reason=f"no shakespeare at {_DATA}"
)
def test_tiny_shakespeare_of_the_hub_is_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = (_DATA / "shakespeare" / "input.txt").read_text("ascii")
    _serve(monkeypatch, _play_of_the_hub(tmp_path / "hub", play))
    folder = find_data("shakespeare", None, tmp_path / "cache")
    assert (folder / "input.txt").read_text("ascii") == play


def test_other_data_than_expected_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = "ROMEO:\nSoft!\n\nJULIET:\nAy me.\n"
    _serve(monkeypatch, _play_of_the_hub(tmp_path / "hub", play))
    with pytest.raises(TaskError, match=r"input\.txt has another checksum"):
        find_data("shakespeare", None, tmp_path / "cache")
    assert not (tmp_path / "cache" / "shakespeare").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable"),
        ('{"text": "a"}', "no column label"),
        ('{"text": "a", "label": "spam"}', "not the data expected"),
        ('{"text": ["a"], "label": 1}', "not the data expected"),
    ],
)
def test_damaged_tables_are_refused_and_not_kept(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = _mails_of_the_hub(tmp_path / "hub")
    for split in _MAILS:
        (hub / f"{split}.jsonl").write_text(content)
    _serve(monkeypatch, hub)
    with pytest.raises(TaskError, match=f"no data for task 'spam'.*{message}"):
        find_data("spam", None, tmp_path / "cache")
    assert not (tmp_path / "cache" / "spam").exists()


def test_images_that_are_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {"train": np.zeros((2, 28, 28), np.uint8)}
    hub = _digits_of_the_hub(tmp_path / "hub", images)
    _serve(monkeypatch, hub)
    with pytest.raises(TaskError, match="ylecun/mnist has no mnist/test-"):
        find_data("mnist", None, tmp_path / "cache")
    monkeypatch.setattr("tests.test_models_sources._png", lambda _: b"PNG")
    hub = _digits_of_the_hub(tmp_path / "hub", images | {"test": images["train"]})
    with pytest.raises(TaskError, match="an image is not readable"):
        find_data("mnist", None, tmp_path / "cache")


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = _serve(monkeypatch, _mails_of_the_hub(tmp_path / "hub"))

    def half(files: HubFiles, target: Path, tell: Callable[[str], None]) -> None:
        copy(files, target, tell)
        (target / "test.jsonl").unlink()
        raise TaskError("no answer")

    monkeypatch.setattr(sources, "download", half)
    with pytest.raises(TaskError, match="no answer"):
        find_data("spam", None, tmp_path / "cache")
    assert not (tmp_path / "cache" / "spam").exists()

    def rest(files: HubFiles, target: Path, tell: Callable[[str], None]) -> None:
        assert (target / "train.jsonl").is_file()
        copy(files, target, tell)

    monkeypatch.setattr(sources, "download", rest)
    assert find_data("spam", None, tmp_path / "cache").is_dir()


def test_a_cache_that_lost_a_file_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, _mails_of_the_hub(tmp_path / "hub"))
    folder = find_data("spam", None, tmp_path / "cache")
    (folder / "enron_test.parquet").unlink()
    assert find_data("spam", None, tmp_path / "cache") == folder
    assert (folder / "enron_test.parquet").is_file()


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(TaskError, match="cannot write to"):
        find_data("spam", None, tmp_path / "cache")


def test_the_files_of_mnist_all_have_a_checksum() -> None:
    assert tuple(SOURCES["mnist"].checksums) == MNIST_FILES
