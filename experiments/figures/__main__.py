"""Makes the README's figures and the tables beside them: `make figures`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from experiments.errors import SettingsError
from experiments.figures import plots
from experiments.figures.chapter15 import BOOK, Chapter15, chapter15
from experiments.figures.comparison import COLUMNS, Comparison, compare, row
from experiments.figures.words import words_page
from experiments.figures.writing import sample_page
from experiments.settings import find_task

TASKS = ("digits", "mnist", "spam", "imdb", "shakespeare", "prose")


def main(
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets; without it, fewer.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Kept runs.")] = Path("runs/figures"),
    out: Annotated[Path, typer.Option(help="Figures.")] = Path("docs/figures"),
    only: Annotated[
        list[str] | None, typer.Option(help="Tasks, or chapter15 or analogies.")
    ] = None,
) -> None:
    """Train every task encrypted, plain and centralised, and draw what came out."""
    console = Console(highlight=False)
    runs.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    wanted = only or [*TASKS, "chapter15", "analogies"]
    tasks = [name for name in TASKS if name in wanted and _can_run(name, data)]
    comparisons = [compare(name, data, runs, console) for name in tasks]
    if comparisons:
        plots.plot_comparisons(comparisons, out)
        _write(out / "training.md", _training_page(comparisons), console)
    for one in comparisons:
        if one.language:
            page = sample_page(one.encrypted.folder)
            _write(out / f"{one.task}.md", page, console)
    if data and "chapter15" in wanted:
        result = chapter15(data, runs, console)
        plots.plot_chapter15(result, out)
        _write(out / "chapter15.md", _chapter15_page(result), console)
    if data and "analogies" in wanted:
        _write(out / "analogies.md", words_page(data, runs, console), console)


def _can_run(task: str, data: Path | None) -> bool:
    return bool(data) or not find_task(task).needs_data


def _training_page(comparisons: Sequence[Comparison]) -> str:
    rows = [row(one) for one in comparisons]
    return _table(COLUMNS, rows)


def _chapter15_page(result: Chapter15) -> str:
    lines = [
        ["the book, its own mails", *(f"{x:.4f}" for x in BOOK)],
        ["encrypted, mean of 5 shuffles", *_cells(result.federated.mean(axis=0))],
        *(
            [f"encrypted, shuffle {i}", *_cells(curve)]
            for i, curve in enumerate(result.federated, start=1)
        ),
        ["Sue alone, mean of 5 shuffles", *_cells(result.sue.mean(axis=0))],
    ]
    return _table(("test accuracy after", "round 1", "round 2", "round 3"), lines)


def _cells(values: Sequence[float]) -> list[str]:
    return [f"{value:.4f}" for value in values]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _write(path: Path, text: str, console: Console) -> None:
    path.write_text(text, encoding="utf-8")
    console.print(f"{path}\n{text}", soft_wrap=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except SettingsError as error:
        raise SystemExit(
            f"unseen: error: {error}\nunseen: hint: {error.hint}"
        ) from None
