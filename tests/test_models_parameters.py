"""Named arrays and the flat vector: exact, checked, and never a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.parameters import ParameterLayout, from_vector, layout_of, to_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

# A slow machine is no failure of a property.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def _models(draw: st.DrawFn) -> Arrays:
    names = draw(st.lists(st.text(max_size=5), unique=True, max_size=4))
    width = st.sampled_from([16, 32, 64])
    return {
        name: draw(
            hnp.arrays(
                np.dtype(f"f{draw(width) // 8}"),
                draw(_SHAPES),
                elements={"allow_nan": False},
            )
        )
        for name in names
    }


def _arrays() -> Arrays:
    return {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bias": np.array([0.5, -0.5], dtype=np.float32),
    }


@_UNHURRIED
@given(_models())
def test_from_vector_undoes_to_vector_bit_for_bit(arrays: Arrays) -> None:
    layout = layout_of(arrays)
    result = from_vector(to_vector(arrays, layout), layout)
    assert list(result) == list(arrays)
    for name, array in arrays.items():
        assert result[name].dtype == array.dtype
        assert result[name].shape == array.shape
        assert result[name].tobytes() == array.tobytes()


@_UNHURRIED
@given(_models())
def test_the_vector_has_one_float64_for_every_parameter(arrays: Arrays) -> None:
    vector = to_vector(arrays, layout_of(arrays))
    assert vector.dtype == np.float64
    assert vector.shape == (sum(array.size for array in arrays.values()),)


def test_the_vector_keeps_the_order_of_the_arrays() -> None:
    vector = to_vector(_arrays(), layout_of(_arrays()))
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 0.5, -0.5]


def test_the_vector_is_not_a_view_of_the_arrays() -> None:
    arrays = {"only": np.zeros(3)}
    vector = to_vector(arrays, layout_of(arrays))
    arrays["only"] += 1
    assert not vector.any()


def test_the_arrays_are_not_views_of_the_vector() -> None:
    layout = layout_of({"only": np.zeros((3, 1))})
    vector = np.zeros(3)
    from_vector(vector, layout)["only"][:] = 1
    assert not vector.any()


@pytest.mark.parametrize(
    ("arrays", "first_difference"),
    [
        ({"kernel": np.zeros((2, 3), np.float32)}, "'bias'.*got no more arrays"),
        ({**_arrays(), "extra": np.zeros(1)}, "expected no more arrays, got 'extra'"),
        ({**_arrays(), "bias": np.zeros(3, np.float32)}, r"'bias'.*shape \(3,\)"),
        ({**_arrays(), "bias": np.zeros(2)}, "'bias' of float32.*'bias' of float64"),
        (dict(reversed(_arrays().items())), "expected 'kernel'.*got 'bias'"),
        ({}, "expected 'kernel'.*got no more arrays"),
    ],
)
def test_another_layout_is_refused_by_its_first_array(
    arrays: Arrays, first_difference: str
) -> None:
    with pytest.raises(ValueError, match=first_difference):
        to_vector(arrays, layout_of(_arrays()))


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex128, np.longdouble])
def test_an_array_without_a_mean_is_refused_by_name(dtype: type[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"'steps' is .*expected one of float16"):
        layout_of({"weight": np.zeros(2), "steps": np.zeros(2, dtype)})


@pytest.mark.parametrize(
    "vector", [np.zeros(7), np.zeros((8, 1)), np.zeros(8, np.float32)]
)
def test_a_vector_of_another_kind_is_refused(vector: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"expected a float64 vector of shape \(8,\)"):
        from_vector(vector, layout_of(_arrays()))


def test_equal_layouts_are_equal_and_have_the_same_dimension() -> None:
    layout = ParameterLayout(("a",), ((2, 3),), ("float32",))
    assert layout == layout_of({"a": np.ones((2, 3), np.float32)})
    assert layout.dim == 6
