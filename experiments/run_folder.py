"""The folder of a run: made, claimed by one launcher at a time, and described."""

import fcntl
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crypto import powers
from crypto.manifest import Manifest
from crypto.provenance import PROTOCOL, code_digest
from experiments.errors import SettingsError
from experiments.report.samples import FILE as SAMPLES
from experiments.report.samples import keep_samples
from experiments.settings import RunSettings
from experiments.sharing import SharedOut

VOCABULARY = "vocabulary.json"
_PACKAGES = ("flwr", "torch", "numpy", "phe", "gmpy2", "cryptography")


class RunFolder:
    """A run's folder.

    Args:
        path: Must not exist or be empty, but for a run that goes on.

    Attributes:
        path: Absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._was_there = self.path

    def make(self) -> None:
        """Make the folder of a new run.

        Raises:
            SettingsError: If something is there already, or it cannot be written.
        """
        path = self.path
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise SettingsError(
                f"{path} is not an empty folder", "choose another --out"
            )
        self._was_there = next(p for p in (path, *path.parents) if p.exists())
        try:
            (path / "logs").mkdir(parents=True)
        except OSError as error:
            raise SettingsError(
                f"cannot write {path}: {error.strerror}", "choose another --out"
            ) from None

    def remove(self) -> None:
        """Leave the disk as it was: folders that were there before stay."""
        made = self.path.relative_to(self._was_there).parts
        if made:
            shutil.rmtree(self._was_there / made[0], ignore_errors=True)
            return
        shutil.rmtree(self.path / "logs", ignore_errors=True)
        for name in ("events.jsonl", VOCABULARY, SAMPLES):
            (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other launchers out; the system lets go even of a killed one.

        Raises:
            SettingsError: If another one is at work here.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise SettingsError(
                f"the run in {self.path} is still going on", "wait for it, or stop it"
            ) from None
        finally:
            os.close(handle)

    def keep(self, shared: SharedOut) -> None:
        """Keep the public part of the data that predictions are shown with."""
        if shared.vocabulary:
            text = json.dumps(shared.vocabulary, ensure_ascii=False)
            (self.path / VOCABULARY).write_text(text + "\n", encoding="utf-8")
        keep_samples(self.path, shared.test)

    def describe(self, settings: RunSettings, manifest: Manifest, **more: Any) -> None:
        """Write everything that is needed to repeat the run to config.json.

        Args:
            settings: As they were asked for.
            manifest: Keys and parameters.
            more: Further facts.
        """
        asked = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(settings).items()
        } | {"protocol": manifest.params.mode}  # not "the task's", as it may be asked
        self._write(
            {
                "settings": asked,
                "parameters": manifest.params.to_dict(),
                "keys": manifest.keys.fingerprint,
                "insecure": settings.insecure,
                "protocol": PROTOCOL,
                "code": code_digest(),
                "command": sys.argv[1:],
                "started": _now(),
                "python": platform.python_version(),
                "versions": {name: version(name) for name in _PACKAGES},
                "long_powers": powers.engine(),
                **more,
            }
        )

    def describe_resumption(
        self, settings: RunSettings, manifest: Manifest, **more: Any
    ) -> None:
        """Add to config.json that the run goes on.

        Raises:
            SettingsError: If the run was made with other keys.
        """
        config = read_config(self.path)
        if config.get("keys") != manifest.keys.fingerprint:
            raise SettingsError(
                f"the run in {self.path} was made with other keys",
                "go on with the same ones",
            )
        config["settings"]["rounds"] = settings.rounds
        again = {"command": sys.argv[1:], "started": _now(), **more}
        config["resumed"] = [*config.get("resumed", []), again]
        self._write(config)

    def _write(self, config: dict[str, Any]) -> None:
        fresh = self.path / "config.json.new"
        fresh.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        fresh.replace(self.path / "config.json")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a run.

    Raises:
        SettingsError: If there is none, or it is damaged.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise SettingsError(
            f"{folder} is not the folder of a run", "it has no config.json"
        ) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        raise SettingsError(f"{path} is not a run's configuration")
    return config


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
