"""Weights of samples and classes, against the formula of a linear model in float64."""

from functools import partial

import numpy as np
import pytest
from helpers.training import WeightedSquares, linear_trainer, small_trainer, state_of, two_classes
from numpy.testing import assert_allclose
from trimtab import losses, nn
from trimtab.callbacks import Callback
from trimtab.optim import SGD
from trimtab.trainer import Trainer


@pytest.fixture
def data(rng):
    x = rng.standard_normal((23, 3))
    return x, rng.standard_normal(23), rng.uniform(0, 3, 23)


def mean_loss(model, x, y, weight):
    return np.average((model.forward(x)[:, 0] - y) ** 2, weights=weight)


def step_by_formula(x, y, weight):
    """The weight and bias of `linear_trainer` after one step on all samples."""
    layer = linear_trainer().model[0]
    difference = (x @ layer.weight.value.T)[:, 0] + layer.bias.value - y
    share = weight / weight.sum()
    slope = 2 * share * difference
    return layer.weight.value - 0.1 * slope @ x, layer.bias.value - 0.1 * slope.sum()


def assert_stepped(learner, x, y, weight):
    for found, expected in zip(learner.model.parameters(), step_by_formula(x, y, weight), strict=True):
        assert_allclose(found.value.ravel(), np.ravel(expected), rtol=1e-12)


def test_a_step_is_that_of_the_weighted_mean(data):
    x, y, weight = data
    learner = linear_trainer()
    loss = mean_loss(learner.model.eval(), x, y, weight)
    history = learner.fit(x, y, sample_weight=weight, batch_size=99, progress=False)
    assert_stepped(learner, x, y, weight)
    assert_allclose(history["loss"], [loss], rtol=1e-12)


def test_weights_follow_their_samples(data):
    x, y, _ = data
    seen = []

    class Look(WeightedSquares):
        def __call__(self, output, target, sample_weight=None):
            if sample_weight is not None:
                seen.extend(zip(target, sample_weight, strict=True))
            return super().__call__(output, target, sample_weight)

    weight = np.abs(y)
    linear_trainer(Look()).fit(x, y, sample_weight=weight, batch_size=4, validation_split=0.3, progress=False)
    assert len(seen) >= 23
    assert all(abs(target) == given for target, given in seen)


def test_means_of_epochs_and_evaluations_are_exact(data):
    x, y, weight = data
    learner = linear_trainer(lr=0.0)
    expected = mean_loss(learner.model.eval(), x, y, weight)
    plain = mean_loss(learner.model, x, y, None)
    for size in (1, 4, 22, 99):
        history = learner.fit(
            x,
            y,
            sample_weight=weight,
            validation_data=(x, y, weight[::-1]),
            batch_size=size,
            accumulate=2,
            progress=False,
        )
        assert_allclose(history["loss"], [expected], rtol=1e-12)
        assert_allclose(history["val_loss"], [mean_loss(learner.model, x, y, weight[::-1])], rtol=1e-12)
        assert_allclose(
            learner.evaluate(x, y, batch_size=size, sample_weight=weight)["loss"], expected, rtol=1e-12
        )
        assert_allclose(learner.evaluate(x, y, size)["loss"], plain, rtol=1e-12)


def balanced(labels):
    counts = np.bincount(labels)
    return len(labels) / (2 * counts)


