"""Named arrays <-> one flat float64 vector, with a checked layout; no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_DTYPES = frozenset({"float16", "float32", "float64"})  # exact in float64


@dataclass(frozen=True)
class ParameterLayout:
    """Where every array of a model lies in the flat vector.

    The three tuples run in the order of the vector.

    Attributes:
        names: Of the arrays.
        shapes: Of the arrays.
        dtypes: numpy names: float16, float32 or float64.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @property
    def dim(self) -> int:
        """Number of parameters, the length of the vector."""
        return sum(math.prod(shape) for shape in self.shapes)

    def require_equal(self, other: ParameterLayout) -> None:
        """Refuse a layout that differs from this one.

        Raises:
            ValueError: Naming the first array that differs.
        """
        for expected, got in zip_longest(self._describe(), other._describe()):
            if expected != got:
                raise ValueError(
                    "the parameters do not fit the model: expected "
                    f"{expected or 'no more arrays'}, got {got or 'no more arrays'}"
                )

    def _describe(self) -> list[str]:
        """Return one line an array, different for every different array."""
        return [
            f"{name!r} of {dtype} and shape {shape}"
            for name, shape, dtype in zip(
                self.names, self.shapes, self.dtypes, strict=True
            )
        ]


def layout_of(arrays: Mapping[str, NDArray[Any]]) -> ParameterLayout:
    """Return the layout of ``arrays``, in their order.

    Raises:
        ValueError: If an array is not of a floating dtype that float64 holds
            exactly; counters and masks have no mean.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise ValueError(
                f"array {name!r} is {array.dtype.name}, expected one of "
                f"{', '.join(sorted(_DTYPES))}"
            )
    return ParameterLayout(
        names=tuple(arrays),
        shapes=tuple(array.shape for array in arrays.values()),
        dtypes=tuple(array.dtype.name for array in arrays.values()),
    )


def to_vector(
    arrays: Mapping[str, NDArray[Any]], layout: ParameterLayout
) -> NDArray[np.float64]:
    """Copy ``arrays`` into one vector; exact.

    Returns:
        Shape ``(layout.dim,)``. Shares no memory with ``arrays``: training
        that edits them must not edit the vector.

    Raises:
        ValueError: If the arrays do not have this layout.
    """
    layout.require_equal(layout_of(arrays))
    vector = np.empty(layout.dim, dtype=np.float64)
    start = 0
    for array in arrays.values():
        vector[start : start + array.size] = array.ravel()
        start += array.size
    return vector


def from_vector(
    vector: NDArray[np.float64], layout: ParameterLayout
) -> dict[str, NDArray[Any]]:
    """Copy a vector into named arrays, rounded to their dtypes.

    Returns:
        Arrays that share no memory with ``vector``.

    Raises:
        ValueError: If the vector is not flat float64 of length ``layout.dim``.
    """
    if vector.shape != (layout.dim,) or vector.dtype != np.float64:
        raise ValueError(
            f"expected a float64 vector of shape ({layout.dim},), got "
            f"{vector.dtype.name} of shape {vector.shape}"
        )
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for name, shape, dtype in zip(
        layout.names, layout.shapes, layout.dtypes, strict=True
    ):
        end = start + math.prod(shape)
        arrays[name] = vector[start:end].reshape(shape).astype(dtype)
        start = end
    return arrays
