"""Evaluation and prediction on an iterable of batches, and on memory maps."""

import tracemalloc
from collections import deque

import numpy as np
import pytest
from helpers.training import WeightedSquares, linear_trainer, small_trainer, state_of, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses, metrics, nn
from trimtab._batches import Joined
from trimtab.optim import SGD
from trimtab.trainer import Trainer


@pytest.fixture
def data(rng):
    return two_classes(rng)


def parts_of(*arrays, size=8):
    return [
        tuple(array[begin : begin + size] for array in arrays) for begin in range(0, len(arrays[0]), size)
    ]


class Loader:
    """Yields the batches anew each time, and has no length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


class Reused:
    """Yields the same memory for every batch."""

    def __init__(self, x, size):
        self.parts, self.memory = x.reshape(-1, size, *x.shape[1:]), np.empty_like(x[:size])

    def __iter__(self):
        for part in self.parts:
            self.memory[...] = part
            yield self.memory


def lists(batches):
    """As loaders of other libraries yield them."""
    return [[*batch] for batch in batches]


KINDS = [list, tuple, iter, Loader, lists, lambda batches: iter(lists(batches))]


# ---- evaluate ----


@pytest.mark.parametrize("kind", KINDS)
def test_the_metrics_are_those_of_the_arrays(kind, data):
    learner = small_trainer()
    learner.loss.metrics["worst"] = metrics.Score(lambda outputs, targets: np.abs(outputs).max())
    found = learner.evaluate(kind(parts_of(*data, size=7)))
    expected = learner.evaluate(*data)
    assert list(found) == ["loss", "accuracy", "worst"]
    for name, value in expected.items():
        assert_allclose(found[name], value, rtol=1e-6)


def test_batches_bring_their_weights(rng):
    x, y, weight = rng.standard_normal((11, 3)), rng.standard_normal(11), rng.uniform(0, 2, 11)
    learner = linear_trainer()
    found = learner.evaluate(parts_of(x, y, weight, size=4))["loss"]
    errors = (learner.predict(x)[:, 0] - y) ** 2
    assert_allclose(found, (weight * errors).sum() / weight.sum(), rtol=1e-12)


def test_batches_of_weights_need_a_loss_that_takes_them(data):
    class Plain(losses.Loss):
        def __call__(self, output, target):
            return 0.0, np.zeros_like(output)

    with pytest.raises(TypeError, match=r"^evaluate: sample_weight must be None with a loss that"):
        small_trainer(loss=Plain()).evaluate(parts_of(*data, np.ones(40)))


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([], {}, "x must yield at least one batch, got none$"),
        (
            iter([]),
            {},
            "x must yield at least one batch, got none from a list_iterator, which may be used up",
        ),
        (np.ones((4, 3)), {}, "y must be given with an array, got None and x, a ndarray"),
        (
            [np.ones((4, 3))],
            {},
            r"x must yield \(x, y\) or \(x, y, sample_weight\), got a ndarray as batch 0",
        ),
        ([(np.ones((4, 3)),)], {}, r"x must yield \(x, y\) or .*, got a tuple of 1 as batch 0"),
        ([(np.ones((4, 3)), [0, 1])], {}, r"y of batch 0 must have 4 entries as x, got shape \(2,\)"),
        (
            [(np.ones((2, 3)), [0, 1]), (np.ones((0, 3)), [])],
            {},
            r"x of batch 1 must hold at least one sample, got shape \(0, 3\)",
        ),
        (
            [(np.ones((2, 3)), [0, 1])],
            {"sample_weight": np.ones(2)},
            "sample_weight must be None with an iter",
        ),
        (3, {}, "x must be an iterable of batches, got 3"),
        ({"x": 1}, {}, "x must yield .*, got a str as batch 0"),
    ],
)
def test_wrong_iterables_are_refused_by_evaluate(x, options, message):
    with pytest.raises((TypeError, ValueError), match=f"^evaluate: {message}"):
        small_trainer().evaluate(x, **options)


@pytest.mark.parametrize(
    "bad", [(np.ones((2, 4), np.float32), [0, 1]), (np.ones((2, 3), np.float32), [0, 5])]
)
def test_an_error_of_model_or_loss_says_in_which_batch(bad, data):
    batches = [*parts_of(*data), bad]
    learner = small_trainer()
    before = state_of(learner)
    with pytest.raises(ValueError, match=r"got \(2, 4\)|got 5") as caught:
        learner.evaluate(batches)
    assert caught.value.__notes__ == ["evaluate: x, batch 5"]
    assert state_of(learner) == before


def test_a_generator_is_used_up_by_one_evaluation(data):
    batches = (batch for batch in parts_of(*data))
    learner = small_trainer()
    learner.evaluate(batches)
    with pytest.raises(ValueError, match=r"^evaluate: x must yield .* from a generator, which may be"):
        learner.evaluate(batches)


# ---- predict ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("items", [1, 2, 3])
def test_pairs_of_samples_and_targets_predict_as_their_samples(kind, items, data):
    x, y = data
    learner = small_trainer()
    batches = parts_of(*(x, y, y)[:items], size=7)
    assert_allclose(learner.predict(kind(batches)), learner.predict(x), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [iter, Loader])
def test_arrays_that_are_yielded_are_samples(kind, data):
    x = data[0]
    learner = small_trainer()
    expected = learner.predict(x, batch_size=8)
    assert_array_equal(learner.predict(kind([x[:8], x[8:16], x[16:]])), learner.predict(x))
    assert_array_equal(learner.predict(kind([x[:8].astype(int)]))[:0], expected[:0])
    assert_array_equal(learner.predict(Reused(x, 8)), expected)


def test_a_list_of_arrays_is_what_numpy_makes_of_it(data):
    x = data[0]
    learner = wide_trainer(inputs=3)
    expected = learner.predict(x)
    for given in ([*x], (*x,), x.tolist(), [[*row] for row in x], [tuple(row) for row in x], deque(x)):
        assert_array_equal(learner.predict(given), expected)
    for given in ([[*x[:2]]], [x[:2]], (x[:2],)):
        assert_allclose(learner.predict(given), expected[None, :2], rtol=1e-6)


def test_outputs_are_copied():
    """A model may return its input, and a generator may yield the same memory again and again."""
    model = nn.Sequential(nn.Flatten())
    weight = nn.Parameter(np.ones(1, np.float32))
    model.weight = weight
    learner = Trainer(model, losses.MSE(), SGD(weight, 0.1))
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    assert_array_equal(learner.predict(Reused(x, 2)), x)
    found = learner.predict(x)
    assert not np.shares_memory(found, x)
    assert found.flags.owndata


def test_nothing_cannot_be_joined():
    with pytest.raises(ValueError, match=r"^outputs must be of one batch at least, got none$"):
        Joined("outputs").whole()


@pytest.mark.parametrize("size", [3, 8])
def test_monte_carlo_passes_take_batches(size, data):
    x = data[0].astype(np.float64)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2, rng=0, dtype=np.float64))
    learner = Trainer(model, losses.MSE(), SGD(model, 0.1), rng=0)
    found = learner.predict((x[begin : begin + size] for begin in range(0, 24, size)), samples=3, rng=4)
    expected = learner.predict(x[:24], batch_size=size, samples=3, rng=4)
    assert_array_equal(found, expected)


class Widens(nn.Module):
    """Gives the second batch another shape or dtype, or no axis."""

    def __init__(self, change):
        self.change, self.calls = change, 0

    def forward(self, x):
        self.calls += 1
        return x if self.calls == 1 else self.change(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: x[:, :1],
            r"one shape and dtype in all batches, got float32 of shape \(N, 2\) and then "
            r"float32 of shape \(N, 1\)",
        ),
        (lambda x: x.astype(np.float64), r".* and then float64 of shape \(N, 2\)"),
        (lambda x: x[1:], r"an entry for each of 8 samples, got shape \(7, 2\) for x of shape \(8, 3\)"),
        (lambda x: x.sum(), r"an entry for each of 8 samples, got shape \(\) for"),
    ],
)
def test_outputs_that_cannot_be_joined_are_refused(change, message, data):
    model = nn.Sequential(nn.Linear(3, 2, rng=0), Widens(change))
    learner = Trainer(model, losses.MSE(), SGD(model, 0.1))
    with pytest.raises(ValueError, match=f"^predict: output of the model must have {message}"):
        learner.predict(data[0], batch_size=8)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (iter([]), "x must yield at least one batch, got none"),
        ({}, "x must yield at least one batch, got none"),
        (iter([3]), "x must yield arrays x, or tuples that begin with x, got a int as batch 0"),
        (iter([[[1.0, 2, 3], [4, 5, 6]]]), "x must yield arrays x, or tuples .*, got a list of 2 as batch 0"),
        (iter([()]), "x must yield .*, got a tuple of 0"),
        ({"x": 1}, "x must yield .*, got a str"),
        (iter([np.ones((2, 3)), np.ones((0, 3))]), r"x of batch 1 must hold at least one sample, got shape"),
        (iter([np.array(["a"])]), "x of batch 0 must be real numbers, got dtype <U1"),
        (3.0, r"x must have an axis of samples, got shape \(\)"),
        ("abc", "x must be real numbers, got dtype <U3"),
        (int, "x must be real numbers, got dtype object"),
    ],
)
def test_wrong_iterables_are_refused_by_predict(x, message):
    with pytest.raises((TypeError, ValueError), match=f"^predict: {message}"):
        small_trainer().predict(x)


@pytest.mark.parametrize("samples", [0, 2])
def test_a_single_sample_is_not_taken_for_many(samples, data):
    """Neither alone nor as the items of a data set, which are no batches."""

    class Items:
        def __getitem__(self, number):
            return data[0][number], data[1][number]

        def __len__(self):
            return len(data[0])

    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2, rng=0))
    learner = Trainer(model, losses.MSE(), SGD(model, 0.1), rng=0)
    for x in data[0][0], Items():
        with pytest.raises(ValueError, match=r"^predict: .* each of 3 samples, got shape \(2,\) for x of"):
            learner.predict(x, samples=samples)


# ---- memory ----


def wide_trainer(inputs=1024, outputs=2):
    model = nn.Sequential(nn.Linear(inputs, outputs, rng=0))
    return Trainer(model, losses.CrossEntropy(), SGD(model, 0.1), rng=0)


def peak_of(call):
    tracemalloc.start()
    call()
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size


@pytest.mark.parametrize("method", ["evaluate", "predict", "update_batch_norm"])
@pytest.mark.parametrize("source", ["memory map", "generator"])
def test_one_batch_at_a_time_is_in_memory(method, source, tmp_path):
    rows, batch = 4096, 64 * 1024 * 4
    path = tmp_path / "x.npy"
    np.save(path, np.ones((rows, 1024), np.float32))
    y = np.arange(rows) % 2
    mapped = np.load(path, mmap_mode="r")
    norm = nn.Sequential(nn.Linear(1024, 2, rng=0), nn.BatchNorm(2))

    def call():
        x = mapped
        if source == "generator":
            x = ((np.array(mapped[n : n + 64]), y[n : n + 64]) for n in range(0, rows, 64))
        if method == "evaluate":
            wide_trainer().evaluate(x, y if x is mapped else None, batch_size=64)
        elif method == "predict":
            wide_trainer().predict(x, batch_size=64)
        else:
            nn.update_batch_norm(norm, x, batch_size=64)

    call()
    assert peak_of(call) < 4 * batch + 4 * rows * 2 * 4 < mapped.nbytes / 10


def test_predictions_need_little_more_memory_than_their_result():
    learner = wide_trainer(outputs=1024)
    batch = np.ones((64, 1024), np.float32)
    assert peak_of(lambda: learner.predict(batch for _ in range(100))) < 1.4 * 100 * batch.nbytes


def test_a_loss_of_the_callers_own_sees_the_batches(rng):
    x, y = rng.standard_normal((10, 3)), rng.standard_normal(10)
    seen = []

    class Watching(WeightedSquares):
        def __call__(self, output, target, sample_weight=None):
            seen.append(len(output))
            return super().__call__(output, target, sample_weight)

    linear_trainer(Watching()).evaluate(parts_of(x, y, size=4), batch_size=2)
    assert seen == [4, 4, 2]
