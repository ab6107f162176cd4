"""Submits runs to a local SuperLink and asks for their state.

The `flwr` command would do the same with a new process per question. This is
the launcher's only use of private Flower modules (flwr 1.41), checked by
`tests/test_flower_internals.py`.
"""

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import tomli_w
from flwr.app.user_config import UserConfigValue
from flwr.cli.build import build_fab_from_files
from flwr.cli.cli_client_interceptor import CliClientHttpInterceptor
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import ListRunsRequest, StartRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from experiments.processes import EngineError


class ControlClient:
    """Calls to the Control API of a SuperLink on this machine."""

    def __init__(self, address: str) -> None:
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=True,
            root_certificates=None,
            interceptors=[
                CliClientHttpInterceptor(),
                RuntimeVersionHttpInterceptor(component_name="flwr CLI"),
            ],
        )

    def start_run(
        self, app_dir: Path, run_config: Mapping[str, UserConfigValue]
    ) -> int:
        """Start a run.

        Args:
            app_dir: Folder of the app's `pyproject.toml`.
            run_config: Overrides of the defaults in `pyproject.toml`.

        Returns:
            Flower's number of the run.

        Raises:
            EngineError: If the SuperLink does not answer or refuses the app.
        """
        content, _ = build_fab_from_files(_bundle(app_dir))
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        with _named_errors():
            response = self._client.StartRun(
                StartRunRequest(
                    fab=fab_to_proto(fab),
                    override_config=user_config_to_proto(dict(run_config)),
                )
            )
        if not response.HasField("run_id"):
            raise EngineError(f"the SuperLink started no run: {response.note}")
        return response.run_id

    def run_status(self, run_id: int) -> str:
        """Return `pending`, `starting`, `running` or `finished:<how>[:<why>]`.

        Raises:
            EngineError: If the SuperLink does not answer.
        """
        with _named_errors():
            response = self._client.ListRuns(ListRunsRequest(run_id=run_id))
        status = run_from_proto(response.run_dict[run_id]).status
        parts = (status.status, status.sub_status, status.details)
        return ":".join(part for part in parts if part)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _bundle(app_dir: Path) -> dict[str, bytes]:
    """Return the files of a bundle without code: every process runs installed code.

    The app's own rules about what to pack go, because Flower insists that each
    of them matches a file.
    """
    config = tomllib.loads((app_dir / "pyproject.toml").read_text(encoding="utf-8"))
    app = dict(config["tool"]["flwr"]["app"])
    app.pop("fab-include", None)
    app.pop("fab-exclude", None)
    pyproject = {"project": config["project"], "tool": {"flwr": {"app": app}}}
    licence = config["project"]["license"]["file"]
    return {
        "pyproject.toml": tomli_w.dumps(pyproject).encode(),
        licence: (app_dir / licence).read_bytes(),
    }


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise EngineError(
            f"the SuperLink refused a request: {error.response.text}"
        ) from error
    except httpx.HTTPError as error:
        raise EngineError(
            f"the SuperLink does not answer ({type(error).__name__})",
            hint="see superlink.log in the run's logs",
        ) from error
