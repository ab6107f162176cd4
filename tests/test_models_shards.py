"""Shards: taking examples, and the file that only its owner can read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import TaskError
from models.shards import Shard, load_shard, save_shard

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


# A slow machine is no failure of a property.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _text_shard(texts: list[list[int]]) -> Shard:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    return Shard(
        {
            "tokens": np.array([word for text in texts for word in text], np.int32),
            "offsets": np.cumsum(lengths) - lengths,
            "labels": np.arange(len(texts)),
        }
    )


def _texts(shard: Shard) -> list[list[int]]:
    parts = np.split(shard.arrays["tokens"], shard.arrays["offsets"][1:])
    return [part.tolist() for part in parts]


def _image_shard() -> Shard:
    images = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 1, 2, 2)
    return Shard({"images": images, "labels": np.array([2, 0, 1])})


@_UNHURRIED
@given(st.data())
def test_taken_texts_are_the_texts_at_the_indices(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1))
    indices = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1))
    taken = _text_shard(texts).take(np.array(indices))
    assert _texts(taken) == [texts[index] for index in indices]
    assert taken.labels.tolist() == indices


def test_taken_images_are_a_copy() -> None:
    shard = _image_shard()
    shard.take(np.array([0, 1])).arrays["images"][:] = 7
    assert shard.arrays["images"].max() == 1


@pytest.mark.parametrize("shard", [_image_shard(), _text_shard([[3, 1], [], [2]])])
def test_a_saved_shard_comes_back_unchanged(tmp_path: Path, shard: Shard) -> None:
    save_shard(tmp_path / "shard.npz", shard)
    loaded = load_shard(tmp_path / "shard.npz")
    assert len(loaded) == len(shard) == 3
    assert loaded.arrays.keys() == shard.arrays.keys()
    for name, array in shard.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert np.array_equal(loaded.arrays[name], array)


def test_a_shard_file_is_private_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "shard.npz"
    path.touch(mode=0o644)
    save_shard(path, _image_shard())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_shard_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "shard.npz"
    save_shard(path, _image_shard())
    objects = np.array([{}, {}, {}], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle"):
        save_shard(path, Shard({**_image_shard().arrays, "objects": objects}))
    assert load_shard(path).labels.tolist() == [2, 0, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_shard_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no shard at .*shard\.npz"):
        load_shard(tmp_path / "shard.npz")


def test_a_shortened_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.npz"
    save_shard(path, _image_shard())
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(TaskError, match="not a shard file or is damaged"):
            load_shard(path)


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shard.npz"
    save_shard(path, _image_shard())
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        )
        try:
            loaded = load_shard(path)
        except TaskError:
            continue
        for name, array in _image_shard().arrays.items():
            assert np.array_equal(loaded.arrays[name], array)


def test_a_file_of_pickled_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.npz"
    np.savez(path, labels=np.array([{}], dtype=object))
    with pytest.raises(TaskError, match="not a shard file or is damaged"):
        load_shard(path)


_LABELS = np.zeros(2, np.int64)
_TOKENS = np.zeros(4, np.int32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "needs an int64 array of labels"),
        ({"labels": _LABELS.astype(np.int32)}, "needs an int64 array of labels"),
        ({"labels": _LABELS[:, None, None]}, "needs an int64 array of labels"),
        ({"labels": _LABELS, "images": np.zeros(3)}, "shape.*expected 2 rows"),
        ({"labels": _LABELS, "images": np.zeros(())}, "shape.*expected 2 rows"),
        ({"labels": _LABELS, "tokens": _TOKENS}, "both of tokens and offsets"),
        ({"labels": _LABELS, "offsets": _LABELS}, "both of tokens and offsets"),
        (
            {"labels": _LABELS, "tokens": np.zeros(4), "offsets": _LABELS},
            "tokens must be flat int32",
        ),
        (
            {"labels": _LABELS, "tokens": _TOKENS, "offsets": np.array([1, 2])},
            "offsets must rise from 0",
        ),
        (
            {"labels": _LABELS, "tokens": _TOKENS, "offsets": np.array([0, 5])},
            "offsets must rise from 0",
        ),
        (
            {"labels": _LABELS, "tokens": _TOKENS, "offsets": np.array([0, -1])},
            "offsets must rise from 0",
        ),
    ],
)
def test_arrays_of_different_examples_are_refused(
    arrays: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Shard(arrays)
