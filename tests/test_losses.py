"""Losses against the specification."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose
from trimtab.gradcheck import gradcheck
from trimtab.losses import CrossEntropy, accuracy

LABELS = np.array([0, 2, 1, 3, 3])


@pytest.fixture
def logits(rng):
    return rng.standard_normal((5, 4))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_the_specification(smoothing, logits):
    value, gradient = CrossEntropy(smoothing)(logits, LABELS)
    expected_value, expected_gradient = reference.softmax_cross_entropy(
        logits, LABELS, label_smoothing=smoothing
    )
    assert_allclose(value, expected_value, rtol=1e-12)
    assert_allclose(gradient, expected_gradient, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_gradient(smoothing, logits):
    loss = CrossEntropy(smoothing)
    assert gradcheck(lambda z: np.array(loss(z, LABELS)[0]), lambda dy, z: dy * loss(z, LABELS)[1], logits)


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes():
    assert_allclose(CrossEntropy()(np.zeros((5, 4)), LABELS)[0], np.log(4), rtol=1e-15)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_cross_entropy_is_stable(size, logits):
    value, gradient = CrossEntropy()(logits.astype(np.float32) + np.float32(size) * np.eye(4)[LABELS], LABELS)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert_allclose(value, max(0, -size), rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradient_has_the_dtype_of_the_logits(dtype, logits):
    assert CrossEntropy()(logits.astype(dtype), LABELS)[1].dtype == dtype


def test_logit_gap_at_the_optimum_of_label_smoothing():
    gap = np.log(1 + 10 * 0.9 / 0.1)
    logits = np.where(np.eye(10, dtype=bool), gap, 0.0)
    _, gradient = CrossEntropy(label_smoothing=0.1)(logits, np.arange(10))
    assert_allclose(gradient, 0, atol=1e-15)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1, 2, 3, 4], ValueError, "labels must be between 0 and 3, got 4"),
        ([0, -1, 2, 3, 3], ValueError, "labels must be between 0 and 3, got -1"),
        ([0, 1], ValueError, r"labels must have shape \(5,\), got \(2,\)"),
        ([0.0, 1.0, 2.0, 3.0, 3.0], TypeError, "labels must be integers, got dtype float64"),
    ],
)
def test_wrong_labels(labels, error, message, logits):
    with pytest.raises(error, match=message):
        CrossEntropy()(logits, labels)


@pytest.mark.parametrize("shape", [(5,), (0, 4), (5, 4, 1)])
def test_wrong_logits(shape):
    with pytest.raises(ValueError, match="logits must have a non-empty shape"):
        CrossEntropy()(np.zeros(shape), LABELS)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan])
def test_wrong_smoothing(smoothing):
    with pytest.raises(ValueError, match="label_smoothing must be between 0 and 1"):
        CrossEntropy(smoothing)


def test_accuracy_counts_the_largest_logit():
    assert accuracy(np.eye(4), np.array([0, 1, 2, 0])) == 0.75
