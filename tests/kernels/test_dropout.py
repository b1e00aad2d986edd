"""Dropout in all its forms: results, out, generators and seeds, statistics and theory."""

import math
import threading

import ml_dtypes
import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.strategies import (
    BFLOAT16,
    DTYPES,
    OVERLAPS,
    WRITEABLE_LAYOUTS,
    arrays,
    overlapping,
    parameters,
    shapes,
)
from hypothesis import given
from hypothesis import strategies as st

PROBABILITIES = [0.0, 2**-20, 0.001, 0.1, 1 / 3, 0.5, 0.9, 0.999, 1.0]
TOLERANCE = {  # relative to the largest term
    **{np.dtype(dtype): 4 * np.finfo(dtype).eps for dtype in (np.float32, np.float64, np.float16)},
    BFLOAT16: 2**-7,
}

probabilities = st.sampled_from(PROBABILITIES) | st.floats(0, 1)
seeds = st.integers(0, 2**64 - 1)


def assert_close(got, expected, like, *terms):
    """Within a few roundings of the dtype of `like`, relative to the result or its terms."""
    dtype = like.dtype.newbyteorder("=")
    assert got.dtype == dtype
    magnitude = np.abs(expected) + sum(np.abs(reference.wide(term)) for term in terms)
    subnormal = float(ml_dtypes.finfo(dtype).smallest_subnormal)
    assert np.all(np.abs(got.astype(float) - expected) <= TOLERANCE[dtype] * magnitude + subnormal)


def unpacked(mask, count):
    return np.unpackbits(mask, count=count, bitorder="little").astype(bool)


# ---- results ----


@st.composite
def with_shared_axes(draw):
    """A shape, and some of its axes, of either sign and in any order."""
    shape = draw(shapes())
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    return shape, tuple(draw(st.sampled_from([axis, axis - len(shape)])) for axis in axes)


@given(st.data(), with_shared_axes(), st.sampled_from(DTYPES), probabilities, seeds, st.booleans())
def test_dropout_is_accurate(data, sharing, dtype, p, seed, inverted):
    shape, shared_axes = sharing
    x, dy = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    options = {"inverted": inverted, "shared_axes": shared_axes}
    expected = reference.dropout_forward(x, p, rng=seed, **options)
    y, mask = tt.dropout_forward(x, p, rng=seed, **options)
    np.testing.assert_array_equal(mask, expected.mask)
    assert_close(y, expected.y, x)
    np.testing.assert_array_equal(tt.dropout(x, p, rng=seed, **options), y)
    dx = tt.dropout_backward(dy, mask, p, **options)
    assert_close(dx, reference.dropout_backward(dy, mask, p, **options), dy)
    other = tt.dropout_apply(dy, mask, p, **options)
    assert_close(other, reference.dropout(dy, mask, p, **options), dy)
    np.testing.assert_array_equal(tt.dropout_apply(x, mask, p, **options), y)


@given(st.data(), shapes(), st.sampled_from(DTYPES), probabilities, seeds, st.booleans())
def test_drop_path_is_accurate(data, shape, dtype, p, seed, inverted):
    x, dy = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    expected = reference.drop_path_forward(x, p, rng=seed, inverted=inverted)
    y, mask = tt.drop_path_forward(x, p, rng=seed, inverted=inverted)
    np.testing.assert_array_equal(mask, expected.mask)
    assert_close(y, expected.y, x)
    dx = tt.drop_path_backward(dy, mask, p, inverted=inverted)
    assert_close(dx, reference.drop_path_backward(dy, mask, p, inverted=inverted), dy)


@given(st.data(), shapes(), st.sampled_from(DTYPES), probabilities, seeds)
def test_add_dropout_is_accurate(data, shape, dtype, p, seed):
    x, residual = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    bias = data.draw(parameters(shape[-1:], dtype))
    expected = reference.add_dropout_forward(x, bias, residual, p, rng=seed)
    y, mask = tt.add_dropout_forward(x, bias, residual, p, rng=seed)
    np.testing.assert_array_equal(mask, expected.mask)
    scale = 1 / (1 - p) if p < 1 else 1
    terms = [reference.wide(x) * scale, reference.wide(0 if bias is None else bias) * scale, residual]
    assert_close(y, expected.y, x, *terms)


