"""A client's own policy: every rule refuses by name, and nothing weakens it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clients.folder import Member, open_member
from clients.policy import Policy, read_policy
from crypto.errors import ParameterError, PolicyError
from experiments.keysets import task_networks
from experiments.prepare import PreparedRun
from models.fingerprint import network_digest
from models.networks.state import fingerprint, state_arrays
from models.tasks import get_task
from tests.federation import make_group, make_params
from tests.one_client import make_deployment

DIGEST = "ab" * 32

# A policy that allows what `make_params` gives; the tests below change one rule.
RULES = {
    "protocols": '["paillier"]',
    "min-contributors": "4",
    "max-contributors": "5",
    "min-key-bits": "512",
    "max-holders": "5",
    "max-malicious": "2",
    "min-set-change": "0",
    "networks": '"any"',
}


def as_text(rules: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in rules.items())


def write(folder: Path, **changes: str) -> Path:
    """Write the policy above with some rules changed; `_` stands for `-`."""
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    path = folder / "policy.toml"
    path.write_text(as_text(RULES | changed))
    return path


@pytest.fixture
def group(tmp_path: Path) -> PreparedRun:
    prepared = make_group(tmp_path / "keys", make_params())
    write(prepared.client_folder(1))
    return prepared


def opened(group: PreparedRun) -> Member:
    folder = str(group.client_folder(1))
    return open_member({"client-dir": folder, "run-id": group.run_id})


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (
            "protocols",
            '["plain"]',
            "this client allows ['plain'], the run has 'paillier'",
        ),
        (
            "min-contributors",
            "5",
            "this client asks for at least 5, the run has 4",
        ),
        (
            "max-contributors",
            "4",
            "this client allows at most 4, the run has 5",
        ),
        (
            "min-key-bits",
            "2048",
            "this client asks for at least 2048, the run has 512",
        ),
        ("max-holders", "4", "this client allows at most 4, the run has 5"),
        (
            "max-malicious",
            "3",
            "this client asks for runs that withstand 3, the run has max-corrupt 2 "
            "and 4 of 5 key holders, which withstand 2",
        ),
    ],
)
def test_each_rule_refuses_from_the_next_message_on_and_names_itself(
    group: PreparedRun, rule: str, value: str, message: str
) -> None:
    opened(group)
    write(group.client_folder(1), **{rule: value})
    with pytest.raises(PolicyError) as refusal:
        opened(group)
    assert str(refusal.value) == f"{rule}: {message}"


def test_a_policy_that_is_relaxed_again_allows_again(group: PreparedRun) -> None:
    write(group.client_folder(1), max_holders="4")
    with pytest.raises(PolicyError):
        opened(group)
    write(group.client_folder(1))
    assert opened(group).policy.max_holders == 5


def test_plain_is_refused_by_a_client_that_allows_encryption_only(
    tmp_path: Path,
) -> None:
    group = make_group(tmp_path / "keys", make_params(mode="plain"))
    write(group.client_folder(1))
    with pytest.raises(PolicyError, match=r"^protocols: .*'plain'$"):
        opened(group)


def test_a_run_that_assumes_fewer_malicious_holders_is_refused(tmp_path: Path) -> None:
    """The committee would withstand 2, but sums of two honest clients are not kept."""
    group = make_group(tmp_path / "keys", make_params(max_corrupt=1))
    write(group.client_folder(1))
    with pytest.raises(PolicyError, match=r"^max-malicious: .* max-corrupt 1 "):
        opened(group)


def test_a_committee_that_withstands_nobody_is_refused(tmp_path: Path) -> None:
    params = make_params(num_holders=3, threshold=2, max_corrupt=0)
    group = make_group(tmp_path / "keys", params)
    write(group.client_folder(1), max_malicious="1")
    with pytest.raises(PolicyError, match=r"^max-malicious: .* 2 of 3 .* withstand 0$"):
        opened(group)
    write(group.client_folder(1), max_malicious="0")
    opened(group)


def test_a_refusal_is_a_parameter_error_with_its_code() -> None:
    assert issubclass(PolicyError, ParameterError)
    assert PolicyError.code == "E_PARAMS"


@pytest.mark.parametrize("rule", RULES)
def test_a_missing_rule_refuses_everything(tmp_path: Path, rule: str) -> None:
    path = write(tmp_path)
    path.write_text(as_text({k: v for k, v in RULES.items() if k != rule}))
    with pytest.raises(PolicyError, match=f"policy.toml has no rule '{rule}'"):
        read_policy(path)


def test_an_unknown_rule_refuses_everything(tmp_path: Path) -> None:
    path = write(tmp_path, min_key_bit="4096")
    with pytest.raises(PolicyError, match=r"policy.toml has unknown .*min-key-bit'"):
        read_policy(path)


@pytest.mark.parametrize("rule", [name for name in RULES if name[:3] in {"min", "max"}])
@pytest.mark.parametrize("value", ["3.9", "true", "-1", '"4"', "[4]", "4e1", "nan"])
def test_a_number_is_a_whole_number_or_nothing(
    tmp_path: Path, rule: str, value: str
) -> None:
    path = write(tmp_path, **{rule: value})
    with pytest.raises(PolicyError, match=f"policy.toml: {rule} cannot be "):
        read_policy(path)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("min-contributors", "1"),  # the sum of one client is its update
        ("max-contributors", "1"),
        ("min-key-bits", "0"),
        ("max-holders", "0"),
        ("protocols", '"paillier"'),
        ("protocols", "[1]"),
        ("networks", '"all"'),
        ("networks", "[1]"),
        ("networks", '["any"]'),
        ("networks", f'"{DIGEST}"'),
        ("networks", f'["{DIGEST.upper()}"]'),
        ("networks", f'["{DIGEST[1:]}"]'),
        ("networks", f'["{DIGEST}\\n"]'),
        ("networks", "true"),
    ],
)
def test_a_rule_that_says_something_else_refuses_everything(
    tmp_path: Path, rule: str, value: str
) -> None:
    path = write(tmp_path, **{rule: value})
    with pytest.raises(PolicyError, match=f"policy.toml: {rule} cannot be "):
        read_policy(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not toml", b"a = 1\na = 2"])
def test_what_is_no_policy_refuses_everything(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match=r"policy\.toml"):
        read_policy(path)


def test_a_folder_in_place_of_a_policy_refuses_everything(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read"):
        read_policy(tmp_path)


def test_the_written_policy_is_read_back(tmp_path: Path) -> None:
    expected = Policy(
        protocols=("paillier",),
        min_contributors=4,
        max_contributors=5,
        min_key_bits=512,
        max_holders=5,
        max_malicious=2,
        networks=frozenset({DIGEST}),
        min_set_change=3,
    )
    networks = f'["{DIGEST}"]'
    path = write(tmp_path, networks=networks, min_set_change="3")
    assert read_policy(path) == expected


def test_the_rule_against_differencing_reaches_the_key_holder(
    group: PreparedRun,
) -> None:
    write(group.client_folder(1), min_set_change="3")
    assert opened(group).opener().min_set_change == 3


# What a ceremony for a deployment writes: committee, then min-contributors and f.
@pytest.mark.parametrize(
    ("threshold", "num_holders", "smallest", "malicious"),
    [
        (4, 5, 4, 2),
        (3, 4, 3, 1),
        (3, 3, 3, 1),
        (5, 7, 4, 2),
        (2, 3, 2, 0),
        (2, 2, 2, 0),
    ],
)
def test_the_policy_of_a_deployment_is_strict(
    tmp_path: Path, threshold: int, num_holders: int, smallest: int, malicious: int
) -> None:
    group = make_deployment(
        tmp_path / "keys",
        threshold=threshold,
        num_holders=num_holders,
        max_corrupt=malicious,
        min_contributors=threshold,  # the default of a run
        max_contributors=num_holders,
    )
    policy = opened(group).policy
    assert policy == Policy(
        protocols=("paillier", "hybrid"),
        min_contributors=smallest,
        max_contributors=num_holders,
        min_key_bits=512,
        max_holders=num_holders,
        max_malicious=malicious,
        networks=frozenset(task_networks().values()),
        min_set_change=0,
    )


def test_the_policy_of_a_simulation_allows_baselines_and_any_network(
    tmp_path: Path,
) -> None:
    for mode in ("plain", "paillier"):
        params = make_params(mode=mode, min_contributors=2, max_corrupt=0)
        group = make_group(tmp_path / mode, params)
        assert opened(group).policy.networks is None


def test_the_policy_names_every_task_beside_its_digest(tmp_path: Path) -> None:
    group = make_deployment(tmp_path / "keys")
    lines = (group.client_folder(1) / "policy.toml").read_text().splitlines()
    for name, digest in task_networks().items():
        assert f'    "{digest}",  # {name}' in lines


# A network's digest depends on all of these, and only on these.
ARRAYS: dict[str, NDArray[Any]] = {
    "a": np.zeros((2, 3), np.float32),
    "b": np.zeros(4, np.float64),
}
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("Network(x)", ARRAYS),
    ("", ARRAYS),
    ("Network()", {"b": ARRAYS["b"], "a": ARRAYS["a"]}),
    ("Network()", {"a": ARRAYS["a"]}),
    ("Network()", {"a": ARRAYS["a"], "c": ARRAYS["b"]}),
    ("Network()", {"a": ARRAYS["a"].T, "b": ARRAYS["b"]}),
    ("Network()", {"a": ARRAYS["a"], "b": ARRAYS["b"].astype(np.float32)}),
    ("Network()", {"a": ARRAYS["a"], "b": np.zeros((4, 1))}),
]


def test_networks_that_differ_have_different_digests() -> None:
    digests = [network_digest("Network()", ARRAYS)]
    digests += [network_digest(text, arrays) for text, arrays in OTHERS]
    assert len(set(digests)) == len(digests)


@given(st.floats(width=32))
def test_parameters_do_not_change_a_networks_digest(value: float) -> None:
    moved = {name: np.full_like(array, value) for name, array in ARRAYS.items()}
    assert network_digest("N", moved) == network_digest("N", ARRAYS)


def test_a_task_has_one_digest_however_its_network_begins() -> None:
    for name in ("digits", "spam"):
        network = get_task(name).make_network()
        again = network_digest(str(network), state_arrays(network))
        assert again == fingerprint(network) == task_networks()[name]
