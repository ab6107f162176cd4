"""Records that Ray carries: large bytes beside the pickle, and the same at the end."""

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from experiments.simulation.transport import share_large_records

cloudpickle = pytest.importorskip("ray.cloudpickle", reason="ray is not installed")

LARGE = bytes(range(256)) * 4096
FEW_BYTES = 4096  # of a pickle without what is large


@pytest.fixture(autouse=True)
def sharing() -> Iterator[None]:
    before = dict(cloudpickle.CloudPickler.dispatch)
    share_large_records()
    yield
    cloudpickle.CloudPickler.dispatch.clear()
    cloudpickle.CloudPickler.dispatch.update(before)


def _carried(content: RecordDict) -> tuple[RecordDict, int, int]:
    """Carry records; return them, and the bytes inside and beside the pickle."""
    beside: list[pickle.PickleBuffer] = []
    inside = cloudpickle.dumps(content, protocol=5, buffer_callback=beside.append)
    arrived = pickle.loads(inside, buffers=beside)  # noqa: S301 - our own bytes
    assert isinstance(arrived, RecordDict)
    return arrived, len(inside), sum(buffer.raw().nbytes for buffer in beside)


def test_large_bytes_of_a_config_are_not_pickled() -> None:
    record = ConfigRecord({"kind": "upload", "data": LARGE, "small": b"x", "n": [1, 2]})
    arrived, inside, beside = _carried(RecordDict({"unseen": record}))
    assert dict(arrived.config_records["unseen"]) == dict(record)
    assert type(arrived.config_records["unseen"]["data"]) is bytes
    assert inside < FEW_BYTES
    assert beside == len(LARGE)


def test_large_arrays_are_not_pickled() -> None:
    weights = np.arange(1 << 17, dtype=np.float32).reshape(2, -1)
    arrived, inside, _ = _carried(
        RecordDict({"arrays": ArrayRecord({"w": Array(weights)})})
    )
    array = arrived.array_records["arrays"]["w"]
    assert type(array.data) is bytes
    assert array.shape == weights.shape
    np.testing.assert_array_equal(array.numpy(), weights)
    assert inside < FEW_BYTES


def test_small_records_travel_in_the_pickle() -> None:
    record = ConfigRecord({"kind": "hello", "data": b"x" * 1000})
    arrived, _, beside = _carried(RecordDict({"unseen": record}))
    assert arrived.config_records["unseen"] == record
    assert beside == 0