@given(st.data(), shapes(), st.sampled_from(DTYPES), st.floats(0, 0.999), seeds)
def test_alpha_dropout_is_accurate(data, shape, dtype, p, seed):
    x, dy = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    expected = reference.alpha_dropout_forward(x, p, rng=seed)
    y, mask = tt.alpha_dropout_forward(x, p, rng=seed)
    np.testing.assert_array_equal(mask, expected.mask)
    a = 1 / math.sqrt((reference.ALPHA**2 * p + 1) * (1 - p))
    assert_close(y, expected.y, x, a * reference.wide(x), a * reference.ALPHA)
    dx = tt.alpha_dropout_backward(dy, mask, p)
    assert_close(dx, reference.alpha_dropout_backward(dy, mask, p), dy)


@given(st.data(), shapes(), st.sampled_from(DTYPES), st.floats(0, 0.999), seeds)
def test_gaussian_dropout_is_accurate(data, shape, dtype, p, seed):
    x, dy = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    y, noise = tt.gaussian_dropout_forward(x, p, rng=seed)
    z = reference.normals(x.size, seed).reshape(shape)
    deviation = math.sqrt(p / (1 - p))
    # the normal numbers have the precision of float32 in every dtype
    bound = max(TOLERANCE[dtype], 5e-7) * np.abs(deviation * z) + TOLERANCE[dtype]
    assert noise.dtype == dtype
    assert np.all(np.abs(noise.astype(float) - (1 + deviation * z)) <= bound)
    assert_close(y, reference.gaussian_dropout(x, noise), x)
    assert_close(tt.gaussian_dropout_backward(dy, noise), reference.gaussian_dropout_backward(dy, noise), dy)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (0, 3, 4), (1, 1, 1)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_of_few_elements_and_none_are_taken(shape, dtype):
    x = np.ones(shape, dtype)
    y, mask = tt.dropout_forward(x, 0.5, rng=1)
    np.testing.assert_array_equal(mask, reference.dropout_mask(shape, 0.5, rng=1))
    assert (y.shape, y.dtype) == (shape, dtype)
    np.testing.assert_array_equal(np.ravel(y), 2 * unpacked(mask, x.size))
    np.testing.assert_array_equal(tt.dropout_backward(x, mask, 0.5), y)
    shared = tt.dropout_forward(x, 0.5, rng=1, shared_axes=tuple(range(len(shape))))
    np.testing.assert_array_equal(shared.mask, reference.dropout_mask((), 0.5, rng=1))
    assert tt.add_dropout_forward(x, None, x, 0.5, rng=1).y.shape == shape
    assert tt.alpha_dropout_forward(x, 0.5, rng=1).y.shape == shape
    assert tt.drop_path_forward(x, 0.5, rng=1).y.shape == shape
    assert tt.gaussian_dropout_forward(x, 0.5, rng=1).noise.shape == shape


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shared_axes", [(), (1,), (0,)])
def test_p_of_0_keeps_and_p_of_1_drops_everything(rng, dtype, shared_axes):
    x = rng.standard_normal((9, 5000)).astype(dtype)
    x[0, :3] = 0.0, -0.0, np.inf
    kept, everything = tt.dropout_forward(x, 0.0, rng=rng, shared_axes=shared_axes)
    assert kept.tobytes() == x.tobytes()
    assert unpacked(everything, 8).all()
    dropped, nothing = tt.dropout_forward(x, 1.0, rng=rng, shared_axes=shared_axes)
    assert not dropped.any()
    assert not np.signbit(dropped.astype(float)).any()
    assert not nothing.any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_dropped_values_are_zero_even_where_they_are_nan(dtype, value):
    """In every lane and in the tail; kept values stay."""
    for count in (1, 5, 31, 64, 4097):
        x = np.full(count, value, dtype)
        y, mask = tt.dropout_forward(x, 0.5, rng=count)
        kept = unpacked(mask, count)
        expected = np.where(kept, value, 0)
        np.testing.assert_array_equal(y.astype(float), expected)
        np.testing.assert_array_equal(tt.dropout_backward(x, mask, 0.5).astype(float), expected)
        added = tt.add_dropout_forward(x, None, np.ones_like(x), 0.5, rng=count).y
        np.testing.assert_array_equal(added.astype(float), expected + 1)
        alpha = tt.alpha_dropout_forward(x, 0.5, rng=count).y
        np.testing.assert_array_equal(np.isfinite(alpha.astype(float)), ~kept)


