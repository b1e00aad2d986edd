"""The gradient check accepts right gradients and names wrong ones."""

import numpy as np
import pytest
from trimtab.gradients import GradientError, gradcheck

x = np.linspace(-2, 2, 6).reshape(2, 3)


def test_accepts_right_gradients_of_several_inputs():
    w = np.linspace(0.5, 1, 12).reshape(3, 4)
    assert gradcheck(lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, x.T @ dy), (x, w)) is True


def test_accepts_float32_inputs():
    assert gradcheck(np.tanh, lambda dy, x: dy * (1 - np.tanh(x) ** 2), x.astype(np.float32))


def test_skips_none():
    assert gradcheck(lambda x, w: x * w, lambda dy, x, w: (dy * w, None), (x, x + 1))


@pytest.mark.parametrize("factor", [1.0001, 0.0, -1.0, np.nan])
def test_rejects_wrong_gradients(factor):
    with pytest.raises(GradientError, match=r"gradient 0 must be .* at \(\d, \d\), got"):
        gradcheck(np.sin, lambda dy, x: factor * dy * np.cos(x), x)


def test_names_the_element():
    def backward(dy, x):
        dx = dy * np.cos(x)
        dx[1, 2] += 1
        return dx

    with pytest.raises(GradientError, match=r"at \(1, 2\).*1 of 6"):
        gradcheck(np.sin, backward, x)


def test_rejects_a_misshapen_gradient():
    with pytest.raises(ValueError, match=r"gradient 0 must have shape \(2, 3\), got \(3, 2\)"):
        gradcheck(np.sin, lambda dy, x: (dy * np.cos(x)).T, x)


def test_rejects_a_missing_gradient():
    with pytest.raises(ValueError, match="2 gradients, got 1"):
        gradcheck(lambda x, w: x * w, lambda dy, x, w: (dy * w,), (x, x))


def test_leaves_the_inputs_alone():
    before = x.copy()
    gradcheck(np.sin, lambda dy, x: dy * np.cos(x), x)
    np.testing.assert_array_equal(x, before)
