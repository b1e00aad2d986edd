"""Losses against the specification and PyTorch, extreme values, and errors about wrong targets."""

import doctest
import re
from functools import partial

import ml_dtypes
import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import arithmetic, assert_within, native, rounding, storage_error
from helpers.strategies import DTYPES, LAYOUTS, PARAMETER_DTYPES, arrays, shapes
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses
from trimtab.gradients import gradcheck

# The error of float32 and float64 arithmetic, relative to the largest term of a sum.
ERROR = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 4e-15}
REDUCTIONS = ("mean", "sum", "none")
LABELS = np.array([0, 2, 1, 3, 3])

dtypes = st.sampled_from(DTYPES)
reductions = st.sampled_from(REDUCTIONS)


@pytest.fixture
def logits(rng):
    return rng.standard_normal((5, 4))


# ---- softmax cross entropy ----


@st.composite
def targets(draw, rows, classes, dtype):
    """(labels, options): ids of any integer dtype, some of them ignored; or probabilities."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if draw(st.booleans()):
        wider = draw(st.sampled_from(PARAMETER_DTYPES[dtype]))
        return rng.dirichlet(np.ones(classes), rows).astype(wider), {}
    kind = draw(st.sampled_from(["i1", "u1", "i2", "u4", "i8", ">i4"])) if classes < 128 else "i8"
    ids = rng.integers(0, classes, rows).astype(kind)
    ignored = draw(st.sampled_from([None, 0, classes - 1]))
    return ids, {} if ignored is None or np.all(ids == ignored) else {"ignore_index": ignored}


@given(
    st.data(),
    st.integers(1, 9),
    st.integers(1, 40) | st.sampled_from([127, 128, 129, 1025]),
    dtypes,
    reductions,
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_cross_entropy_is_accurate(data, rows, classes, dtype, reduction, smoothing):
    x = data.draw(arrays((rows, classes), dtype))
    labels, options = data.draw(targets(rows, classes, dtype))
    weight = np.random.default_rng(classes).uniform(0.5, 2, classes)
    weight = data.draw(st.sampled_from([None, *(weight.astype(d) for d in PARAMETER_DTYPES[dtype])]))
    options |= {"label_smoothing": smoothing, "class_weight": weight, "reduction": reduction}
    expected_loss, expected_gradient = reference.softmax_cross_entropy(x, labels, **options)
    loss, dlogits = tt.softmax_cross_entropy(x, labels, **options)

    error = ERROR[arithmetic(dtype)]
    spread = np.ptp(reference.wide(x)) + np.log(classes) + 1
    assert isinstance(loss, np.ndarray if reduction == "none" else float)
    assert np.asarray(loss).dtype == (native(dtype) if reduction == "none" else np.float64)
    allowed = 4 * error * spread * (rows if reduction == "sum" else 1)
    if reduction == "none":
        allowed = allowed + rounding(expected_loss, native(dtype))
    assert_within(np.asarray(loss), expected_loss, allowed + 1e-7 * np.abs(expected_loss), "loss")
    largest = 2 * spread * (1 / max(rows - np.sum(expected_loss == 0), 1) if reduction == "mean" else 1)
    assert dlogits.dtype == dtype
    allowed = error * largest * 2 + storage_error(expected_gradient, dlogits.dtype)
    if dtype.itemsize == 2:
        allowed = allowed + float(ml_dtypes.finfo(dtype).smallest_subnormal)
    assert_within(dlogits, expected_gradient, allowed, "dlogits")


@pytest.mark.parametrize("dtype", "bBhHiIlLqQ?")
@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 4)])
def test_class_ids_may_have_any_integer_dtype_and_shape(rng, dtype, shape):
    x, ids = rng.standard_normal((4, 2)), np.array([0, 1, 1, 0])
    expected = reference.softmax_cross_entropy(x, ids)
    got = tt.softmax_cross_entropy(x, ids.astype(dtype).reshape(shape))
    assert_allclose(got.loss, expected[0], rtol=1e-14)
    assert_allclose(got.dlogits, expected[1], atol=1e-15)


@pytest.mark.parametrize("dtype", [*DTYPES, "g", "?", *"bBhHiIlLqQ"], ids=str)
def test_one_hot_rows_may_have_any_dtype(rng, dtype):
    x, ids = rng.standard_normal((4, 3)), np.array([0, 1, 2, 0])
    expected = reference.softmax_cross_entropy(x, ids)
    got = tt.softmax_cross_entropy(x, np.eye(3, dtype=dtype)[ids])
    assert_allclose(got.loss, expected[0], rtol=1e-14)
    assert_allclose(got.dlogits, expected[1], atol=1e-15)


@pytest.mark.parametrize(
    ("dtype", "ignored"), [("i8", -(2**63)), ("i1", -128), ("u8", 2**64 - 1), ("u8", 2**63), ("i4", 7)]
)
def test_ignored_labels_may_be_any_integer_of_the_dtype(rng, dtype, ignored):
    """Values of other dtypes with the same bits are not ignored."""
    x, labels = rng.standard_normal((3, 4)), np.array([0, ignored, 3], dtype)
    expected = reference.softmax_cross_entropy(x[::2], [0, 3])
    got = tt.softmax_cross_entropy(x, labels, ignore_index=ignored)
    assert_allclose(got.loss, expected[0], rtol=1e-14)
    assert_allclose(got.dlogits, np.insert(expected[1], 1, 0, axis=0), atol=1e-15)
    for other in (ignored + 2**64, ignored - 2**64, -1, 2**80):
        with pytest.raises(ValueError, match=rf"labels must be between 0 and 3, or {other}, got {ignored}$"):
            tt.softmax_cross_entropy(x, labels, ignore_index=other)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cross_entropy_reads_any_memory(layout, rng):
    x, labels = LAYOUTS[layout](rng.standard_normal((6, 5))), rng.integers(0, 5, 6)
    expected = reference.softmax_cross_entropy(x, labels)
    got = tt.softmax_cross_entropy(x, LAYOUTS[layout](labels) if layout != "broadcast" else labels)
    assert_allclose(got.loss, expected[0], rtol=1e-14)
    assert_allclose(got.dlogits, expected[1], atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0, 3.0]])
def test_cross_entropy_gradients_agree_with_central_differences(smoothing, weight, logits):
    loss = losses.CrossEntropy(smoothing, weight, ignore_index=1)
    assert gradcheck(lambda z: np.array(loss(z, LABELS)[0]), lambda dy, z: dy * loss(z, LABELS)[1], logits)


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes():
    assert_allclose(losses.CrossEntropy()(np.zeros((5, 4)), LABELS)[0], np.log(4), rtol=1e-15)


def test_cross_entropy_of_a_confident_row_is_accurate():
    for gap in (10.0, 30.0):
        loss, dlogits = tt.softmax_cross_entropy(np.array([[gap, 0.0]]), [0])
        assert_allclose(loss, np.log1p(np.exp(-gap)), rtol=1e-10 if gap < 20 else 0.01)
        assert_allclose(dlogits[0, 1], np.exp(-gap) / (1 + np.exp(-gap)), rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_cross_entropy_of_large_logits_is_finite(size, dtype, logits):
    x = (logits + size * np.eye(4)[LABELS]).astype(dtype)
    loss, dlogits = tt.softmax_cross_entropy(x, LABELS)
    assert np.isfinite(dlogits.astype(float)).all()
    assert_allclose(loss, max(0, -size), rtol=1e-2, atol=1e-12)


def test_logits_of_minus_infinity_leave_classes_out():
    x = np.array([[0.0, -np.inf, 1.0]])
    for target in ([2], [[0.0, 0.0, 1.0]]):
        loss, dlogits = tt.softmax_cross_entropy(x, target)
        expected = tt.softmax_cross_entropy(x[:, ::2], [1])
        assert_allclose(loss, expected.loss, rtol=1e-15)
        assert_allclose(dlogits, [[expected.dlogits[0, 0], 0, expected.dlogits[0, 1]]], rtol=1e-15)
    assert tt.softmax_cross_entropy(x, [1]).loss == np.inf
    assert tt.softmax_cross_entropy(x, [2], label_smoothing=0.1).loss == np.inf
    assert np.isfinite(
        tt.softmax_cross_entropy(x, [2], label_smoothing=0.1, class_weight=[1.0, 0.0, 1.0]).loss
    )


@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_inf_stay_in_their_row(special, dtype, rng):
    x, labels = rng.standard_normal((3, 37)).astype(dtype), [5, 6, 7]
    plain = tt.softmax_cross_entropy(x, labels, reduction="none")
    for lane in range(37):
        changed = x.copy()
        changed[1, lane] = special
        loss, dlogits = tt.softmax_cross_entropy(changed, labels, reduction="none")
        assert_array_equal(np.isnan(loss), [False, True, False])
        assert np.isnan(dlogits[1].astype(float)).all()
        assert_array_equal(loss[::2], plain.loss[::2])
        assert_array_equal(dlogits[::2], plain.dlogits[::2])
        ignored = tt.softmax_cross_entropy(changed, labels, reduction="none", ignore_index=6)
        assert ignored.loss[1] == 0
        assert not ignored.dlogits[1].any()


def test_the_mean_of_no_rows_is_nan():
    for x, labels in ((np.zeros((0, 3)), np.zeros(0, int)), (np.ones((2, 3)), np.array([-100, -100]))):
        loss, dlogits = tt.softmax_cross_entropy(x, labels, ignore_index=-100)
        assert np.isnan(loss)
        assert dlogits.shape == x.shape
        assert not dlogits.any()


@pytest.mark.parametrize(("classes", "smoothing"), [(10, 0.1), (3, 0.4), (1000, 0.05)])
def test_label_smoothing_has_its_optimum_at_a_finite_gap(classes, smoothing):
    """log(1 + K (1 - eps) / eps), where gradient descent ends, too."""
    gap = np.log(1 + classes * (1 - smoothing) / smoothing)
    rows = np.eye(classes)[:5]
    _, dlogits = tt.softmax_cross_entropy(gap * rows, np.arange(len(rows)), label_smoothing=smoothing)
    assert_allclose(dlogits, 0, atol=1e-15)
    if classes == 10:
        assert_allclose(gap, 4.51, atol=0.005)
        x = np.zeros((1, classes))
        for _ in range(3000):
            x -= 5 * tt.softmax_cross_entropy(x, [0], label_smoothing=smoothing).dlogits
        assert_allclose(x[0, 0] - x[0, 1:], gap, rtol=1e-9)


# ---- regression ----


@given(st.data(), shapes(max_dims=3), dtypes, reductions, st.sampled_from([None, 1.0, 0.01, 0.0]))
def test_regression_is_accurate(data, shape, dtype, reduction, delta):
    pred = data.draw(arrays(shape, dtype))
    target = data.draw(arrays(shape, data.draw(st.sampled_from(PARAMETER_DTYPES[dtype]))))
    name, options = ("mse", {}) if delta is None else ("huber", {"delta": delta})
    expected_loss, expected = getattr(reference, name)(pred, target, reduction=reduction, **options)
    loss, dpred = getattr(tt, name)(pred, target, reduction=reduction, **options)
    work = arithmetic(dtype)
    terms = np.abs(reference.wide(pred)) + np.abs(reference.wide(target))
    assert np.asarray(loss).dtype == (native(dtype) if reduction == "none" else np.float64)
    stored = rounding(expected_loss, native(dtype)) if reduction == "none" else 0
    allowed = stored + 1e-13 * np.abs(expected_loss) + ERROR[work] * terms.max() ** 2
    assert_within(np.asarray(loss), expected_loss, allowed, "loss")
    scale = 1 / pred.size if reduction == "mean" else 1
    assert dpred.dtype == dtype
    allowed = ERROR[work] * terms * scale + storage_error(expected, dpred.dtype) + rounding(expected, work)
    assert_within(dpred, expected, allowed, name)


def test_regression_gradients_agree_with_central_differences(rng):
    pred, target = rng.standard_normal((2, 3, 4))
    for loss in (losses.MSE(), losses.Huber(0.5)):
        assert gradcheck(
            lambda z, loss=loss: np.array(loss(z, target)[0]),
            lambda dy, z, loss=loss: dy * loss(z, target)[1],
            pred,
        )


def test_huber_is_linear_far_from_the_target():
    pred = np.array([-30.0, -0.5, 0.0, 2.0, 30.0])
    loss, dpred = tt.huber(pred, np.zeros(5), delta=2.0, reduction="none")
    assert_array_equal(loss, [58, 0.125, 0, 2, 58])
    assert_array_equal(dpred, [-2, -0.5, 0, 2, 2])


def test_squares_beyond_the_range_of_float32_are_finite():
    pred = np.full(3, 1e30, np.float32)
    loss, dpred = tt.mse(pred, np.zeros(3, np.float32))
    assert_allclose(loss, 1e60, rtol=1e-6)
    assert_allclose(dpred, 2e30 / 3, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values_of_regression_are_right(dtype):
    pred = np.array([np.nan, np.inf, -np.inf, 1], dtype)
    loss, dpred = tt.mse(pred, np.zeros(4, dtype), reduction="none")
    assert_array_equal(loss.astype(float), [np.nan, np.inf, np.inf, 1])
    assert_array_equal(dpred.astype(float), [np.nan, np.inf, -np.inf, 2])
    loss, dpred = tt.huber(pred, np.zeros(4, dtype), reduction="none")
    assert_array_equal(loss.astype(float), [np.nan, np.inf, np.inf, 0.5])
    assert_array_equal(dpred.astype(float), [np.nan, 1, -1, 1])


# ---- loss classes and metrics ----


def test_targets_may_have_any_real_dtype():
    output = np.array([[1.5], [2.0]], np.float32)
    for loss in (losses.MSE(), losses.Huber()):
        value, gradient, _ = loss(output, [[1], [2]])
        assert value == loss(output, np.array([[1.0], [2.0]]))[0] > 0
        assert gradient.dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1, 2, 3, 4], ValueError, "labels must be between 0 and 3, got 4"),
        ([0, -1, 2, 3, 3], ValueError, "labels must be between 0 and 3, got -1"),
        ([0, 1], ValueError, r"labels must have shape \(5,\), or \(5, 4\) .* probabilities, got \(2,\)"),
        ([0.0, 1.0, 2.0, 3.0, 3.0], TypeError, "CrossEntropy: class ids must be integers, got dtype float64"),
    ],
)
def test_wrong_labels_are_refused(labels, error, message, logits):
    with pytest.raises(error, match=message):
        losses.CrossEntropy()(logits, labels)


@pytest.mark.parametrize("output", [np.float64(1.0), np.zeros(5)])
def test_cross_entropy_needs_an_axis_of_classes(output):
    message = rf"^CrossEntropy: output must have shape \(N, K\), got {re.escape(str(np.shape(output)))}$"
    with pytest.raises(ValueError, match=message):
        losses.CrossEntropy()(output, np.zeros(np.shape(output), int))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0, 3.0]])
@pytest.mark.parametrize("ignored", [None, 1, -5])
def test_options_of_cross_entropy_are_checked(smoothing, weight, ignored, logits):
    labels = np.where(LABELS == 1, -5, LABELS) if ignored == -5 else LABELS
    loss = losses.CrossEntropy(smoothing, weight, ignored)
    expected = reference.softmax_cross_entropy(
        logits,
        labels,
        label_smoothing=smoothing,
        class_weight=None if weight is None else np.array(weight),
        ignore_index=ignored,
    )
    for target in (labels, labels[:, None], labels.astype(np.int8), labels.tolist()):
        value, gradient, _ = loss(logits, target)
        assert_allclose(value, expected[0], rtol=1e-13)
        assert_allclose(gradient, expected[1], atol=1e-15)


@pytest.mark.parametrize(
    "dtype", [int, bool, np.uint8, np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
)
@pytest.mark.parametrize("output", DTYPES, ids=str)
def test_one_hot_labels_are_probabilities(dtype, output, logits):
    x, hot = logits.astype(output), np.eye(4)[LABELS]
    loss = losses.CrossEntropy(0.1, [0.5, 1.0, 2.0, 3.0])
    expected, gradient = reference.softmax_cross_entropy(
        x, hot, label_smoothing=0.1, class_weight=np.array([0.5, 1.0, 2.0, 3.0])
    )
    got = loss(x, hot.astype(dtype))
    assert_allclose(got.loss, expected, rtol=1e-6)
    assert got.gradient.dtype == output
    assert_allclose(got.gradient.astype(float), gradient, atol=4e-3 if output.itemsize == 2 else 1e-6)


@pytest.mark.parametrize("delta", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("dtype", ["i4", "u1", "f4", "f8", "f2", "?"])
def test_regression_takes_targets_of_every_dtype(delta, dtype, rng):
    pred = rng.standard_normal((5, 2)).astype(np.float32)
    target = rng.integers(0, 2, (5, 2)).astype(dtype)
    for loss, expected in (
        (losses.Huber(delta), reference.huber(pred, target.astype(float), delta=delta)),
        (losses.MSE(), reference.mse(pred, target.astype(float))),
    ):
        value, gradient, weight = loss(pred, target)
        assert_allclose(value, expected[0], rtol=1e-6)
        assert_allclose(gradient, expected[1], atol=1e-6)
        assert weight == 10


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_bools_are_class_ids_of_two_classes(shape, rng):
    logits, ids = rng.normal(size=(5, 2)), np.array([0, 1, 1, 0, 1])
    loss = losses.CrossEntropy()
    loss.check_targets("fit: y", ids.astype(bool).reshape(shape), logits)
    expected = reference.softmax_cross_entropy(logits, ids)
    assert_allclose(loss(logits, ids.astype(bool).reshape(shape))[0], expected[0], rtol=1e-15)
    one_hot = np.eye(2, dtype=bool)[ids]
    assert_allclose(loss(logits, one_hot)[0], expected[0], rtol=1e-15)


@pytest.mark.parametrize("loss", [losses.MSE(), losses.Huber(), losses.CrossEntropy()])
def test_masked_arrays_and_matrices_are_refused(loss):
    output, target = np.zeros((2, 1), np.float32), np.ones((2, 1), int)
    masked = np.ma.masked_array(target, [[0], [1]])
    for wrong in (masked, [masked[0], masked[1]], (target[0], masked[1])):
        with pytest.raises(TypeError, match="target must be a plain array, got a MaskedArray"):
            loss(output, wrong)
    with pytest.raises(TypeError, match="output must be a plain array, got a MaskedArray"):
        loss(np.ma.masked_array(output), target)
    with pytest.raises(TypeError, match="class_weight must be a plain array"):
        losses.CrossEntropy(class_weight=np.ma.masked_array([1.0, 2.0], [0, 1]))


@pytest.mark.parametrize("loss", [losses.MSE(), losses.Huber()])
def test_shapes_are_never_broadcast(loss):
    """Axes of length 1 are ignored: (N, 1) with (N,) are N pairs, not N x N."""
    pred, target = np.arange(6.0).reshape(3, 2), np.arange(6.0)[::-1].reshape(3, 2)
    for output, given_shape in (((6, 1), (6,)), ((6,), (6, 1)), ((3, 2), (3, 1, 2))):
        got = loss(pred.reshape(output), target.reshape(given_shape))
        assert_allclose(got.loss, loss(pred, target).loss, rtol=1e-14)
        assert_array_equal(got.gradient, loss(pred, target).gradient.reshape(output))
    for output, target in (((3, 2), (1, 2)), ((3,), ()), ((3, 1), (2,)), ((2, 3), (3,)), ((3, 3), (3, 1))):
        with pytest.raises(ValueError, match="target must have shape"):
            loss(np.zeros(output), np.zeros(target))


@pytest.mark.parametrize("weight", [[1, -1], [1, np.nan], [1, np.inf], [[1, 2]], 1.0])
def test_class_weights_are_finite_factors(weight):
    with pytest.raises(
        ValueError, match="CrossEntropy: class_weight must be a finite factor >= 0 for each class"
    ):
        losses.CrossEntropy(class_weight=weight)


def test_wrong_options_are_refused():
    for smoothing in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="label_smoothing must be between 0 and 1"):
            losses.CrossEntropy(smoothing)
    for delta in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="Huber: delta must be finite and >= 0"):
            losses.Huber(delta)
    with pytest.raises(ValueError, match="top_k: k must be at least 1, got 0"):
        losses.top_k(0)


def test_accuracy_counts_the_largest_logit():
    assert losses.accuracy(np.eye(4), np.array([0, 1, 2, 0])) == 0.75
    assert losses.accuracy(np.eye(4), np.eye(4)[[0, 1, 2, 0]]) == 0.75
    assert losses.accuracy(np.eye(4), np.array([0, 1, 2, 0]), ignore_index=2) == 2 / 3
    assert losses.CrossEntropy(ignore_index=-1).metrics["accuracy"](np.eye(2), [0, -1]) == 1


def test_top_k_counts_labels_among_the_k_largest_logits(rng):
    x, labels = rng.standard_normal((50, 6)), rng.integers(0, 6, 50)
    x[:20] = x[:20].round()  # ties
    order = np.argsort(-x, axis=1, kind="stable")
    for k in range(1, 7):
        expected = np.mean([label in row[:k] for label, row in zip(labels, order, strict=True)])
        assert losses.top_k(k)(x, labels) == expected
        counted = labels != 2
        assert losses.top_k(k, ignore_index=2)(x, labels) == losses.top_k(k)(x[counted], labels[counted])
    assert losses.top_k(1)(x, labels) == losses.accuracy(x, labels)
    assert losses.top_k(2)(np.array([[np.nan, 1, 2.0, 0]]), [1]) == 0


def test_docstring_examples_run():
    results = doctest.testmod(losses)
    assert results.attempted > 0
    assert results.failed == 0


# ---- PyTorch ----


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 2, 7)])
@pytest.mark.parametrize("kind", ["ids", "ignored", "probabilities"])
def test_cross_entropy_agrees_with_torch(kind, weight, smoothing, reduction, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((9, 7))
    labels = rng.dirichlet(np.ones(7), 9) if kind == "probabilities" else rng.integers(0, 7, 9)
    ignored = {"ignore_index": int(labels[0])} if kind == "ignored" else {}
    options = {"label_smoothing": smoothing, "reduction": reduction, **ignored}
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    weights = None if weight is None else torch.from_numpy(weight)
    value = torch.nn.functional.cross_entropy(leaf, torch.from_numpy(labels), weights, **options)
    value.sum().backward()
    loss, dlogits = tt.softmax_cross_entropy(x, labels, class_weight=weight, **options)
    assert_allclose(loss, value.detach().numpy(), rtol=1e-13)
    assert_allclose(dlogits, leaf.grad.numpy(), atol=1e-15)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_regression_agrees_with_torch(reduction, rng):
    torch = pytest.importorskip("torch")
    pred, target = rng.standard_normal((2, 5, 7))
    functional = torch.nn.functional
    for loss, value in (
        (tt.mse, functional.mse_loss),
        (partial(tt.huber, delta=0.5), partial(functional.huber_loss, delta=0.5)),
    ):
        leaf = torch.from_numpy(pred.copy()).requires_grad_()
        expected = value(leaf, torch.from_numpy(target), reduction=reduction)
        expected.sum().backward()
        got, dpred = loss(pred, target, reduction=reduction)
        assert_allclose(got, expected.detach().numpy(), rtol=1e-13)
        assert_allclose(dpred, leaf.grad.numpy(), rtol=1e-13)
