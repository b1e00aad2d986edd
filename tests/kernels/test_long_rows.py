"""Rows so long that several threads share them: the bits are those of one thread, and of the row alone."""

import numpy as np
import pytest
import reference
import trimtab as tt

WIDTH = 9001  # two segments of a row and a part of a third
ROWS = [1, 3, 20, 40]  # 20: in two panels


@pytest.fixture(params=["layer_norm", "rms_norm"])
def gradients(request):
    """(dx, dgamma, dbeta if there is one) of x, dy, gamma."""

    def compute(x, dy, gamma, **options):
        if request.param == "layer_norm":
            _, mean, rstd = tt.layer_norm_forward(x, gamma)
            return tt.layer_norm_backward(dy, x, mean, rstd, gamma, **options)
        return tt.rms_norm_backward(dy, x, tt.rms_norm_forward(x, gamma)[1], gamma, **options)

    return compute


def arrays(rng, rows, dtype="float32"):
    x, dy = rng.standard_normal((2, rows, WIDTH)).astype(dtype)
    return x + 1, dy, rng.uniform(0.5, 1.5, WIDTH).astype(dtype)


@pytest.fixture(autouse=True)
def eight_threads():
    tt.set_num_threads(8)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_threads_that_share_rows_give_the_bits_of_one(rng, gradients, rows, dtype):
    inputs = arrays(rng, rows, dtype)
    shared = gradients(*inputs)
    tt.set_num_threads(1)
    for ours, alone in zip(shared, gradients(*inputs), strict=True):
        assert ours.tobytes() == alone.tobytes()


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("centered", [True, False])
def test_gradients_of_long_rows_are_right(rng, rows, centered):
    x, dy, gamma = arrays(rng, rows)
    if centered:
        _, mean, rstd = tt.layer_norm_forward(x, gamma)
        got = tt.layer_norm_backward(dy, x, mean, rstd, gamma)
        expected = reference.layer_norm_backward(dy, x, mean, rstd, gamma)
    else:
        _, rstd = tt.rms_norm_forward(x, gamma)
        got = tt.rms_norm_backward(dy, x, rstd, gamma)
        expected = reference.rms_norm_backward(dy, x, rstd, gamma)
    for ours, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_a_row_does_not_depend_on_its_batch(rng, gradients):
    x, dy, gamma = arrays(rng, 200)
    together = gradients(x, dy, gamma)[0]
    for row in 0, 17, 199:
        alone = gradients(x[row : row + 1], dy[row : row + 1], gamma)[0]
        assert alone.tobytes() == together[row].tobytes()


def test_gradients_in_place_are_those_of_a_fresh_array(rng, gradients):
    x, dy, gamma = arrays(rng, 3)
    fresh = gradients(x, dy, gamma)
    again = dy.copy()
    in_place = gradients(x, again, gamma, out=again)
    assert in_place[0] is again
    for ours, wanted in zip(in_place, fresh, strict=True):
        assert ours.tobytes() == wanted.tobytes()


def test_a_long_row_that_leaves_the_range_of_float_does_not_disturb_others(rng, gradients):
    x, dy, gamma = arrays(rng, 3)
    plain = gradients(x, dy, gamma)[0]
    x[1] *= 1e-30
    dy[1] *= 1e30
    wide = gradients(x, dy, gamma)[0]
    assert np.isfinite(wide[1]).any()
    for row in 0, 2:
        assert wide[row].tobytes() == plain[row].tobytes()


def test_nan_stays_in_its_long_row(rng, gradients):
    x, dy, gamma = arrays(rng, 3)
    plain = gradients(x, dy, gamma)[0]
    dy[1, 5000] = np.nan
    dx = gradients(x, dy, gamma)[0]
    assert np.isnan(dx[1]).all()
    for row in 0, 2:
        assert dx[row].tobytes() == plain[row].tobytes()