@pytest.mark.parametrize("shape", [(6, 7, 8), (2, 3, 500, 3), (5, 1, 4097), (300, 49)])
def test_decisions_are_shared_along_any_axes(rng, shape):
    """Every subset of the axes; runs shorter and longer than one store."""
    x = rng.standard_normal(shape).astype(np.float32)
    for subset in range(2 ** len(shape)):
        axes = tuple(axis for axis in range(len(shape)) if subset >> axis & 1)
        y, mask = tt.dropout_forward(x, 0.3, rng=subset, shared_axes=axes)
        expected = reference.dropout_forward(x, 0.3, rng=subset, shared_axes=axes)
        np.testing.assert_array_equal(mask, expected.mask)
        assert_close(y, expected.y, x)


def test_shared_axes_may_be_an_int(rng):
    x = rng.standard_normal((6, 5))
    np.testing.assert_array_equal(
        tt.dropout(x, rng=1, shared_axes=-1), tt.dropout(x, rng=1, shared_axes=(1,))
    )


# ---- out ----


@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out_in_any_memory_is_written_and_returned(rng, dtype, layout):
    x, residual = rng.standard_normal((2, 7, 37)).astype(dtype)
    mask = reference.dropout_mask(x.shape, 0.3, rng=1)
    noise = tt.gaussian_dropout_forward(x, 0.3, rng=1).noise
    calls = {
        "dropout": lambda **out: tt.dropout(x, 0.3, rng=1, **out),
        "dropout_forward": lambda **out: tt.dropout_forward(x, 0.3, rng=1, **out).y,
        "dropout_backward": lambda **out: tt.dropout_backward(x, mask, 0.3, **out),
        "dropout_apply": lambda **out: tt.dropout_apply(x, mask, 0.3, **out),
        "drop_path_forward": lambda **out: tt.drop_path_forward(x, 0.3, rng=1, **out).y,
        "add_dropout_forward": lambda **out: tt.add_dropout_forward(x, None, residual, 0.3, rng=1, **out).y,
        "alpha_dropout_forward": lambda **out: tt.alpha_dropout_forward(x, 0.3, rng=1, **out).y,
        "alpha_dropout_backward": lambda **out: tt.alpha_dropout_backward(x, mask, 0.3, **out),
        "gaussian_dropout_forward": lambda **out: tt.gaussian_dropout_forward(x, 0.3, rng=1, **out).y,
        "gaussian_dropout_backward": lambda **out: tt.gaussian_dropout_backward(x, noise, **out),
    }
    for name, call in calls.items():
        out = WRITEABLE_LAYOUTS[layout](np.zeros_like(x))
        assert call(out=out) is out, name
        np.testing.assert_array_equal(out, call(), name)


@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("shared_axes", [(), (0,), (1,)])
def test_out_may_overlap_an_input(rng, kind, shared_axes):
    x = rng.standard_normal((37, 300)).astype(np.float32)
    expected, mask = reference.dropout_forward(x, 0.3, rng=1, shared_axes=shared_axes)
    source, out = overlapping(kind, x)
    assert_close(tt.dropout(source, 0.3, rng=1, shared_axes=shared_axes, out=out), expected, x)
    source, out = overlapping(kind, x)
    assert_close(tt.dropout_backward(source, mask, 0.3, shared_axes=shared_axes, out=out), expected, x)


