"""`Embedding` against a product with one-hot rows in float64."""

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses, nn
from trimtab.gradients import GradientError
from trimtab.optim import SGD
from trimtab.trainer import Trainer


def one_hot(ids, num):
    return np.eye(num)[ids]


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint32])
@pytest.mark.parametrize("shape", [(6,), (4, 3), (2, 1, 5), (0,), ()])
def test_forward_and_backward_are_a_product_with_one_hot_rows(kind, shape, rng):
    layer = nn.Embedding(7, 3, rng=0, dtype=np.float64)
    ids = rng.integers(0, 7, shape).astype(kind)
    y = layer.forward(ids)
    assert_allclose(y, one_hot(ids, 7) @ layer.weight.value, rtol=1e-15)
    dy = rng.standard_normal(y.shape)
    layer.weight.grad[...] = 99
    assert layer.backward(dy) is None
    expected = one_hot(ids, 7).reshape(-1, 7).T @ dy.reshape(-1, 3)
    assert_allclose(layer.weight.grad, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_gradients_are_rounded_once(dtype, rng):
    layer = nn.Embedding(2, 1, rng=0, dtype=dtype)
    ids = np.repeat([0, 1], [4000, 1])
    layer.forward(ids)
    dy = rng.uniform(0, 1, (4001, 1)).astype(dtype)
    layer.backward(dy)
    sums = [dy[:4000].astype(np.float64).sum(), float(dy[4000, 0])]
    assert_array_equal(layer.weight.grad[:, 0], np.array(sums).astype(dtype))


@pytest.mark.parametrize("padding_index", [2, -3])
def test_the_vector_of_padding_stays_zero(padding_index, rng):
    layer = nn.Embedding(5, 3, padding_index=padding_index, rng=0)
    assert layer.padding_index == 2
    assert_array_equal(layer.weight.value[2], 0)
    others = nn.Embedding(5, 3, rng=0).weight.value
    assert_array_equal(layer.weight.value[[0, 1, 3, 4]], others[[0, 1, 3, 4]])
    layer.forward(np.array([0, 2, 2, 4]))
    layer.backward(np.ones((4, 3), np.float32))
    assert_array_equal(layer.weight.grad[:, 0], [1, 0, 0, 0, 1])


def test_initial_weights_are_standard_normal():
    value = nn.Embedding(500, 40, rng=3, dtype=np.float64).weight.value
    assert abs(value.mean()) < 0.03 and abs(value.std() - 1) < 0.03


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([0, 5], ValueError, "x must be ids from 0 to 4, got 5"),
        ([[0, -1]], ValueError, "x must be ids from 0 to 4, got -1"),
        ([2**63], ValueError, f"x must be ids from 0 to 4, got {2**63}"),
        ([0.0], TypeError, "x must be integer ids, got dtype float64"),
        ([True], TypeError, "x must be integer ids, got dtype bool"),
    ],
)
def test_wrong_ids_are_refused(ids, error, message):
    with pytest.raises(error, match=rf"^Embedding\(5, 3\): {message}"):
        nn.Embedding(5, 3)(np.array(ids))


@pytest.mark.parametrize("index", [5, -6])
def test_wrong_padding_is_refused(index):
    message = rf"^Embedding: padding_index must be an id from -5 to 4, got {index}"
    with pytest.raises(ValueError, match=message):
        nn.Embedding(5, 3, padding_index=index)


def test_a_trainer_leaves_ids_as_they_are(rng):
    """In float16, 2049 would become 2048."""
    model = nn.Sequential(
        nn.Embedding(3000, 4, rng=0, dtype=np.float16), nn.Linear(4, 2, rng=1, dtype=np.float16)
    )
    learner = Trainer(model, losses.CrossEntropy(), SGD(model, 0.5), rng=0)
    x = np.array([2048, 2049, 2047, 2050])
    before = model[0].weight.value.copy()
    learner.fit(x, [0, 1, 0, 1], epochs=20, batch_size=2, progress=False)
    changed = np.flatnonzero((model[0].weight.value != before).any(axis=1))
    assert_array_equal(changed, np.sort(x))
    assert learner.evaluate(x, [0, 1, 0, 1])["accuracy"] == 1
    assert_array_equal(learner.predict(x), model.eval().forward(x))
    assert "(4,)" in model.summary(())


class Sum(nn.Module):
    """Adds up the vectors of a sample; `factor` is that of the gradient, 1 if it is right."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        self.saved = x.shape
        return x.sum(axis=1)

    def backward(self, dy):
        return self.factor * np.broadcast_to(dy[:, None], self.saved)


def test_gradients_of_a_model_of_ids_are_checked():
    def model(factor):
        return nn.Sequential(nn.Embedding(5, 3, rng=0, dtype=np.float64), Sum(factor))

    ids = [[0, 4], [1, 1], [4, 2]]
    assert nn.gradcheck(model(1.0), ids)
    with pytest.raises(GradientError):
        nn.gradcheck(model(1.01), ids)
