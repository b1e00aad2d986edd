"""Metrics and means over all samples, whatever the batches."""

import copy
import pickle
from functools import partial
from math import inf, isnan, nan

import ml_dtypes
import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import callbacks, losses, metrics, nn
from trimtab.metrics import Mean, Means
from trimtab.optim import SGD
from trimtab.trainer import Trainer
from trimtab.training.evaluation import require_metrics

SIZES = (60, 32, 7, 1)


@pytest.fixture
def data(rng):
    return rng.standard_normal((60, 3)).astype(np.float32), rng.integers(0, 4, 60)


def trainer(loss, outputs=4, lr=0.1):
    model = nn.Sequential(nn.Linear(3, outputs, rng=0))
    return Trainer(model, loss, SGD(model, lr), rng=0)


def test_ignored_labels_do_not_change_the_means(data):
    x, y = data
    y[:40] = -1
    learner = trainer(losses.CrossEntropy(ignore_index=-1))
    learner.loss.metrics |= {
        "top_2": losses.top_k(2, ignore_index=-1),
        "own": partial(losses.accuracy, ignore_index=-1),
        "pair": lambda logits, labels: (float(np.max(labels)), float(np.max(labels) >= 0)),
    }
    logits = learner.predict(x)
    order = np.argsort(-logits[40:], axis=1)
    counted = [np.max(y[begin : begin + 7]) for begin in range(0, 60, 7)]
    for size in SIZES:
        got = learner.evaluate(x, y, batch_size=size)
        assert_allclose(got["loss"], reference.softmax_cross_entropy(logits[40:], y[40:])[0], rtol=1e-6)
        assert_allclose(got["accuracy"], np.mean(order[:, 0] == y[40:]), rtol=1e-12)
        assert_allclose(got["top_2"], np.mean((order[:, :2] == y[40:, None]).any(axis=1)), rtol=1e-12)
        assert got["own"] == got["accuracy"]
        if size == 7:
            assert_allclose(got["pair"], np.mean([value for value in counted if value >= 0]), rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_weigh_the_batches(smoothing, data):
    x, y = data
    y = np.sort(y)
    weight = [1.0, 10.0, 0.1, 3.0]
    learner = trainer(losses.CrossEntropy(smoothing, class_weight=weight))
    expected, _ = reference.softmax_cross_entropy(
        learner.predict(x), y, class_weight=np.array(weight), label_smoothing=smoothing
    )
    for size in SIZES:
        assert_allclose(learner.evaluate(x, y, batch_size=size)["loss"], expected, rtol=1e-6)


def test_metrics_of_training_are_those_of_all_samples(data):
    x, y = data
    y[10:] = -1
    for size in (60, 9):
        learner = trainer(losses.CrossEntropy(ignore_index=-1), lr=0.0)
        expected = learner.evaluate(x[:10], y[:10])
        history = learner.fit(x, y, batch_size=size, shuffle=False, progress=False)
        for name, value in expected.items():
            assert_allclose(history[name], [value], rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.MSE(), losses.Huber(0.5)])
def test_regression_weighs_elements(loss, data, rng):
    x, target = data[0], rng.standard_normal((60, 2))
    learner = trainer(loss, outputs=2)
    output = learner.predict(x)
    expected = reference.mse(output, target) if isinstance(loss, losses.MSE) else None
    expected = expected or reference.huber(output, target, delta=0.5)
    for size in SIZES:
        assert_allclose(learner.evaluate(x, target, batch_size=size)["loss"], expected[0], rtol=1e-6)


def test_a_loss_without_weight_is_a_mean_over_samples(data):
    class Absolute(losses.Loss):
        def __call__(self, output, target):
            difference = output - target
            return np.abs(difference).mean(), np.sign(difference) / difference.size

    x, target = data[0], data[0][:, :1]
    learner = trainer(Absolute(), outputs=1)
    learner.loss.metrics["largest"] = lambda output, target: (float(np.abs(output - target).max()), 1)
    difference = np.abs(learner.predict(x) - target)
    for size in SIZES:
        assert_allclose(learner.evaluate(x, target, batch_size=size)["loss"], difference.mean(), rtol=1e-6)
    parts = [difference[:32].max(), difference[32:].max()]
    assert_allclose(learner.evaluate(x, target, batch_size=32)["largest"], np.mean(parts), rtol=1e-6)
    history = learner.fit(x, target, progress=False)  # the float64 gradient of NumPy becomes the model's
    assert history["loss"][0] > 0


