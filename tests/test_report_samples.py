"""The report's sample predictions: pictures, texts, writing, and why there are none."""

import base64
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from experiments.report.page import render
from experiments.report.record import read_run
from experiments.report.samples import NoSamplesError, Trained, decide, keep_samples
from experiments.report.texts import texts
from models.data.characters import text_shard
from models.data.digits import load_digits
from models.shards import Shard, save_shard
from models.tasks import get_task
from tests.report_run import Story, add_model, finished_run, word_shard


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "run")


def test_wrong_pictures_come_first_and_are_counted(run: Path) -> None:
    html = render(read_run(run))
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(sources) == 24
    assert base64.b64decode(sources[0]).startswith(b"\x89PNG")
    marks = [match == "✗" for match in re.findall("[✓✗]", html)]
    assert marks == sorted(marks, reverse=True)
    right = int(re.search(r"<p>(\d+) of 48 images", html)[1])  # type: ignore[index]
    assert marks.count(True) == min(24, 48 - right)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: (run / "samples.npz").unlink(), "no samples.npz to show"),
        (lambda run: (run / "samples.npz").write_bytes(b"x"), "is damaged"),
        (lambda run: (run / "model.safetensors").unlink(), "no model at"),
        (lambda run: (run / "model.safetensors").write_bytes(b"x"), "is damaged"),
        (lambda run: add_model(run, "mnist"), "a model of another network"),
        (
            lambda run: save_shard(run / "samples.npz", word_shard({(1, 2): 1})),
            "Examples of task digits cannot be shown",
        ),
        (
            lambda run: save_shard(
                run / "samples.npz",
                Shard(
                    {
                        "images": np.zeros((1, 3, 5, 5), np.float32),
                        "labels": np.zeros(1, np.int64),
                    }
                ),
            ),
            "do not fit the network of digits",
        ),
        (
            lambda run: keep_samples(run, load_digits().test.take(np.arange(0))),
            "has no examples",
        ),
    ],
)
def test_without_samples_or_model_the_page_says_what_is_missing(
    run: Path, damage: Any, reason: str
) -> None:
    damage(run)
    assert reason in render(read_run(run))


def test_samples_are_spread_over_the_whole_test_split(tmp_path: Path) -> None:
    labels = np.arange(1000)
    keep_samples(tmp_path, Shard({"x": labels.astype(np.float32), "labels": labels}))
    with np.load(tmp_path / "samples.npz") as kept:
        assert len(kept["labels"]) == 48
        assert (kept["labels"][[0, -1]] == [0, 999]).all()


def test_probabilities_are_those_of_softmax_and_sigmoid() -> None:
    labels, sure = decide(np.log([[1.0, 3.0], [9.0, 1.0]]), "cross-entropy")
    assert labels.tolist() == [1, 0]
    assert sure.tolist() == pytest.approx([0.75, 0.9])
    labels, sure = decide(np.array([math.log(3), -2000.0]), "binary-cross-entropy")
    assert labels.tolist() == [1, 0]
    assert sure.tolist() == pytest.approx([0.75, 1.0])


class _WordSum(nn.Module):
    """The logit of a text is the sum of its words' weights."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        rows = torch.tensor(weights).unsqueeze(1)
        self.words = nn.EmbeddingBag.from_pretrained(rows, mode="sum")

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        logits: Tensor = self.words(tokens.long(), offsets)
        return logits.squeeze(dim=1)


def _trained_on_words(folder: Path, shard: Shard) -> Trained:
    network = _WordSum([0.5, -2.0, 1.0, 0.0])
    return Trained(folder, get_task("spam"), network, shard)


def test_the_influence_of_a_word_is_what_the_logit_loses_without_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "vocabulary.json").write_text('["the", "meeting", "prize", "zebra"]')
    shard = word_shard({(0, 1, 2): 0, (0, 2): 0, (): 1})
    told = texts(_trained_on_words(tmp_path, shard))
    wrong = told.shown[0]
    assert (wrong.predicted, wrong.truth, told.num_right) == (1, 0, 1)
    right = next(text for text in told.shown if text.is_right)
    assert [(word.text, word.influence) for word in right.words] == [
        ("meeting", -2.0),
        ("prize", 1.0),
        ("the", 0.5),
    ]
    assert [text.num_words for text in told.shown] == [2, 0, 3]


@pytest.mark.parametrize(
    ("vocabulary", "reason"),
    [
        (None, "has no vocabulary.json"),
        ("{", "is damaged"),
        ("[1, 2, 3]", "is damaged"),
        ('["one"]', "has 1 words, and the samples have word 2"),
    ],
)
def test_texts_without_their_vocabulary_are_not_shown(
    tmp_path: Path, vocabulary: str | None, reason: str
) -> None:
    if vocabulary is not None:
        (tmp_path / "vocabulary.json").write_text(vocabulary)
    with pytest.raises(NoSamplesError, match=reason):
        texts(_trained_on_words(tmp_path, word_shard({(0, 2): 0})))


def test_the_model_of_a_language_task_goes_on_with_a_kept_text(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path)
    story.start(task="prose")
    story.tell(
        "evaluated", round=1, loss=2.0, accuracy=0.3, perplexity=7.39, seconds=1.0
    )
    add_model(tmp_path, "prose")
    keep_samples(tmp_path, text_shard("To be, or not to be: <that> is it. " * 8))
    html = render(read_run(tmp_path))
    assert "To be, or not to be: &lt;that&gt; is it. To be" in html
    assert "test perplexity</dt><dd>7.39</dd>" in html
    assert html == render(read_run(tmp_path))
