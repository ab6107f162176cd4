"""The shape of the benchmark's report; what it measures differs between machines."""

import io
import json
import math
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gmpy2
import pytest
from rich.console import Console

from experiments.bench import end_to_end as bench_end_to_end
from experiments.bench import hybrid as bench_hybrid
from experiments.bench.lstm import CharacterLSTM
from experiments.bench.simulation import WAYS
from experiments.timing import Measurement, Sample, alternate, cpu_ratio, middle

ROOT = Path(__file__).parent.parent
OPERATIONS = ["pack", "encrypt", "add", "partial", "combine", "phe.raw_encrypt"]


@pytest.fixture(scope="module")
def figures() -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.bench", "--quick", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return json.loads(done.stdout)


def test_report_has_both_key_sizes_at_the_default_widths(figures: Any) -> None:
    sizes = figures["sizes"]
    assert [size["key_bits"] for size in sizes] == [2048, 3072]
    assert [size["slot_bits"] for size in sizes] == [23, 23]
    assert [size["slots_per_plaintext"] for size in sizes] == [88, 133]


def test_every_operation_has_wall_and_cpu_time(figures: Any) -> None:
    for size in figures["sizes"]:
        assert list(size["operations"]) == OPERATIONS
        for taken in size["operations"].values():
            assert set(taken) == {"wall_ms", "cpu_ms", "us_per_parameter"}
            assert all(math.isfinite(value) and value > 0 for value in taken.values())


def test_phe_carries_one_parameter_a_ciphertext(figures: Any) -> None:
    for size in figures["sizes"]:
        taken = size["operations"]["phe.raw_encrypt"]
        assert taken["us_per_parameter"] == pytest.approx(1e3 * taken["cpu_ms"])


def test_hybrid_round_has_every_step_and_more_clients_than_the_default(
    figures: Any,
) -> None:
    hybrid = figures["hybrid"]
    assert (hybrid["key_bits"], hybrid["max_clients"]) == (3072, 100)
    assert set(bench_hybrid.TARGETS_MS) < set(hybrid["steps"])
    for taken in hybrid["steps"].values():
        assert all(math.isfinite(value) and value > 0 for value in taken.values())


def test_hybrid_upload_is_k_bits_a_parameter_and_a_key(figures: Any) -> None:
    hybrid = figures["hybrid"]
    bulk = hybrid["modulus_bits"] / 8
    key = hybrid["ciphertexts"] * 2 * 3072 / 8
    rest = hybrid["bytes_per_parameter"] - bulk - key / hybrid["parameters"]
    assert 0 < rest < 0.1 * bulk


def test_libraries_that_are_not_installed_have_no_times(figures: Any) -> None:
    ways = {way["name"]: way for way in figures["hybrid"]["ways"]}
    assert all(
        ways[name]["client_seconds"] > 0
        for name in ("Unseen, hybrid", "Unseen, paillier", "phe, naive")
    )
    for name, module in (("TenSEAL CKKS", "tenseal"), ("HEU ZPaillier", "heu")):
        assert (ways[name]["client_seconds"] is None) == (find_spec(module) is None)


@pytest.mark.parametrize(("milliseconds", "verdict"), [(1, "met"), (5000, "missed")])
def test_full_size_steps_stand_beside_their_targets(
    figures: Any, milliseconds: float, verdict: str
) -> None:
    taken = {"wall_ms": milliseconds, "cpu_ms": milliseconds}
    full = figures["hybrid"] | {
        "parameters": bench_hybrid.PARAMETERS[False],
        "steps": dict.fromkeys(bench_hybrid.TARGETS_MS, taken),
    }
    out = io.StringIO()
    bench_hybrid.show_hybrid(full, Console(file=out, width=120))
    verdicts = re.findall(rf"{verdict} +│", out.getvalue())
    assert len(verdicts) == len(bench_hybrid.TARGETS_MS)


@pytest.mark.parametrize(("seconds", "verdict"), [(1.0, "met"), (9.0, "missed")])
def test_end_to_end_figures_stand_beside_their_targets(
    seconds: float, verdict: str
) -> None:
    mode = {"seconds": seconds, "run_cpu_seconds": 1.0}
    mode |= {"bytes_up": 1.0, "of_float32": seconds}
    modes = {"plain": mode, "hybrid": mode}
    rounds = {"train_seconds": 5.0, "times": seconds, "modes": modes}
    simulation = dict.fromkeys(WAYS, 2.0) | {"hybrid": seconds}
    out = io.StringIO()
    figures = {"rounds": [rounds, rounds], "simulation": simulation}
    bench_end_to_end.show(figures, Console(file=out, width=120))
    assert out.getvalue().count(f": {verdict}\n") == 5


def test_end_to_end_network_has_the_parameters_it_is_said_to_have() -> None:
    counts = (tensor.numel() for tensor in CharacterLSTM().parameters())
    assert sum(counts) == bench_end_to_end.PARAMETERS


def test_checks_and_binding_are_shares_of_a_round(figures: Any) -> None:
    taken = figures["round"]
    shares = [taken["checks_share"], taken["binding_share"]]
    assert taken["cpu_seconds"] > 0
    assert all(-1 < share < 1 for share in shares)


def test_ratios_are_positive_numbers(figures: Any) -> None:
    for size in figures["sizes"]:
        ratios = [size["parallel_speed_up"], *size["times_faster_than_phe"].values()]
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)


def test_fixed_primes_are_safe_primes_of_their_size() -> None:
    stored = json.loads((ROOT / "experiments" / "bench" / "primes.json").read_text())
    for key_bits, primes in stored["safe_primes"].items():
        p, q = (gmpy2.mpz(prime, 16) for prime in primes)
        assert p != q
        assert (p * q).bit_length() == int(key_bits)
        assert all(gmpy2.is_prime(x) and gmpy2.is_prime(x // 2) for x in (p, q))


def test_measurements_are_taken_in_alternation() -> None:
    order: list[str] = []

    def slow(name: str) -> None:
        order.append(name)
        time.sleep(0.005)  # longer than a sample, so one call each

    names = ("a", "b")
    measurements = [Measurement(n, lambda n=n: slow(n)) for n in names]  # type: ignore[misc]
    samples = alternate(measurements, repetitions=3)
    assert [len(samples[name]) for name in names] == [3, 3]
    assert order[-6:] == ["a", "b"] * 3


def test_medians_ignore_one_slow_sample() -> None:
    samples = [Sample(1.0, 0.5), Sample(9.0, 8.0), Sample(2.0, 1.0)]
    assert middle(samples) == Sample(2.0, 1.0)
    assert cpu_ratio(samples, [Sample(1.0, 0.5)] * 3) == 2.0
