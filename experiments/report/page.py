"""Puts a run's report together: one page that needs nothing but itself."""
# ruff: noqa: PLC0415 - jinja2 is loaded only where a page is made

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.filesize import decimal as readable_bytes

from experiments.progress import readable_seconds
from experiments.report import attendance, charts, parties, repeat
from experiments.report.samples import NoSamplesError, load_trained

if TYPE_CHECKING:
    from experiments.report.pictures import Pictures
    from experiments.report.record import RunRecord
    from experiments.report.samples import Trained
    from experiments.report.texts import Texts
    from experiments.report.writing import Writing

FILE: Final = "report.html"
_HERE = Path(__file__).resolve().parent
_BYTES_PER_PARAMETER = 4  # float32, the size of a model sent in the clear
_FEW_LINES: Final = 8  # shown at once; the others unfold
_MANY_LINES: Final = 500
# Told under the squares of who took part; everything else that is told and went wrong
# stands under failures.
_ABSENCES = frozenset({"dropped", "refused", "late", "waiting", "clients_ready"})
_FAILURES = frozenset({"round_failed", "proving", "warning", "run_failed", "resumed"})
_TWO_LABELS = frozenset({"binary-cross-entropy", "squared-error"})  # the losses
# What the labels of a task mean, where they are not the numbers they look like.
_LABELS: Final = {
    "spam": ("ham", "spam"),
    "spam-book": ("ham", "spam"),
    "imdb": ("negative", "positive"),
}


@dataclass(frozen=True)
class Samples:
    """The section of sample predictions; one of the first three, or why there is none.

    Attributes:
        pictures: Of an image task.
        texts: Of a task on words.
        writing: What the model of a language task writes.
        reason: A sentence that says why there is nothing.
        labels: Names of the labels; empty where a label is its number.
    """

    pictures: Pictures | None = None
    texts: Texts | None = None
    writing: Writing | None = None
    reason: str = ""
    labels: tuple[str, ...] = field(default=())


def write_report(record: RunRecord) -> Path:
    """Make a run's page from its folder, whole or not at all.

    Returns:
        ``RUN/report.html``.
    """
    path = record.folder / FILE
    part = path.with_name(f"{FILE}.part")
    part.write_text(render(record), encoding="utf-8")
    part.replace(path)
    return path


def render(record: RunRecord) -> str:
    """Return the page's HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": readable_bytes, "seconds": readable_seconds}
    return environment.get_template("page.html").render(_context(record))


def _context(record: RunRecord) -> dict[str, Any]:
    seen = attendance.attendance(record.events)
    return {
        "style": (_HERE / "style.css").read_text(encoding="utf-8"),
        "run": record,
        "facts": record.summary,
        "score": "perplexity" if record.score[0] == "perplexity" else "accuracy",
        "startup": _startup(record),
        "traffic": _traffic(record),
        "charts": _charts(record),
        "grid": attendance.grid(seen),
        "legend": attendance.legend(seen),
        "absences": _lines(record, _ABSENCES),
        "parties": parties.parties(record),
        "helpers": parties.helpers(record),
        "samples": _samples(record),
        "failures": _lines(record, _FAILURES),
        "command": repeat.command(record.config) if record.config else "",
        "typed": repeat.typed(record.config),
        "settings": repeat.facts(record.config) if record.config else [],
    }


def _charts(record: RunRecord) -> dict[str, str]:
    rows = record.rows
    return {
        "score": charts.line_chart(rows, record.score[0]),
        "loss": charts.line_chart(rows, "loss"),
        "seconds": charts.seconds_chart(rows),
        "bytes": charts.bytes_chart(rows, _plain_sizes(record)),
    }


def _startup(record: RunRecord) -> list[tuple[str, float]]:
    """Return the steps before the first round, with their seconds."""
    return [
        (event["step"], event["seconds"])
        for event in record.events
        if event["event"] == "startup" and "seconds" in event
    ]


def _plain_sizes(record: RunRecord) -> list[int]:
    """Return for each round the bytes of one float32 model for every client asked."""
    size = record.fact("model_parameters", 0) * _BYTES_PER_PARAMETER
    asked = {
        event["round"]: len(event["clients"])
        for event in record.events
        if event["event"] == "round_started" and event["phase"] == "train"
    }
    return [size * asked.get(row["round"], 0) for row in record.rows]


def _traffic(record: RunRecord) -> dict[str, float]:
    """Add up the bytes of all rounds that ended, and compare them with plaintext."""
    pairs = zip(record.rows, _plain_sizes(record), strict=True)
    done = [(row, size) for row, size in pairs if row["seconds"]["total"] is not None]
    plain = sum(size for _, size in done)
    total = {way: sum(row[f"bytes_{way}"] for row, _ in done) for way in ("up", "down")}
    return total | {
        "plain": plain,
        "up_ratio": total["up"] / plain if plain else 0.0,
        "down_ratio": total["down"] / plain if plain else 0.0,
    }


def _lines(record: RunRecord, events: frozenset[str]) -> dict[str, Any]:
    """Return what was told about some kinds of events, for the page to unfold."""
    lines = [
        line
        for event, line in record.told
        if event["event"] in events
        and (event["event"] != "clients_ready" or event["missing"])
    ]
    return {
        "shown": lines[:_FEW_LINES],
        "folded": lines[_FEW_LINES:_MANY_LINES],
        "left_out": len(lines[_MANY_LINES:]),
    }


def _samples(record: RunRecord) -> Samples:
    """Let the model predict what the run kept for it, if it kept anything."""
    task = str(record.fact("task", ""))
    try:
        trained = load_trained(record.folder, task)
        return _predictions(trained, seed=int(record.fact("seed", 0)))
    except NoSamplesError as error:
        return Samples(reason=str(error))


def _predictions(trained: Trained, *, seed: int) -> Samples:
    """Choose what to show by the kind of task."""
    task = trained.task
    if task.language:
        from experiments.report.writing import writing

        return Samples(writing=writing(trained, seed=seed))
    if "images" in trained.examples.arrays and task.loss == "cross-entropy":
        from experiments.report.pictures import pictures

        return Samples(pictures=pictures(trained))
    if "tokens" in trained.examples.arrays and task.loss in _TWO_LABELS:
        from experiments.report.texts import texts

        return Samples(texts=texts(trained), labels=_LABELS.get(task.name, ()))
    raise NoSamplesError(f"Examples of task {task.name} cannot be shown on a page.")
