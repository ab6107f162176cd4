"""A plan for people: one page of bytes, seconds, memory and security."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rich import box
from rich.console import Console
from rich.filesize import decimal as readable_bytes
from rich.table import Table

from crypto import powers
from crypto.layout import EVALUATE, TRAIN
from crypto.params import AggregationParams
from experiments.plan.report import Plan, security, widths

_FINE_ENOUGH_BITS: Final = 16  # a step of 1/32,767 of the clip
_FLOAT_BITS: Final = 32


def show(plan: Plan, console: Console) -> None:
    """Print a plan as one page."""
    console.print(_headline(plan), highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE)
    table.add_column("a round")
    for heading in ("training", "evaluation"):
        table.add_column(heading, justify="right")
    for rows in (_size_rows(plan), _seconds_rows(plan)):
        for row in rows:
            table.add_row(*row)
        table.add_section()
    console.print(table)
    for line in _lines(plan):
        console.print(line, highlight=False, soft_wrap=True)


def _lines(plan: Plan) -> Iterator[str]:
    params = plan.params
    entry = readable_bytes(plan.sizes[TRAIN].entry)
    named = ", ".join(f"{name} {value}" for name, value in widths(params).items())
    safe = "; ".join(f"{part} {text}" for part, text in security(params).items())
    yield f"upload: {plan.expansion:.2f} times the update as float32"
    yield f"widths: values of {params.value_bits} bits; {named}"
    denser = _denser(params)
    if denser is not None:
        bits = denser.modulus_bits / denser.values_per_coefficient
        yield (
            f"with --value-bits {denser.value_bits}, {denser.values_per_coefficient} "
            f"values share a coefficient: {bits / _FLOAT_BITS:.2f} times float32"
        )
    yield (
        f"memory at the peak: client {readable_bytes(plan.client_memory)}, server "
        f"{readable_bytes(plan.server_memory)} and {entry} for every client"
    )
    yield f"security: {safe}"
    if params.mode == "plain":
        return
    yield f"every process once: {_readable(plan.table_seconds)} for a table of powers"
    yield f"seconds are of one core; openings use all of a machine's, here {plan.cores}"
    yield f"long powers: {powers.engine()}"


def _denser(params: AggregationParams) -> AggregationParams | None:
    """Return the run with the most value bits that put more in a coefficient."""
    if params.mode != "hybrid":
        return None
    for value_bits in range(params.value_bits - 1, _FINE_ENOUGH_BITS - 1, -1):
        other = replace(params, value_bits=value_bits)
        if other.values_per_coefficient > params.values_per_coefficient:
            return other
    return None


def _headline(plan: Plan) -> str:
    params = plan.params
    line = (
        f"{plan.task.name}, {params.mode}, {params.max_contributors} clients, "
        f"{plan.task.num_parameters:,} parameters"
    )
    if params.mode == "plain":
        return line
    return (
        f"{line}; a key of {params.key_bits} bits; {params.threshold} of "
        f"{params.num_holders} key holders open sums of {params.min_contributors} to "
        f"{params.max_contributors} clients"
    )


def _size_rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    train, evaluate = plan.sizes[TRAIN], plan.sizes[EVALUATE]
    if train.ciphertexts:
        first, second = train.ciphertexts, evaluate.ciphertexts
        yield "ciphertexts of a client", f"{first:,}", f"{second:,}"
    for text, name in (
        ("up: a client's upload", "upload"),
        ("up: a key holder's partial decryptions", "partials"),
        ("down: the model to a client", "model"),
        ("down: the opening request to a key holder", "request"),
    ):
        first, second = (getattr(size, name) for size in (train, evaluate))
        if first:  # nothing is opened in mode plain
            yield text, readable_bytes(first), readable_bytes(second)


def _seconds_rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    phases = plan.seconds[TRAIN], plan.seconds[EVALUATE]
    for text, name in (
        ("a client seals", "seal"),
        ("the server checks and adds a client", "add"),
        ("the server prepares the opening", "request"),
        ("a key holder checks all and opens", "open"),
        ("the server combines", "combine"),
        ("the server decodes", "decode"),
    ):
        first, second = (getattr(seconds, name) for seconds in phases)
        if first:
            yield text, _readable(first), _readable(second)


def _readable(seconds: float) -> str:
    if seconds < 1:
        return f"{1e3 * seconds:.1f} ms"
    return f"{seconds:.1f} s"
