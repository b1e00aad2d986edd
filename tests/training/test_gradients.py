"""The gradient check passes right gradients and names wrong ones."""

import numpy as np
import pytest
from trimtab.gradients import GradientError, gradcheck

x = np.linspace(-2, 2, 6).reshape(2, 3)


def test_right_gradients_of_several_inputs_pass():
    w = np.linspace(0.5, 1, 12).reshape(3, 4)
    assert gradcheck(lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, x.T @ dy), (x, w)) is True


def test_float32_inputs_are_taken():
    assert gradcheck(np.tanh, lambda dy, x: dy * (1 - np.tanh(x) ** 2), x.astype(np.float32))


def test_inputs_with_gradient_none_are_skipped():
    assert gradcheck(lambda x, w: x * w, lambda dy, x, w: (dy * w, None), (x, x + 1))


@pytest.mark.parametrize("factor", [1.0001, 0.0, -1.0, np.nan])
def test_wrong_gradients_fail(factor):
    with pytest.raises(GradientError, match=r"gradient 0 must be .* at \(\d, \d\), got"):
        gradcheck(np.sin, lambda dy, x: factor * dy * np.cos(x), x)


def test_the_error_names_the_element():
    def backward(dy, x):
        dx = dy * np.cos(x)
        dx[1, 2] += 1
        return dx

    with pytest.raises(GradientError, match=r"at \(1, 2\).*1 of 6"):
        gradcheck(np.sin, backward, x)


def test_a_gradient_of_another_shape_fails():
    with pytest.raises(ValueError, match=r"gradient 0 must have shape \(2, 3\), got \(3, 2\)"):
        gradcheck(np.sin, lambda dy, x: (dy * np.cos(x)).T, x)


def test_a_missing_gradient_fails():
    with pytest.raises(ValueError, match="2 gradients, got 1"):
        gradcheck(lambda x, w: x * w, lambda dy, x, w: (dy * w,), (x, x))


def test_the_inputs_do_not_change():
    before = x.copy()
    gradcheck(np.sin, lambda dy, x: dy * np.cos(x), x)
    np.testing.assert_array_equal(x, before)


# ---- any scale ----

SCALES = [1e-30, 1e-7, 1.0, 1e7, 1e30]


def sine(output, length):
    """y = output * sin(x / length), and its gradient."""
    return (
        lambda x: output * np.sin(x / length),
        lambda dy, x: dy * (output / length) * np.cos(x / length),
    )


@pytest.mark.parametrize("length", SCALES)
@pytest.mark.parametrize("output", SCALES)
def test_right_gradients_of_any_scale_pass_and_wrong_ones_fail(output, length):
    forward, backward = sine(output, length)
    assert gradcheck(forward, backward, x * length)
    for wrong in (
        lambda dy, x: 1.00001 * backward(dy, x),
        lambda dy, x: -5 * backward(dy, x),
        lambda dy, x: 0 * x,
        lambda dy, x: dy * output / length,
    ):
        with pytest.raises(GradientError, match="gradient 0 must be"):
            gradcheck(forward, wrong, x * length)


def test_one_wrong_element_among_large_ones_fails():
    """Gradients of 1e8, and one of 1 that is off by a thousandth."""
    factors = np.full(5, 1e8)
    factors[2] = 1.0

    def forward(x):
        return factors * np.tanh(x)

    def backward(dy, x, error=0.0):
        dx = dy * factors / np.cosh(x) ** 2
        dx[2] *= 1 + error
        return dx

    values = np.linspace(0.5, 1, 5)
    assert gradcheck(forward, backward, values)
    with pytest.raises(GradientError, match=r"at \(2,\).*1 of 5"):
        gradcheck(forward, lambda dy, x: backward(dy, x, 1e-3), values)


def test_each_input_has_its_own_scale():
    """Also zeros next to other inputs, such as a bias before training."""
    large, small, zero = 1e20 * x, np.array([1e-20, 2e-20, 3e-20]), np.zeros(3)

    def forward(a, b, c):
        return a * b + c

    def backward(dy, a, b, c):
        return dy * b, (dy * a).sum(0), dy.sum(0)

    assert gradcheck(forward, backward, (large, small, zero))
    for position in range(3):

        def wrong(*arguments, position=position):
            gradients = list(backward(*arguments))
            gradients[position] = 1.001 * gradients[position]
            return gradients

        with pytest.raises(GradientError, match=f"gradient {position} must be"):
            gradcheck(forward, wrong, (large, small, zero))


def test_gradients_of_zero_pass():
    """Exact zeros, and differences that cancel."""
    assert gradcheck(lambda x: np.full(3, 7.0), lambda dy, x: 0 * x, x)
    with pytest.raises(GradientError, match="must be 0 at"):
        gradcheck(lambda x: np.full(3, 7.0), lambda dy, x: 0 * x + 1e-9, x)

    def centered(x):
        return x - x.mean()

    shift = np.array([0.3])
    assert gradcheck(lambda s: centered(x + s), lambda dy, s: centered(dy).sum(keepdims=True)[0], shift)
    with pytest.raises(GradientError):
        gradcheck(lambda s: centered(x + s), lambda dy, s: np.array([1e-3]), shift)


def test_a_missing_term_fails():
    with pytest.raises(GradientError):
        gradcheck(lambda x: x + 1e-3 * x**2, lambda dy, x: dy, x)


def test_the_step_is_the_distance_of_the_differences():
    """With too large a step, curvature looks like an error."""
    taken = []

    def forward(x):
        taken.append(x.copy())
        return np.sin(x)

    def backward(dy, x):
        return dy * np.cos(x)

    gradcheck(forward, backward, x, step=1e-4)
    assert np.isclose(np.abs(taken[1] - x).max(), 2e-4)  # the largest of x is 2
    with pytest.raises(GradientError):
        gradcheck(forward, backward, x, step=0.1)
    assert gradcheck(forward, backward, x, step=0.1, tolerance=0.1)


@pytest.mark.parametrize("step", [0, -1e-5, np.nan])
def test_a_step_is_positive(step):
    with pytest.raises(ValueError, match=r"^gradcheck: step must be finite and > 0, got"):
        gradcheck(np.sin, lambda dy, x: dy * np.cos(x), x, step=step)
    with pytest.raises(ValueError, match=r"^gradcheck: tolerance must be finite and >= 0, got"):
        gradcheck(np.sin, lambda dy, x: dy * np.cos(x), x, tolerance=-1)


def test_masked_inputs_are_refused():
    with pytest.raises(TypeError, match=r"^gradcheck: inputs\[0\] must be a plain array"):
        gradcheck(np.sin, lambda dy, x: dy * np.cos(x), np.ma.array(x))


def test_nan_is_named_first():
    def backward(dy, x):
        dx = 1.5 * dy * np.cos(x)
        dx[1, 0] = np.nan
        return dx

    with pytest.raises(GradientError, match=r"at \(1, 0\), got nan; 6 of 6"):
        gradcheck(np.sin, backward, x)
