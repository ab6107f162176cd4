"""`unseen neighbours`, `analogy` and `analogies`: what a run's word vectors know."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.errors import SettingsError
from experiments.run_folder import read_config
from models.errors import TaskError

if TYPE_CHECKING:
    from models.vectors import Near, WordVectors

_RUNS = Path("runs")
_MODEL, _VOCABULARY = "model.safetensors", "vocabulary.json"
_MAX_COUNT = 1000
_MAKE_ONE = "make one with: unseen run --task imdb-blanks --data DIR"

Word = Annotated[str, typer.Argument(help="Of the task's vocabulary.")]
Run = Annotated[
    Path | None,
    typer.Option(
        help="Folder of a run of a task on words.  \\[default: the newest under runs]",
        show_default=False,
    ),
]
Count = Annotated[int, typer.Option(min=1, max=_MAX_COUNT, help="Words to show.")]
Expect = Annotated[str | None, typer.Option(help="Say at which place this word comes.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (neighbours, analogy, analogies):
        app.command()(command)


def neighbours(word: Word, run: Run = None, count: Count = 10) -> None:
    """Show the words that a trained model takes to be most like a word."""
    folder = run or newest_run()
    vectors = read_vectors(folder)
    try:
        near = vectors.neighbours(word.lower(), count=count)
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None
    _show_words(f"like {word.lower()}", folder, near)


def analogy(  # noqa: PLR0917 - typer passes options by name
    a: Annotated[str, typer.Argument(metavar="A")],
    b: Annotated[str, typer.Argument(metavar="B")],
    c: Annotated[str, typer.Argument(metavar="C")],
    run: Run = None,
    count: Count = 10,
    expect: Expect = None,
) -> None:
    """A is to B as C is to what?"""
    folder = run or newest_run()
    vectors = read_vectors(folder)
    a, b, c = a.lower(), b.lower(), c.lower()
    try:
        near = vectors.analogy(a, b, c, count=count)
        rank = vectors.rank(a, b, c, expected=expect.lower()) if expect else None
    except TaskError as error:
        raise SettingsError(str(error), error.hint or "") from None
    _show_words(f"{a} is to {b} as {c} is to", folder, near)
    if rank is not None:
        _console().print(Text(f"{expect} comes at place {rank}"))


def analogies(run: Run = None) -> None:
    """Ask the project's twenty analogies and say at which place each answer came."""
    from experiments.analogies import answers, summary  # noqa: PLC0415

    folder = run or newest_run()
    answered = answers(read_vectors(folder))
    table = _table("analogy", "expected", "rank", "first")
    for answer in answered:
        a, b, c = answer.question
        rank = str(answer.rank or "unknown")
        table.add_row(f"{a} : {b} = {c} :", answer.expected, rank, answer.found)
    _print(folder, table)
    _console().print(Text(summary(answered)), soft_wrap=True)


def newest_run() -> Path:
    """Return the newest run under runs that has vectors of words.

    Raises:
        SettingsError: If there is none.
    """
    models = sorted(_RUNS.glob(f"*/{_MODEL}"), key=lambda path: path.stat().st_mtime)
    for model in reversed(models):
        try:
            read_vectors(model.parent)
        except SettingsError:
            continue
        return model.parent
    raise SettingsError(
        f"no run under {_RUNS} has vectors of words", f"pass --run, or {_MAKE_ONE}"
    )


def read_vectors(folder: Path) -> "WordVectors":
    """Read the vectors of words that a run ended with.

    Raises:
        SettingsError: If it is no run, has no such vectors, or is damaged.
    """
    # Imported here: NumPy takes longer than --help.
    from models.vectors import WordVectors  # noqa: PLC0415

    task = str(read_config(folder)["settings"].get("task"))
    words, vectors = _read_words(folder / _VOCABULARY), _read_parameter(folder, task)
    try:
        return WordVectors(words, vectors)
    except TaskError as error:
        raise SettingsError(f"{folder}, a run of {task}: {error}", _MAKE_ONE) from None


def _read_parameter(folder: Path, task: str) -> Any:
    """Return the parameter with the vectors, a numpy array."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    from models.vectors import PARAMETER  # noqa: PLC0415

    path = folder / _MODEL
    try:
        with safe_open(path, framework="numpy") as file:
            if PARAMETER not in file.keys():  # noqa: SIM118 - it is no mapping
                raise SettingsError(
                    f"{folder} is a run of {task}, which has no vectors of words",
                    _MAKE_ONE,
                )
            return file.get_tensor(PARAMETER)
    except FileNotFoundError:
        raise SettingsError(
            f"no model at {path}", "a run keeps one once it started"
        ) from None
    except (SafetensorError, OSError, ValueError):
        raise SettingsError(f"{path} is damaged or not a model of a run") from None


def _read_words(path: Path) -> list[str]:
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"no vocabulary at {path}", f"a run on words has one; {_MAKE_ONE}"
        ) from None
    except (OSError, ValueError):
        words = None
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise SettingsError(f"{path} is not a list of words")
    return words


def _show_words(question: str, folder: Path, near: "list[Near]") -> None:
    table = _table(question, "cosine")
    for found in near:
        table.add_row(found.word, f"{found.cosine:.3f}")
    _print(folder, table)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in columns:
        table.add_column(name)
    return table


def _print(folder: Path, table: Table) -> None:
    console = _console()
    console.print(f"word vectors of {folder}", markup=False, soft_wrap=True)
    console.print(table)


def _console() -> Console:
    return Console(highlight=False)
