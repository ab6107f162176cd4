"""Submits runs to a SuperLink, asks for their state, and registers nodes.

The `flwr` command would do the same with a new process per question. This is
the launcher's use of private Flower modules (flwr 1.41), checked by
`tests/test_flower_internals.py`.
"""

import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import tomli_w
from flwr.app.user_config import UserConfig, UserConfigValue
from flwr.cli.build import build_fab_from_files
from flwr.cli.cli_client_interceptor import CliClientHttpInterceptor
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.run import Run

from experiments.processes import EngineError


class ControlClient:
    """Calls to the Control API of a SuperLink.

    Args:
        address: Its `host:port`.
        root_certificates: PEM of who signed its certificate; None for a SuperLink on
            this machine, without TLS.
        interceptors: What else goes with every request.
    """

    def __init__(
        self,
        address: str,
        *,
        root_certificates: bytes | None = None,
        interceptors: Sequence[ProtobufClientInterceptor] = (),
    ) -> None:
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=root_certificates is None,
            root_certificates=root_certificates,
            interceptors=[
                CliClientHttpInterceptor(),
                RuntimeVersionHttpInterceptor(component_name="flwr CLI"),
                *interceptors,
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
        return _status(run_from_proto(response.run_dict[run_id]))

    def runs(self) -> dict[int, tuple[str, UserConfig]]:
        """Return state and run config of every run that the SuperLink knows.

        Raises:
            EngineError: If the SuperLink does not answer.
        """
        with _named_errors():
            response = self._client.ListRuns(ListRunsRequest())
        runs = {
            number: run_from_proto(run) for number, run in response.run_dict.items()
        }
        return {n: (_status(run), run.override_config) for n, run in runs.items()}

    def stop_run(self, run_id: int) -> None:
        """End a run that is not over.

        Raises:
            EngineError: If the SuperLink does not answer or refuses.
        """
        with _named_errors():
            self._client.StopRun(StopRunRequest(run_id=run_id))

    def nodes(self) -> list[NodeInfo]:
        """Return the nodes that are registered.

        Raises:
            EngineError: If the SuperLink does not answer.
        """
        with _named_errors():
            nodes = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [node for node in nodes if node.status != NodeStatus.UNREGISTERED]

    def register_node(self, name: str, public_key: bytes) -> None:
        """Let a node in.

        Args:
            name: For people.
            public_key: PEM.

        Raises:
            EngineError: If the SuperLink does not answer or refuses the key.
        """
        with _named_errors():
            self._client.RegisterNode(
                RegisterNodeRequest(public_key=public_key, name=name)
            )

    def unregister_node(self, node_id: int) -> None:
        """Let a node in no more.

        Raises:
            EngineError: If the SuperLink does not answer or refuses.
        """
        with _named_errors():
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _status(run: Run) -> str:
    parts = (run.status.status, run.status.sub_status, run.status.details)
    return ":".join(part for part in parts if part)


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
