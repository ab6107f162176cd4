"""A plan: bytes to the byte, seconds of the right size, and what cannot work."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crypto.dealer import deal
from crypto.identity import Identity
from crypto.layout import EVALUATE, TRAIN, make_layout
from crypto.manifest import SIMULATION, KeySet, Manifest
from crypto.params import MODES, AggregationParams
from crypto.roster import Roster
from crypto.sealing import seal
from crypto.wire import Broadcast, pack_arrays
from experiments.errors import SettingsError
from experiments.plan import report as plan
from experiments.plan.calibration import measure_vector, stand_in_key
from experiments.plan.costs import METRICS, sizes_of
from experiments.plan.report import make_plan, security, widths
from experiments.plan.table import show
from experiments.settings import PROJECT, default_protocol, default_run
from models.networks.state import state_arrays
from models.tasks import get_task
from server.run import EVALUATE_METRICS, TRAIN_METRICS
from tests.crypto_group import Round, make_contribution, make_facts, make_round
from tests.federation import P, Q
from tests.test_progress import plain_console, printed

SMALL = replace(default_run(), key_bits=512)
METRIC_BOUNDS = {"train_loss": 1024.0, "loss": 1024.0, "accuracy": 1.0}


def planned(num_parameters: int = 0, **changes: Any) -> plan.Plan:
    return make_plan(replace(SMALL, **changes), num_parameters)


def group_round(mode: str, phase: int) -> Round:
    """A real round of five clients, with the metrics of a run."""
    facts = make_facts(
        phase=phase, dim=5000 if phase == TRAIN else 0, metrics=METRICS[phase]
    )
    return make_round(facts=facts, mode=mode, metrics=METRIC_BOUNDS)


def sizes(one: Round) -> Any:
    params, layout = one.manifest.params, one.facts.layout(one.manifest)
    key = one.manifest.keys.public_key
    return sizes_of(params, layout, key, num_parameters=5000)


@pytest.mark.parametrize("phase", [TRAIN, EVALUATE])
@pytest.mark.parametrize("mode", MODES)
def test_the_bytes_of_messages_are_exact(mode: str, phase: int) -> None:
    one = group_round(mode, phase)
    total, expected = one.sum, sizes(one)
    for client_id in range(1, 6):
        contribution = make_contribution(client_id, one.facts.dim)
        metrics = dict.fromkeys(METRIC_BOUNDS, 0.5)
        upload = one.upload(client_id, replace(contribution, metrics=metrics))
        assert len(upload.to_bytes()) == expected.upload
        assert len(upload.entry().to_bytes()) == expected.entry
        total.add(upload)
    assert total.num_ciphertexts == expected.ciphertexts
    if mode == "plain":
        assert (expected.request, expected.partials) == (0, 0)
        return
    request = total.open_request()
    assert len(request.to_bytes()) == expected.request
    reply = one.opener(1).answer(request, total.context)
    assert len(reply.to_bytes()) == expected.partials


def test_the_model_weighs_what_is_planned_but_for_its_names() -> None:
    arrays = list(state_arrays(get_task("digits").make_network()).items())
    broadcast = Broadcast(
        run_id=bytes(16),
        round=1,
        phase=TRAIN,
        metrics=list(TRAIN_METRICS),
        arrays_key="arrays",
        arrays=pack_arrays(arrays),
        records={},
    )
    found = planned().sizes[TRAIN].model
    assert found == pytest.approx(len(broadcast.to_bytes()), abs=500)


def test_the_metrics_are_those_of_a_run() -> None:
    assert METRICS == {TRAIN: TRAIN_METRICS, EVALUATE: EVALUATE_METRICS}


@pytest.mark.parametrize(
    ("num_parameters", "protocol"),
    [(1, "paillier"), (20_000, "paillier"), (20_001, "hybrid"), (10**8, "hybrid")],
)
def test_the_protocol_follows_from_the_networks_size(
    num_parameters: int, protocol: str
) -> None:
    task = replace(get_task("digits"), num_parameters=num_parameters)
    assert default_protocol(task) == protocol


@pytest.mark.parametrize(
    ("task", "protocol"), [("spam-book", "paillier"), ("spam", "hybrid")]
)
def test_a_task_has_its_own_protocol(task: str, protocol: str) -> None:
    _, params = replace(SMALL, task=task).planned()
    assert params.mode == protocol


def test_a_protocol_that_is_asked_for_comes_before_the_tasks() -> None:
    _, params = replace(SMALL, protocol="hybrid").planned()
    assert params.mode == "hybrid"
    _, params = replace(SMALL, protocol="paillier").planned(10**6)
    assert params.mode == "paillier"


def test_a_plan_needs_no_data() -> None:
    assert planned(task="spam").task.num_parameters == 160_009


# A factor of three: small samples in CPU time, on a machine that does other things too.
@pytest.mark.parametrize(("mode", "dim"), [("hybrid", 400_000), ("paillier", 2000)])
def test_sealing_takes_about_as_long_as_planned(mode: str, dim: int) -> None:
    found = planned(dim, protocol=mode, clients=5)
    public_key, _ = deal(P, Q, num_holders=5, threshold=4)
    identity = Identity.create(1)
    roster = Roster.of([Identity.create(i) for i in range(1, 6)], 5)
    manifest = Manifest(KeySet(public_key, roster, SIMULATION), found.params)
    layout = make_layout(found.params, phase=TRAIN, dim=dim, metrics=METRICS[TRAIN])
    contribution = replace(make_contribution(1, dim), metrics={"train_loss": 0.5})

    def once() -> float:
        started = time.process_time()
        seal(
            contribution,
            manifest=manifest,
            layout=layout,
            context=bytes(32),
            identity=identity,
        )
        return time.process_time() - started

    once()  # fills the caches
    assert min(once() for _ in range(3)) / 3 < found.seconds[TRAIN].seal
    assert found.seconds[TRAIN].seal < 3 * max(once() for _ in range(3))


@pytest.mark.parametrize("mode", MODES)
def test_long_vectors_cost_in_proportion(mode: str) -> None:
    params = planned(protocol=mode).params
    short, long = (
        measure_vector(
            params, make_layout(params, phase=TRAIN, dim=dim, metrics=METRICS[TRAIN])
        )
        for dim in (1 << 18, 1 << 20)
    )
    assert 2 < long.seal / short.seal < 8
    assert 2 < long.client_memory / short.client_memory < 8
    assert long.server_memory > short.server_memory


def test_the_stand_in_key_has_the_runs_size() -> None:
    params = planned().params
    key = stand_in_key(params)
    assert key.key_bits == params.key_bits
    assert (key.num_holders, key.threshold) == (params.num_holders, params.threshold)


def test_a_server_keeps_only_the_signed_part_of_a_client() -> None:
    few, many = (planned(10**6, clients=clients) for clients in (100, 110))
    assert few.sizes[TRAIN].upload > 100 * few.sizes[TRAIN].entry
    assert few.to_dict()["server_memory_bytes_per_client"] == few.sizes[TRAIN].entry
    ratio = many.server_memory / few.server_memory
    assert 0.9 < ratio < 1.1


@pytest.mark.parametrize(
    ("num_parameters", "changes", "error", "hint"),
    [
        (0, {"clients": 10_000, "value_bits": 24, "protocol": "hybrid"}, "59 bits", ""),
        (0, {"round_deadline": 1e-6}, "the deadline is 1e-06 s", "--round-deadline"),
        (0, {"round_deadline": 1e-6}, "45", "--protocol hybrid"),
        (3 * 10**9, {}, "one part of a message holds at most", "a smaller network"),
        (10**10, {"protocol": "paillier"}, "ciphertexts, and", "--protocol hybrid"),
        (0, {"task": "poems"}, "unknown task 'poems'", "digits"),
        (0, {"protocol": "ckks"}, "unknown protocol 'ckks'", "hybrid"),
        (0, {"threshold": 2}, "threshold 2 of 5", "--threshold"),
    ],
)
def test_what_cannot_work_is_refused_with_its_numbers(
    num_parameters: int, changes: dict[str, Any], error: str, hint: str
) -> None:
    key_bits = 3072 if error == "45" else 512
    with pytest.raises(SettingsError, match=error) as caught:
        planned(num_parameters, key_bits=key_bits, **changes)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def ring_params(clients: int, value_bits: int) -> AggregationParams:
    settings = replace(SMALL, clients=clients, value_bits=value_bits, protocol="hybrid")
    return settings.planned()[1]


@pytest.mark.parametrize(
    ("clients", "value_bits", "modulus_bits", "against"),
    [(1000, 24, 51, "also against quantum"), (4096, 23, 54, "classical only")],
)
def test_security_follows_from_the_ring_modulus(
    clients: int, value_bits: int, modulus_bits: int, against: str
) -> None:
    params = ring_params(clients, value_bits)
    assert widths(params)["k"] == modulus_bits
    assert against in security(params)["RLWE"]


@pytest.mark.parametrize(
    ("key_bits", "words"),
    [(3072, "128 bits"), (2048, "112 bits"), (2032, "for trials only")],
)
def test_security_follows_from_the_keys_size(key_bits: int, words: str) -> None:
    _, params = replace(SMALL, key_bits=key_bits).planned()
    assert words in security(params)["Paillier"]


@pytest.mark.parametrize("mode", MODES)
def test_a_plan_is_one_page(mode: str) -> None:
    console = plain_console()
    show(planned(protocol=mode), console)
    text = printed(console)
    assert f"digits, {mode}, 5 clients, 5,930 parameters" in text
    assert len(text.splitlines()) < 30
    assert ("a key holder checks all and opens" in text) is (mode != "plain")


@pytest.mark.parametrize(
    ("mode", "clients", "value_bits", "hint"),
    [
        ("hybrid", 5, 20, "with --value-bits 18, 2 values share a coefficient: 0.81"),
        ("hybrid", 15, 20, "with --value-bits 17, 2 values share a coefficient: 0.83"),
        ("hybrid", 5, 18, ""),  # three would need values too coarse
        ("hybrid", 100, 20, ""),
        ("paillier", 5, 20, ""),
    ],
)
def test_a_plan_says_what_would_make_uploads_smaller(
    mode: str, clients: int, value_bits: int, hint: str
) -> None:
    console = plain_console()
    show(planned(protocol=mode, clients=clients, value_bits=value_bits), console)
    text = printed(console)
    assert hint in text
    assert ("share a coefficient" in text) is bool(hint)


def test_the_command_prints_json_and_writes_nothing(tmp_path: Path) -> None:
    program = "from experiments.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "plan", "--json", "--parameters", "100000"],
        cwd=tmp_path,
        env={"UNSEEN_HOME": str(tmp_path / "home"), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["protocol"] == "hybrid"
    assert found["model_parameters"] == 100_000
    assert found["core_seconds"]["train"]["seal"] > 0
    assert list(tmp_path.iterdir()) == []
