"""Weights of samples, classes and labels in losses; and classes along any axis."""

from functools import partial

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import arithmetic
from helpers.strategies import DTYPES
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses
from trimtab.gradients import gradcheck

REDUCTIONS = ("mean", "sum", "none")
ELEMENTWISE = {
    "mse": {},
    "mae": {},
    "huber": {"delta": 0.5},
    "binary_cross_entropy": {"label_smoothing": 0.1, "pos_weight": [0.5, 2, 3]},
}
WEIGHTS = {
    "per sample": np.array([0.5, 0, 2, 3, 1]),
    "per element": np.linspace(0, 2, 30).reshape(5, 2, 3),
    "integers": np.array([1, 0, 0, 2, 7]),
    "column": np.array([[1.5], [0], [1], [2], [3]], np.float32),
}
SINGLE = {"MSE": 4.0, "MAE": 2.0, "Huber": 1.5}  # of an output of 3 for a target of 1
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-13}


def assert_result(got, expected, dtype):
    rtol = 5e-3 if dtype.itemsize == 2 else TOLERANCE[arithmetic(dtype)]
    if dtype == "bfloat16":
        rtol = 2e-2
    assert_allclose(np.asarray(got[0], float), expected[0], rtol=rtol, atol=rtol)
    assert got[1].dtype == dtype
    assert_allclose(got[1].astype(float), expected[1], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_samples_are_weighed_elementwise(name, weight, reduction, dtype, rng):
    pred, target = rng.standard_normal((5, 2, 3)).astype(dtype), rng.uniform(0, 1, (5, 2, 3))
    options = {**ELEMENTWISE[name], "sample_weight": WEIGHTS[weight], "reduction": reduction}
    expected = getattr(reference, name)(pred, target, **options)
    assert_result(getattr(tt, name)(pred, target, **options), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", ["ids", "ignored", "probabilities"])
@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 0.0]])
@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_samples_and_classes_are_weighed_together(axis, class_weight, kind, reduction, dtype, rng):
    shape = [5, 3, 2]
    shape.insert(axis if axis >= 0 else 3, 4)
    logits, labels = rng.standard_normal(shape).astype(dtype), rng.integers(0, 4, (5, 3, 2))
    if kind == "probabilities":
        labels = np.moveaxis(rng.dirichlet(np.ones(4), (5, 3, 2)), -1, axis)
    ignored = {"ignore_index": 2} if kind == "ignored" else {}
    for weight in ([0.5, 0, 2, 3, 1], rng.uniform(0, 1, (5, 3, 2))):
        options = {
            **ignored,
            "axis": axis,
            "label_smoothing": 0.1,
            "class_weight": class_weight,
            "sample_weight": weight,
            "reduction": reduction,
        }
        expected = reference.softmax_cross_entropy(logits, labels, **options)
        assert_result(tt.softmax_cross_entropy(logits, labels, **options), expected, dtype)


def test_one_dimension_of_logits_is_one_row():
    logits = np.array([0.5, -1.0, 2.0])
    expected = tt.softmax_cross_entropy(logits[None], [2])
    got = tt.softmax_cross_entropy(logits, 2, sample_weight=3.0)
    assert got.loss == expected.loss
    assert_array_equal(got.dlogits, expected.dlogits[0])
    assert tt.softmax_cross_entropy(logits, 2, reduction="none").loss.shape == ()


def test_segmentation_agrees_with_torch(rng):
    torch = pytest.importorskip("torch")
    logits, labels = rng.standard_normal((2, 5, 3, 4)), rng.integers(0, 5, (2, 3, 4))
    leaf = torch.from_numpy(logits.copy()).requires_grad_()
    value = torch.nn.functional.cross_entropy(leaf, torch.from_numpy(labels), label_smoothing=0.1)
    value.backward()
    got = tt.softmax_cross_entropy(logits, labels, axis=1, label_smoothing=0.1)
    assert_allclose(got.loss, value.item(), rtol=1e-14)
    assert_allclose(got.dlogits, leaf.grad.numpy(), atol=1e-16)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("pos_weight", [None, 2.5, [0.5, 1, 2, 3, 4, 5, 6]])
