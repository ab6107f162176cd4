"""Turns the tables of the Hub into the files that the loaders read.

One format in, one loader behind: what comes from the Hub goes the same way as what
``--data DIR`` names.
"""
# ruff: noqa: PLC0415 - the command line would wait for pyarrow and Pillow

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.data.mnist import MNIST_FILES
from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_IDX_UNSIGNED_BYTE: Final = 8  # the type byte of the idx format


def write_texts(tables: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write labelled texts as parquet files with the columns text and label.

    Rows without a text are left out: they carry a label and nothing to learn from.

    Args:
        tables: Split to ``datasets.Dataset`` with the columns text and label.
        paths: Split to the file to write.

    Raises:
        TaskError: If a column is missing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    kind = pa.schema([("text", pa.string()), ("label", pa.int64())])
    for split, path in paths.items():
        table = _columns(tables, split, kind.names).cast(kind)
        told = pc.not_equal(pc.utf8_trim_whitespace(table["text"]), "")
        pq.write_table(table.filter(told), path, compression="zstd")


def write_digits(tables: Mapping[str, Any], folder: Path) -> None:
    """Write MNIST's images, PNG on the Hub, as its four gzipped idx files.

    The idx format is described at the end of http://yann.lecun.com/exdb/mnist.

    Args:
        tables: Splits train and test with the columns image and label.
        folder: Where to write ``MNIST_FILES``.

    Raises:
        TaskError: If a column is missing, or images differ in size.
    """
    names = iter(MNIST_FILES)
    for split in ("train", "test"):
        table = _columns(tables, split, ["image", "label"])
        images = [_pixels(image["bytes"]) for image in table["image"].to_pylist()]
        if len({image.shape for image in images}) > 1:
            raise TaskError(f"the images of split {split} differ in size")
        _write_idx(folder / next(names), np.stack(images))
        _write_idx(folder / next(names), table["label"].to_numpy().astype(np.uint8))


def write_play(tables: Mapping[str, Any], path: Path) -> None:
    """Write tiny Shakespeare as one text.

    Args:
        tables: Splits train, validation and test, the consecutive parts of the
            text, with the column text.
        path: The file to write.

    Raises:
        TaskError: If a column is missing.
    """
    parts = [
        "".join(_columns(tables, split, ["text"])["text"].to_pylist())
        for split in ("train", "validation", "test")
    ]
    path.write_text("".join(parts), encoding="utf-8", newline="")


def _columns(tables: Mapping[str, Any], split: str, names: list[str]) -> Any:
    """Return columns of a split as a pyarrow table."""
    table = tables[split].with_format("arrow")[:]
    if missing := sorted({*names} - {*table.column_names}):
        raise TaskError(f"split {split} has no column {', '.join(missing)}")
    return table.select(names)


def _pixels(png: bytes) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    except UnidentifiedImageError as error:
        raise TaskError("an image is not readable") from error


def _write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    magic = np.array([0, 0, _IDX_UNSIGNED_BYTE, array.ndim], np.uint8)
    sizes = np.array(array.shape, ">u4")
    content = magic.tobytes() + sizes.tobytes() + array.tobytes()
    # Without a date, the same images give the same bytes.
    path.write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
