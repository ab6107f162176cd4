"""Local training: seeded, honest about bad losses, and never through a view."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import TaskError
from models.local import LocalTraining
from models.networks.state import load_arrays, state_arrays
from models.parameters import from_vector, layout_of, to_vector
from models.shards import Shard
from models.tasks import Task, get_task
from models.training import TrainReport, evaluate, initial_network, train

_TASKS = ["digits", "spam"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _shard(task: str, *, num_examples: int = 40) -> Shard:
    """Return examples whose label can be seen in the inputs."""
    generator = np.random.default_rng(5)
    if task == "digits":
        labels = np.arange(num_examples) % 10
        images = generator.random((num_examples, 1, 8, 8), dtype=np.float32)
        images[np.arange(num_examples), 0, labels % 8] += 1
        return Shard({"images": images, "labels": labels})
    labels = np.arange(num_examples) % 2
    words = generator.integers(2, 50, size=(num_examples, 3), dtype=np.int32)
    words[:, 0] = labels  # word 0 only in ham, word 1 only in spam
    offsets = np.arange(0, 3 * num_examples, 3)
    return Shard({"tokens": words.ravel(), "offsets": offsets, "labels": labels})


def _train(
    task: Task, shard: Shard, *, seed: int = 7, **changes: Any
) -> tuple[torch.nn.Module, TrainReport]:
    network = initial_network(task, seed=1)
    report = train(
        network,
        shard,
        task,
        dataclasses.replace(LocalTraining.of(task), **changes),
        seed=seed,
        device="cpu",
    )
    return network, report


def _vector(network: torch.nn.Module) -> bytes:
    arrays = state_arrays(network)
    return to_vector(arrays, layout_of(arrays)).tobytes()


@pytest.mark.parametrize("name", _TASKS)
def test_training_leaves_the_global_vector_alone_and_the_update_is_not_zero(
    name: str,
) -> None:
    task = get_task(name)
    network = task.make_network()
    layout = layout_of(state_arrays(network))
    parameters = to_vector(state_arrays(network), layout)
    before = parameters.copy()
    arrays = from_vector(parameters, layout)
    load_arrays(network, arrays)
    received = state_arrays(network)
    train(
        network,
        _shard(name),
        task,
        LocalTraining(epochs=1, batch_size=8, learning_rate=0.1),
        seed=0,
        device="cpu",
    )
    update = to_vector(state_arrays(network), layout) - parameters
    assert np.array_equal(parameters, before)
    assert np.array_equal(to_vector(arrays, layout), before)
    assert np.array_equal(to_vector(received, layout), before)
    assert np.abs(update).max() > 0.01


@pytest.mark.parametrize("name", _TASKS)
def test_training_depends_on_its_arguments_only(name: str) -> None:
    task = get_task(name)
    torch.manual_seed(1)
    first, first_report = _train(task, _shard(name))
    torch.manual_seed(2)
    second, second_report = _train(task, _shard(name))
    assert _vector(first) == _vector(second)
    assert first_report == second_report


@pytest.mark.parametrize("name", _TASKS)
def test_another_seed_trains_differently(name: str) -> None:
    task = get_task(name)
    shard = _shard(name, num_examples=100)
    assert _vector(_train(task, shard)[0]) != _vector(_train(task, shard, seed=8)[0])


def test_training_leaves_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    _train(get_task("digits"), _shard("digits"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", _TASKS)
def test_training_lowers_the_loss(name: str) -> None:
    task = get_task(name)
    shard = _shard(name, num_examples=200)
    before = evaluate(initial_network(task, seed=1), shard, task, device="cpu")
    network, report = _train(task, shard)
    after = evaluate(network, shard, task, device="cpu")
    assert after.loss < report.train_loss < before.loss
    assert after.accuracy > before.accuracy


@pytest.mark.parametrize("name", _TASKS)
def test_a_shard_of_one_example_is_enough(name: str) -> None:
    task = get_task(name)
    shard = _shard(name, num_examples=1)
    network, report = _train(task, shard)
    assert report.num_examples == 1
    assert evaluate(network, shard, task, device="cpu").num_examples == 1


def test_mails_without_words_are_scored_as_undecided() -> None:
    task = get_task("spam-book")
    empty = Shard(
        {
            "tokens": np.zeros(0, np.int32),
            "offsets": np.zeros(2, np.int64),
            "labels": np.array([0, 1]),
        }
    )
    network, report = _train(task, empty)
    assert report.train_loss == pytest.approx(0.5**2)
    assert evaluate(network, empty, task, device="cpu").accuracy == 0.5


def test_a_loss_that_is_not_a_number_is_reported() -> None:
    shard = _shard("digits")
    images = np.full_like(shard.arrays["images"], np.nan)
    broken = Shard({"images": images, "labels": shard.labels})
    network, report = _train(get_task("digits"), broken)
    assert math.isnan(report.train_loss)
    assert math.isnan(evaluate(network, broken, get_task("digits"), device="cpu").loss)


def test_evaluation_in_batches_is_the_mean_over_the_examples() -> None:
    task = get_task("digits")
    network = initial_network(task, seed=3)
    large = _shard("digits", num_examples=1500)
    report = evaluate(network, large, task, device="cpu")
    halves = [
        evaluate(network, large.take(np.arange(*ends)), task, device="cpu")
        for ends in ((0, 500), (500, 1500))
    ]
    losses, accuracies = zip(*((h.loss, h.accuracy) for h in halves), strict=True)
    assert report.loss == pytest.approx(np.average(losses, weights=[1, 2]), abs=1e-5)
    assert report.accuracy == pytest.approx(np.average(accuracies, weights=[1, 2]))


def test_evaluation_is_without_dropout() -> None:
    task = get_task("digits")
    network = initial_network(task, seed=3).train()
    first, second = (
        evaluate(network, _shard("digits"), task, device="cpu") for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "local epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning rate must be above 0"),
        ({"learning_rate": math.inf}, "learning rate must be above 0"),
        ({"learning_rate": math.nan}, "learning rate must be above 0"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"momentum": -0.1}, "momentum must be 0 or more, got -0.1"),
        ({"proximal_mu": math.nan}, "proximal-mu must be 0 or more, got nan"),
        ({"max_grad_norm": -1.0}, "max-grad-norm must be 0 or more, got -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    change: dict[str, Any], message: str
) -> None:
    settings: Any = {"epochs": 1, "batch_size": 8, "learning_rate": 0.1, **change}
    with pytest.raises(TaskError, match=message):
        LocalTraining(**settings)


def test_an_empty_shard_is_refused() -> None:
    task = get_task("digits")
    empty = _shard("digits").take(np.arange(0))
    with pytest.raises(TaskError, match="no examples"):
        _train(task, empty)
    with pytest.raises(TaskError, match="no examples"):
        evaluate(task.make_network(), empty, task, device="cpu")


def test_loading_copies_and_refuses_the_arrays_of_another_network() -> None:
    network = get_task("digits").make_network()
    arrays = state_arrays(network)
    load_arrays(network, arrays)
    arrays["output.bias"][:] = 99
    assert state_arrays(network)["output.bias"].max() < 1
    with pytest.raises(ValueError, match=r"'kernels\.weight'.*'words\.weight'"):
        load_arrays(network, state_arrays(get_task("spam").make_network()))


def test_the_first_network_depends_on_the_seed_only() -> None:
    task = get_task("digits")
    torch.manual_seed(11)
    one = _vector(initial_network(task, seed=3))
    torch.manual_seed(12)
    assert one == _vector(initial_network(task, seed=3))
    assert one != _vector(initial_network(task, seed=4))


def test_momentum_makes_a_difference() -> None:
    task = get_task("digits")
    plain = dataclasses.replace(task, momentum=0.0)
    shard = _shard("digits")
    assert _vector(_train(task, shard)[0]) != _vector(_train(plain, shard)[0])


def _distance(**changes: Any) -> float:
    """Return how far training on the digits moves the network."""
    task = get_task("digits")
    start = initial_network(task, seed=1).parameters()
    end = _train(task, _shard("digits"), **changes)[0].parameters()
    return math.sqrt(
        sum(
            float((a - b).detach().square().sum())
            for a, b in zip(start, end, strict=True)
        )
    )


def test_the_proximal_term_holds_the_network_near_the_global_one() -> None:
    assert 0 < _distance(proximal_mu=5.0) < 0.5 * _distance()


def test_a_bound_on_the_gradient_bounds_every_step() -> None:
    shard_steps = 2 * math.ceil(40 / 16)
    task = get_task("digits")
    # Momentum 0.9 lets steps add up to at most ten times one step.
    bound = 0.01 * task.learning_rate * shard_steps / (1 - task.momentum)
    assert 0 < _distance(max_grad_norm=0.01) <= bound < _distance()
