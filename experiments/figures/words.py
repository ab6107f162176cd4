"""What word vectors trained under encryption know: neighbours and analogies."""

from pathlib import Path

from rich.console import Console

from experiments.analogies import Answer, answers, summary
from experiments.figures.runs import finished_run, settings_of
from experiments.words_cli import read_vectors
from models.vectors import WordVectors

TASK = "imdb-blanks"
_WORDS = ("terrible", "beautiful", "actor", "king")
_COUNT = 6


def words_page(data: Path, runs: Path, console: Console) -> str:
    """Train fill-in-the-blank vectors encrypted; return what they know, as Markdown."""
    run = finished_run(settings_of(TASK, data), runs / f"{TASK}-encrypted", console)
    vectors = read_vectors(run.folder)
    answered = answers(vectors)
    lines = [f"{summary(answered)}.\n\n", "| analogy | best answer | rank |\n"]
    lines += ["|---|---|---|\n", *map(_analogy_line, answered)]
    lines += ["\n| word | nearest words |\n", "|---|---|\n"]
    lines += [_neighbours_line(vectors, word) for word in _WORDS]
    return "".join(lines)


def _analogy_line(answer: Answer) -> str:
    first, second, third = answer.question
    question = f"{first} : {second} = {third} : **{answer.expected}**"
    rank = "unknown word" if answer.rank is None else str(answer.rank)
    return f"| {question} | {answer.found} | {rank} |\n"


def _neighbours_line(vectors: WordVectors, word: str) -> str:
    near = ", ".join(x.word for x in vectors.neighbours(word, count=_COUNT))
    return f"| {word} | {near} |\n"
