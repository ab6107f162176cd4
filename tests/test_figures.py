"""The figures: made of finished runs of the settings asked for, and of nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from experiments.errors import SettingsError
from experiments.figures import plots
from experiments.figures.__main__ import _chapter15_page
from experiments.figures.alone import Curve, train_alone
from experiments.figures.chapter15 import Chapter15
from experiments.figures.comparison import COLUMNS, Comparison, compare, row
from experiments.figures.runs import finished_run, settings_of
from experiments.run_folder import RunFolder
from experiments.settings import RunSettings
from models.shards import Shard
from server.checkpoint import MODEL, save_model
from tests.crypto_group import make_manifest, make_params

MANIFEST = make_manifest(make_params())


def settings(**changes: Any) -> RunSettings:
    return settings_of("digits", None, rounds=1, **changes)


def events(last: str, sum_: str) -> list[dict[str, Any]]:
    seconds = {"collect": 1.0, "open": 1.0, "combine": 0.1}
    measured = {"accuracy": 0.9, "loss": 0.5, "seconds": 0.1}
    opened = {"phase": "train", "contributors": [1, 2], "seconds": seconds}
    return [
        {"event": "evaluated", "round": 0, **measured, "accuracy": 0.1},
        {"event": "opened", "round": 1, **opened, "sum": sum_},
        {"event": "evaluated", "round": 1, **measured},
        {"event": last, "error": "RunError", "message": "", "hint": "", "seconds": 2},
    ]


def make_run(
    folder: Path,
    asked: RunSettings,
    *,
    last: str = "run_finished",
    sum_: str = "aa",
    bias: float = 0.0,
) -> None:
    made = RunFolder(folder)
    made.make()
    made.describe(asked, MANIFEST, run_id="00")
    lines = [json.dumps({"time": 1.0, **event}) for event in events(last, sum_)]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    save_model(folder / MODEL, {"w": torch.tensor([0.0, bias])}, 1)


@pytest.fixture
def console() -> Console:
    return Console(quiet=True)


def test_a_finished_run_is_read_and_not_run_again(
    tmp_path: Path, console: Console
) -> None:
    make_run(tmp_path / "run", settings())
    run = finished_run(settings(), tmp_path / "run", console)
    assert run.accuracies == [0.1, 0.9]
    assert run.sums == {1: "aa"}


def test_a_run_of_other_settings_is_refused(tmp_path: Path, console: Console) -> None:
    make_run(tmp_path / "run", settings())
    with pytest.raises(SettingsError, match="other settings: seed"):
        finished_run(settings(seed=7), tmp_path / "run", console)


def test_a_failed_run_is_refused(tmp_path: Path, console: Console) -> None:
    make_run(tmp_path / "run", settings(), last="run_failed")
    with pytest.raises(SettingsError, match="did not finish"):
        finished_run(settings(), tmp_path / "run", console)


@pytest.mark.parametrize(("other", "says"), [("aa", "equal"), ("bb", "DIFFERENT")])
def test_a_comparison_says_whether_the_opened_sums_are_equal(
    tmp_path: Path, console: Console, other: str, says: str
) -> None:
    plain = replace(settings(), protocol="plain")
    make_run(tmp_path / "digits-encrypted", settings())
    make_run(tmp_path / "digits-plain", plain, sum_=other, bias=0.25)
    (tmp_path / "digits-centralised.json").write_text(
        json.dumps({"accuracies": [0.1, 0.95], "losses": [2.0, 0.2]})
    )
    one = compare("digits", None, tmp_path, console, rounds=1)
    cells = dict(zip(COLUMNS, row(one), strict=True))
    assert cells["first opened sum, encrypted and plain"] == says
    assert cells["largest difference of a parameter at the end"] == "0.25"
    assert (cells["encrypted"], cells["centralised"]) == ("0.9000", "0.9500")


def test_training_alone_measures_before_and_after_every_round(
    console: Console,
) -> None:
    generator = np.random.default_rng(1)
    labels = np.arange(40) % 10
    images = generator.random((40, 1, 8, 8), dtype=np.float32)
    shard = Shard({"images": images, "labels": labels})
    curve = train_alone(settings(), shard, shard, console, "alone")
    assert len(curve.accuracies) == len(curve.losses) == 2
    assert curve.losses[1] < curve.losses[0]


def test_pictures_are_drawn(tmp_path: Path, console: Console) -> None:
    make_run(tmp_path / "run", settings())
    run = finished_run(settings(), tmp_path / "run", console)
    curve = Curve([0.1, 0.9], [2.0, 0.5])
    one = Comparison("digits", "iid", 5, False, run, run, curve, True, 0.0)
    language = replace(one, task="prose", language=True)
    chapter = Chapter15(np.full((5, 3), 0.9), np.full((5, 3), 0.95))
    made = [
        plots.plot_comparisons([one, language], tmp_path / "figures"),
        plots.plot_chapter15(chapter, tmp_path / "figures"),
    ]
    for path in made:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in path.with_suffix(".svg").read_bytes()


def test_the_page_of_chapter_15_has_the_mean_and_every_shuffle() -> None:
    federated = np.tile([0.7, 0.9, 0.95], (5, 1))
    federated[0, 2] = 1.0
    page = _chapter15_page(Chapter15(federated, np.full((5, 3), 0.97)))
    assert "| encrypted, mean of 5 shuffles | 0.7000 | 0.9000 | 0.9600 |" in page
    assert page.count("| encrypted, shuffle") == 5
    assert "| the book, its own mails | 0.8405 | 0.9225 | 0.9880 |" in page