def test_out_may_overlap_the_mask(rng):
    dy = rng.standard_normal((40, 100)).astype(np.float32)
    out = np.zeros_like(dy)
    mask = out.view(np.uint8).ravel()[1000:1500]
    mask[...] = rng.integers(0, 256, 500)
    expected = reference.dropout_backward(dy, mask, 0.3)
    assert_close(tt.dropout_backward(dy, mask, 0.3, out=out), expected, dy)


def test_masks_may_have_any_memory_order(rng):
    dy = rng.standard_normal(4000).astype(np.float32)
    mask = rng.integers(0, 256, 500).astype(np.uint8)
    expected = tt.dropout_backward(dy, mask)
    assert_close(expected, reference.dropout_backward(dy, mask), dy)
    for odd in (np.repeat(mask, 3)[::3], mask[::-1].copy()[::-1], mask.astype(np.uint8, order="F")):
        np.testing.assert_array_equal(tt.dropout_backward(dy, odd), expected)
    mask.flags.writeable = False
    np.testing.assert_array_equal(tt.dropout_backward(dy, mask), expected)


# ---- generators and seeds ----


def test_the_mask_depends_on_the_seed_alone():
    mask = tt.dropout_mask(3000, 0.3, rng=9)
    for dtype in DTYPES:
        x = np.ones((30, 100), dtype)
        np.testing.assert_array_equal(tt.dropout_forward(x, 0.3, rng=9).mask, mask)
        np.testing.assert_array_equal(tt.dropout_forward(x.T, 0.3, rng=9).mask, mask)
        np.testing.assert_array_equal(tt.alpha_dropout_forward(x, 0.3, rng=9).mask, mask)
        np.testing.assert_array_equal(tt.add_dropout_forward(x, None, x, 0.3, rng=9).mask, mask)


@pytest.mark.parametrize("p", [0.5, 0.1])
def test_the_mask_of_the_first_rows_is_a_prefix_of_the_mask(p):
    whole = tt.dropout_mask((1000, 40), p, rng=9)
    for rows in (1, 3, 128, 999):
        np.testing.assert_array_equal(tt.dropout_mask((rows, 40), p, rng=9), whole[: rows * 5])


def test_noise_depends_on_the_seed_alone_and_is_rounded_to_the_dtype():
    noise = tt.gaussian_dropout_forward(np.ones(6000), 0.3, rng=9).noise
    for dtype in DTYPES:
        narrow = tt.gaussian_dropout_forward(np.ones((3, 1000), dtype), 0.3, rng=9).noise
        np.testing.assert_allclose(
            narrow.astype(float).ravel(), noise[:3000], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
        )


BIT_GENERATORS = [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM]


@pytest.mark.parametrize("bit_generator", BIT_GENERATORS)
def test_a_generator_gives_64_bits_a_call(bit_generator):
    ours, theirs = (np.random.Generator(bit_generator(5)) for _ in range(2))
    x = np.ones(100)
    draws = [
        lambda rng: tt.dropout_mask(100, 0.5, rng=rng),
        lambda rng: tt.dropout(x, 0.0, rng=rng),
        lambda rng: tt.dropout_forward(x, 1.0, rng=rng).mask,
        lambda rng: tt.dropout_forward(x, 0.3, rng=rng, shared_axes=0).mask,
        lambda rng: tt.drop_path_forward(x, 0.3, rng=rng).mask,
        lambda rng: tt.add_dropout_forward(x, None, x, 0.3, rng=rng).mask,
        lambda rng: tt.alpha_dropout_forward(x, 0.3, rng=rng).mask,
        lambda rng: tt.gaussian_dropout_forward(x, 0.3, rng=rng).noise,
        lambda rng: tt.dropout_mask(0, 0.5, rng=rng),
    ]
    for draw in draws:
        seed = int(theirs.integers(0, 2**64, dtype=np.uint64))
        np.testing.assert_array_equal(draw(ours), draw(seed))
    assert ours.integers(2**62) == theirs.integers(2**62)


