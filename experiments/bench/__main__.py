"""`make bench`: what the encryption costs, beside `phe` in the same run.

    python -m experiments.bench [--quick] [--json]

Every operation handles one ciphertext at a time and so keeps one thread busy; what is
measured is listed in `experiments.bench.scene`; then a round in mode hybrid
(`experiments.bench.hybrid`) and what the checks of a default round cost.
"""

import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from crypto import powers
from experiments.bench.hybrid import REPETITIONS as _HYBRID_REPETITIONS
from experiments.bench.hybrid import bench_hybrid, show_hybrid
from experiments.bench.scene import (
    CLIENTS,
    HOLDERS,
    PHE,
    SET_DIGEST,
    THRESHOLD,
    Scene,
    make_scene,
)
from experiments.settings import default
from experiments.timing import (
    Measurement,
    Sample,
    alternate,
    cpu_ratio,
    middle,
    wall_ratio,
)

KEY_SIZES: Final = (2048, 3072)
_ROUNDS = {False: 3, True: 1}  # repetitions of a whole round, by --quick
_BATCH = 16  # ciphertexts at once, to compare one thread with all


def bench(key_bits: int, *, quick: bool, tick: Callable[[], object]) -> dict[str, Any]:
    """Measure everything at one key size.

    Returns:
        The figures, as the JSON report has them.
    """
    scene = make_scene(key_bits)
    tick()
    repetitions, _ = _repetitions(quick=quick)
    samples = alternate(scene.measurements(), repetitions=repetitions, tick=tick)
    slots = scene.params.slots_per_plaintext
    operations = {
        name: _figures(taken, parameters=1 if name == PHE else slots)
        for name, taken in samples.items()
    }
    ours = [operations[name]["us_per_parameter"] for name in ("pack", "encrypt")]
    return {
        "key_bits": key_bits,
        "slot_bits": scene.params.slot_bits,
        "slots_per_plaintext": slots,
        "table_seconds": scene.table_seconds,
        "repetitions": repetitions,
        "operations": operations,
        "times_faster_than_phe": {
            "per_ciphertext": cpu_ratio(samples[PHE], samples["encrypt"]),
            "per_parameter": operations[PHE]["us_per_parameter"] / sum(ours),
        },
        "parallel_speed_up": _parallel_speed_up(scene, quick=quick, tick=tick),
    }


def _repetitions(*, quick: bool) -> tuple[int, int]:
    """Return the repetitions of single ciphertexts and of batches."""
    return (3, 1) if quick else (30, 7)


def _figures(samples: Sequence[Sample], *, parameters: int) -> dict[str, float]:
    """Return the medians of an operation on a ciphertext of this many parameters."""
    one = middle(samples)
    return {
        "wall_ms": 1e3 * one.wall_seconds,
        "cpu_ms": 1e3 * one.cpu_seconds,
        "us_per_parameter": 1e6 * one.cpu_seconds / parameters,
    }


def _parallel_speed_up(
    scene: Scene, *, quick: bool, tick: Callable[[], object]
) -> float:
    """Return how much faster a batch of partials is than one after the other."""
    holder, batch = scene.holders[0], scene.total * _BATCH

    def one_by_one() -> None:
        for ciphertext in batch:
            holder.partials([ciphertext], SET_DIGEST)

    ways = [
        Measurement("alone", one_by_one, items=_BATCH),
        Measurement(
            "together", lambda: holder.partials(batch, SET_DIGEST), items=_BATCH
        ),
    ]
    _, repetitions = _repetitions(quick=quick)
    samples = alternate(ways, repetitions=repetitions, tick=tick)
    return wall_ratio(samples["alone"], samples["together"])


def bench_round(*, quick: bool, tick: Callable[[], object]) -> dict[str, float]:
    """Measure a default round, and which part of it the checks are."""
    # Imported here: it loads PyTorch, and --help should not wait for it.
    from experiments.bench.checks import measure  # noqa: PLC0415

    key_bits = KEY_SIZES[0] if quick else default("key-bits")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(
            Path(folder), key_bits=key_bits, repetitions=_ROUNDS[quick], tick=tick
        )
    return {"key_bits": key_bits, **figures}


def report(*, quick: bool, console: Console) -> dict[str, Any]:
    """Measure at every key size, with a progress bar on `console`."""
    sizes = []
    with Progress(console=console, transient=True) as progress:
        for key_bits in KEY_SIZES:
            total = 1 + sum(_repetitions(quick=quick))
            bar = progress.add_task(f"{key_bits} bits", total=total)
            sizes.append(
                bench(key_bits, quick=quick, tick=partial(progress.advance, bar))
            )
        bar = progress.add_task("hybrid", total=2 + _HYBRID_REPETITIONS[quick])
        hybrid = bench_hybrid(quick=quick, tick=partial(progress.advance, bar))
        bar = progress.add_task("a round", total=_ROUNDS[quick])
        whole_round = bench_round(quick=quick, tick=partial(progress.advance, bar))
    return {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("gmpy2", "phe")},
            "long_powers": powers.engine(),
        },
        "value_bits": default("value-bits"),
        "clients": CLIENTS,
        "holders": HOLDERS,
        "threshold": THRESHOLD,
        "sizes": sizes,
        "hybrid": hybrid,
        "round": whole_round,
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """Print the figures for people."""
    cores = figures["machine"]["cores"]
    for size in figures["sizes"]:
        console.print(_table(size))
        faster = size["times_faster_than_phe"]
        for line in (
            f"{size['slots_per_plaintext']} parameters of {size['slot_bits']} bits a "
            f"ciphertext; table of the blinding base: {size['table_seconds']:.1f} s",
            f"encrypt is {faster['per_ciphertext']:.1f} times faster than phe per "
            f"ciphertext",
            f"and {faster['per_parameter']:,.0f} times per parameter, packing included",
            f"{cores} cores together: {size['parallel_speed_up']:.2f} times one thread",
        ):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
        console.print()
    show_hybrid(figures["hybrid"], console)
    _show_round(figures["round"], console)
    console.print(
        f"Medians; CPU time leaves out waiting. {figures['clients']} clients, "
        f"{figures['threshold']} of {figures['holders']} key holders, "
        f"{figures['value_bits']} value bits; phe carries one parameter a ciphertext.",
        highlight=False,
        soft_wrap=True,
    )


def _show_round(figures: dict[str, float], console: Console) -> None:
    for line in (
        f"A default round at {figures['key_bits']} bits, training and evaluation, "
        f"without the network: {figures['cpu_seconds']:.1f} s of CPU time",
        f"  {figures['checks_share']:.1%} of it are checks: proofs, signatures, "
        f"contexts, ranges, state on disk",
        f"  {figures['binding_share']:.1%} of it binds the openings to their sets",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    console.print()


def _table(size: dict[str, Any]) -> Table:
    table = Table("operation", title=f"{size['key_bits']} bits, one thread")
    for heading in ("ms / ciphertext", "CPU ms", "CPU µs / parameter"):
        table.add_column(heading, justify="right")
    for name, taken in size["operations"].items():
        table.add_row(
            name,
            f"{taken['wall_ms']:.3f}",
            f"{taken['cpu_ms']:.3f}",
            f"{taken['us_per_parameter']:.2f}",
        )
    return table


def main(
    quick: Annotated[
        bool, typer.Option(help="A few repetitions only, for a look.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON.")
    ] = False,
) -> None:
    """Time the encryption beside phe, a hybrid round, and what the checks cost."""
    figures = report(quick=quick, console=Console(stderr=True))
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, Console())


if __name__ == "__main__":
    typer.run(main)
