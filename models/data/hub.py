"""Data sets on the Hugging Face Hub: download, check, open.

The Hub's own library resumes, shows progress and finds out what changed; this
module tries again, and trusts no file whose checksum it has not compared.
"""
# ruff: noqa: PLC0415 - the command line would wait for the Hub's libraries

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Final

from models.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PAUSES: Final = (1.0, 2.0)  # seconds before the second and the third try
_DISK_ERRORS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}


@dataclass(frozen=True)
class HubFiles:
    """The files of one data set on the Hub.

    Attributes:
        repo: Owner and name of the data set.
        splits: For each split the pattern of its files in the repository.
    """

    repo: str
    splits: Mapping[str, str]

    def missing_from(self, folder: Path) -> list[str]:
        """Return the patterns that no file of a folder matches."""
        return [glob for glob in self.splits.values() if not any(folder.glob(glob))]


class _TryAgainError(Exception):
    """A download that may go better the next time."""


def download(files: HubFiles, folder: Path, tell: Callable[[str], None]) -> None:
    """Download files from the Hub and compare their checksums.

    What an earlier try left in the folder is used again.

    Args:
        files: What to download.
        folder: Made if it is not there; gets the repository's layout.
        tell: Takes one line before every new try.

    Raises:
        TaskError: If the Hub cannot be reached, does not have the files or sends
            damaged ones three times, or if the folder cannot be written.
    """
    for pause in (*_PAUSES, None):
        try:
            _download_once(files, folder)
        except _TryAgainError as error:
            if pause is None:
                raise TaskError(f"cannot download {files.repo}: {error}") from error
            tell(f"{files.repo}: {error}; trying again")
            time.sleep(pause)
        else:
            return


def open_tables(files: HubFiles, folder: Path, cache: Path) -> Mapping[str, Any]:
    """Open a local folder that has the layout of a data set on the Hub.

    Args:
        files: Which files of it.
        folder: With those files, as ``download`` leaves it.
        cache: Where the library may put its own copy of the tables.

    Returns:
        For each split its ``datasets.Dataset``.

    Raises:
        TaskError: If files are missing or unreadable.
    """
    import datasets

    if missing := files.missing_from(folder):
        raise TaskError(f"{files.repo} has no {' and no '.join(missing)}")
    kind = next(iter(files.splits.values())).rpartition(".")[2]
    paths = {
        split: [str(path) for path in sorted(folder.glob(glob))]
        for split, glob in files.splits.items()
    }
    try:
        tables: Mapping[str, Any] = datasets.load_dataset(
            {"jsonl": "json"}.get(kind, kind), data_files=paths, cache_dir=str(cache)
        )
    # Damaged files make the readers of the library raise a dozen kinds of errors.
    except Exception as error:
        raise TaskError(f"the files of {files.repo} are not readable") from error
    return tables


def _download_once(files: HubFiles, folder: Path) -> None:
    import httpx
    from huggingface_hub import errors

    try:
        folder.mkdir(parents=True, exist_ok=True)
        damaged = _fetch(files, folder)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise TaskError(f"huggingface.co has no data set {files.repo}") from error
    except (OSError, httpx.HTTPError, errors.XetDownloadError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise TaskError(f"cannot write to {folder}: {error.strerror}") from error
        if isinstance(error.__cause__ or error, errors.OfflineModeIsEnabled):
            raise TaskError(f"HF_HUB_OFFLINE is set: no {files.repo}") from error
        raise _TryAgainError("no answer from huggingface.co") from error
    for path in damaged:
        (folder / path).unlink(missing_ok=True)
    if damaged:
        raise _TryAgainError(f"{', '.join(damaged)} arrived damaged")


def _fetch(files: HubFiles, folder: Path) -> list[str]:
    """Download what is not there yet.

    Returns:
        The files that are still missing, or differ from the checksums of the Hub.
    """
    from huggingface_hub import HfApi, snapshot_download

    patterns = list(files.splits.values())
    # No token: the data is public, and the Hub need not learn who asks for it.
    snapshot_download(
        files.repo,
        repo_type="dataset",
        local_dir=folder,
        allow_patterns=patterns,
        token=False,
    )
    # Where the Hub does not answer, the call above is content with half a folder.
    # This one asks it for the checksums, and so fails.
    found = HfApi(token=False).verify_repo_checksums(
        files.repo, repo_type="dataset", local_dir=folder
    )
    missing = [
        path
        for path in found.missing_paths
        if any(fnmatch(path, pattern) for pattern in patterns)
    ]
    return sorted([*(mismatch["path"] for mismatch in found.mismatches), *missing])
