"""What a deployment writes down about itself: its own settings, and those of a run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from experiments.deploy import layout
from experiments.errors import SettingsError
from experiments.keysets import write_private
from experiments.settings import RunSettings


@dataclass(frozen=True)
class Deployment:
    """What `unseen deploy init` was asked for; lies in the deployment's own folder.

    Attributes:
        settings: Of its runs.
        names: Of the SuperLink's machine, for its certificate.
        days: Lifetime of the certificates.
        own_data: Whether clients bring their data; else the dealer shares it out.
        clients: Numbers of those that were not revoked.
    """

    settings: RunSettings
    names: tuple[str, ...]
    days: int
    own_data: bool
    clients: tuple[int, ...]

    def changed(self, values: Mapping[str, Any]) -> "Deployment":
        """Return it with other settings of its runs."""
        return replace(self, settings=replace(self.settings, **values))

    def write(self, root: Path) -> None:
        """Write it into a deployment's folder."""
        values = asdict(self) | {"settings": settings_to_json(self.settings)}
        write_private(root / layout.DEPLOYMENT_FILE, values)

    @classmethod
    def read(cls, root: Path) -> "Deployment":
        """Read it from a deployment's folder.

        Raises:
            SettingsError: If there is none, or another version made it.
        """
        path = root / layout.DEPLOYMENT_FILE
        values = _read(path, 'make a deployment with "unseen deploy init"')
        try:
            return cls(
                settings=settings_from_json(values["settings"], path),
                names=tuple(values["names"]),
                days=int(values["days"]),
                own_data=bool(values["own_data"]),
                clients=tuple(values["clients"]),
            )
        except (KeyError, TypeError, ValueError):
            raise SettingsError(f"{path} is damaged") from None


def settings_to_json(settings: RunSettings) -> dict[str, Any]:
    """Return settings as JSON values."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(settings).items()
    }


def settings_from_json(values: Mapping[str, Any], path: Path) -> RunSettings:
    """Rebuild settings from `settings_to_json`.

    Args:
        values: The JSON values.
        path: Where they lay, for the error.

    Raises:
        SettingsError: If another version made them.
    """
    known = {item.name for item in fields(RunSettings)}
    if set(values) != known:
        differing = ", ".join(sorted(set(values) ^ known))
        raise SettingsError(
            f"{path} was made by another version: settings differ in {differing}",
            'make the run again with this one: "unseen deploy enrol"',
        )
    data = Path(values["data"]) if values["data"] else None
    return RunSettings(**(dict(values) | {"data": data}))


def write_run(folder: Path, settings: RunSettings) -> None:
    """Write a run's settings into the server's folder of it."""
    write_private(folder / layout.RUN_FILE, {"settings": settings_to_json(settings)})


def read_run(folder: Path) -> RunSettings:
    """Read the settings of an enrolled run.

    Raises:
        SettingsError: If they are missing, damaged or of another version.
    """
    path = folder / layout.RUN_FILE
    values = _read(path, 'enrol a run with "unseen deploy enrol"')
    return settings_from_json(values.get("settings", {}), path)


def write_task(folder: Path, task: str) -> None:
    """Tell a client what its run trains, so that it can check its own data."""
    write_private(folder / layout.RUN_FILE, {"task": task})


def read_task(folder: Path) -> str:
    """Return the name of the task of an enrolled run.

    Raises:
        SettingsError: If it is missing or damaged.
    """
    path = folder / layout.RUN_FILE
    return str(_read(path, "carry the run's folder here again").get("task"))


def read_words(path: Path) -> list[str]:
    """Read what the numbers in a run's texts stand for.

    Raises:
        SettingsError: If it is damaged.
    """
    try:
        return [str(word) for word in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        raise SettingsError(f"{path} is damaged", "carry the run here again") from None


def newest_run(party: Path) -> Path:
    """Return the folder of the run that a party was enrolled in last.

    Raises:
        SettingsError: If there is none.
    """
    runs = [path for path in (party / layout.RUNS).glob("*") if path.is_dir()]
    if not runs:
        raise SettingsError(
            f"{party} is enrolled in no run",
            'enrol one with "unseen deploy enrol", and carry it here',
        )
    return max(runs, key=_made)


def _made(run: Path) -> float:
    manifest = run / layout.MANIFEST
    return (manifest if manifest.exists() else run).stat().st_mtime_ns


def _read(path: Path, hint: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise SettingsError(f"there is no {path}", hint) from None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{path} is damaged", hint) from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is damaged", hint)
    return values
