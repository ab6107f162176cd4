"""The Flower app of a benchmark with real processes: its folder, nothing else."""

import shutil
from pathlib import Path
from typing import Final

from experiments.settings import PROJECT

_APP: Final = """
[project]
name = "unseen-bench"
version = "0.1.0"
description = "A benchmark with real processes"
license = {{ file = "LICENSE" }}
requires-python = ">=3.11"
dependencies = ["flwr>=1.41.0,<1.42"]
[tool.flwr.app]
publisher = "unseen"
fab-format-version = 1
flwr-version-target = "1.41.0"
[tool.flwr.app.components]
serverapp = "{module}:server"
clientapp = "{module}:client"
[tool.flwr.app.config]
{config}
"""


def write_app(folder: Path, module: str, config: str) -> None:
    """Make the folder of an app whose code is in this project.

    Args:
        folder: Must not exist.
        module: Has the ServerApp `server` and the ClientApp `client`.
        config: Defaults of the run configuration, as lines of TOML.
    """
    folder.mkdir(parents=True)
    text = _APP.format(module=module, config=config)
    (folder / "pyproject.toml").write_text(text)
    shutil.copy(PROJECT / "LICENSE", folder)