def test_a_batch_in_which_nothing_counts_adds_nothing(data):
    x, y = data
    y[30:] = -1
    learner = trainer(losses.CrossEntropy(ignore_index=-1))
    history = learner.fit(x, y, batch_size=10, shuffle=False, progress=False)
    other = trainer(losses.CrossEntropy(ignore_index=-1))
    expected = other.fit(x[:30], y[:30], batch_size=10, shuffle=False, progress=False)
    assert history == expected
    for name, array in learner.model.state_dict().items():
        assert_array_equal(array, other.model.state_dict()[name])


def test_means_are_nan_where_nothing_counts(data):
    x, y = data
    learner = trainer(losses.CrossEntropy(ignore_index=-1))
    before = learner.model.state_dict()
    history = learner.fit(x, np.full_like(y, -1), progress=False)
    assert all(isnan(value) for (value,) in history.values())
    for name, array in learner.model.state_dict().items():
        assert_array_equal(array, before[name])


def test_the_weight_of_cross_entropy_is_that_of_its_labels():
    logits, labels = np.zeros((5, 3)), np.array([0, 1, 2, 2, 1])
    assert losses.CrossEntropy()(logits, labels).weight == 5
    assert losses.CrossEntropy(ignore_index=2)(logits, labels).weight == 3
    assert losses.CrossEntropy(class_weight=[1, 2, 5])(logits, labels).weight == 15
    assert losses.CrossEntropy(0.1, [1, 2, 5], 2)(logits, labels).weight == 5
    assert losses.CrossEntropy(class_weight=[1, 2, 5])(logits, np.eye(3)[labels]).weight == 5
    assert losses.MSE()(np.zeros((5, 3)), np.zeros((5, 3))).weight == 15
    assert losses.Huber()(np.zeros((5, 3)), np.zeros((5, 3))).weight == 15


@pytest.mark.parametrize(
    ("loss", "output", "target"),
    [
        (losses.CrossEntropy(ignore_index=-1), np.ones((2, 3)), [-1, -1]),
        (losses.CrossEntropy(class_weight=[0, 1, 1]), np.ones((2, 3)), [0, 0]),
        (losses.CrossEntropy(), np.ones((0, 3)), np.zeros(0, int)),
        (losses.MSE(), np.ones((0, 3)), np.ones((0, 3))),
    ],
)
def test_samples_without_weight_have_no_loss_and_no_gradient(loss, output, target):
    value, gradient, weight = loss(output, target)
    assert (value, weight) == (0, 0)
    assert_array_equal(gradient, np.zeros_like(output))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_nan_is_never_a_hit(dtype):
    logits = np.full((4, 3), nan, dtype)
    labels = [0, 0, 0, 1]
    for k in (1, 2, 3):
        assert losses.top_k(k)(logits, labels) == 0
    assert losses.accuracy(logits, labels) == 0
    logits[0] = [1, 2, 0]
    assert losses.accuracy(logits, [1, 0, 0, 0]) == 0.25


def test_labels_that_are_no_class_are_not_hits():
    logits = np.eye(3)
    for wrong in (-1, 3):
        assert losses.top_k(3)(logits, [0, 1, wrong]) == 2 / 3
        assert losses.accuracy(logits, [0, 1, wrong]) == 2 / 3


def test_labels_of_metrics_are_checked():
    logits = np.eye(3)[[0, 1, 2, 0]]
    for labels in (
        [0, 1, 2, 1],
        np.array([[0], [1], [2], [1]], np.uint8),
        np.eye(3, dtype=bool)[[0, 1, 2, 1]],
        np.eye(3, dtype=ml_dtypes.bfloat16)[[0, 1, 2, 1]],
    ):
        assert losses.accuracy(logits, labels) == losses.top_k(1)(logits, labels) == 0.75
    for metric in (losses.accuracy, losses.top_k(2)):
        with pytest.raises(ValueError, match="labels must have an entry for each row of logits"):
            metric(logits, [0])
        with pytest.raises(TypeError, match="labels must be a plain array, got a MaskedArray"):
            metric(logits, np.ma.masked_array([0, 1, 2, 0], [0, 0, 0, 1]))