@pytest.mark.parametrize(
    ("given", "factors"),
    [
        ("balanced", balanced),
        ({1: 5}, lambda labels: [1, 5]),
        ({0: 0.5, np.int64(1): np.float32(0.25)}, lambda labels: [0.5, 0.25]),
        ([3, 0.5], lambda labels: [3, 0.5]),
        (np.array([0, 2], np.uint8), lambda labels: [0, 2]),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_factors_of_classes_multiply_the_weights(given, factors, weighted, data):
    x, y, weight = data
    labels = (y > 0).astype(int)
    learner = linear_trainer()
    options = {"sample_weight": weight} if weighted else {}
    learner.fit(x, y, class_weight=given, batch_size=99, progress=False, **options)
    assert_stepped(learner, x, y, np.asarray(factors(labels))[labels] * (weight if weighted else 1))


def test_balanced_factors_are_those_of_the_samples_to_train_on(data):
    x, y, _ = data
    kept = round(23 * 0.6)
    learner = linear_trainer()
    learner.fit(
        x,
        y,
        class_weight="balanced",
        validation_split=0.4,
        shuffle=False,
        batch_size=99,
        progress=False,
    )
    labels = (y[:kept] > 0).astype(int)
    assert_stepped(learner, x[:kept], y[:kept], balanced(labels)[labels])


def test_balanced_factors_agree_with_scikit_learn(data):
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    x, y, _ = data
    labels = (y > 0).astype(int)
    learner = linear_trainer()
    learner.fit(x, y, class_weight="balanced", batch_size=99, progress=False)
    assert_stepped(learner, x, y, class_weight.compute_sample_weight("balanced", labels))


def test_classes_of_cross_entropy():
    output = np.zeros((1, 3))
    loss = losses.CrossEntropy(ignore_index=7)
    for targets in ([2, 0, 7], np.array([[2], [0], [7]], np.uint8)):
        labels = loss.class_labels(np.array(targets), output)
        assert (labels.ids.tolist(), labels.classes) == ([2, 0, -1], 3)
    rows = np.array([[0.2, 0.5, 0.3], [1, 0, 0]])
    assert loss.class_labels(rows, output).ids.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sample_weight": np.ones(39)},
            r"sample_weight must have shape \(40,\), got \(39,\)",
        ),
        ({"sample_weight": np.ones((40, 2))}, r"sample_weight must have shape \(40,\), got \(40, 2\)"),
        ({"sample_weight": 2.0}, r"sample_weight must have shape \(40,\), got \(\)"),
        ({"sample_weight": -np.arange(40.0)}, "sample_weight must be finite and >= 0, got -1.0 at sample 1"),
        ({"sample_weight": [np.nan] * 40}, "sample_weight must be finite and >= 0, got nan at sample 0"),
        ({"sample_weight": [np.inf] * 40}, "sample_weight must be finite and >= 0, got inf at sample 0"),
        ({"sample_weight": np.zeros(40)}, "sample_weight must not be 0 everywhere, got 40 zeros"),
        ({"sample_weight": np.full(40, 1e308)}, "sample_weight must have a finite sum, got inf"),
        ({"sample_weight": ["a"] * 40}, "sample_weight must be real numbers, got dtype"),
        (
            {"class_weight": "equal"},
            "class_weight must be 'balanced', a mapping or an array of factors, got 'equal'",
        ),
        ({"class_weight": {2: 1.0}}, "class_weight must name classes of the labels, 0, 1, got 2"),
        ({"class_weight": {"a": 1.0}}, "class_weight: class must be an int, got 'a'"),
        ({"class_weight": {0: -1.0}}, "class_weight of class 0 must be finite and >= 0, got -1.0"),
        ({"class_weight": {0: 0, 1: 0}}, "class_weight must not be 0 for every class, got {0: 0, 1: 0}"),
        (
            {"class_weight": [1.0]},
            r"class_weight must be a finite factor >= 0 for each of 2 classes, got \[1.0\]",
        ),
        ({"class_weight": [1, np.nan]}, "class_weight must be a finite factor >= 0 for each of 2 classes"),
        ({"class_weight": 3.0}, "class_weight must be a finite factor >= 0 for each of 2 classes, got 3.0"),
        (
            {"validation_data": (np.ones((2, 3)), [0, 1], [1.0])},
            r"sample_weight of validation_data must have shape \(2,\), got \(1,\)",
        ),
        ({"stratify": True}, "stratify must be False without validation_split, got True"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
    ],
)
def test_wrong_weights_are_refused_and_change_nothing(options, message, rng):
    x, y = two_classes(rng)
    learner = small_trainer()
    before = state_of(learner)
    with pytest.raises((TypeError, ValueError), match=f"^fit: {message}"):
        learner.fit(x, y, progress=False, **options)
    assert state_of(learner) == before


