"""Kernel gradient descent, its closed form, and the stopping time of Yao, Rosasco and Caponnetto (2007)."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab.early_stopping_theory import descend, descend_exactly, step_sizes, stopping_time

SPREAD = 0.3


def kernel(x, z):
    """K(x, z) = min(x, z) on [0, 1]; K(x, x) <= 1."""
    return np.minimum.outer(x, z)


def smooth(x):
    """The image of the constant 1 under the integral operator of K, which is smooth of degree r = 1."""
    return x - x**2 / 2


def sample(m, rng):
    x = rng.uniform(size=m)
    return x, smooth(x) + SPREAD * rng.standard_normal(m)


def test_steps_follow_the_definition(rng):
    x, y = sample(7, rng)
    z = np.linspace(0, 1, 5)
    f = {"x": np.zeros(7), "z": np.zeros(5)}
    for t in range(6):
        rate = 1 / (1 * (t + 1) ** 0.5)
        error = f["x"] - y
        for place, points in (("x", x), ("z", z)):
            f[place] = f[place] - rate / 7 * sum(error[i] * kernel(x[i : i + 1], points)[0] for i in range(7))
    assert_allclose(kernel(z, x) @ descend(kernel(x, x), y, 6, theta=0.5), f["z"], rtol=1e-12)


@pytest.mark.parametrize("theta", [0.0, 0.25, 0.5, 0.9])
def test_the_closed_form_equals_the_iteration(theta, rng):
    x, y = sample(40, rng)
    times = [0, 1, 2, 17, 1000]
    gram = 2 * kernel(x, x)
    iterated = descend(gram, y, times, theta=theta, kappa_squared=2)
    exact = descend_exactly(gram, y, times, theta=theta, kappa_squared=2)
    assert iterated.shape == (5, 40)
    assert_allclose(exact, iterated, rtol=1e-10, atol=1e-12)
    assert_array_equal(iterated[0], 0)
    for time, row in zip(times, iterated, strict=True):
        assert_array_equal(descend(gram, y, time, theta=theta, kappa_squared=2), row)


def test_the_closed_form_takes_singular_kernels(rng):
    """With a point that occurs twice, and eigenvalues rounded below 0."""
    x = rng.uniform(size=5).repeat(2)
    y = rng.standard_normal(10)
    gram = kernel(x, x)
    assert_allclose(descend_exactly(gram, y, 500), descend(gram, y, 500), rtol=1e-9, atol=1e-10)


def test_several_regressions_run_at_once(rng):
    x, _ = sample(20, rng)
    y = rng.standard_normal((20, 3))
    for function in (descend, descend_exactly):
        together = function(kernel(x, x), y, [3, 9])
        assert together.shape == (2, 20, 3)
        for column in range(3):
            assert_allclose(
                together[..., column], function(kernel(x, x), y[:, column], [3, 9]), rtol=1e-9, atol=1e-12
            )


def test_after_many_steps_every_value_is_fitted(rng):
    x, y = (np.arange(5) + 0.5) / 5, rng.standard_normal(5)
    gram = kernel(x, x)
    assert_allclose(gram @ descend_exactly(gram, y, 100_000), y, atol=1e-9)


@pytest.mark.parametrize(
    ("samples", "smoothness", "theta", "expected"),
    [
        (1, 1, 0, 1),
        (16, 1, 0, 2),
        (17, 1, 0, 3),
        (4096, 1, 0, 8),
        (4096, 1, 0.5, 64),
        (1000, 0.5, 0, 10),
        (1000, 0.5, 0.5, 100),
        (2, 1, 0, 2),
        (5**5, 1.5, 0, 5),
    ],
)
def test_the_stopping_time_follows_the_formula(samples, smoothness, theta, expected):
    assert stopping_time(samples, smoothness, theta) == expected


def test_the_step_sizes_follow_the_formula():
    assert_allclose(step_sizes(4, 0.5, 2.0), [0.5, 0.5 / 2**0.5, 0.5 / 3**0.5, 0.25], rtol=1e-15)
    assert step_sizes(0).shape == (0,)


def mean_errors(m, times, theta, rng, designs):
    """Mean squared errors at some times, over several designs with 16 draws of noise each."""
    grid = (np.arange(200) + 0.5) / 200
    squares = []
    for _ in range(designs):
        x = rng.uniform(size=m)
        y = smooth(x)[:, None] + SPREAD * rng.standard_normal((m, 16))
        coefficients = descend_exactly(kernel(x, x), y, times, theta=theta)
        values = kernel(grid, x) @ coefficients
        squares.append(np.mean((values - smooth(grid)[:, None]) ** 2, axis=(1, 2)))
    return np.sqrt(np.mean(squares, axis=0))


@pytest.mark.parametrize("theta", [0.0, 0.5])
def test_the_error_at_the_stopping_time_has_the_proven_rate(theta, rng):
    """Its slope in m on logarithmic axes is -r / (2r + 2) = -1/4 or steeper."""
    sizes = [3**4, 4**4, 5**4]  # with integer stopping times
    errors = [
        mean_errors(m, [stopping_time(m, 1, theta)], theta, rng, designs=12 * 81 // m + 3)[0] for m in sizes
    ]
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] <= -0.25


def test_the_error_rises_after_the_stopping_time(rng):
    at_stop, late = mean_errors(128, [stopping_time(128, 1), 100_000], 0.0, rng, designs=4)
    assert late >= 3 * at_stop


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stopping_time(0, 1), "stopping_time: samples must be at least 1, got 0"),
        (lambda: stopping_time(9, 0), "stopping_time: smoothness must be finite and > 0, got 0"),
        (lambda: stopping_time(9, 1, 1.0), "stopping_time: theta must be finite, >= 0 and < 1, got 1.0"),
        (lambda: step_sizes(-1), "step_sizes: steps must be at least 0, got -1"),
        (lambda: step_sizes(1, -0.1), "step_sizes: theta must be finite, >= 0 and < 1, got -0.1"),
        (lambda: step_sizes(1, 0, 0), "step_sizes: kappa_squared must be finite and > 0, got 0"),
        (lambda: descend(np.eye(3), [], 1), r"descend: y must have at least one entry, got shape \(0,\)"),
        (
            lambda: descend(np.eye(3), [1, 2], 1),
            r"descend: gram must have shape \(2, 2\), got \(3, 3\)",
        ),
        (
            lambda: descend(3 * np.eye(2), [1, 2], 1),
            "descend: kappa_squared must be at least K\\(x, x\\), got 1.0 < 3.0",
        ),
        (
            lambda: descend_exactly(np.eye(2), [1, 2], [3, 2]),
            r"descend_exactly: times must be >= 0 and increasing, got \[3, 2\]",
        ),
        (lambda: descend(np.eye(2), [1, 2], -1), "descend: times must be >= 0 and increasing, got -1"),
        (lambda: descend(np.eye(2), [1, 2], []), r"descend: times must be >= 0 and increasing, got \[\]"),
        *(
            (lambda call=call, bad=bad: call(bad), f"{name} must be finite and > 0, got {bad}")
            for bad in (np.inf, np.nan, -1.0)
            for name, call in {
                "stopping_time: smoothness": lambda bad: stopping_time(9, bad),
                "step_sizes: kappa_squared": lambda bad: step_sizes(3, 0, bad),
                "descend: kappa_squared": lambda bad: descend(np.eye(2), [1, 2], 1, kappa_squared=bad),
                "descend_exactly: kappa_squared": lambda bad: descend_exactly(
                    np.eye(2), [1, 2], 1, kappa_squared=bad
                ),
            }.items()
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stopping_time(9.5, 1), "stopping_time: samples must be an int, got 9.5"),
        (lambda: stopping_time(True, 1), "stopping_time: samples must be an int, got True"),
        (lambda: stopping_time(9, "1"), "stopping_time: smoothness must be a number, got '1'"),
        (lambda: stopping_time(9, 1, None), "stopping_time: theta must be a number, got None"),
        (lambda: step_sizes(3.0), "step_sizes: steps must be an int, got 3.0"),
        (lambda: descend(np.eye(2), [1, 2], 1.5), "descend: times must be an int, got "),
        (lambda: descend(np.eye(2), [1, 2], [1, 2.5]), "descend: times must be an int, got "),
        (lambda: descend(np.eye(2), [1j, 2], 1), "descend: y must be real numbers, got dtype complex128"),
        (lambda: descend(np.eye(2), np.ma.ones(2), 1), "descend: y must be a plain array, got a MaskedArray"),
    ],
)
def test_arguments_of_wrong_types_are_refused(call, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        call()


def test_numbers_of_numpy_are_taken(rng):
    x, y = sample(9, rng)
    assert stopping_time(np.int64(16), np.float32(1), np.float64(0)) == 2
    expected = descend(kernel(x, x), y, [2, 3])
    assert_array_equal(descend(kernel(x, x), y, np.array([2, 3], np.uint8), theta=np.float32(0)), expected)
