"""The networks for words, and what they are trained for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.data.words import word_list_shard
from models.local import LocalTraining
from models.networks.words import BlanksNetwork, WordBagNetwork, WordSumNetwork
from models.objectives import OBJECTIVES
from models.shards import Shard
from models.tasks import get_task
from models.training import evaluate, train

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _shard(*texts: list[int]) -> Shard:
    numbers = {str(word): word for text in texts for word in text}
    labels = np.zeros(len(texts), np.int64)
    return word_list_shard((map(str, text) for text in texts), labels, numbers)


def _tensors(shard: Shard) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(shard.arrays[name]) for name in ("tokens", "offsets")
    }


_EMPTY: list[Callable[[], torch.nn.Module]] = [
    lambda: WordSumNetwork(num_words=3),
    lambda: WordBagNetwork(num_words=3, dropout=0.5),
]


@pytest.mark.parametrize("make", _EMPTY)
def test_texts_without_words_get_a_finite_logit(
    make: Callable[[], torch.nn.Module],
) -> None:
    logits = make()(**_tensors(_shard([], [], [])))
    assert logits.shape == (3,)
    assert logits.isfinite().all()


def test_a_bag_is_its_sum_over_the_root_of_its_length() -> None:
    network = WordBagNetwork(num_words=4, dropout=0.5).eval()
    logits = network(**_tensors(_shard([0, 1, 2, 3], [], [2])))
    rows = network.words.weight
    for logit, text in zip(
        logits, (rows.sum(dim=0) / 2, 0 * rows[0], rows[2]), strict=True
    ):
        torch.testing.assert_close(logit, network.output(text).squeeze())


def test_a_blank_is_compared_with_the_mean_of_two_words_on_either_side() -> None:
    network = BlanksNetwork(num_words=9)
    torch.nn.init.normal_(network.blanks.weight)
    logits = network(**_tensors(_shard([0, 1, 2, 3, 4, 5], [6, 7])))
    words, blanks = network.words.weight, network.blanks.weight
    around = {0: [1, 2], 2: [0, 1, 3, 4], 5: [3, 4], 6: [7], 7: [6]}
    assert logits.shape == (8, 6)
    for place, neighbours in around.items():
        expected = words[neighbours].mean(dim=0) @ blanks[place]
        torch.testing.assert_close(logits[place, 0], expected)


def test_the_other_candidates_are_drawn_from_the_words_of_the_texts() -> None:
    network = BlanksNetwork(num_words=5)
    torch.nn.init.ones_(network.words.weight)
    network.blanks.weight.data = torch.arange(5.0).unsqueeze(1).expand(5, 50).clone()
    with torch.inference_mode():
        others = network(**_tensors(_shard([1, 3] * 50)))[:, 1:] / 50
    assert {round(other) for other in others.flatten().tolist()} == {1, 3}


def test_the_loss_of_blanks_is_that_of_negative_sampling() -> None:
    objective = OBJECTIVES["one-of-six"]
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, -3.0]])
    losses = [
        -math.log(1 / (1 + math.exp(-right)))
        - sum(math.log(1 / (1 + math.exp(other))) for other in others)
        for right, *others in logits.tolist()
    ]
    labels = torch.zeros(2)
    assert objective.loss(logits, labels).item() == pytest.approx(sum(losses) / 2)
    # As good as another candidate is not right.
    assert objective.right(logits, labels).tolist() == [1.0, 0.0]


def test_blanks_learn_which_words_stand_together() -> None:
    # Three languages of four words that never mix.
    generator = np.random.default_rng(3)
    texts = [
        [4 * (i % 3) + int(w) for w in generator.integers(4, size=12)]
        for i in range(60)
    ]
    task, shard = get_task("imdb-blanks"), _shard(*texts)
    torch.manual_seed(1)
    network = BlanksNetwork(num_words=12)
    before = evaluate(network, shard, task, device="cpu")
    settings = LocalTraining.of(task, {"local-epochs": 15})
    train(network, shard, task, settings, seed=2, device="cpu")
    after = evaluate(network, shard, task, device="cpu")
    assert before.accuracy < 0.1
    assert after.loss < before.loss
    vectors = torch.nn.functional.normalize(network.words.weight, dim=1)
    cosines = (vectors @ vectors.T).detach().numpy()
    same = np.kron(np.eye(3), np.ones((4, 4))).astype(bool)
    assert cosines[same].min() > cosines[~same].max()
