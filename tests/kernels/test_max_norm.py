"""Max-norm: which vectors are scaled, to which length; vectors inside the ball keep their bits."""

import ml_dtypes
import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.strategies import DTYPES, OVERLAPS, WRITEABLE_LAYOUTS, arrays, overlapping, shapes
from hypothesis import given
from hypothesis import strategies as st


def lengths(w, axis):
    return np.sqrt(np.square(w.astype(np.float64)).sum(axis, keepdims=True))


def check(w, limit, axis, **out):
    """Vectors inside the ball keep their bits; others are scaled to the limit, never above it."""
    before = np.array(w)
    result = tt.max_norm(w, limit, axis=axis, **out)
    assert result.shape == before.shape
    assert result.dtype == before.dtype.newbyteorder("=")
    inside = np.broadcast_to(lengths(before, axis) <= limit, before.shape)
    np.testing.assert_array_equal(result[inside], before[inside])
    eps = float(ml_dtypes.finfo(result.dtype).eps)
    tiny = float(ml_dtypes.finfo(result.dtype).smallest_subnormal)
    expected = reference.max_norm(before, limit, axis=axis)
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=max(2 * eps, 1e-14), atol=tiny)
    if result.size:
        assert np.all(lengths(result, axis) <= limit * (1 + 2.0**-50))
    again = tt.max_norm(result, limit, axis=axis)
    assert again.tobytes() == result.tobytes()
    return result


@given(st.data(), shapes(), st.sampled_from(DTYPES), st.sampled_from([0.5, 2.0, 30.0]))
def test_projection_is_accurate(data, shape, dtype, limit):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    signed = tuple(data.draw(st.sampled_from([axis, axis - len(shape)])) for axis in axes)
    axis = data.draw(st.sampled_from([signed, signed[0]])) if len(signed) == 1 else signed
    check(data.draw(arrays(shape, dtype)), limit, axis)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
@pytest.mark.parametrize("axis", [0, 1])
def test_out_in_any_memory_is_written_and_returned(rng, dtype, layout, axis):
    w = rng.standard_normal((7, 37)).astype(dtype)
    out = WRITEABLE_LAYOUTS[layout](np.zeros_like(w))
    assert check(w, 3.0, axis, out=out) is out
    in_place = WRITEABLE_LAYOUTS[layout](w)
    expected = tt.max_norm(w, 3.0, axis=axis)
    assert tt.max_norm(in_place, 3.0, axis=axis, out=in_place) is in_place
    np.testing.assert_array_equal(in_place, expected)


@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("axis", [0, 1])
def test_out_may_overlap_the_input(rng, kind, axis):
    source, out = overlapping(kind, rng.standard_normal((37, 30)).astype("f4"))
    assert check(source, 3.0, axis, out=out) is out


def test_vectors_are_scaled_as_by_hand():
    w = np.array([[3.0, 4.0], [0.3, -0.4], [0.0, 0.0]])
    np.testing.assert_allclose(tt.max_norm(w, 1, axis=1), [[0.6, 0.8], [0.3, -0.4], [0, 0]], rtol=1e-14)
    np.testing.assert_array_equal(tt.max_norm(w, 0, axis=1), 0)
    np.testing.assert_allclose(
        lengths(tt.max_norm(np.ones((4, 3, 2, 2)), 1, axis=(1, 2, 3)), (1, 2, 3)), 1, rtol=1e-14
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_vectors_inside_the_ball_keep_their_bits(dtype):
    """Also a vector of exactly the limit, negative zeros, subnormal numbers and NaN."""
    tiny = ml_dtypes.finfo(dtype).smallest_subnormal
    w = np.array([[3, 4], [-0.0, tiny], [np.nan, 1], [np.inf, 1]], dtype)
    assert tt.max_norm(w, 5.0, axis=1).tobytes() == w.tobytes()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_vectors_of_extreme_length_are_scaled(rng, scale):
    w = (rng.standard_normal((5, 1000)) * scale).astype("f4")
    np.testing.assert_allclose(lengths(tt.max_norm(w, scale, axis=1), 1), scale, rtol=1e-6)


def test_empty_arrays_stay_empty():
    assert tt.max_norm(np.zeros((0, 3), "f4"), 1, axis=1).shape == (0, 3)
    assert tt.max_norm(np.zeros((3, 0), "f4"), 1, axis=1).shape == (3, 0)
