"""The private pieces of Flower this project uses are where and what it expects.

When a test here fails after an update of flwr, its name says which piece
moved; `clients/flower_internals.py`, `experiments/control.py`,
`experiments/deploy/engine.py`, `experiments/deploy/superlink_process.py`,
`experiments/simulation/dispatch.py` and `server/grid.py` are the only files to adapt.
"""

import importlib
import inspect
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import flwr.app
import pytest
from flwr.cli.build import build_fab_from_files
from flwr.supercore.run import Run, RunNotRunningException

from experiments import control

ROOT = Path(__file__).resolve().parent.parent

CALLABLES = [
    (
        "flwr.supernode.fleet_http_connection.http_request_response",
        "server_address insecure root_certificates authentication_keys "
        "max_retries max_wait_time",
    ),
    (
        "flwr.supercore.inflatable.inflatable_utils.ObjectPushError",
        "object_id run_id session_id",
    ),
    (
        "flwr.supercore.inflatable.inflatable_utils.pull_objects",
        "object_ids pull_object_fn max_concurrent_pulls max_time "
        "max_tries_per_object initial_backoff backoff_cap",
    ),
    (
        "flwr.supercore.inflatable.inflatable_utils.push_objects",
        "objects push_object_fn object_ids_to_push keep_objects max_concurrent_pushes",
    ),
    (
        "flwr.supercore.inflatable.inflatable_utils.inflate_object_from_contents",
        "object_id object_contents keep_object_contents objects",
    ),
    (
        "flwr.supercore.inflatable.inflatable_object.get_all_nested_objects",
        "obj",
    ),
    ("flwr.supercore.inflatable.inflatable_object.get_object_tree", "obj"),
    (
        "flwr.supercore.inflatable.inflatable_object.iterate_object_tree",
        "tree",
    ),
    ("flwr.supercore.inflatable.inflatable_object.no_object_id_recompute", ""),
    ("flwr.common.config.get_fused_config_from_fab", "fab_file run"),
    ("flwr.cli.build.build_fab_from_files", "files"),
    ("flwr.common.serde.fab_to_proto", "fab"),
    ("flwr.common.serde.run_from_proto", "run_proto"),
    ("flwr.common.serde.user_config_to_proto", "user_config"),
    ("flwr.supercore.fab.Fab", "hash_str content verifications"),
    (
        "flwr.supercore.control.ControlHttpClient.from_server_address",
        "server_address insecure root_certificates interceptors retry_invoker",
    ),
    ("flwr.supercore.control.ControlHttpClient.StartRun", "self request"),
    ("flwr.supercore.control.ControlHttpClient.ListRuns", "self request"),
    (
        "flwr.supercore.interceptors.RuntimeVersionHttpInterceptor",
        "component_name",
    ),
    ("flwr.cli.cli_client_interceptor.CliClientHttpInterceptor", ""),
    (
        "flwr.supernode.node_auth_http_interceptor.NodeAuthHttpInterceptor",
        "private_key public_key",
    ),
    (
        "flwr.supernode.node_auth_http_interceptor.NodeAuthHttpInterceptor.intercept",
        "self context call_next",
    ),
    (
        "flwr.supercore.runtime.RuntimeHttpClient.from_server_address",
        "server_address insecure root_certificates interceptors retry_invoker",
    ),
    ("flwr.supercore.runtime.RuntimeHttpClient.AcquireTask", "self request"),
    ("flwr.supercore.control.ControlHttpClient.StopRun", "self request"),
    ("flwr.supercore.control.ControlHttpClient.ListNodes", "self request"),
    ("flwr.supercore.control.ControlHttpClient.RegisterNode", "self request"),
    ("flwr.supercore.control.ControlHttpClient.UnregisterNode", "self request"),
    ("flwr.supercore.primitives.asymmetric.public_key_to_bytes", "public_key"),
    ("flwr.superlink.extensions.get_middleware", ""),
    (
        "flwr.server.superlink.fleet.vce.vce_api.add_messages_to_queue",
        "state queue nodes_mapping f_stop",
    ),
    (
        "flwr.server.superlink.linkstate.LinkState.store_message_ins",
        "self message",
    ),
    ("flwr.superlink.cli.flower_superlink.flower_superlink", ""),
]

_VCE = "flwr.server.superlink.fleet.vce.vce_api"

# What is replaced: the module must look it up by this name when it uses it.
REPLACED = [
    ("flwr.supernode.fleet_http_connection", "NodeAuthHttpInterceptor("),
    ("flwr.supernode.fleet_http_connection", "flwr_exit("),
    ("flwr.supercore.corestate.sql_corestate", "HEARTBEAT_PATIENCE *"),
    ("flwr.superlink.main", "extensions.get_middleware()"),
    (_VCE, "target=add_messages_to_queue"),
    (_VCE, "while not f_stop.is_set():\n        for node_id in nodes_mapping"),
    (_VCE, "f_stop.wait(0.1)"),
]


def _find(path: str) -> object:
    """Import the longest module prefix of a dotted path, then take attributes."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


@pytest.mark.parametrize(("path", "parameters"), CALLABLES)
def test_private_callable_has_the_expected_parameters(
    path: str, parameters: str
) -> None:
    found = _find(path)
    assert callable(found)
    assert list(inspect.signature(found).parameters) == parameters.split()


@pytest.mark.parametrize(("module", "use"), REPLACED)
def test_replaced_piece_is_used_by_that_name(module: str, use: str) -> None:
    assert use in inspect.getsource(importlib.import_module(module))


def test_message_metadata_keeps_its_id_in_the_field_we_write() -> None:
    assert "_message_id" in inspect.getsource(flwr.app.Metadata)


def test_run_has_the_fields_we_read() -> None:
    fields = Run.__dataclass_fields__
    assert {"fab_hash", "series_id", "status"} <= fields.keys()


def test_ended_run_is_reported_by_a_base_exception() -> None:
    assert not issubclass(RunNotRunningException, Exception)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("StartRunRequest", {"fab", "override_config"}),
        ("StartRunResponse", {"run_id", "note"}),
        ("ListRunsRequest", {"run_id"}),
        ("ListRunsResponse", {"run_dict"}),
        ("StopRunRequest", {"run_id"}),
        ("ListNodesResponse", {"nodes_info"}),
        ("RegisterNodeRequest", {"public_key", "name"}),
        ("UnregisterNodeRequest", {"node_id"}),
    ],
)
def test_control_message_has_the_fields_we_use(name: str, fields: set[str]) -> None:
    message = getattr(importlib.import_module("flwr.proto.control_pb2"), name)
    assert fields <= set(message.DESCRIPTOR.fields_by_name)


def test_server_looks_again_soon_for_an_announced_reply() -> None:
    # In a process of its own: the change is made once, by the import.
    script = (
        "import inspect, server.grid\n"
        "from flwr.superlink.grid.http_grid import pull_objects\n"
        "seen = inspect.signature(pull_objects).parameters\n"
        "print(seen['initial_backoff'].default, seen['backoff_cap'].default,\n"
        "      seen['max_tries_per_object'].default)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["0.05", "0.5", "None"]


def test_bundle_holds_no_code_and_no_data() -> None:
    files = control._bundle(ROOT)
    assert sorted(files) == ["LICENSE", "pyproject.toml"]
    content, _ = build_fab_from_files(files)
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert {Path(name).suffix for name in names} <= {"", ".toml"}
    assert not any("/" in name for name in names if not name.startswith(".info"))