def test_an_error_names_at_most_ten_classes(rng):
    x, y = rng.standard_normal((24, 3)), np.arange(24) % 12
    with pytest.raises(ValueError, match=r"0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\., got 20$"):
        small_trainer(outputs=12).fit(x, y, class_weight={20: 1.0}, progress=False)


@pytest.mark.parametrize(
    ("weighted", "options", "message"),
    [
        (
            slice(30),
            {"validation_split": 0.25},
            "sample_weight must not be 0 for all samples held out, got 10",
        ),
        (
            slice(30, 40),
            {"validation_split": 0.25},
            "sample_weight must not be 0 for all samples to train on",
        ),
        (
            0,
            {"class_weight": [0, 1]},
            "sample_weight times class_weight must not be 0 for all samples to train",
        ),
    ],
)
def test_samples_count_on_both_sides_of_the_split(weighted, options, message, rng):
    x, y = two_classes(rng)
    weight = np.zeros(40)
    weight[weighted] = 1
    y[0] = 0
    learner = small_trainer()
    before = state_of(learner)
    with pytest.raises(ValueError, match=f"^fit: {message}"):
        learner.fit(x, y, sample_weight=weight, shuffle=False, progress=False, **options)
    assert state_of(learner) == before


def test_a_loss_without_weights_is_refused_by_name(rng):
    class Plain(losses.Loss):
        def __call__(self, output, target):
            return 0.0, np.zeros_like(output)

    x, y = two_classes(rng)
    learner = small_trainer(loss=Plain())
    message = r"sample_weight must be None with a loss that does not take it: give Plain the parameter"
    with pytest.raises(TypeError, match=f"^fit: {message}"):
        learner.fit(x, y, sample_weight=np.ones(40), progress=False)
    with pytest.raises(TypeError, match=f"^fit: {message}"):
        learner.fit(x, y, validation_data=(x, y, np.ones(40)), progress=False)
    with pytest.raises(TypeError, match=f"^evaluate: {message}"):
        learner.evaluate(x, y, sample_weight=np.ones(40))
    with pytest.raises(
        ValueError, match=r"^fit: class_weight must go with a loss and .*, got Plain and targ"
    ):
        learner.fit(x, y, class_weight="balanced", progress=False)
    with pytest.raises(ValueError, match=r"^fit: stratify must go with a loss and targets .*, got MSE and"):
        small_trainer(loss=losses.MSE()).fit(
            x, np.eye(2)[y], validation_split=0.5, stratify=True, progress=False
        )


CASES = {
    "cross entropy": (losses.CrossEntropy, 3, lambda rng: rng.integers(0, 3, 23)),
    "with ignored labels": (
        partial(losses.CrossEntropy, ignore_index=1),
        3,
        lambda rng: rng.integers(0, 3, 23),
    ),
    "one-hot": (losses.CrossEntropy, 3, lambda rng: np.eye(3)[rng.integers(0, 3, 23)]),
    "binary": (losses.BinaryCrossEntropy, 1, lambda rng: rng.integers(0, 2, (23, 1))),
    "squares": (losses.MSE, 2, lambda rng: rng.standard_normal((23, 2))),
    "distances": (losses.MAE, 2, lambda rng: rng.standard_normal((23, 2))),
    "Huber": (losses.Huber, 2, lambda rng: rng.standard_normal((23, 2))),
}