@pytest.mark.parametrize("seed", [np.uint64(2**64 - 1), np.int8(7), np.int64(0)])
def test_seeds_may_be_integers_of_numpy(seed):
    np.testing.assert_array_equal(
        tt.dropout_mask(100, 0.5, rng=seed), tt.dropout_mask(100, 0.5, rng=int(seed))
    )


def test_without_rng_masks_differ_and_the_global_state_stays():
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    masks = {tt.dropout_mask(256, 0.5).tobytes() for _ in range(20)}
    masks |= {tt.dropout_forward(np.ones(256), 0.5, rng=None).mask.tobytes() for _ in range(20)}
    assert len(masks) == 40
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def test_a_refused_call_draws_nothing():
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state
    x, read_only = np.ones((4, 5)), np.ones((4, 5))
    read_only.flags.writeable = False
    for arguments, keywords in [
        ((x, 1.5), {}),
        ((x.astype(int), 0.5), {}),
        ((x, 0.5), {"inverted": 2}),
        ((x, 0.5), {"shared_axes": (0, 0)}),
        ((x, 0.5), {"shared_axes": 2}),
        ((x, 0.5), {"out": read_only}),
        ((x, 0.5), {"out": np.ones(4)}),
    ]:
        with pytest.raises((ValueError, TypeError)):
            tt.dropout_forward(*arguments, rng=rng, **keywords)
    with pytest.raises(ValueError, match="p must be less than 1"):
        tt.gaussian_dropout_forward(x, 1.0, rng=rng)
    with pytest.raises(ValueError, match="must have shape"):
        tt.add_dropout_forward(x, None, x[0], 0.5, rng=rng)
    assert rng.bit_generator.state == state


def test_threads_share_a_generator():
    """Each draw is one of the generator's, and none occurs twice."""
    rng, theirs = np.random.default_rng(3), np.random.default_rng(3)
    drawn = []

    def draw():
        drawn.extend(tt.dropout_mask(64, 0.5, rng=rng).tobytes() for _ in range(500))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seeds = theirs.integers(0, 2**64, 2000, dtype=np.uint64)
    assert sorted(drawn) == sorted(tt.dropout_mask(64, 0.5, rng=int(seed)).tobytes() for seed in seeds)
    assert rng.bit_generator.state == theirs.bit_generator.state


# ---- statistics and theory, with fixed seeds ----


COUNT = 2**22


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_results_have_the_expected_mean_and_variance(rng, p):
    x = rng.standard_normal(COUNT) + 2
    y = tt.dropout(x, p, rng=8)
    second = np.mean(x**2) / (1 - p)
    assert abs(y.mean() - 2) < 4 * math.sqrt(second / COUNT)
    assert abs(np.mean(y**2) / second - 1) < 20 / math.sqrt(COUNT * (1 - p))
    gaussian = tt.gaussian_dropout_forward(x, p, rng=8).y
    assert abs(gaussian.mean() - 2) < 4 * math.sqrt(second / COUNT)
    assert abs(np.mean(gaussian**2) / second - 1) < 20 / math.sqrt(COUNT * (1 - p))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rng, p):
    y = tt.alpha_dropout_forward(rng.standard_normal(COUNT), p, rng=9).y
    assert abs(y.mean()) < 4 / math.sqrt(COUNT)
    assert abs(y.var() - 1) < 10 / math.sqrt(COUNT)