def test_a_mean_is_a_float_with_a_weight():
    mean = losses.accuracy(np.eye(3), [0, 1, -1], ignore_index=-1)
    assert mean == 1.0
    assert isinstance(mean, float)
    for copied in (mean, copy.deepcopy(mean), pickle.loads(pickle.dumps(mean))):
        assert copied.weight == 2


def test_means_are_weighted_and_ignore_weights_of_zero():
    means = Means()
    means.add({"a": Mean(1.0, 3), "b": Mean(nan, 0)})
    means.add({"a": Mean(5.0, 1), "b": Mean(nan, 0)})
    assert means.values()["a"] == 2
    assert isnan(means.values()["b"])
    again = Means(means.sums)
    again.add({"a": Mean(2.0, 4)})
    assert again.values()["a"] == 2
    assert means.sums["a"] == (8.0, 4.0)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (1.0, TypeError, r"fit: loss must return \(loss, gradient\) or \(loss, gradient, weight\), got 1.0"),
        ((np.ones(3), np.ones((60, 4))), TypeError, "fit: loss must be a float, or a float and its weight"),
        (
            (1.0, np.ones((60, 1))),
            ValueError,
            r"gradient of the loss must have shape \(60, 4\), got \(60, 1\)",
        ),
        ((1.0, np.ma.ones((60, 4))), TypeError, "gradient of the loss must be a plain array"),
    ],
)
def test_results_of_losses_are_checked(result, error, message, data):
    class Odd(losses.Loss):
        def __call__(self, output, target):
            return result

    with pytest.raises(error, match=message):
        trainer(Odd()).fit(*data, batch_size=60, progress=False)


def test_a_metric_that_returns_no_number_is_named(data):
    learner = trainer(losses.CrossEntropy())
    learner.loss.metrics["mine"] = lambda output, target: "good"
    with pytest.raises(TypeError, match=r"evaluate: metric 'mine' must be a float, .* got 'good'"):
        learner.evaluate(*data)


@pytest.mark.parametrize("weight", [-1.0, nan, inf])
def test_weights_are_finite_and_not_negative(weight, data):
    x, y = data
    learner = trainer(losses.CrossEntropy())
    for value in ((0.5, weight), Mean(0.5, weight)):
        learner.loss.metrics["own"] = lambda logits, labels, value=value: value
        with pytest.raises(ValueError, match=f"evaluate: metric 'own': weight must be finite.*got {weight}"):
            learner.evaluate(x, y)


@pytest.mark.parametrize("metrics", [["accuracy"], [losses.accuracy], losses.accuracy, None])
def test_metrics_must_be_a_mapping(metrics):
    with pytest.raises(TypeError, match="MSE: metrics must map names to functions, got"):
        losses.MSE().metrics = metrics


def test_metrics_must_be_functions(data):
    learner = trainer(losses.CrossEntropy())
    learner.fit(*data, progress=False)
    history, weight = learner.history, learner.model[0].weight.value.copy()
    learner.loss.metrics["top"] = "accuracy"
    with pytest.raises(TypeError, match="fit: metric 'top' must be a function, got 'accuracy'"):
        learner.fit(*data, progress=False)
    assert learner.history is history
    assert_array_equal(learner.model[0].weight.value, weight)


class Counts:
    def __init__(self, number, other=0):
        self.number = number

    def __call__(self, output, target):
        return float(self.number)


@pytest.mark.parametrize(
    "factory", [metrics.f1, metrics.roc_auc, metrics.r2, losses.top_k, metrics.Score, Counts, lambda: 0.5]
)
@pytest.mark.parametrize("function", ["fit", "evaluate"])
def test_a_factory_in_place_of_its_metric_is_refused(factory, function, data):
    learner = trainer(losses.CrossEntropy())
    learner.loss.metrics["mine"] = factory
    before = learner.model.state_dict()
    with pytest.raises(
        TypeError,
        match=rf"^{function}: metric 'mine' must be a function of output and target, "
        rf"got <.*; if it makes one, write {factory.__name__}\(\.\.\.\)$",
    ):
        getattr(learner, function)(*data)
    assert_array_equal(learner.model.state_dict()["0.weight"], before["0.weight"])