@pytest.mark.parametrize("case", CASES)
def test_integer_weights_are_repetitions(case, rng):
    """In every loss, a sample of weight 3 is three samples; of weight 0, none."""
    make, outputs, targets = CASES[case]
    x, y, times = rng.standard_normal((23, 3)), targets(rng), rng.integers(0, 4, 23)

    def learner():
        model = nn.Sequential(nn.Linear(3, outputs, rng=0, dtype=np.float64))
        return Trainer(model, make(), SGD(model, 0.1), rng=0)

    weighted, repeated = learner(), learner()
    options = {"epochs": 3, "shuffle": False, "progress": False}
    history = weighted.fit(x, y, sample_weight=times, batch_size=5, accumulate=99, **options)
    rows = np.repeat(np.arange(23), times)
    expected = repeated.fit(x[rows], y[rows], batch_size=99, **options)
    assert_allclose(history["loss"], expected["loss"], rtol=1e-12)
    for name, array in repeated.model.state_dict().items():
        assert_allclose(weighted.model.state_dict()[name], array, rtol=1e-11, atol=1e-14)


def test_classes_of_binary_cross_entropy():
    loss = losses.BinaryCrossEntropy()
    for targets in ([0, 1, 1], np.array([[0.2], [0.9], [True]])):
        labels = loss.class_labels(np.array(targets), np.zeros((1, 1)))
        assert (labels.ids.tolist(), labels.classes) == ([0, 1, 1], 2)
    assert loss.class_labels(np.zeros((3, 2)), np.zeros((1, 2))) is None


def test_a_loss_is_fitted_to_the_samples_to_train_on(rng):
    x, y = rng.standard_normal((40, 3)), np.repeat([0, 1, 0, 1], [15, 5, 2, 18])
    learner = small_trainer(loss=losses.CrossEntropy(class_weight="balanced"))
    other = small_trainer(loss=losses.CrossEntropy(class_weight=[20 / (2 * 15), 20 / (2 * 5)]))
    options = {"validation_split": 0.5, "shuffle": False, "epochs": 2, "progress": False}
    assert learner.fit(x, y, **options) == other.fit(x, y, **options)
    failing = small_trainer(loss=losses.CrossEntropy(class_weight="balanced"))
    failing.callbacks.append(FailsAtOnce())
    before = vars(failing.loss).copy()
    with pytest.raises(ArithmeticError):
        failing.fit(x, y, progress=False)
    assert vars(failing.loss) == before


class FailsAtOnce(Callback):
    def on_fit_begin(self, trainer, epochs, batches):
        raise ArithmeticError


@pytest.mark.parametrize("factor", [-1e-300, -0.5, np.nextafter(0, -1)])
def test_factors_are_not_below_0_by_any_amount(factor):
    """0 itself is one."""
    x, labels = np.ones((2, 2), np.float32), np.array([0, 1])
    model = nn.Sequential(nn.Linear(2, 2, rng=0))
    learner = Trainer(model, losses.CrossEntropy(), SGD(model, 0.1), rng=0)
    for value in ([1.0, factor], {0: factor}):
        with pytest.raises(ValueError, match=r"class_weight.* must be .*>= 0.*, got "):
            losses.CrossEntropy(class_weight=value)
        with pytest.raises(ValueError, match=r"^fit: class_weight.* must be .*>= 0.*, got "):
            learner.fit(x, labels, class_weight=value, progress=False)
    with pytest.raises(ValueError, match=r"pos_weight must be .*>= 0.*, got "):
        losses.BinaryCrossEntropy(pos_weight=factor)
    for loss, target in ((losses.CrossEntropy(), labels), (losses.MSE(), x)):
        with pytest.raises(ValueError, match=r"^(CrossEntropy|MSE): sample_weight must be .*>= 0.*, got "):
            loss(x, target, sample_weight=np.array([1.0, factor]))
    with pytest.raises(ValueError, match=r"^fit: sample_weight must be .*>= 0.*, got "):
        learner.fit(x, labels, sample_weight=[1.0, factor], progress=False)
    losses.CrossEntropy(class_weight=[1.0, 0.0])
    losses.BinaryCrossEntropy(pos_weight=0.0)
    learner.fit(x, labels, sample_weight=[1.0, 0.0], class_weight=[1.0, 0.0], progress=False)
