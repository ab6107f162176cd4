"""The shape of the benchmark's report; what it measures differs between machines."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gmpy2
import pytest

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
        timeout=120,
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
    stored = json.loads((ROOT / "experiments" / "bench_primes.json").read_text())
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
