"""Read labelled texts from a parquet file, and refuse what is not that."""
# ruff: noqa: PLC0415 - a client imports this module but never opens a data set

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import TaskError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_TEXT, _LABEL = "text", "label"


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """The rows of one file.

    Attributes:
        texts: Of every row.
        labels: 0 or 1, int64 of shape ``(len(texts),)``.
        owners: Whose text it is, shape ``(len(texts),)``; None if the file does
            not say.
    """

    texts: list[str]
    labels: NDArray[np.int64]
    owners: NDArray[np.str_] | None = None


def data_folder(folder: Path | None, *, task: str, hint: str) -> Path:
    """Return the folder, if it is one.

    Raises:
        TaskError: If it is not.
    """
    if folder is None:
        raise TaskError(f"task {task} needs a data folder", hint=hint)
    if folder.exists() and not folder.is_dir():
        raise TaskError(f"{folder} is not a folder", hint=hint)
    return folder


def read_texts(path: Path, *, owner: str | None = None, hint: str) -> LabelledTexts:
    """Read the columns text, label and, where the file has it, ``owner``.

    Args:
        path: A parquet file; other columns are not read.
        owner: Name of the column that says whose text it is.
        hint: What the files of the task look like.

    Raises:
        TaskError: If the file is missing, unreadable or empty, lacks the column
            text or label, has missing values or labels other than 0 and 1.
    """
    table = _read_table(path, owner, hint)
    _check_rows(table, path, hint)
    owners = None
    if owner in table.column_names:
        owners = np.array(table[owner].to_pylist(), dtype=np.str_)
    return LabelledTexts(table[_TEXT].to_pylist(), table[_LABEL].to_numpy(), owners)


def _read_table(path: Path, owner: str | None, hint: str) -> Any:
    """Return the columns, as a pyarrow table of strings and int64 labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = {*file.schema_arrow.names}
            if missing := [name for name in (_TEXT, _LABEL) if name not in there]:
                raise TaskError(f"{path} has no column {', '.join(missing)}", hint=hint)
            names = [_TEXT, _LABEL, *({owner} & there)]
            kinds = (pa.string(), pa.int64(), pa.string())
            kind = pa.schema(zip(names, kinds, strict=False))
            return file.read(columns=names).select(names).cast(kind)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TaskError(
            f"no file {path.name} in the data folder {path.parent}", hint=hint
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise TaskError(
            f"{path} is not a readable parquet file of labelled texts", hint=hint
        ) from error


def _check_rows(table: Any, path: Path, hint: str) -> None:
    if table.num_rows == 0:
        raise TaskError(f"{path} has no rows", hint=hint)
    for name in table.column_names:
        if nulls := table[name].null_count:
            raise TaskError(
                f"column {name} of {path} has {nulls} missing values in "
                f"{table.num_rows} rows",
                hint=hint,
            )
    if not np.isin(table[_LABEL].to_numpy(), (0, 1)).all():
        raise TaskError(
            f"column {_LABEL} of {path} has values other than 0 and 1", hint=hint
        )
