"""Where the files of a task come from: a given folder, the cache, or the Hub."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.data.convert import write_digits, write_play, write_texts
from models.data.hub import HubFiles, download, open_tables
from models.data.mnist import MNIST_FILES
from models.data.shakespeare import SHAKESPEARE_FILE
from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set: its files here, and where the Hub has them.

    Attributes:
        name: Of its folder.
        tasks: Those that train on it.
        files: What the loaders read in that folder.
        hub: The same data on the Hub.
        convert: Writes ``files`` into a folder, from the tables of the Hub.
        checksums: Published SHA-256 of files, of the content where they are gzipped.
        note: What is different about the data of the Hub; empty for nothing.
    """

    name: str
    tasks: tuple[str, ...]
    files: tuple[str, ...]
    hub: HubFiles
    convert: Callable[[Mapping[str, Any], Path], None]
    checksums: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def missing_from(self, folder: Path) -> list[str]:
        """Return the files that a folder lacks."""
        return [name for name in self.files if not (folder / name).is_file()]


def _write_imdb(tables: Mapping[str, Any], folder: Path) -> None:
    write_texts(tables, {part: folder / f"{part}.parquet" for part in tables})


def _write_spam(tables: Mapping[str, Any], folder: Path) -> None:
    write_texts(tables, {part: folder / f"enron_{part}.parquet" for part in tables})


def _write_shakespeare(tables: Mapping[str, Any], folder: Path) -> None:
    write_play(tables, folder / SHAKESPEARE_FILE)


_MNIST = Source(
    name="mnist",
    tasks=("mnist", "mnist-book"),
    files=MNIST_FILES,
    hub=HubFiles(
        "ylecun/mnist",
        {"train": "mnist/train-*.parquet", "test": "mnist/test-*.parquet"},
    ),
    convert=write_digits,
    # Of the four original files.
    checksums=dict(
        zip(
            MNIST_FILES,
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            strict=True,
        )
    ),
)
_IMDB = Source(
    name="imdb",
    tasks=("imdb", "imdb-blanks"),
    files=("train.parquet", "test.parquet"),
    hub=HubFiles(
        "stanfordnlp/imdb",
        {"train": "plain_text/train-*.parquet", "test": "plain_text/test-*.parquet"},
    ),
    convert=_write_imdb,
)
_SPAM = Source(
    name="spam",
    tasks=("spam", "spam-book"),
    files=("enron_train.parquet", "enron_test.parquet"),
    hub=HubFiles("SetFit/enron_spam", {"train": "train.jsonl", "test": "test.jsonl"}),
    convert=_write_spam,
    note="it does not say whose mail it is, so partition natural will not work",
)
_SHAKESPEARE = Source(
    name="shakespeare",
    tasks=("shakespeare",),
    files=(SHAKESPEARE_FILE,),
    hub=HubFiles(
        "karpathy/tiny_shakespeare",
        {
            "train": "data/train-*.parquet",
            "validation": "data/validation-*.parquet",
            "test": "data/test-*.parquet",
        },
    ),
    convert=_write_shakespeare,
    checksums={
        SHAKESPEARE_FILE: (
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
        )
    },
)
SOURCES: Final = {
    task: source
    for source in (_MNIST, _IMDB, _SPAM, _SHAKESPEARE)
    for task in source.tasks
}
"""The source of every task that needs data."""


def find_data(
    task: str,
    given: Path | None,
    cache: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> Path:
    """Return the folder with a task's files.

    Looks at the folder a person named; else at the cache; else downloads the data
    from the Hugging Face Hub into the cache, in the format that ``--data`` takes.

    Args:
        task: Name of a task that needs data.
        given: What ``--data`` says: the task's folder, or one that contains it.
        cache: Folder for downloads; made if needed.
        tell: Takes one line for people, when something takes a while.

    Raises:
        TaskError: If the files are not there and cannot be downloaded.
    """
    if task not in SOURCES:
        raise TaskError(f"task {task!r} takes no data", hint="leave out --data")
    source = SOURCES[task]
    if given is not None:
        return _given(source, given)
    folder = cache / source.name
    if source.missing_from(folder):
        try:
            _make(source, cache, tell)
        except TaskError as error:
            raise TaskError(
                f"no data for task {task!r}: {error}",
                hint=f"pass a folder with --data DIR; {_work_now()} need none",
            ) from error
    return folder


def _given(source: Source, given: Path) -> Path:
    """Return the folder that ``--data`` means."""
    hint = f"--data takes a folder with {', '.join(source.files)}"
    try:
        if not given.exists():
            raise TaskError(f"there is no data folder {given}", hint=hint)
        if not given.is_dir():
            raise TaskError(f"{given} is not a folder", hint=hint)
        inner = given / source.name
        folder = inner if source.missing_from(given) and inner.is_dir() else given
        missing = source.missing_from(folder)
    except PermissionError:
        raise TaskError(f"{given} may not be read", hint=hint) from None
    if missing:
        raise TaskError(f"{folder} has no file {', '.join(missing)}", hint=hint)
    return folder


def _make(source: Source, cache: Path, tell: Callable[[str], None]) -> None:
    """Fill a source's folder in the cache: it is there whole, or not at all."""
    work = cache / f".{source.name}"  # a later try goes on with what is left in it
    try:
        with _only_one(cache):
            if not source.missing_from(cache / source.name):
                return  # another process was first
            tell(f"downloading {source.hub.repo} from huggingface.co to {cache}")
            download(source.hub, work / "hub", tell)
            import_tables(source, work / "hub", work / "made")
            shutil.rmtree(cache / source.name, ignore_errors=True)
            (work / "made").rename(cache / source.name)
            shutil.rmtree(work)
    except OSError as error:
        reason = error.strerror or error
        raise TaskError(f"cannot write to {cache}: {reason}") from error
    finally:
        for empty in (work / "hub", work, cache, cache.parent):
            with suppress(OSError):  # what was downloaded so far stays
                empty.rmdir()
    if source.note:
        tell(f"{source.hub.repo}: {source.note}")


def import_tables(source: Source, downloaded: Path, folder: Path) -> None:
    """Turn a folder with the Hub's layout into the files of a source.

    Args:
        source: What to make.
        downloaded: The Hub's files.
        folder: Gets the files of the source; emptied first.

    Raises:
        TaskError: If the Hub's files are damaged or other data than expected.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        tables = open_tables(source.hub, downloaded, Path(scratch))
        _convert(source, tables, folder)
    for name, expected in source.checksums.items():
        content = (folder / name).read_bytes()
        if name.endswith(".gz"):
            content = gzip.decompress(content)
        if hashlib.sha256(content).hexdigest() != expected:
            raise TaskError(
                f"{source.hub.repo} is not the data expected: {name} has another "
                f"checksum"
            )


def _convert(source: Source, tables: Mapping[str, Any], folder: Path) -> None:
    try:
        source.convert(tables, folder)
    except TaskError as error:
        raise TaskError(
            f"{source.hub.repo} is not the data expected: {error}"
        ) from error
    except (KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise TaskError(f"{source.hub.repo} is not the data expected") from error


def _work_now() -> str:
    from models.tasks import get_task, task_names  # noqa: PLC0415 - they import this

    return ", ".join(name for name in task_names() if not get_task(name).needs_data)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Let two runs that start at once download one copy between them."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
