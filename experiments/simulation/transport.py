"""Large records travel between Ray's processes as they lie in memory.

Ray hands a numpy array over with one copy. Bytes inside one of Flower's records are
first copied into a pickle, and again whenever that grows.
"""

from typing import Any, Final

import numpy as np
from flwr.app import Array, ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

_LARGE_BYTES: Final = 100_000  # below, Ray sends an argument along with its call

_ArrayParts = tuple[str, tuple[int, ...], str, Any]


def share_large_records() -> None:
    """Have this process hand over large bytes in records without pickling them.

    For every process that sends; Ray must have started. Whoever receives needs nothing.
    """
    from ray.util import register_serializer  # noqa: PLC0415 - Ray may be missing

    register_serializer(ConfigRecord, serializer=_open_config, deserializer=_config)
    register_serializer(Array, serializer=_open_array, deserializer=_array)


class SharingApp(ClientApp):
    """An app in an actor whose replies share large records, too.

    Args:
        app: Answers the messages.
    """

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer as the app does."""
        share_large_records()
        return self._app(message, context)


def _open_config(record: ConfigRecord) -> dict[str, Any]:
    return {name: _shared(value) for name, value in record.items()}


def _config(values: dict[str, Any]) -> ConfigRecord:
    return ConfigRecord({name: _own(value) for name, value in values.items()})


def _open_array(array: Array) -> _ArrayParts:
    return array.dtype, tuple(array.shape), array.stype, _shared(array.data)


def _array(parts: _ArrayParts) -> Array:
    dtype, shape, stype, data = parts
    return Array(dtype, shape, stype, _own(data))


def _shared(value: Any) -> Any:
    """Return large bytes as an array over the same memory."""
    if isinstance(value, bytes) and len(value) >= _LARGE_BYTES:
        return np.frombuffer(value, dtype=np.uint8)
    return value


def _own(value: Any) -> Any:
    """Return the bytes again: no record of Flower's holds an array itself."""
    return value.tobytes() if isinstance(value, np.ndarray) else value
