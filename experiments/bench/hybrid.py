"""What a round in mode hybrid costs, step by step, beside the targets it was built for.

One process plays one round of a network with two million parameters
(`experiments.bench.hybrid_scene`); other ways to add up as many are timed in the same
run (`experiments.bench.others`).
"""

from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from experiments.bench.hybrid_scene import (
    ADD,
    CHECK,
    COMBINE,
    DECODE,
    MAX_CLIENTS,
    MEMBER_CHECK,
    PARTIALS,
    POWERS,
    SEAL,
    SENDERS,
    make_hybrid_scene,
)
from experiments.bench.others import OtherWay, other_ways
from experiments.timing import Sample, alternate, middle

PARAMETERS: Final = {False: 2_097_152, True: 65_536}  # by --quick
REPETITIONS: Final = {False: 7, True: 1}
LARGEST_UPLOAD: Final = 5.3  # bytes per parameter

OPEN: Final = "open: members and combine"
TARGETS_MS: Final = {SEAL: 200.0, ADD: 3.0, DECODE: 200.0, OPEN: 1200.0}
_ORDER: Final = (
    *(SEAL, ADD, OPEN, POWERS, PARTIALS, COMBINE, DECODE),
    *(CHECK, MEMBER_CHECK),
)


def bench_hybrid(*, quick: bool, tick: Callable[[], object]) -> dict[str, Any]:
    """Measure every step, and every other way to add up as many parameters.

    Returns:
        The figures, as the JSON report has them.
    """
    parameters = PARAMETERS[quick]
    scene = make_hybrid_scene(parameters)
    tick()
    repetitions = REPETITIONS[quick]
    samples = alternate(scene.measurements(), repetitions=repetitions, tick=tick)
    steps = {name: _milliseconds(middle(taken)) for name, taken in samples.items()}
    params, size = scene.params, len(scene.upload.to_bytes())
    steps[OPEN] = _opening(steps, params.threshold)
    others = other_ways(parameters, max_clients=MAX_CLIENTS, repetitions=repetitions)
    own = OtherWay(
        "Unseen, hybrid",
        client_seconds=steps[SEAL]["cpu_ms"] / 1e3,
        add_seconds=steps[ADD]["cpu_ms"] / 1e3,
        open_seconds=(steps[OPEN]["cpu_ms"] + steps[DECODE]["cpu_ms"]) / 1e3,
        upload_bytes=size,
    )
    tick()
    return {
        "parameters": parameters,
        "key_bits": params.key_bits,
        "value_bits": params.value_bits,
        "max_clients": MAX_CLIENTS,
        "in_the_sum": SENDERS,
        "modulus_bits": params.modulus_bits,
        "threshold": params.threshold,
        "ciphertexts": params.num_ciphertexts(scene.layout.num_values),
        "repetitions": repetitions,
        "bytes_per_parameter": size / parameters,
        "steps": {name: steps[name] for name in _ORDER},
        "ways": [way.figures(parameters) for way in (own, *others)],
    }


def show_hybrid(figures: dict[str, Any], console: Console) -> None:
    """Print the steps beside their targets, and the other ways."""
    parameters = figures["parameters"]
    full_size = parameters == PARAMETERS[False]
    console.print(_step_table(figures, full_size=full_size))
    for line in (
        f"{figures['bytes_per_parameter']:.2f} bytes a parameter on the wire, the "
        f"target is at most {LARGEST_UPLOAD}: k = {figures['modulus_bits']} bits a "
        f"parameter and {figures['ciphertexts']} ciphertexts",
        f"{figures['value_bits']} value bits; widths for {figures['max_clients']} "
        f"clients, {figures['in_the_sum']} in the sum; opening: {figures['threshold']} "
        f"members one after the other, each on every core",
        "A target is met if wall or CPU time is: CPU time leaves out waiting for other "
        "programs, wall time counts cores that work together",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print()
    console.print(_way_table(figures))
    for way in figures["ways"]:
        if way["note"]:
            line = f"  {way['name']}: {way['note']}"
            console.print(line, highlight=False, markup=False)  # it has brackets
    console.print()


def _step_table(figures: dict[str, Any], *, full_size: bool) -> Table:
    table = Table(
        "step",
        title=f"Hybrid: {figures['parameters']:,} parameters, "
        f"{figures['key_bits']} bits",
    )
    for heading in ("ms", "CPU ms", "target ms", ""):
        table.add_column(heading, justify="right")
    for name, taken in figures["steps"].items():
        target = TARGETS_MS.get(name) if full_size else None
        row = [name, f"{taken['wall_ms']:.1f}", f"{taken['cpu_ms']:.1f}"]
        if target is not None:
            met = min(taken["wall_ms"], taken["cpu_ms"]) <= target
            row += [f"{target:.0f}", "met" if met else "missed"]
        table.add_row(*row)
    return table


def _way_table(figures: dict[str, Any]) -> Table:
    table = Table("way", title=f"CPU seconds for {figures['parameters']:,} parameters")
    for heading in ("client", "add", "open", "bytes / parameter", "of float32"):
        table.add_column(heading, justify="right")
    for way in figures["ways"]:
        if way["client_seconds"] is None:
            table.add_row(way["name"], "not installed")
            continue
        table.add_row(
            way["name"],
            f"{way['client_seconds']:,.2f}",
            f"{way['add_seconds']:,.3f}",
            f"{way['open_seconds']:,.2f}",
            f"{way['bytes_per_parameter']:.2f}",
            f"{way['bytes_per_parameter'] / 4:.2f} x",
        )
    return table


def _milliseconds(sample: Sample) -> dict[str, float]:
    return {"wall_ms": 1e3 * sample.wall_seconds, "cpu_ms": 1e3 * sample.cpu_seconds}


def _opening(steps: dict[str, dict[str, float]], members: int) -> dict[str, float]:
    """Add up an opening in one process: powers, every member's partials, combine."""
    times = {POWERS: 1, PARTIALS: members, COMBINE: 1}
    return {
        unit: sum(times[name] * steps[name][unit] for name in times)
        for unit in ("wall_ms", "cpu_ms")
    }
