"""`unseen plan`: what a run will send, take and withstand, before there is one.

Bytes, ciphertexts and widths follow from the parameters and are exact. Seconds are what
the work of a round takes at the speed that `experiments.plan.calibration` measures.
What cannot work is refused with its numbers.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from crypto.layout import EVALUATE, TRAIN, make_layout
from crypto.params import AggregationParams
from experiments.errors import SettingsError
from experiments.plan.calibration import (
    measure_big_numbers,
    measure_proof,
    measure_vector,
    stand_in_key,
)
from experiments.plan.costs import (
    FLOAT32_BYTES,
    METRICS,
    MOST_PROVED,
    Seconds,
    Sizes,
    seconds_of,
    sizes_of,
    table_memory,
    table_seconds,
)
from experiments.settings import RunSettings
from models.tasks import Task

_PHASES: Final = {"train": TRAIN, "evaluate": EVALUATE}
_LARGEST_PART: Final = (1 << 32) - 1  # bytes: lengths on the wire have 32 bits
# Bits of n, and the bits of security that factoring it is usually estimated at.
_PAILLIER_SECURITY: Final = ((3072, 128), (2048, 112))
_QUANTUM_MODULUS_BITS: Final = 53  # at most, for the 128-bit row against those, too


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run of some settings comes to.

    Attributes:
        task: With the number of parameters that is planned for.
        params: The run's parameters.
        sizes: Of the training and of the evaluation.
        seconds: Likewise.
        table_seconds: What every process spends once on the table of the blinding base.
        client_memory: Bytes at the peak of sealing.
        server_memory: Bytes at the peak of decoding, beside what grows with clients.
        cores: Of this machine.
    """

    task: Task
    params: AggregationParams
    sizes: Mapping[int, Sizes]
    seconds: Mapping[int, Seconds]
    table_seconds: float
    client_memory: int
    server_memory: int
    cores: int

    @property
    def expansion(self) -> float:
        """Bytes of a training's upload for every byte of a float32 update."""
        plain = FLOAT32_BYTES * self.task.num_parameters
        return self.sizes[TRAIN].upload / plain

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        params = self.params
        return {
            "task": self.task.name,
            "protocol": params.mode,
            "model_parameters": self.task.num_parameters,
            "clients": params.max_contributors,
            "holders": params.num_holders,
            "threshold": params.threshold,
            "min_contributors": params.min_contributors,
            "key_bits": params.key_bits,
            "value_bits": params.value_bits,
            "widths": widths(params),
            "bytes": {name: asdict(self.sizes[p]) for name, p in _PHASES.items()},
            "expansion": self.expansion,
            "core_seconds": {
                name: asdict(self.seconds[p]) for name, p in _PHASES.items()
            },
            "table_core_seconds": self.table_seconds,
            "cores": self.cores,
            "client_memory_bytes": self.client_memory,
            "server_memory_bytes": self.server_memory,
            "server_memory_bytes_per_client": self.sizes[TRAIN].entry,
            "security": security(params),
        }


def make_plan(settings: RunSettings, num_parameters: int = 0) -> Plan:
    """Work out what a run comes to, with half a second of measuring.

    Args:
        settings: Of the run.
        num_parameters: Of a network in place of the task's; 0 for the task's.

    Raises:
        SettingsError: If the run cannot work, with the numbers that say so.
    """
    task, params = settings.planned(num_parameters)
    key, dims = stand_in_key(params), {TRAIN: task.num_parameters, EVALUATE: 0}
    layouts = {
        phase: make_layout(params, phase=phase, dim=dim, metrics=METRICS[phase])
        for phase, dim in dims.items()
    }
    sizes = {
        phase: sizes_of(params, layout, key, num_parameters=task.num_parameters)
        for phase, layout in layouts.items()
    }
    _check_sizes(sizes[TRAIN], params)
    big = measure_big_numbers(key)
    vectors = {phase: measure_vector(params, layouts[phase]) for phase in dims}
    seconds = {
        phase: seconds_of(
            params,
            key,
            size,
            big=big,
            proof=measure_proof(key, size.ciphertexts),
            vector=vectors[phase],
        )
        for phase, size in sizes.items()
    }
    encrypts = params.mode != "plain"
    table = table_memory(key) if encrypts else 0
    plan = Plan(
        task=task,
        params=params,
        sizes=sizes,
        seconds=seconds,
        table_seconds=table_seconds(key, big) if encrypts else 0.0,
        client_memory=vectors[TRAIN].client_memory + table,
        server_memory=vectors[TRAIN].server_memory + table,
        cores=os.cpu_count() or 1,
    )
    _check_deadline(plan, settings.round_deadline or task.deadline_seconds)
    return plan


def _check_sizes(size: Sizes, params: AggregationParams) -> None:
    """Refuse what does not fit the wire.

    Raises:
        SettingsError: With the numbers.
    """
    if size.ciphertexts > MOST_PROVED:
        raise SettingsError(
            f"{size.values:,} values take {size.ciphertexts:,} ciphertexts, and an "
            f"upload proves at most {MOST_PROVED:,}",
            _way_out(params, "a smaller network"),
        )
    for name, found in (("upload", size.upload), ("model", size.model)):
        if found > _LARGEST_PART:
            raise SettingsError(
                f"the {name} has {found:,} bytes, and one part of a message holds at "
                f"most {_LARGEST_PART:,}",
                _way_out(params, "a smaller network"),
            )


def _check_deadline(plan: Plan, deadline: float) -> None:
    """Refuse what a single step makes too late.

    Raises:
        SettingsError: With the step's and the deadline's seconds.
    """
    params, size, seconds = plan.params, plan.sizes[TRAIN], plan.seconds[TRAIN]
    steps = (
        ("a client seals", seconds.seal),
        ("a key holder checks and opens", seconds.open / plan.cores),
    )
    for name, took in steps:
        if took > deadline:
            raise SettingsError(
                f"{name} for {took:,.3g} s on this machine ({size.ciphertexts:,} "
                f"ciphertexts of each of {params.max_contributors} clients), and the "
                f"deadline is {deadline:g} s",
                _way_out(params, "a longer --round-deadline"),
            )


def _way_out(params: AggregationParams, other: str) -> str:
    return (
        f"use --protocol hybrid, or {other}"
        if params.mode == "paillier"
        else (f"use {other}")
    )


def widths(params: AggregationParams) -> dict[str, int]:
    """Return the widths of the run's mode, by their letters in PROTOCOL.md."""
    if params.mode == "plain":
        return {"v": params.sum_bits}
    if params.mode == "paillier":
        return {"v": params.sum_bits, "slots": params.slots_per_plaintext}
    return {
        "L": params.noise_bits,
        "v": params.sum_bits,
        "rho": params.values_per_coefficient,
        "k": params.modulus_bits,
        "slots": params.slots_per_plaintext,
    }


def security(params: AggregationParams) -> dict[str, str]:
    """Say how hard the run's encryption is to break, by its parts."""
    if params.mode == "plain":
        return {"plain": "none: updates travel in the clear"}
    bits = next((b for size, b in _PAILLIER_SECURITY if params.key_bits >= size), 0)
    against = f"{bits} bits, none against quantum computers"
    found = {"Paillier": against if bits else "none: a key for trials only"}
    if params.mode == "hybrid":
        is_good = params.modulus_bits <= _QUANTUM_MODULUS_BITS
        more = "also against quantum computers" if is_good else "classical only"
        found["RLWE"] = f"128 bits, {more}"
    return found
