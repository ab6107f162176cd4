"""Findings about one folder: what is wrong with its files, whosever they are."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crypto.errors import CryptoError
from experiments.deploy import certificates, layout
from experiments.errors import SettingsError
from models.errors import TaskError

_SOON_DAYS: Final = 30
_OTHERS: Final = 0o077


@dataclass(frozen=True)
class Finding:
    """Something wrong with a folder.

    Attributes:
        text: One line, with the path.
        stops: Whether nothing can work with it; else it is a risk.
    """

    text: str
    stops: bool = True


def stop_at_first(findings: Iterable[Finding]) -> list[str]:
    """Return the risks among findings.

    Raises:
        SettingsError: If one of them stops everything.
    """
    risks = []
    for finding in findings:
        if finding.stops:
            raise SettingsError(finding.text, "see them all with: unseen deploy check")
        risks.append(finding.text)
    return risks


def named(check: Callable[[], object]) -> Iterator[Finding]:
    """Make a finding of an expected error."""
    try:
        check()
    except (CryptoError, SettingsError, TaskError) as error:
        yield Finding(str(error))


def strangers(folder: Path, known: Collection[str]) -> Iterator[Finding]:
    """Find what does not belong here: above all somebody else's secret."""
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            yield Finding(
                f"{path} is no part of this party's folder; take it away if it is "
                f"somebody else's",
                stops=False,
            )


def modes(folder: Path) -> Iterator[Finding]:
    """Find what others on this machine may read, or somebody else owns."""
    uid = os.geteuid()
    for path in (folder, *sorted(folder.rglob("*"))):
        facts = path.lstat()
        # What lies in a folder that is closed to others need not be closed itself.
        if facts.st_mode & _OTHERS and (path == folder or path.is_file()):
            mode = f"{facts.st_mode & 0o777:o}"
            yield Finding(
                f"{path} has mode {mode}: others may use it (chmod go= {path})",
                stops=False,
            )
        if uid not in {facts.st_uid, 0}:
            yield Finding(
                f"{path} belongs to uid {facts.st_uid}, not to {uid}", stops=False
            )


def authority(folder: Path) -> Iterator[Finding]:
    """Find whether the pinned certificate of the authority is there and in time."""
    path = folder / layout.CA_CERTIFICATE
    try:
        left = certificates.days_left(certificates.read_certificate(path))
    except SettingsError as error:
        yield Finding(str(error))
    else:
        yield from lifetime(path, left)


def lifetime(path: Path, days: int) -> Iterator[Finding]:
    """Find a certificate that has so few days left that somebody must act."""
    if days < 0:
        yield Finding(f"{path} has expired")
    elif days < _SOON_DAYS:
        yield Finding(f"{path} expires in {days} days", stops=False)


def key_fits(folder: Path, certificate_name: str, key_name: str) -> None:
    """Check that a private key belongs to a certificate.

    Raises:
        SettingsError: If it does not, or one of them is missing.
    """
    certificate = certificates.read_certificate(folder / certificate_name)
    key = certificates.read_key(folder / key_name)
    if certificate.public_key() != key.public_key():
        raise SettingsError(f"{folder / key_name} is not the key of {certificate_name}")
