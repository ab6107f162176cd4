"""How to make a run again: its command line and everything else that decides it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What `unseen run` calls these; every other setting has the name of its option.
_OPTIONS = {"key_bits": "insecure-key-bits"}

_KEY = "{key_bits} bits, fingerprint {keys}"
_COMMITTEE = (
    "{threshold} of {num_holders} key holders open sums of at least "
    "{min_contributors} clients; withstands {max_corrupt} malicious"
)
_ENCODING = "{value_bits} bits a value, clip {clip}, weight 1 at {w_max} examples"


def command(config: Mapping[str, Any]) -> str:
    """Return the command that runs the same settings again, each one written out.

    So it does not depend on the defaults, which another version may change.

    Args:
        config: A run's config.json.
    """
    settings = dict(config["settings"])
    if not config.get("insecure"):
        settings.pop("key_bits", None)
    settings["device"] = config.get("device", "auto")
    engine = ("engine", "ray_address", "client_cpus", "client_gpus")
    settings |= {name: config.get(name) for name in engine}
    if not settings["engine"]:
        settings["node"] = config.get("node", "thin")
    words = ["unseen", "run"]
    for name, value in settings.items():
        words += _option(_OPTIONS.get(name, name.replace("_", "-")), value)
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    if value is True:
        return [f"--{name}"]
    # Zero, empty and none leave it to the task, except for the seed, which has no task.
    if not value and name != "seed":
        return []
    return [f"--{name}", str(value)]


def typed(config: Mapping[str, Any]) -> str:
    """Return the command as it was typed; empty if that is not known."""
    words = config.get("command")
    if not isinstance(words, list) or not words:
        return ""
    return shlex.join(["unseen", *map(str, words)])


def facts(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else decides a run, by name."""
    settings, parameters = config["settings"], config["parameters"]
    versions = ", ".join(f"{name} {text}" for name, text in config["versions"].items())
    named = {
        "started": config.get("started"),
        "resumed": _times(config.get("resumed")),
        "seed": settings.get("seed"),
        "key": _filled(_KEY, {**parameters, **config}),
        "committee": _filled(_COMMITTEE, parameters),
        "encoding": _filled(_ENCODING, parameters),
        "protocol": config.get("protocol"),
        "run id": config.get("run_id"),
        "code": config.get("code"),
        "python": config.get("python"),
        "versions": versions,
    }
    return [(name, str(value)) for name, value in named.items() if value is not None]


def _filled(template: str, values: Mapping[str, Any]) -> str | None:
    """Fill a template in; None if another version's file lacks one of its values."""
    try:
        return template.format_map(values)
    except KeyError:
        return None


def _times(resumed: Any) -> str | None:
    """Return when a run went on; None for one that did not."""
    if not isinstance(resumed, list):
        return None
    times = [str(again.get("started")) for again in resumed if isinstance(again, dict)]
    return ", ".join(times) or None
