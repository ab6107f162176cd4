"""Who took part: one square for every client and round, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from experiments.progress import Event

# From the least to the most that is known: what comes later stands.
ASKED, DELIVERED, COUNTED, DROPPED, REFUSED = range(5)
MEANINGS: Final = {
    COUNTED: "in the opened sum",
    DELIVERED: "delivered, nothing opened",
    DROPPED: "no answer in time",
    REFUSED: "refused",
    ASKED: "asked, nothing more is known",
}
_CLASSES: Final = ("asked", "delivered", "counted", "dropped", "refused")

# In CSS pixels.
_LARGEST_CELL: Final = 22
_GRID_WIDTH: Final = 660
_GRID_HEIGHT: Final = 640
_LEFT, _TOP = 34, 18  # room for the labels
_LABEL_ROOM: Final = 26


@dataclass
class Attendance:
    """Who was asked to train, and what came of it.

    Attributes:
        rounds: Rounds in which somebody was asked, rising.
        clients: Clients that were ever asked, rising.
        states: By client and round.
        errors: Why, by client and round, where somebody was refused.
    """

    rounds: list[int] = field(default_factory=list)
    clients: list[int] = field(default_factory=list)
    states: dict[tuple[int, int], int] = field(default_factory=dict)
    errors: dict[tuple[int, int], str] = field(default_factory=dict)


def attendance(events: Iterable[Event]) -> Attendance:
    """Fold the events of training; those of evaluation are told in words."""
    seen = Attendance()
    for event in events:
        if event.get("phase") == "train":
            _fold(seen, event)
    seen.rounds = sorted({number for _, number in seen.states})
    seen.clients = sorted({client for client, _ in seen.states})
    return seen


def _fold(seen: Attendance, event: Event) -> None:
    match event["event"]:
        case "round_started":
            _raise_to(seen, ASKED, event["clients"], event["round"])
        case "upload":
            _raise_to(seen, DELIVERED, [event["client"]], event["round"])
        case "opened":
            _raise_to(seen, COUNTED, event["contributors"], event["round"])
        case "dropped":
            _raise_to(seen, DROPPED, event["clients"], event["round"])
        case "refused" if event["client"]:
            _raise_to(seen, REFUSED, [event["client"]], event["round"])
            names = " ".join(filter(None, (event["code"], event["error"])))
            key = (event["client"], event["round"])
            seen.errors[key] = f"{event['by']} refused: {names}"


def _raise_to(
    seen: Attendance, state: int, clients: Iterable[int], number: int
) -> None:
    for client in clients:
        key = (client, number)
        seen.states[key] = max(state, seen.states.get(key, ASKED))


def grid(seen: Attendance) -> str:
    """Draw the squares as an SVG element; empty if nobody was ever asked.

    A square has its natural size, so that a phone scrolls it inside its own box. The
    squares of one kind are one path; those with an error say it under the pointer.
    """
    if not seen.states:
        return ""
    width = _cell(_GRID_WIDTH, len(seen.rounds))
    height = _cell(_GRID_HEIGHT, len(seen.clients))
    columns = {number: _LEFT + i * width for i, number in enumerate(seen.rounds)}
    lines = {client: _TOP + i * height for i, client in enumerate(seen.clients)}
    parts = [_labels(columns, width, lines, height)]
    paths: dict[int, list[str]] = {}
    for (client, number), state in sorted(seen.states.items()):
        corner = (columns[number], lines[client])
        path = _square(state, *corner, width - 1, height - 1)
        paths.setdefault(state, []).append(path)
        if state in {DROPPED, REFUSED}:
            reason = seen.errors.get((client, number), MEANINGS[state])
            text = escape(f"round {number}, client {client}: {reason}")
            area = _square(COUNTED, *corner, width - 1, height - 1)
            parts.append(f'<path class="hover" d="{area}"><title>{text}</title></path>')
    shapes = [
        f'<path class="{_CLASSES[state]}" d="{"".join(drawn)}"/>'
        for state, drawn in paths.items()
    ]
    size = (_LEFT + len(columns) * width + 8, _TOP + len(lines) * height + 2)
    return (
        f'<svg class="grid" role="img" aria-label="clients by rounds" '
        f'width="{size[0]:.0f}" height="{size[1]:.0f}">'
        f"{''.join(shapes)}{''.join(parts)}</svg>"
    )


def legend(seen: Attendance) -> list[tuple[str, str]]:
    """Return a drawing and its meaning for every kind of square that is there."""
    kinds = set(seen.states.values())
    return [
        (
            f'<svg class="grid" width="14" height="14" aria-hidden="true">'
            f'<path class="{_CLASSES[kind]}" d="{_square(kind, 1, 1, 12, 12)}"/></svg>',
            meaning,
        )
        for kind, meaning in MEANINGS.items()
        if kind in kinds
    ]


def _cell(room: int, count: int) -> float:
    return max(4.0, min(float(_LARGEST_CELL), room / count))


def _square(state: int, x: float, y: float, width: float, height: float) -> str:
    """Draw one cell: told apart by its form, not by its colour alone."""
    if state == DROPPED:
        return (
            f"M{x:g} {y:g}l{width:g} {height:g}M{x + width:g} {y:g}l{-width:g} "
            f"{height:g}"
        )
    if state == REFUSED:
        half = (width / 2, height / 2)
        return (
            f"M{x + half[0]:g} {y:g}l{half[0]:g} {half[1]:g}l{-half[0]:g} {half[1]:g}"
            f"l{-half[0]:g} {-half[1]:g}z"
        )
    inset = 0.0 if state == COUNTED else min(width, height) * 0.2
    wide, high = width - 2 * inset, height - 2 * inset
    return f"M{x + inset:g} {y + inset:g}h{wide:g}v{high:g}h{-wide:g}z"


def _labels(
    columns: dict[int, float], width: float, lines: dict[int, float], height: float
) -> str:
    """Number as many rounds and clients as there is room for."""
    texts = [
        f'<text x="{x + width / 2:g}" y="{_TOP - 6}" text-anchor="middle">{number}'
        f"</text>"
        for number, x in _some(columns, width)
    ]
    texts += [
        f'<text x="{_LEFT - 6}" y="{y + height / 2 + 4:g}" text-anchor="end">{client}'
        f"</text>"
        for client, y in _some(lines, height)
    ]
    return "".join(texts)


def _some(places: dict[int, float], size: float) -> Sequence[tuple[int, float]]:
    step = 1 if size >= _LARGEST_CELL else -(-_LABEL_ROOM // int(size))
    return list(places.items())[::step]