@pytest.mark.parametrize(
    "metric", [lambda output, target, k=1: 0.5, lambda *both: 0.5, Counts(0.5), Counts(0.5).__call__]
)
def test_everything_that_takes_two_is_a_metric(metric, data):
    learner = trainer(losses.CrossEntropy())
    learner.loss.metrics["mine"] = metric
    assert learner.evaluate(*data)["mine"] == 0.5
    learner.loss.metrics["max"] = max  # compiled: it does not say what it takes
    require_metrics("evaluate", learner.loss)


def swapped(y_true, y_pred):
    return float(np.mean((y_pred - y_true) ** 2))


class SwappedLoss(losses.Loss):
    def __call__(self, y_true, y_pred):
        return swapped(y_true, y_pred), 2 * (y_pred - y_true) / y_pred.size


@pytest.mark.parametrize("function", ["fit", "evaluate"])
def test_functions_that_take_the_target_first_are_refused(function, data):
    """Those of scikit-learn and Keras do: R2 and the gradient of a loss would be wrong."""
    rule = "must take the output before the target, got the parameters y_true, y_pred: exchange them"
    learner = trainer(losses.CrossEntropy())
    for metric in swapped, partial(swapped), lambda labels, logits: 0.5:
        learner.loss.metrics["mine"] = metric
        message = rule if metric is swapped else "must take the output before"
        with pytest.raises(TypeError, match=f"^{function}: metric 'mine' {message}"):
            getattr(learner, function)(*data)
    with pytest.raises(TypeError, match=f"^{function}: loss {rule}"):
        getattr(trainer(SwappedLoss()), function)(data[0], data[0])
    with pytest.raises(TypeError, match=f"^Score: function {rule}"):
        metrics.Score(swapped)
    metrics.Score(lambda output, target: swapped(target, output))


@pytest.mark.parametrize("name", ["loss", "epoch", "val_accuracy", "val_"])
@pytest.mark.parametrize("function", ["fit", "evaluate"])
def test_names_of_the_trainer_are_refused(name, function, data):
    learner = trainer(losses.CrossEntropy())
    learner.loss.metrics[name] = losses.top_k(2)
    with pytest.raises(
        ValueError,
        match=rf"^{function}: metrics must not be named 'loss' or 'epoch' or begin with 'val_', got '{name}'",
    ):
        getattr(learner, function)(*data)


def test_names_are_text(data):
    learner = trainer(losses.CrossEntropy())
    learner.loss.metrics[3] = losses.top_k(2)
    with pytest.raises(TypeError, match=r"^fit: name of a metric must be a str, got 3$"):
        learner.fit(*data, progress=False)


@pytest.mark.parametrize("name", ["epoch", "loss", "accuracy", "lr"])
def test_what_callbacks_measure_has_a_name_of_its_own(name, data):
    class Measures(callbacks.Callback):
        def measure(self, trainer):
            return {name: 1.0}

    learner = trainer(losses.CrossEntropy())
    learner.callbacks = [callbacks.LearningRateLogger(), Measures()]
    with pytest.raises(
        ValueError, match=f"^fit: Measures must measure what has a name of its own, got '{name}'"
    ):
        learner.fit(*data, progress=False)


@pytest.mark.parametrize("make", [losses.CrossEntropy, losses.MSE, losses.Huber])
def test_metrics_are_not_shared_between_losses(make):
    before = dict(make().metrics)
    loss = make()
    loss.metrics["mae"] = lambda output, target: 0.0
    assert dict(make().metrics) == {} if make is not losses.CrossEntropy else "mae" not in make().metrics
    assert [*loss.metrics] == [*before, "mae"]
    given = {"top_2": losses.top_k(2)}
    loss.metrics = given
    loss.metrics["more"] = losses.accuracy
    assert [*given] == ["top_2"]
    other = copy.deepcopy(loss)
    other.metrics.clear()
    assert [*loss.metrics] == ["top_2", "more"]


def test_losses_and_metrics_can_be_pickled(rng):
    logits, labels = rng.standard_normal((9, 4)), rng.integers(0, 4, 9)
    loss = losses.CrossEntropy(0.1, [1, 2, 3, 4], ignore_index=2)
    loss.metrics["top_2"] = losses.top_k(2, ignore_index=2)
    for copied in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert copied(logits, labels).loss == loss(logits, labels).loss
        for name, metric in loss.metrics.items():
            assert copied.metrics[name](logits, labels) == metric(logits, labels)
    huber = pickle.loads(pickle.dumps(losses.Huber(0.25)))
    assert huber.delta == 0.25