def test_classical_and_inverted_training_are_equivalent(rng):
    """W' = (1 - p) W, lr' = (1 - p)^2 lr, decay' = decay / (1 - p)^2: the same net after every step."""
    p, lr, decay = 0.3, 0.05, 0.01
    x, target = rng.standard_normal((40, 12)), rng.standard_normal((40, 3))
    hidden = rng.standard_normal((12, 20)) / 4
    output = rng.standard_normal((20, 3)) / 4

    def train(inverted):
        scale = 1 - p if inverted else 1.0
        v, w = hidden.copy(), output * scale
        nets = []
        for step in range(100):
            h = x @ v
            dropped, mask = tt.dropout_forward(np.maximum(h, 0), p, rng=step, inverted=inverted)
            gradient = 2 / x.size * (dropped @ w - target)
            dv = x.T @ (tt.dropout_backward(gradient @ w.T, mask, p, inverted=inverted) * (h > 0))
            w = w - lr * scale**2 * (dropped.T @ gradient + decay / scale**2 * w)
            v = v - lr * dv
            nets.append(np.concatenate([v.ravel(), w.ravel() / scale]))
        return np.array(nets)

    np.testing.assert_allclose(train(True), train(False), rtol=1e-12, atol=1e-12)


def test_dropout_of_a_linear_model_is_ridge_regression(rng):
    """The mean loss over masks is the loss of the mean plus p / (1 - p) sum_j w_j^2 sum_i x_ij^2."""
    p, x, w = 0.4, rng.standard_normal((8, 5)), rng.standard_normal(5)
    target = rng.standard_normal(8)
    samples = 2**17
    dropped = tt.dropout(np.broadcast_to(x, (samples, *x.shape)), p, rng=10)
    losses = np.square(dropped @ w - target).sum(1)
    expected = np.square(x @ w - target).sum() + p / (1 - p) * (w**2 @ (x**2).sum(0))
    assert abs(losses.mean() - expected) < 4 * losses.std() / math.sqrt(samples)


# ---- masks of bools ----


@pytest.mark.parametrize("shape", [(4, 3), (5, 7, 2), (64,), (0, 3), ()], ids=str)
def test_a_mask_of_bools_has_a_decision_for_each_element(shape, rng):
    kept = rng.random(shape) < 0.5
    dy = rng.standard_normal(shape)
    expected = np.where(kept, dy * 2, 0)
    for mask in (kept, np.asfortranarray(kept), kept.tolist() if kept.size else kept):
        np.testing.assert_array_equal(tt.dropout_backward(dy, mask, 0.5), expected)
    np.testing.assert_array_equal(
        tt.dropout_backward(dy, np.packbits(kept, bitorder="little"), 0.5), expected
    )


@pytest.mark.parametrize("axes", [(0,), (2, 3), (1, 3), (0, 1, 2, 3)], ids=str)
def test_a_mask_of_bools_may_have_shared_axes(axes, rng):
    """It has the shape of the decisions, with or without the shared axes, or that of x."""
    dy = rng.standard_normal((3, 4, 5, 6))
    kept = rng.random([1 if axis in axes else n for axis, n in enumerate(dy.shape)]) < 0.5
    expected = np.where(kept, dy / 0.7, 0)
    for mask in (kept, kept.squeeze(axes), np.broadcast_to(kept, dy.shape)):
        got = tt.dropout_backward(dy, mask, 0.3, shared_axes=axes)
        np.testing.assert_allclose(got, expected, rtol=1e-15)
    free = rng.random(dy.shape) < 0.5
    np.testing.assert_allclose(
        tt.dropout_backward(dy, free, 0.3, shared_axes=axes), np.where(free, dy / 0.7, 0), rtol=1e-15
    )


def test_other_backward_functions_take_bools(rng):
    dy, kept = rng.standard_normal((4, 3)), np.array([True, False, True, True])
    np.testing.assert_array_equal(tt.drop_path_backward(dy, kept, 0.5), np.where(kept[:, None], 2 * dy, 0))
    each = rng.random((4, 3)) < 0.5
    packed = np.packbits(each, bitorder="little")
    np.testing.assert_array_equal(
        tt.alpha_dropout_backward(dy, each, 0.5), tt.alpha_dropout_backward(dy, packed, 0.5)
    )
