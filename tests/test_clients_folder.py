"""A client decides from its own folder, and fails closed."""

from pathlib import Path

import pytest

from clients.folder import open_member, refuse_foreign_simulation
from crypto.errors import KeyMismatchError, PolicyError
from experiments.prepare import PreparedRun
from tests.federation import make_group, make_params


@pytest.fixture
def group(tmp_path: Path) -> PreparedRun:
    return make_group(tmp_path / "keys", make_params())


def config(group: PreparedRun, client_id: int = 1) -> dict[str, str]:
    folder = group.client_folder(client_id)
    return {"client-dir": str(folder), "run-id": group.run_id}


def test_a_good_folder_opens(group: PreparedRun) -> None:
    assert open_member(config(group)).identity.client_id == 1


def test_prepared_folder_is_found_by_partition(
    group: PreparedRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNSEEN_HOME", str(tmp_path))
    (tmp_path / "prepared").symlink_to(group.keyset)
    assert open_member({"partition-id": 2}).identity.client_id == 3


def test_a_node_that_was_told_nothing_refuses() -> None:
    with pytest.raises(KeyMismatchError, match="was not told its client folder"):
        open_member({})


def test_a_run_that_is_not_in_the_folder_is_refused(group: PreparedRun) -> None:
    with pytest.raises(KeyMismatchError, match="is not enrolled in run"):
        open_member(config(group) | {"run-id": "00" * 16})


def test_a_run_that_was_taken_out_of_the_folder_is_refused(
    group: PreparedRun,
) -> None:
    open_member(config(group))
    group.forget()
    with pytest.raises(KeyMismatchError, match="is not enrolled in run"):
        open_member(config(group))


@pytest.mark.parametrize("name", ["identity.json", "share.json"])
def test_another_clients_secret_is_refused(group: PreparedRun, name: str) -> None:
    foreign = (group.client_folder(2) / name).read_text()
    (group.client_folder(1) / name).write_text(foreign)
    with pytest.raises(KeyMismatchError):
        open_member(config(group))


@pytest.mark.parametrize("name", ["identity.json", "share.json", "keys.json"])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sealed": "zz"}', "\x00"])
def test_a_damaged_file_is_refused_by_name(
    group: PreparedRun, name: str, content: str
) -> None:
    (group.client_folder(1) / name).write_text(content)
    with pytest.raises(KeyMismatchError):
        open_member(config(group))


def test_keys_that_differ_from_the_pinned_ones_are_refused(
    group: PreparedRun, tmp_path: Path
) -> None:
    other = make_group(tmp_path / "other", make_params())
    manifest = other.client_folder(1) / "runs" / other.run_id / "manifest.json"
    own = group.client_folder(1) / "runs" / group.run_id / "manifest.json"
    own.write_text(manifest.read_text())
    with pytest.raises(KeyMismatchError, match="this client pinned"):
        open_member(config(group))


def test_a_key_holder_without_its_memory_refuses(group: PreparedRun) -> None:
    (group.client_folder(1) / "state.sqlite").unlink()
    with pytest.raises(KeyMismatchError, match="could open a round twice"):
        open_member(config(group))


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ("min-contributors = 5", "min-contributors"),
        ('protocols = ["plain"]', "protocols"),
        ("min-key-bits = 2048", "min-key-bits"),
    ],
)
def test_a_policy_that_refuses_names_its_rule(
    group: PreparedRun, rule: str, named: str
) -> None:
    open_member(config(group))  # a stricter policy counts in a running process, too
    path = group.client_folder(1) / "policy.toml"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(named)]
    path.write_text("\n".join([*kept, rule]))
    with pytest.raises(PolicyError, match=f"^{named}: "):
        open_member(config(group))


def test_a_missing_policy_refuses_everything(group: PreparedRun) -> None:
    (group.client_folder(1) / "policy.toml").unlink()
    with pytest.raises(PolicyError, match="cannot read"):
        open_member(config(group))


def test_simulation_keys_are_refused_for_another_machine(group: PreparedRun) -> None:
    folder = group.client_folder(1)
    refuse_foreign_simulation(folder, "127.0.0.1")
    with pytest.raises(KeyMismatchError, match="simulation keys"):
        refuse_foreign_simulation(folder, "server.example")


def test_secrets_are_readable_by_their_owner_only(group: PreparedRun) -> None:
    files = [path for path in group.keyset.rglob("*") if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


def test_the_server_folder_holds_no_secret(group: PreparedRun) -> None:
    names = {p.name for p in (group.keyset / "server").rglob("*") if p.is_file()}
    assert names == {"keys.json", "manifest.json", "test.npz"}
