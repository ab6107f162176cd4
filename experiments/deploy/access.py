"""Whether this process may read and write a party's folder."""

import os
from collections.abc import Iterable
from pathlib import Path

from experiments.errors import SettingsError


def check_access(folder: Path, files: Iterable[str], *, write: bool = False) -> None:
    """Refuse a folder that this process cannot work with.

    Args:
        folder: A party's folder.
        files: What it must hold.
        write: Whether this process keeps its state there.

    Raises:
        SettingsError: Names what is missing, or who may read it.
    """
    if not folder.is_dir():
        raise SettingsError(
            f"there is no folder {folder}", 'make one with "unseen deploy init"'
        )
    _check_mode(folder, os.R_OK | os.X_OK | (os.W_OK if write else 0))
    for name in files:
        if not (folder / name).is_file():
            raise SettingsError(
                f"there is no {folder / name}",
                "carry the party's whole folder to this machine",
            )
        _check_mode(folder / name, os.R_OK)


def _check_mode(path: Path, mode: int) -> None:
    if os.access(path, mode):
        return
    what = "write" if mode & os.W_OK and os.access(path, mode & ~os.W_OK) else "read"
    owner, own = path.stat().st_uid, os.geteuid()
    party = path if path.is_dir() else path.parent
    raise SettingsError(
        f"cannot {what} {path}: it belongs to uid {owner}, this process runs as {own}",
        f"chown -R {own} {party}, or run as uid {owner}",
    )
