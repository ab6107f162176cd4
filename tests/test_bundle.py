"""A Flower app bundle leaves the machine: nothing private may ever be in one."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.cli.utils import collect_files, filter_paths_for_publish

ROOT = Path(__file__).parent.parent
PACKAGES = ("clients", "crypto", "models", "server")  # what a run needs
PRIVATE = b'{"planted": "a secret"}'

# What the project itself writes, in places where it must never be: .gitignore knows it.
OUR_SECRETS = (
    "keys/share.json",
    "keys/client-3/identity.json",
    "keys/keys.json",
    "simulation/small/client-1/share.json",
    "simulation/small/server/keys.json",
    "runs/2026-11-23-digits/config.json",
    "runs/2026-11-23-digits/events.jsonl",
    "runs/2026-11-23-digits/history.json",
    "deploy/hospital/policy.toml",
    "client-3/keys.json",
    "client-3/policy.toml",
    "client-3/runs/00ff/manifest.json",
    "client-3/runs/00ff/shard.npz",
    "client-3/state.sqlite",
    "client-3/state.sqlite-wal",
    "clients/share.json",
    "clients/state.sqlite",
    "crypto/keys/identity.json",
    "crypto/private.pem",
    "server/runs/00ff/test.npz",
    "server/keys.json",
    "identity.json",
    "data/mail.jsonl",
    ".pytest_cache/README.md",
    ".mypy_cache/3.11/server/app.data.json",
)
# What anybody could leave in the folder: only the bundle's allow list knows.
OTHER_SECRETS = (
    "models/patients.json",
    "notes/patients.md",
    "clients/credentials.yaml",
    "results.jsonl",
)
PLANTED = (*OUR_SECRETS, *OTHER_SECRETS)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what Flower reads of the project, and plant secrets in the copy."""
    copy = tmp_path_factory.mktemp("bundle") / "unseen"
    copy.mkdir()
    for name in (".gitignore", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    for name in (*PACKAGES, "experiments", "tests"):
        shutil.copytree(ROOT / name, copy / name)
    for name in PLANTED:
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PRIVATE)
    return copy


def bundled_files(project: Path) -> dict[str, bytes]:
    """Build a bundle with Flower's own builder and read it back."""
    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(project))) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def test_bundle_holds_the_code_and_nothing_else(project: Path) -> None:
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    others = {".info/CONTENT", "LICENSE", "README.md", "pyproject.toml"}
    assert set(bundled_files(project)) == sources | others


@pytest.mark.parametrize("with_gitignore", [True, False])
def test_planted_secrets_are_not_bundled(project: Path, with_gitignore: bool) -> None:
    """Neither with .gitignore nor without it, as in an unpacked archive."""
    gitignore = (project / ".gitignore").read_bytes()
    if not with_gitignore:
        (project / ".gitignore").unlink()
    try:
        files = bundled_files(project)
    finally:
        (project / ".gitignore").write_bytes(gitignore)
    assert not set(files) & set(PLANTED)
    assert not [name for name, content in files.items() if PRIVATE in content]


def test_our_secrets_are_ignored_by_git(project: Path) -> None:
    """Flower reads .gitignore as git does, for publishing an app."""
    visible = filter_paths_for_publish(collect_files(project))
    assert not set(visible) & set(OUR_SECRETS)
    assert "tests/conftest.py" in visible
