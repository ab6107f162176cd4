"""`unseen deploy`: each party's folder is whole and its own, or found out."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clients.folder import check_folder, newest_run
from clients.policy import read_policy
from crypto.errors import CryptoError, KeyMismatchError
from crypto.manifest import DEPLOYMENT, KeySet, Manifest, read_json
from experiments.deploy import certificates, layout, records
from experiments.deploy.access import check_access
from experiments.deploy.checks import check_any, check_client, check_superlink
from experiments.deploy.findings import stop_at_first
from experiments.errors import SettingsError
from tests.deployed import make_deployment, rewrite, unseen

SECRETS = ("identity.json", "share.json", "node.key", "tls.key", "ca.key")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "deploy"
    make_deployment(root)
    return root


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another deployment, to mix up with."""
    root = tmp_path_factory.mktemp("other") / "deploy"
    make_deployment(root, clients=4)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A deployment to spoil."""
    return Path(shutil.copytree(made, tmp_path / "deploy"))


def findings(folder: Path) -> list[str]:
    return [finding.text for finding in check_any(folder)]


def only_finding(folder: Path) -> str:
    (text,) = findings(folder)
    return text


def keys_of(folder: Path) -> KeySet:
    return KeySet.from_dict(read_json(folder / "keys.json"))


def new_manifest(party: Path) -> Path:
    return party / "runs" / newest_run(party) / "manifest.json"


def test_fresh_deployment_has_no_finding(made: Path) -> None:
    assert findings(made) == []
    for party in layout.parties(made):
        assert findings(party) == []


def test_only_owners_can_read_what_was_made(made: Path) -> None:
    for party in (made / "ca", *layout.parties(made)):
        assert party.stat().st_mode & 0o777 == 0o700
    for path in made.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600, path


def test_every_secret_lies_in_one_folder(made: Path) -> None:
    places = {
        name: sorted(str(path.parent.relative_to(made)) for path in made.rglob(name))
        for name in SECRETS
    }
    clients = ["client-1", "client-2", "client-3"]
    assert places == {
        "identity.json": clients,
        "share.json": clients,
        "node.key": clients,
        "tls.key": ["superlink"],
        "ca.key": ["ca"],
    }
    texts = [path.read_bytes() for path in made.rglob("*") if path.name in SECRETS]
    assert len(set(texts)) == len(texts)


def test_keys_of_a_deployment_are_not_a_simulations(made: Path) -> None:
    assert keys_of(made).purpose == DEPLOYMENT
    policy = read_policy(made / "client-1" / "policy.toml")
    assert "plain" not in policy.protocols
    assert policy.networks is not None


def test_node_keys_are_what_flower_takes(made: Path) -> None:
    key = certificates.read_key(made / "client-2" / "node.key")
    assert key.curve.name == ec.SECP384R1.name
    public = certificates.read_node_public(made / "server/nodes/client-2.pub")
    assert public == key.public_key()


def test_certificate_is_for_every_name(made: Path) -> None:
    certificate = certificates.read_certificate(made / "superlink" / "tls.crt")
    names = certificates.server_names(certificate)
    assert names == ["superlink", "localhost", "127.0.0.1", "::1", "example.org"]
    assert certificates.days_left(certificate) == 824


def test_failed_deal_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="this data has none"):
        make_deployment(tmp_path / "deploy", partition="natural")
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_not_overwritten(made: Path) -> None:
    done = unseen("deploy", "init", "--out", made, "--insecure-key-bits", 512)
    assert isinstance(done.exception, SettingsError)
    assert "exists already" in str(done.exception)


def test_committee_that_one_cheat_breaks_is_refused(tmp_path: Path) -> None:
    done = unseen(
        *("deploy", "init", "--clients", 3, "--threshold", 2, "--out", tmp_path / "d")
    )
    assert isinstance(done.exception, SettingsError)
    assert "a single malicious one" in str(done.exception)
    assert "--trust-holders" in done.exception.hint


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copy(folder / source, folder / target)


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: rewrite(folder / name, lambda _: text)


CLIENT_MISTAKES: list[tuple[Callable[[Path], object], str]] = [
    (remove("identity.json"), "cannot read .*identity.json"),
    (remove("share.json"), "cannot read .*share.json"),
    (remove("keys.json"), "cannot read .*keys.json"),
    (remove("ca.crt"), "cannot read .*ca.crt"),
    (remove("node.key"), "cannot read .*node.key"),
    (remove("policy.toml"), "cannot read .*policy.toml"),
    (remove("state.sqlite"), "state.sqlite is missing: .* could open a round twice"),
    (write("ca.crt", "no"), "ca.crt is not a certificate"),
    (write("node.key", "no"), "node.key is not a private key"),
    (write("keys.json", "{}"), "expected format"),
    (write("share.json", "{}"), "is not a share"),
    (copy("../client-2/share.json", "share.json"), "not sealed to client 1"),
    (copy("../client-2/node.key", "node.key"), "not the key of node.pub"),
    (copy("../superlink/tls.key", "node.key"), "is not a P-384 key"),
    (lambda folder: shutil.rmtree(folder / "runs"), "is enrolled in no run"),
]


@pytest.mark.parametrize(("spoil", "text"), CLIENT_MISTAKES)
def test_mistake_in_a_clients_folder_is_named(
    root: Path, spoil: Callable[[Path], object], text: str
) -> None:
    spoil(root / "client-1")
    found = list(check_client(root / "client-1"))
    with pytest.raises(SettingsError, match=text):
        stop_at_first(found)


def test_identity_of_another_group_is_found(root: Path, other: Path) -> None:
    shutil.copy(other / "client-1/identity.json", root / "client-1")
    assert "not on the roster" in only_finding(root / "client-1")


def test_secret_of_somebody_else_is_found(root: Path) -> None:
    shutil.copy(root / "ca/ca.key", root / "client-1/ca.key")
    assert "ca.key is no part of this party's folder" in only_finding(root / "client-1")


def test_file_that_others_can_read_is_found(root: Path) -> None:
    (root / "client-1/identity.json").chmod(0o644)
    assert "identity.json has mode 644" in only_finding(root / "client-1")


def test_folder_of_somebody_else_is_found(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert all("not to 54321" in text for text in findings(root / "superlink"))


def test_run_under_other_keys_is_found(root: Path, other: Path) -> None:
    new = other / "client-1/runs"
    shutil.copytree(new, root / "client-1/runs", dirs_exist_ok=True)
    os.utime(root / "client-1/runs" / next(new.iterdir()).name / "manifest.json")
    assert "it comes from another deal" in only_finding(root / "client-1")


def test_policy_that_refuses_the_run_is_found(root: Path) -> None:
    policy = root / "client-1/policy.toml"
    rewrite(policy, lambda text: text.replace("max-holders = 3", "max-holders = 2"))
    assert "allows at most 2, the run has 3" in only_finding(root / "client-1")


def certify(root: Path, days: int) -> None:
    authority = certificates.Authority.create(825)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "_CLOCK_SKEW", 10 * certificates._CLOCK_SKEW * 24)
        authority.certify_server(root / "superlink", ["localhost"], days)
    for folder in (root / "ca", root / "superlink"):
        certificates.write_certificate(folder / "ca.crt", authority.certificate)


def test_certificate_that_ends_soon_is_found_and_does_not_stop(root: Path) -> None:
    certify(root, days=29)
    found = list(check_superlink(root / "superlink"))
    assert stop_at_first(found) == [f"{root}/superlink/tls.crt expires in 28 days"]


def test_expired_certificate_is_found_and_stops(root: Path) -> None:
    certify(root, days=-1)
    with pytest.raises(SettingsError, match=r"tls\.crt has expired"):
        stop_at_first(check_superlink(root / "superlink"))


def test_foreign_certificate_is_found(root: Path, other: Path) -> None:
    for name in ("tls.crt", "tls.key"):
        shutil.copy(other / "superlink" / name, root / "superlink")
    assert "tls.crt is not signed by" in only_finding(root / "superlink")


def test_parties_of_two_deployments_are_told_apart(root: Path, other: Path) -> None:
    shutil.rmtree(root / "client-3")
    shutil.copytree(other / "client-3", root / "client-3")
    found = "\n".join(findings(root))
    assert "client-3/ca.crt is of another deployment" in found
    assert "client-3/keys.json differ" in found
    assert "client-3.pub differ" in found


def test_check_ends_with_one_for_a_finding(root: Path) -> None:
    assert unseen("deploy", "check", root).exit_code == 0
    (root / "server/superlink.secret").unlink()
    done = unseen("deploy", "check", root)
    assert done.exit_code == 1
    assert "superlink.secret: No such file" in done.output
    with pytest.raises(SettingsError, match="neither a deployment nor"):
        findings(root / "ca")


def test_missing_or_forbidden_folder_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="there is no folder"):
        check_access(root / "client-9", ())
    with pytest.raises(SettingsError, match=r"there is no .*identity.json"):
        check_access(root / "server", ("identity.json",))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SettingsError, match=r"it belongs to uid .* runs as") as raised:
        check_access(root / "client-1", ())
    assert "chown -R" in raised.value.hint


def test_enrolment_is_a_fresh_run_with_the_same_keys(root: Path) -> None:
    before, keys = newest_run(root / "client-1"), keys_of(root)
    done = unseen("deploy", "enrol", "--dir", root, "--rounds", 7, "--record")
    assert done.exit_code == 0, done.exception
    runs = {newest_run(party) for party in root.glob("client-*")}
    assert len(runs) == 1
    assert before not in runs
    run = records.read_run(root / "server/runs" / runs.pop())
    assert (run.rounds, run.record) == (7, True)
    manifest = Manifest.from_dict(read_json(new_manifest(root / "client-2")))
    assert manifest.keys == keys
    assert findings(root) == []


def test_dealer_enrols_without_the_secrets_it_gave_away(root: Path) -> None:
    for name in (*SECRETS, "superlink.secret", "state.sqlite", "shard.npz"):
        for path in root.rglob(name):
            path.unlink()
    done = unseen("deploy", "enrol", "--dir", root)
    assert done.exit_code == 0, done.exception


def test_containers_get_what_they_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker-compose.yml").touch()
    (tmp_path / ".env").write_text("UNSEEN_IMAGE=mine\nUNSEEN_UID=1\n")
    owners: dict[str, int] = {}

    def chown(path: Path, uid: int, _gid: int, **_: bool) -> None:
        owners[Path(path).name] = uid

    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    init = ("deploy", "init", "--out", tmp_path / "deploy", "--clients", 3)
    done = unseen(*init, "--insecure-key-bits", 512)
    assert done.exit_code == 0, done.exception
    assert "docker compose up" in done.output
    assert owners.keys() >= {"superlink", "server", "client-3", "runs"}
    assert not owners.keys() & {"ca", "deploy"}
    env = (tmp_path / ".env").read_text().split()
    assert env == ["UNSEEN_IMAGE=mine", "UNSEEN_UID=10001", "UNSEEN_GID=10001"]
    assert (tmp_path / "runs").is_dir()


def test_without_data_from_the_dealer_no_shard_is_dealt(tmp_path: Path) -> None:
    make_deployment(tmp_path / "deploy", own_data=True)
    assert list(tmp_path.rglob("shard.npz")) == []
    assert findings(tmp_path / "deploy") == []


def test_revoked_client_has_no_part_in_the_new_keys(
    other: Path, tmp_path: Path
) -> None:
    old, new = Path(shutil.copytree(other, tmp_path / "old")), tmp_path / "new"
    done = unseen("deploy", "revoke", "--dir", old, "--client", 3, "--out", new)
    assert done.exit_code == 0, done.exception
    assert findings(new) == []
    assert sorted(path.name for path in new.glob("client-*")) == [
        *("client-1", "client-2", "client-4"),
    ]
    keys = keys_of(new)
    assert sorted(keys.roster.clients) == [1, 2, 4]
    assert keys.public_key != keys_of(old).public_key
    with pytest.raises(KeyMismatchError, match="not on the roster"):
        check_folder(old / "client-3", keys)
    # Even on the roster again, by mistake, its share would fit no part of the key.
    for name in ("identity.json", "policy.toml"):
        shutil.copy(new / "client-4" / name, old / "client-3" / name)
    with pytest.raises(CryptoError):
        check_folder(old / "client-3", keys)
    nodes = {path.read_text() for path in (new / "server/nodes").iterdir()}
    assert (old / "client-3/node.pub").read_text() not in nodes


def test_rotation_renews_every_secret(root: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert unseen("deploy", "revoke", "--dir", root, "--out", new).exit_code == 0
    for path in root.rglob("*"):
        if path.name in (*SECRETS, "superlink.secret"):
            assert (new / path.relative_to(root)).read_bytes() != path.read_bytes()
    names = [
        certificates.server_names(
            certificates.read_certificate(d / "superlink/tls.crt")
        )
        for d in (root, new)
    ]
    assert names[0] == names[1]


def test_too_few_or_unknown_clients_cannot_be_revoked(root: Path) -> None:
    for options, text in (
        (("--client", 9), "has no client 9"),
        (("--client", 1, "--client", 2), "at least 2 clients, got 1"),
    ):
        done = unseen("deploy", "revoke", "--dir", root, "--out", root / "n", *options)
        assert isinstance(done.exception, SettingsError)
        assert text in str(done.exception)