def test_binary_cross_entropy_agrees_with_torch(pos_weight, reduction, rng):
    torch = pytest.importorskip("torch")
    logits, labels = 4 * rng.standard_normal((9, 7)), rng.uniform(0, 1, (9, 7))
    leaf = torch.from_numpy(logits.copy()).requires_grad_()
    value = torch.nn.functional.binary_cross_entropy_with_logits(
        leaf,
        torch.from_numpy(labels),
        pos_weight=None if pos_weight is None else torch.tensor(pos_weight, dtype=torch.float64),
        reduction=reduction,
    )
    value.sum().backward()
    got = tt.binary_cross_entropy(logits, labels, pos_weight=pos_weight, reduction=reduction)
    assert_allclose(got.loss, value.detach().numpy(), rtol=1e-13)
    assert_allclose(got.dlogits, leaf.grad.numpy(), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("columns", [1, 3, 4095, 4096, 5000])
def test_pos_weights_are_those_of_the_columns(columns, rng):
    """Also where tasks begin inside a row."""
    logits = rng.standard_normal((max(2, 9000 // columns), columns)).astype(np.float32)
    labels, weight = rng.integers(0, 2, logits.shape), rng.uniform(0, 3, columns)
    expected = reference.binary_cross_entropy(logits, labels, pos_weight=weight, reduction="none")
    got = tt.binary_cross_entropy(logits, labels, pos_weight=weight, reduction="none")
    assert_allclose(got.loss, expected[0], rtol=1e-6)
    assert_allclose(got.dlogits, expected[1], rtol=1e-6)


@pytest.mark.parametrize("inner", [1, 3, 4095, 5000])
def test_weights_of_samples_belong_to_all_their_values(inner, rng):
    pred = rng.standard_normal((max(2, 9000 // inner), inner)).astype(np.float32)
    weight = rng.uniform(0, 3, len(pred))
    expected = reference.mae(pred, np.zeros(pred.shape), sample_weight=weight)
    got = tt.mae(pred, np.zeros(pred.shape), sample_weight=weight)
    assert_allclose(got.loss, expected[0], rtol=1e-12)
    assert_allclose(got.dpred, expected[1], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("label", [0, 1])
def test_binary_cross_entropy_keeps_its_digits_at_the_ends(label, dtype):
    largest = float(np.finfo(np.float64 if dtype == "bfloat16" else dtype).max)
    largest = min(largest, 3e38) if dtype == "bfloat16" else largest
    sign = 1 - 2 * label  # a logit of this sign is wrong
    logits = np.array([largest, 300, 30, 0, -30, -300, -largest, np.inf, -np.inf], dtype) * sign
    logits = logits.astype(dtype)
    loss, dlogits = tt.binary_cross_entropy(logits, np.full(9, label), reduction="none")
    z = sign * logits.astype(float)
    tiny = {"float16": 1e-7, "float32": 1e-45, "float64": 0, "bfloat16": 1e-40}[str(dtype)]
    rtol = {"float16": 1e-3, "float32": 1e-7, "float64": 1e-14, "bfloat16": 5e-3}[str(dtype)]
    with np.errstate(over="ignore"):
        expected = np.where(z > 0, z, 0) + np.log1p(np.exp(-np.abs(z)))
        slope = np.where(z > 0, 1, np.exp(np.minimum(z, 0))) / (1 + np.exp(-np.abs(z)))
    assert_allclose(loss.astype(float), expected, rtol=rtol, atol=tiny)
    assert_allclose(dlogits.astype(float), sign * slope, rtol=rtol, atol=tiny)


def test_nan_is_kept_in_its_element(rng):
    pred = rng.standard_normal((5, 7))
    for lane in range(35):
        for name in ELEMENTWISE:
            changed = pred.copy()
            changed.flat[lane] = np.nan
            loss, dpred = getattr(tt, name)(changed, np.zeros((5, 7)), reduction="none")
            for result in (loss, dpred):
                assert_array_equal(np.flatnonzero(np.isnan(result)), [lane])


def test_mae_has_no_gradient_at_the_target():
    loss, dpred = tt.mae([1.0, 2.0, -3.0], [1, 3, -4], reduction="none")
    assert_array_equal(loss, [0, 1, 1])
    assert_array_equal(dpred, [0, -1, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_means_of_sums_beyond_the_range_are_finite(name, dtype):
    """1.7e308 three times, of which the largest square is that of 1e154."""
    size = {"mse": 1.2e154}.get(name, 1.7e308) if dtype == np.float64 else 3e38
    pred = np.full(3, size, dtype)
    expected = size**2 if name == "mse" else size * {"huber": 0.5}.get(name, 1)
    options = {"delta": 0.5} if name == "huber" else {}
    for weight in (None, [2.0, 2, 2], [1e308, 1e308, 1e308]):
        loss, dpred = getattr(tt, name)(pred, np.zeros(3), sample_weight=weight, **options)
        assert_allclose(loss, expected, rtol=1e-6)
        assert np.isfinite(dpred).all()


def test_a_weighted_difference_beyond_the_range_has_a_finite_gradient():
    pred, target = np.array([1.7e308, 0.0]), np.array([-1.7e308, 1.0])
    assert_allclose(tt.huber(pred, target, delta=3, sample_weight=[1, 1]).dpred, [1.5, -0.5])
    assert_allclose(tt.mse(pred, target, sample_weight=[1, 7]).dpred, [2 * 1.7e308 / 4, -14 / 8], rtol=1e-15)


@pytest.mark.parametrize("scale", [1e39, 1e-40, 1e300, 1e-300, 5e307, 5e-324])
@pytest.mark.parametrize("kind", ["ids", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_beyond_the_range_of_the_logits_are_exact(smoothing, kind, scale, rng):
    """The mean over class ids depends on their ratios alone, others are proportional."""
    logits, labels = rng.standard_normal((6, 3)).astype(np.float32), np.array([0, 1, 2, 2, 0, 0])
    labels = labels if kind == "ids" else np.eye(3)[labels]
    options = {"label_smoothing": smoothing}
    plain = tt.softmax_cross_entropy(logits, labels, **options)
    loss, dlogits = tt.softmax_cross_entropy(logits, labels, class_weight=[scale] * 3, **options)
    factor = 1 if kind == "ids" else scale
    assert_allclose(loss, plain.loss * factor, rtol=1e-6, atol=1e-323)
    if kind == "ids":
        assert_allclose(dlogits, plain.dlogits, rtol=1e-5, atol=1e-8)


def test_a_rare_class_keeps_its_gradient_beside_a_heavy_one(rng):
    logits = rng.standard_normal((4, 3)).astype(np.float32)
    expected = tt.softmax_cross_entropy(logits, [1] * 4)
    got = tt.softmax_cross_entropy(logits, [1] * 4, class_weight=[1e20, 1e-60, 0])
    assert_allclose(got.loss, expected.loss, rtol=1e-7)
    assert_allclose(got.dlogits, expected.dlogits, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("weight", [[0.0, 0.0, 0.0], np.zeros((3, 4))])
def test_the_mean_of_weights_of_0_is_nan_without_gradient(weight, rng):
    x = rng.standard_normal((3, 4))
    for loss in (tt.mse, tt.mae, tt.huber, tt.binary_cross_entropy):
        value, gradient = loss(x, np.ones((3, 4)), sample_weight=weight)
        assert np.isnan(value)
        assert not gradient.any()
    value, gradient = tt.softmax_cross_entropy(x, [0, 1, 2], sample_weight=[0, 0, 0])
    assert np.isnan(value)
    assert not gradient.any()


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_a_sample_of_weight_0_is_as_if_absent(special, rng):
    x, target, weight = rng.standard_normal((4, 3)), rng.uniform(0, 1, (4, 3)), np.array([1.0, 0, 2, 3])
    rest = [0, 2, 3]
    functions = {name: partial(getattr(tt, name), **options) for name, options in ELEMENTWISE.items()}
    functions["softmax_cross_entropy"] = tt.softmax_cross_entropy
    for name, function in functions.items():
        expected = function(x[rest], target[rest], sample_weight=weight[rest])
        changed = x.copy()
        changed[1] = special
        loss, gradient = function(changed, target, sample_weight=weight)
        assert_allclose(loss, expected[0], rtol=1e-14, err_msg=name)
        assert_array_equal(gradient[rest], expected[1])
        assert not gradient[1].any()


# ---- loss classes ----

LOSSES = {
    "CrossEntropy": lambda: losses.CrossEntropy(0.1, [0.5, 1, 2]),
    "CrossEntropy without weights": lambda: losses.CrossEntropy(),
    "CrossEntropy with ignored labels": lambda: losses.CrossEntropy(ignore_index=1),
    "MSE": losses.MSE,
    "MAE": losses.MAE,
    "Huber": lambda: losses.Huber(0.5),
    "BinaryCrossEntropy": lambda: losses.BinaryCrossEntropy(0.1, [1, 2, 3]),
}


def batch(name, rng):
    output, target = rng.standard_normal((7, 3)), rng.uniform(0, 1, (7, 3))
    return output, np.arange(7) % 3 if name.startswith("Cross") else target, rng.uniform(0, 2, 7)


@pytest.mark.parametrize("name", LOSSES)
def test_means_over_batches_are_exact(name, rng):
    output, target, weight = batch(name, rng)
    loss = LOSSES[name]()
    whole = loss(output, target, weight)
    parts = [loss(output[i:j], target[i:j], sample_weight=weight[i:j]) for i, j in ((0, 1), (1, 4), (4, 7))]
    assert_allclose(sum(part.weight for part in parts), whole.weight, rtol=1e-14)
    assert_allclose(sum(part.loss * part.weight for part in parts) / whole.weight, whole.loss, rtol=1e-14)
    gradient = np.concatenate([part.gradient * part.weight for part in parts]) / whole.weight
    assert_allclose(gradient, whole.gradient, rtol=1e-12, atol=1e-17)
    equal = loss(output, target, np.full((7, 1), 3))
    assert_allclose(equal.loss, loss(output, target).loss, rtol=1e-14)
    assert_allclose(equal.weight, 3 * loss(output, target).weight, rtol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_weighted_gradients_agree_with_central_differences(name, rng):
    output, target, weight = batch(name, rng)
    loss = LOSSES[name]()
    assert gradcheck(
        lambda z: np.array(loss(z, target, weight)[0]), lambda dy, z: dy * loss(z, target, weight)[1], output
    )


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_where_no_sample_counts_has_weight_0(name, rng):
    output, target, _ = batch(name, rng)
    loss, gradient, weight = LOSSES[name]()(output, target, np.zeros(7))
    assert (loss, weight) == (0, 0)
    assert_array_equal(gradient, np.zeros((7, 3)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ([1, 1, 1, -2.5, 1, 1, 1], ValueError, "must be finite and >= 0, got -2.5 at sample 3"),
        ([1, 1, 1, 1, 1, 1, np.nan], ValueError, "must be finite and >= 0, got nan at sample 6"),
        ([np.inf] * 7, ValueError, "must be finite and >= 0, got inf at sample 0"),
        ([1e308] * 7, ValueError, "must have a finite sum, got inf"),
        ([1, 1, 1], ValueError, r"must have shape \(7,\), got \(3,\)"),
        (np.ones((7, 3)), ValueError, r"must have shape \(7,\), got \(7, 3\)"),
        (["a"] * 7, TypeError, "must be real numbers, got dtype <U1"),
    ],
)
def test_wrong_weights_of_samples_are_refused(name, weight, error, message, rng):
    output, target, _ = batch(name, rng)
    with pytest.raises(error, match=f"{name.split()[0]}: sample_weight {message}"):
        LOSSES[name]()(output, target, weight)


def test_class_weights_may_be_a_mapping(rng):
    output, labels = rng.standard_normal((7, 3)), np.arange(7) % 3
    expected = losses.CrossEntropy(class_weight=[1, 5, 0.5])(output, labels)
    got = losses.CrossEntropy(class_weight={2: 0.5, np.int64(1): 5})(output, labels)
    assert (got.loss, got.weight) == (expected.loss, expected.weight)
    assert_array_equal(got.gradient, expected.gradient)
    with pytest.raises(ValueError, match="class_weight must have labels from 0 to 2, got 3"):
        losses.CrossEntropy(class_weight={3: 1.0})(output, labels)


def test_balanced_classes_count_the_same(rng):
    output, labels = rng.standard_normal((9, 3)), np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    loss = losses.CrossEntropy(class_weight="balanced")
    with pytest.raises(ValueError, match="must be fitted to labels where it is 'balanced'"):
        loss(output, labels)
    loss.fit(labels, 3)
    expected = np.mean(
        [losses.CrossEntropy()(output[labels == k], labels[labels == k]).loss for k in range(3)]
    )
    assert_allclose(loss(output, labels).loss, expected, rtol=1e-14)
    assert loss.class_weight == "balanced"
    one_hot = losses.CrossEntropy(class_weight="balanced")
    one_hot.fit(np.eye(3)[labels], 3)
    assert one_hot(output, labels).loss == loss(output, labels).loss
    ignoring = losses.CrossEntropy(class_weight="balanced", ignore_index=-1)
    ignoring.fit(np.array([[-1], [0], [1], [1]]), 2)
    assert ignoring(output[:3, :2], [0, 1, 1]).weight == 3


def test_balanced_weights_are_those_of_scikit_learn(rng):
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    labels = rng.integers(0, 5, 100)
    expected = sklearn.compute_class_weight("balanced", classes=np.arange(5), y=labels)
    assert_allclose(losses.balanced_class_weight(labels, 5), expected, rtol=1e-14)
    assert_array_equal(losses.balanced_class_weight([0, 2, 2], 4), [1.5, 0, 0.75, 0])


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ("balance", ValueError, "class_weight must be factors of the classes or 'balanced', got 'balance'"),
        ({0: -1}, ValueError, r"class_weight\[0\] must be finite and >= 0, got -1"),
        ({-1: 1}, ValueError, "class_weight: label must be at least 0, got -1"),
        ({"cat": 1}, TypeError, "class_weight: label must be an int, got 'cat'"),
    ],
)
def test_wrong_class_weights_are_refused(weight, error, message):
    with pytest.raises(error, match=message):
        losses.CrossEntropy(class_weight=weight)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "labels must be classes from 0 to 1, got 2"),
        ([-1, 1], "labels must be classes from 0 to 1, got -1"),
        ([0.5, 1], r"labels must be class ids .* got dtype float64 and shape \(2,\)"),
    ],
)
def test_balanced_weights_need_classes(labels, message):
    with pytest.raises(ValueError, match=f"balanced_class_weight: {message}"):
        losses.balanced_class_weight(labels, 2)


def test_options_of_binary_cross_entropy_are_checked():
    for weight in (-1, [1, np.nan], [[1, 2]]):
        with pytest.raises(ValueError, match="BinaryCrossEntropy: pos_weight must be a finite factor >= 0"):
            losses.BinaryCrossEntropy(pos_weight=weight)
    with pytest.raises(ValueError, match="BinaryCrossEntropy: label_smoothing must be between 0 and 1"):
        losses.BinaryCrossEntropy(1.5)
    with pytest.raises(ValueError, match="fit: y must be between 0 and 1, got 2"):
        losses.BinaryCrossEntropy().check_targets("fit: y", np.array([[0], [2]]), np.zeros((1, 1)))
    losses.BinaryCrossEntropy().check_targets("fit: y", np.array([True, False]), np.zeros((1, 1)))


def test_binary_accuracy_counts_the_right_signs():
    logits = np.array([[0.5, -1.0], [0.0, np.nan]])
    assert losses.binary_accuracy(logits, np.array([[1, 0], [1, 1]])) == 0.5
    assert losses.binary_accuracy(logits[:, 0], np.array([[True], [False]])) == 1
    assert losses.binary_accuracy(logits, np.array([[0.6, 0.4], [0.5, 0]])).weight == 4
    assert losses.binary_accuracy(logits, np.array([[0.6, 0.4], [0.5, 0]])) == 0.75
    assert np.isnan(losses.binary_accuracy(np.zeros(0), np.zeros(0)))
    with pytest.raises(ValueError, match=r"binary_accuracy: labels must have shape \(2, 2\), got \(2,\)"):
        losses.binary_accuracy(logits, [0, 1])
    assert losses.BinaryCrossEntropy().metrics["accuracy"] is losses.binary_accuracy


@pytest.mark.parametrize("name", SINGLE)
def test_an_output_without_axes_is_one_sample(name):
    loss = getattr(losses, name)()
    assert loss(np.array(3.0), 1)[::2] == (SINGLE[name], 1)
    assert loss(np.array(3.0), 1, sample_weight=[2.0])[::2] == (SINGLE[name], 2)
    with pytest.raises(ValueError, match="sample_weight"):
        loss(np.array(3.0), 1, sample_weight=[2.0, 2.0])
